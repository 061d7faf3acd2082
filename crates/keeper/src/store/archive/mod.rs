//! An archive: many connections with all that belongs to them in one sealed file, to be carried elsewhere. Written and
//! read piece by piece, so that a hundred thousand need no more memory than one; what was cut short, altered, or put
//! together of two, does not open (law 10).
//!
//! | part | what it is |
//! |---|---|
//! | first line | `perennial archive 1`: the form |
//! | second line | the header, JSON: the archive's id, when it was made, what its key is wrapped with, and the key, wrapped |
//! | pieces | each its length in four bytes, then lines of JSON, sealed; the last one says how many connections there are |
//!
//! Each piece names the archive, the header, its number and whether it is the last one, and opens nowhere else.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | writes and reads an archive |
//! | `file` | the same as a file that is whole before it has its name |
//! | `header` | its second line, with its key |
//! | `parcel` | a connection as a line |

mod file;
mod header;
mod parcel;

pub use file::ArchiveFile;

use super::Parcel;
use crate::random;
use crate::seal::{KEY, MasterKey, SealError, Sealer};
use header::Header;
use perennial_core::UnixTime;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use zeroize::Zeroizing;

/// True for the beginning of an archive of any form.
#[must_use]
pub fn is_one(head: &[u8]) -> bool {
    head.starts_with(ANY_FORM)
}

/// What an archive of this form begins with.
const FIRST_LINE: &[u8] = b"perennial archive 1\n";
/// What every archive of any form begins with.
const ANY_FORM: &[u8] = b"perennial archive ";

/// A piece is closed when it holds this much.
const PIECE: usize = 64 * 1024;
/// No piece is longer: what says so is damaged.
const LONGEST_PIECE: u32 = 64 * 1024 * 1024;
/// Nor is any header.
const LONGEST_HEADER: u64 = 64 * 1024;

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("it is no archive of Perennial's")]
    NoArchive,
    /// This version does not know its form.
    #[error("it was written by a newer Perennial")]
    Newer,
    /// The passphrase or the master key is not the one that it was sealed with.
    #[error("it does not open with this {0}")]
    WrongKey(&'static str),
    /// It was sealed with the other kind of key.
    #[error("it was sealed with a {0}")]
    OtherKind(&'static str),
    /// The key that was named could not be had.
    #[error("the key of the archive: {0}")]
    Key(SealError),
    /// It ends before its end.
    #[error("it is cut short: only {0} connections of it are there")]
    CutShort(u64),
    /// A bit was turned, or a piece is missing, or is another archive's.
    #[error("it was altered or damaged behind its first {0} connections")]
    Damaged(u64),
}

/// What seals and names the pieces.
struct Pieces {
    sealer: Sealer,
    archive: String,
    header: String,
    number: u64,
}

impl Pieces {
    fn place(&self, is_last: bool) -> String {
        json!([self.archive, self.header, self.number, if is_last { "last" } else { "more" }]).to_string()
    }
}

/// Writes an archive.
pub struct Writer<W> {
    out: W,
    pieces: Pieces,
    /// Lines that wait for their piece to be full.
    lines: Zeroizing<Vec<u8>>,
    count: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// When the key cannot be had, or nothing can be written.
    pub fn begin(mut out: W, key: &MasterKey, now: UnixTime) -> Result<Self, ArchiveError> {
        let mut secret = Zeroizing::new([0; KEY]);
        getrandom::fill(secret.as_mut()).map_err(io::Error::other)?;
        let archive = random::id();
        let header = Header::new(archive.clone(), now, secret.as_ref(), key)?.write();
        out.write_all(FIRST_LINE)?;
        out.write_all(header.as_bytes())?;
        out.write_all(b"\n")?;
        let pieces =
            Pieces { sealer: Sealer::with_key(&secret), archive, header: digest(&header), number: 0 };
        Ok(Self { out, pieces, lines: room(), count: 0 })
    }

    /// Writes a connection with all that belongs to it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, parcel: &Parcel) -> Result<(), ArchiveError> {
        let line = parcel::write(parcel);
        self.lines.extend_from_slice(&line);
        self.lines.push(b'\n');
        self.count += 1;
        if self.lines.len() >= PIECE { self.close_piece(false) } else { Ok(()) }
    }

    /// Ends the archive, and hands back what it was written to: nothing is durable yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        if !self.lines.is_empty() {
            self.close_piece(false)?;
        }
        self.lines.extend_from_slice(json!({"connections": self.count}).to_string().as_bytes());
        self.close_piece(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn close_piece(&mut self, is_last: bool) -> Result<(), ArchiveError> {
        let sealed = self.pieces.sealer.seal(&self.pieces.place(is_last), &self.lines);
        let sealed = sealed.map_err(ArchiveError::Key)?;
        let length = u32::try_from(sealed.len()).ok().filter(|length| *length <= LONGEST_PIECE);
        let length = length.ok_or_else(|| io::Error::other("a connection is too large for an archive"))?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&sealed)?;
        self.pieces.number += 1;
        self.lines = room();
        Ok(())
    }
}

