//! The master key. It may be several keys: the newest seals, every one opens, so that an old one can be let go without a
//! moment in which something does not open. What it seals names its key in its first line, so that another key is told
//! apart from damage:
//!
//! ```text
//! perennial sealed 2 KEY-ID
//! perennial sealed 2 KEY-ID argon2id m=65536,t=3,p=4 SALT
//! ```
//!
//! That line is sealed with the rest. Texts of the first format name no key: each one is tried.

use super::passphrase::{Passphrase, Stretching};
use super::sealer::HEADER as FIRST_FORMAT;
use super::source::KeyList;
use super::{KEY, KeySource, SealError, Sealer, key_file};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

const HEADER: &str = "perennial sealed 2 ";
/// A first line is not longer than this.
const LONGEST_LINE: usize = 256;

/// What a person is asked for a passphrase for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To open what was sealed with it.
    Known,
    /// To seal something with it from now on: whoever mistypes it has nothing.
    New,
}

type Ask = dyn Fn(Asked) -> io::Result<Option<Zeroizing<String>>> + Send + Sync;

/// A master key, from its source. It is read when it is needed first. Clones share what was read.
#[derive(Clone)]
pub struct MasterKey {
    inner: Arc<Inner>,
    /// What opens beside it, and seals nothing.
    older: Option<Box<Self>>,
}

struct Inner {
    source: KeySource,
    ask: Option<Box<Ask>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Option<Opened>,
    /// Ids for which the source was read once more, in vain.
    missed: Vec<String>,
}

/// What a source holds.
#[derive(Clone)]
enum Opened {
    /// The newest first, and one at least.
    Keys(Arc<Vec<Key>>),
    Passphrase(Arc<Passphrase>),
}

/// One key, and its id.
pub(super) struct Key {
    id: String,
    sealer: Sealer,
}

impl Key {
    pub(super) fn new(key: &[u8; KEY]) -> Self {
        Self { id: id_of(key), sealer: Sealer::with_key(key) }
    }
}

/// The id of a key: a hash that tells nothing of it, for keys are 256 random bits.
fn id_of(key: &[u8; KEY]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"perennial master key\n");
    digest.update(key);
    digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The id of the master key that sealed this; `None` where it names none, as in the first format.
#[must_use]
pub fn key_named_in(sealed: &[u8]) -> Option<String> {
    Line::read(sealed).map(|(line, _)| line.id)
}

impl From<KeySource> for MasterKey {
    fn from(source: KeySource) -> Self {
        Self::of(source, None)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKey").field(&self.inner.source.in_short()).finish()
    }
}

impl MasterKey {
    /// The same, with somebody to ask for a passphrase. `None` says that a person left.
    #[must_use]
    pub fn asking(
        source: KeySource,
        ask: impl Fn(Asked) -> io::Result<Option<Zeroizing<String>>> + Send + Sync + 'static,
    ) -> Self {
        Self::of(source, Some(Box::new(ask)))
    }

    /// What this passphrase makes.
    #[must_use]
    pub fn of_passphrase(text: Zeroizing<String>) -> Self {
        Self::asking(KeySource::Passphrase, move |_| Ok(Some(text.clone())))
    }

    fn of(source: KeySource, ask: Option<Box<Ask>>) -> Self {
        Self { inner: Arc::new(Inner { source, ask, known: Mutex::default() }), older: None }
    }

    /// The same, which opens what another one sealed, too. It seals nothing under that.
    #[must_use]
    pub fn or(self, older: Self) -> Self {
        Self { older: Some(Box::new(older)), ..self }
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> &KeySource {
        &self.inner.source
    }

    /// Makes sure that something could be sealed: a key file is made, a passphrase is asked for.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub fn prepare(&self) -> Result<(), SealError> {
        self.for_sealing().map(drop)
    }

    /// Makes sure that what was sealed before could be opened: nothing is made.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn read(&self) -> Result<(), SealError> {
        self.for_opening().map(drop)
    }

    /// The ids of its keys as they are now, the newest first; none for a passphrase, whose keys depend on salts.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn ids(&self) -> Result<Vec<String>, SealError> {
        self.forget_what_was_read();
        match self.for_opening()? {
            Opened::Keys(keys) => Ok(keys.iter().map(|key| key.id.clone()).collect()),
            Opened::Passphrase(_) => Ok(Vec::new()),
        }
    }

    /// True when the newest key sealed this, and nothing needs to be sealed anew.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn is_newest_of(&self, sealed: &[u8]) -> Result<bool, SealError> {
        let Some((line, _)) = Line::read(sealed) else { return Ok(false) };
        match (self.for_sealing()?, &line.stretching) {
            (Opened::Keys(keys), None) => Ok(keys.first().is_some_and(|newest| newest.id == line.id)),
            (Opened::Passphrase(passphrase), Some(stretching)) => {
                Ok(passphrase.is_newest(stretching) && passphrase.key(stretching)?.id == line.id)
            }
            _ => Ok(false),
        }
    }

    /// Puts a new key in front of those of a key file: it seals from now on.
    ///
    /// # Errors
    /// When the file cannot be written, or it comes from elsewhere.
    pub fn renew(&self) -> Result<(), SealError> {
        let KeySource::File(path) = self.source() else { return Err(SealError::NoPlace) };
        key_file::put_in_front(path)?;
        self.forget_what_was_read();
        Ok(())
    }

    /// Takes old keys out of a key file, by their ids. The newest stays whatever was named.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub fn forget(&self, ids: &[String]) -> Result<(), SealError> {
        let KeySource::File(path) = self.source() else { return Err(SealError::NoPlace) };
        key_file::retain(path, |key| !ids.contains(&id_of(key)))?;
        self.forget_what_was_read();
        Ok(())
    }

    /// Seals under the newest key.
    pub(crate) fn seal(&self, belongs_to: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        match self.for_sealing()? {
            Opened::Keys(keys) => seal(keys.first().ok_or(SealError::DamagedKey)?, None, belongs_to, plain),
            Opened::Passphrase(passphrase) => {
                let (stretching, key) = passphrase.newest()?;
                seal(&key, Some(stretching), belongs_to, plain)
            }
        }
    }

    /// Opens what any of its keys sealed.
    pub(crate) fn open(&self, belongs_to: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let refused = match self.open_alone(belongs_to, sealed) {
            Err(refused @ (SealError::OtherKey { .. } | SealError::Closed | SealError::WrongPassphrase)) => {
                refused
            }
            opened => return opened,
        };
        match &self.older {
            Some(older) => older.open(belongs_to, sealed),
            None => Err(refused),
        }
    }

    fn open_alone(&self, belongs_to: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let opened = self.for_opening()?;
        let refused = match self.open_with(&opened, belongs_to, sealed) {
            Err(refused @ (SealError::OtherKey { .. } | SealError::Closed)) => refused,
            opened => return opened,
        };
        // Somebody may have put a newer key into the source since it was read.
        if !self.may_be_read_again(&refused) {
            return Err(refused);
        }
        self.forget_what_was_read();
        self.open_with(&self.for_opening()?, belongs_to, sealed)
    }

    fn open_with(
        &self,
        opened: &Opened,
        belongs_to: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Some((line, rest)) = Line::read(sealed) else {
            let Opened::Keys(keys) = opened else {
                return Err(if sealed.starts_with(FIRST_FORMAT) {
                    SealError::Closed
                } else {
                    SealError::Foreign
                });
            };
            return open_by_trying(keys, belongs_to, sealed);
        };
        let bound = [line.text.as_bytes(), belongs_to.as_bytes()].concat();
        let open = |key: &Key| key.sealer.decrypt(&bound, rest).map_err(|_| SealError::Altered);
        match (opened, &line.stretching) {
            (Opened::Keys(keys), None) => match keys.iter().find(|key| key.id == line.id) {
                Some(key) => open(key),
                None => Err(self.other_key(line.id, keys)),
            },
            (Opened::Passphrase(passphrase), Some(stretching)) => {
                let key = passphrase.key(stretching)?;
                if key.id == line.id {
                    passphrase.prove();
                    return open(&key);
                }
                self.forget_unless_proven(passphrase);
                Err(SealError::WrongPassphrase)
            }
            (Opened::Keys(keys), Some(_)) => Err(self.other_key(line.id, keys)),
            (Opened::Passphrase(_), None) => Err(self.other_key(line.id, &[])),
        }
    }

    fn other_key(&self, needs: String, keys: &[Key]) -> SealError {
        let holds = keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ");
        SealError::OtherKey { needs, source_name: self.source().in_short(), holds }
    }

    /// What opens: as it was read first.
    fn for_opening(&self) -> Result<Opened, SealError> {
        let mut known = self.known();
        if let Some(opened) = &known.keys {
            return Ok(opened.clone());
        }
        let opened = match &self.inner.source {
            KeySource::Passphrase => self.ask(Asked::Known)?,
            source => Opened::of(&source.read()?),
        };
        Ok(known.keys.insert(opened).clone())
    }

    /// What seals. A file is read anew each time: another process may have put a newer key into it, and the old one may
    /// be gone soon. Where it cannot be read, what was read before is better than nothing (law 1).
    fn for_sealing(&self) -> Result<Opened, SealError> {
        let mut known = self.known();
        let opened = match (&self.inner.source, &known.keys) {
            (source @ KeySource::File(_), Some(opened)) => {
                source.read().map_or_else(|_| opened.clone(), |keys| Opened::of(&keys))
            }
            (_, Some(opened)) => opened.clone(),
            (KeySource::Passphrase, None) => self.ask(Asked::New)?,
            (source, None) => Opened::of(&source.read_or_make()?),
        };
        Ok(known.keys.insert(opened).clone())
    }

    fn ask(&self, asked: Asked) -> Result<Opened, SealError> {
        let ask = self.inner.ask.as_ref().ok_or(SealError::NobodyToAsk)?;
        let text = ask(asked)?.filter(|text| !text.is_empty()).ok_or(SealError::NoPassphrase)?;
        let passphrase = Passphrase::new(text);
        if asked == Asked::New {
            passphrase.prove(); // It was typed twice.
        }
        Ok(Opened::Passphrase(Arc::new(passphrase)))
    }

    /// A command is asked once more for each key that it did not give, and not each time that something needs it.
    fn may_be_read_again(&self, refused: &SealError) -> bool {
        match (&self.inner.source, refused) {
            (KeySource::File(_) | KeySource::Systemd(_), _) => true,
            (KeySource::Command(_), SealError::OtherKey { needs, .. }) => {
                let mut known = self.known();
                let is_new = !known.missed.contains(needs);
                known.missed.push(needs.clone());
                is_new
            }
            _ => false,
        }
    }

    /// A passphrase stays: nobody wants to be asked twice.
    fn forget_what_was_read(&self) {
        let mut known = self.known();
        if matches!(known.keys, Some(Opened::Keys(_))) && self.inner.source != KeySource::Passphrase {
            known.keys = None;
        }
    }

    fn forget_unless_proven(&self, passphrase: &Passphrase) {
        if !passphrase.is_proven() {
            self.known().keys = None;
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    fn of(keys: &KeyList) -> Self {
        Self::Keys(Arc::new(keys.iter().map(|key| Key::new(key)).collect()))
    }
}

fn seal(
    key: &Key,
    stretching: Option<Stretching>,
    belongs_to: &str,
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let stretching = stretching.map_or_else(String::new, |stretching| format!(" {}", stretching.write()));
    let line = format!("{HEADER}{}{stretching}\n", key.id);
    let sealed = key.sealer.encrypt(&[line.as_bytes(), belongs_to.as_bytes()].concat(), plain)?;
    Ok([line.as_bytes(), &sealed].concat())
}

/// A text of the first format names no key.
fn open_by_trying(keys: &[Key], belongs_to: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut refused = SealError::Closed;
    for key in keys {
        match key.sealer.open(belongs_to, sealed) {
            Ok(plain) => return Ok(plain),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The first line of what a master key sealed.
struct Line<'a> {
    text: &'a str,
    id: String,
    stretching: Option<Stretching>,
}

impl<'a> Line<'a> {
    /// The line, and what follows it; `None` for another format.
    fn read(sealed: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let end = sealed.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n')? + 1;
        let (line, rest) = sealed.split_at(end);
        let text = std::str::from_utf8(line).ok()?;
        let words = text.strip_prefix(HEADER)?.trim_end_matches('\n');
        let (id, stretching) = match words.split_once(' ') {
            Some((id, stretching)) => (id, Some(Stretching::read(stretching)?)),
            None => (words, None),
        };
        Some((Self { text, id: id.to_owned(), stretching }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn in_file(path: &Path) -> MasterKey {
        KeySource::File(path.to_owned()).into()
    }

    #[test]
    fn another_key_is_told_apart_from_damage() {
        let dir = tempfile::tempdir().unwrap();
        let master = in_file(&dir.path().join("a.key"));
        let sealed = master.seal("x", b"canary").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(master.open("x", &sealed).unwrap().as_slice(), b"canary");
        assert!(matches!(master.open("y", &sealed), Err(SealError::Altered)));
        let mut altered = sealed.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(matches!(master.open("x", &altered), Err(SealError::Altered)));
        let other = in_file(&dir.path().join("b.key"));
        other.prepare().unwrap();
        let told = other.open("x", &sealed).unwrap_err();
        assert!(
            matches!(&told, SealError::OtherKey { needs, .. } if *needs == master.ids().unwrap()[0]),
            "{told}"
        );
        assert!(matches!(master.open("x", b"scribble"), Err(SealError::Foreign)));
        fs::write(dir.path().join("c.key"), "short").unwrap();
        assert!(matches!(in_file(&dir.path().join("c.key")).prepare(), Err(SealError::DamagedKey)));
    }

    #[test]
    fn the_newest_seals_and_every_one_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let (master, elsewhere) = (in_file(&path), in_file(&path));
        let old = elsewhere.seal("x", b"old").unwrap();
        master.renew().unwrap();
        let new = master.seal("x", b"new").unwrap();
        assert_eq!(master.ids().unwrap().len(), 2);
        assert_ne!(key_named_in(&old), key_named_in(&new));
        assert!(master.is_newest_of(&new).unwrap() && !master.is_newest_of(&old).unwrap());
        for master in [&master, &elsewhere] {
            assert_eq!(master.open("x", &old).unwrap().as_slice(), b"old");
            assert_eq!(master.open("x", &new).unwrap().as_slice(), b"new", "it is read anew where it must");
        }
        assert_eq!(key_named_in(&elsewhere.seal("x", b"").unwrap()), key_named_in(&new));

        master.forget(&[key_named_in(&old).unwrap(), key_named_in(&new).unwrap()]).unwrap();
        assert_eq!(master.ids().unwrap(), [key_named_in(&new).unwrap()], "the newest stays");
        assert!(matches!(master.open("x", &old), Err(SealError::OtherKey { .. })));
    }

    #[test]
    fn law_1_a_key_file_that_went_away_still_seals_for_who_has_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        let master = in_file(&path);
        let before = master.seal("x", b"").unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(key_named_in(&master.seal("x", b"").unwrap()), key_named_in(&before));
        assert!(!path.exists(), "no other key is made in its place");
        assert!(matches!(in_file(&path).open("x", &before), Err(SealError::NoKey(_))));
    }

    #[test]
    fn what_the_first_format_sealed_opens_by_any_key_of_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        fs::write(&path, format!("{}\n{}\n", "0b".repeat(KEY), "0a".repeat(KEY))).unwrap();
        let sealed = Sealer::with_key(&[10; KEY]).seal("x", b"old").unwrap();
        assert_eq!(in_file(&path).open("x", &sealed).unwrap().as_slice(), b"old");
        let sealed = Sealer::with_key(&[12; KEY]).seal("x", b"other").unwrap();
        assert!(matches!(in_file(&path).open("x", &sealed), Err(SealError::Closed)));
    }

    #[test]
    fn a_passphrase_is_asked_for_once_and_a_wrong_one_is_told() {
        let asked = Arc::new(AtomicUsize::new(0));
        let typing = |text: &'static str| {
            let asked = Arc::clone(&asked);
            MasterKey::asking(KeySource::Passphrase, move |_| {
                asked.fetch_add(1, Ordering::SeqCst);
                Ok(Some(Zeroizing::new(text.to_owned())))
            })
        };
        let master = typing("correct horse");
        let (one, two) = (master.seal("x", b"one").unwrap(), master.seal("x", b"two").unwrap());
        assert_eq!(master.open("x", &one).unwrap().as_slice(), b"one");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(typing("correct horse").open("x", &two).unwrap().as_slice(), b"two");
        assert!(matches!(typing("battery staple").open("x", &one), Err(SealError::WrongPassphrase)));
        let nobody = MasterKey::from(KeySource::Passphrase);
        assert!(matches!(nobody.open("x", &one), Err(SealError::NobodyToAsk)));
        let with_older = typing("battery staple").or(typing("correct horse"));
        assert_eq!(with_older.open("x", &one).unwrap().as_slice(), b"one");
        assert!(!with_older.is_newest_of(&one).unwrap());
    }

    #[test]
    fn law_10_no_debug_output_shows_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let master = in_file(&dir.path().join("master.key"));
        master.prepare().unwrap();
        let digits = fs::read_to_string(dir.path().join("master.key")).unwrap();
        assert!(!format!("{master:?} {:?}", master.ids()).contains(digits.trim()));
    }
}