/// Room for a whole piece at once, so that growing leaves few copies behind.
fn room() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(2 * PIECE))
}

/// Reads an archive, connection by connection. Only who has read it to its end knows that it is whole.
pub struct Reader<R> {
    input: R,
    pieces: Pieces,
    waiting: VecDeque<Parcel>,
    count: u64,
    is_over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Opens an archive.
    ///
    /// # Errors
    /// When it is none, or does not open with this key.
    pub fn open(mut input: R, key: &MasterKey) -> Result<Self, ArchiveError> {
        let (header, text) = header(&mut input)?;
        let secret = header.unwrap(key)?;
        let secret: &[u8; KEY] = secret.as_slice().try_into().map_err(|_| ArchiveError::Damaged(0))?;
        let (sealer, archive) = (Sealer::with_key(secret), header.archive);
        let pieces = Pieces { sealer, archive, header: digest(&text), number: 0 };
        Ok(Self { input, pieces, waiting: VecDeque::new(), count: 0, is_over: false })
    }

    fn advance(&mut self) -> Result<Option<Parcel>, ArchiveError> {
        loop {
            if let Some(parcel) = self.waiting.pop_front() {
                self.count += 1;
                return Ok(Some(parcel));
            }
            if self.is_over {
                return Ok(None);
            }
            self.read_piece()?;
        }
    }

    fn read_piece(&mut self) -> Result<(), ArchiveError> {
        let mut length = [0; 4];
        read_exact(&mut self.input, &mut length, self.count)?;
        let length = u32::from_le_bytes(length);
        if length > LONGEST_PIECE {
            return Err(ArchiveError::Damaged(self.count));
        }
        let mut sealed = Vec::new();
        (&mut self.input).take(u64::from(length)).read_to_end(&mut sealed)?;
        if sealed.len() < length as usize {
            return Err(ArchiveError::CutShort(self.count));
        }
        let more = self.pieces.sealer.open(&self.pieces.place(false), &sealed);
        match more {
            Ok(lines) => {
                for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let parcel = parcel::read(line).ok_or(ArchiveError::Damaged(self.count))?;
                    self.waiting.push_back(parcel);
                }
            }
            Err(_) => self.end(&sealed)?,
        }
        self.pieces.number += 1;
        Ok(())
    }

    /// The last piece, and nothing behind it.
    fn end(&mut self, sealed: &[u8]) -> Result<(), ArchiveError> {
        let damaged = || ArchiveError::Damaged(self.count);
        let last = self.pieces.sealer.open(&self.pieces.place(true), sealed).map_err(|_| damaged())?;
        let last: Value = serde_json::from_slice(&last).map_err(|_| damaged())?;
        let is_whole = last.get("connections").and_then(Value::as_u64) == Some(self.count);
        if !is_whole || !self.input.fill_buf()?.is_empty() {
            return Err(damaged());
        }
        self.is_over = true;
        Ok(())
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Parcel, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        // Behind what is damaged nothing is looked for.
        self.is_over |= next.is_err();
        next.transpose()
    }
}

/// Whether what seals an archive is a passphrase.
///
/// # Errors
/// When it is no archive.
pub fn wants_passphrase(input: &mut impl BufRead) -> Result<bool, ArchiveError> {
    Ok(header(input)?.0.is_passphrase)
}

fn header(input: &mut impl BufRead) -> Result<(Header, String), ArchiveError> {
    let first = line(input)?;
    if !first.starts_with(ANY_FORM) {
        return Err(ArchiveError::NoArchive);
    }
    if first != FIRST_LINE {
        return Err(ArchiveError::Newer);
    }
    let text = String::from_utf8(line(input)?).map_err(|_| ArchiveError::Damaged(0))?;
    let text = text.trim_end_matches('\n').to_owned();
    let header = Header::read(&text).ok_or(ArchiveError::Damaged(0))?;
    Ok((header, text))
}

fn line(input: &mut impl BufRead) -> Result<Vec<u8>, ArchiveError> {
    let mut line = Vec::new();
    input.take(LONGEST_HEADER).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn read_exact(input: &mut impl Read, into: &mut [u8], count: u64) -> Result<(), ArchiveError> {
    input.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::CutShort(count),
        _ => error.into(),
    })
}

fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::App;
    use perennial_core::connection::Held;
    use perennial_core::grant::{Client, Principal};
    use perennial_core::journal::{Entry, Event};
    use perennial_core::profile::concur::CONCUR;
    use perennial_core::secret::{ClientSecret, RefreshToken, RequestToken};
    use perennial_core::token_endpoint::response::Others;
    use perennial_core::{Connection, Origin};

    fn parcel(number: usize) -> Parcel {
        let mut connection = Connection::new(format!("id-{number}"), format!("acme-{number}"), &CONCUR);
        connection.policy.set("replay", "never").unwrap();
        connection.principal = Principal::named("company");
        connection.held = Some(Held {
            grant_id: "grant".into(),
            generation: 7,
            access: None,
            refresh: Some(RefreshToken::new(format!("refresh-canary-{number}").as_str())),
            refresh_expiry: None,
            base: Origin::parse("https://us2.api.concursolutions.com").unwrap(),
            scope: Some("x".repeat(1000)),
            id_token: None,
            refreshed_at: Some(UnixTime(1_800_000_000)),
            granted_at: None,
            others: Others::default(),
        });
        let client = Client { id: "app".into(), secret: ClientSecret::new("secret-canary") };
        let app = App::new(client, Principal::named("company"), Some(RequestToken::new("request-canary")))
            .known_since(UnixTime(5));
        let event = Event::Noted { what: "added".into() };
        let history = vec![Entry { at: UnixTime(6), event, correlation_id: None }];
        Parcel { connection, app, history }
    }

    fn passphrase(text: &str) -> MasterKey {
        MasterKey::of_passphrase(Zeroizing::new(text.to_owned()))
    }

    fn archive(count: usize) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), &passphrase("correct horse"), UnixTime(1)).unwrap();
        (0..count).for_each(|number| writer.put(&parcel(number)).unwrap());
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], key: &MasterKey) -> Result<Vec<Parcel>, ArchiveError> {
        Reader::open(bytes, key)?.collect()
    }

    #[test]
    fn what_is_written_is_read_and_shows_nothing() {
        let bytes = archive(200);
        assert!(bytes.len() > 3 * PIECE, "several pieces");
        let parcels = read(&bytes, &passphrase("correct horse")).unwrap();
        assert_eq!(parcels.len(), 200);
        for (number, read) in parcels.iter().enumerate() {
            let Parcel { connection, app, history } = parcel(number);
            assert_eq!((&read.connection, &read.app, &read.history), (&connection, &app, &history));
        }
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "law 10");
        assert!(!bytes.windows(4).any(|window| window == b"acme"), "nor any name");
        assert_eq!(read(&archive(0), &passphrase("correct horse")).unwrap().len(), 0);
    }

    #[test]
    fn a_wrong_key_and_another_kind_of_key_are_told() {
        let bytes = archive(1);
        let wrong = read(&bytes, &passphrase("wrong")).unwrap_err();
        assert!(matches!(wrong, ArchiveError::WrongKey("passphrase")), "{wrong}");
        let dir = tempfile::tempdir().unwrap();
        let key: MasterKey = crate::seal::KeySource::File(dir.path().join("master.key")).into();
        let other = read(&bytes, &key).unwrap_err();
        assert!(matches!(other, ArchiveError::OtherKind("passphrase")), "{other}");
        assert!(matches!(read(b"scribble", &key), Err(ArchiveError::NoArchive)));
        assert!(matches!(read(b"perennial archive 2\n", &key), Err(ArchiveError::Newer)));
        let mut writer = Writer::begin(Vec::new(), &key, UnixTime(1)).unwrap();
        writer.put(&parcel(1)).unwrap();
        assert_eq!(read(&writer.finish().unwrap(), &key).unwrap().len(), 1);
    }

    #[test]
    fn what_is_cut_altered_or_put_together_of_two_does_not_open() {
        let key = passphrase("correct horse");
        let (bytes, other) = (archive(200), archive(200));
        let begin = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        let length = u32::from_le_bytes(bytes[begin..begin + 4].try_into().unwrap()) as usize;
        let second = begin + 4 + length;
        for cut in [begin, begin + 2, begin + 100, second, bytes.len() - 1] {
            let refused = read(&bytes[..cut], &key).unwrap_err();
            assert!(matches!(refused, ArchiveError::CutShort(_)), "{cut}: {refused}");
        }
        let damaged = |bytes: &[u8]| matches!(read(bytes, &key), Err(ArchiveError::Damaged(_)));
        let mut altered = bytes.clone();
        altered[second + 50] ^= 1;
        assert!(damaged(&altered));
        let mut without_one = bytes[..begin].to_vec();
        without_one.extend_from_slice(&bytes[second..]);
        assert!(damaged(&without_one));
        let mut mixed = bytes[..second].to_vec();
        mixed.extend_from_slice(&other[second..]);
        assert!(damaged(&mixed));
        assert!(damaged(&[bytes.as_slice(), b"more"].concat()));
        let text = String::from_utf8_lossy(&bytes[..begin]).replace("\"made_at\":1", "\"made_at\":2");
        assert!(damaged(&[text.as_bytes(), &bytes[begin..]].concat()), "the header belongs to it");
    }
}
