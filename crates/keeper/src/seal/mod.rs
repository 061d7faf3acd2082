//! Encryption at rest: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under a master key that lives in a file of its own,
//! readable for its owner only and made on first use, or in an environment variable. What is sealed names what it
//! belongs to as associated data, so that one sealed text put in another's place does not open.
//!
//! It seals the secrets of the SQLite store, and what must outlive a store that fails: the [`rescue`] file. SAP's own
//! two files are plain on purpose.

pub mod rescue;

use crate::store::durable::Durable;
use crate::unix;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

/// What every sealed text begins with; the number changes with the format.
const HEADER: &[u8] = b"perennial sealed 1\n";
const NONCE: usize = 24;
pub(crate) const KEY: usize = 32;

/// Where the master key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file with 64 hexadecimal digits; made on first use, readable for its owner only.
    File(PathBuf),
    /// An environment variable with 64 hexadecimal digits.
    Env(String),
}

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            _ => Err(format!("\"{text}\" names no master key; write it as file:PATH or env:NAME")),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

/// Why something does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file system, or the system's source of randomness.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The key file holds something else than 64 hexadecimal digits.
    #[error("the master key is damaged: it must be 64 hexadecimal digits")]
    DamagedKey,
    /// The variable that should hold the key is not set.
    #[error("the environment variable {0}, which should hold the master key, is not set")]
    NoVariable(String),
    /// The key file that sealed this is not there any more. None is made in its place.
    #[error("the master key {} is not there", .0.display())]
    NoKey(PathBuf),
    /// Nobody has named a place to keep it.
    #[error("there is no home directory to keep it in")]
    NoPlace,
    /// Not something that was sealed here.
    #[error("this was not sealed by Perennial, or by a newer version of it")]
    Foreign,
    /// Another key, another place, or altered bytes.
    #[error("this does not open: it was sealed under another key, or it was altered")]
    Closed,
}

/// Seals and opens.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// With the key from there; a file is made if it is not there.
    pub(crate) fn from_source(source: &KeySource) -> Result<Self, SealError> {
        match source {
            KeySource::File(path) => Self::with_key_file(path),
            KeySource::Env(name) => {
                let text = env::var(name).map_err(|_| SealError::NoVariable(name.clone()))?;
                let digits = Zeroizing::new(text.into_bytes());
                let key = from_hex(digits.trim_ascii()).ok_or(SealError::DamagedKey)?;
                Ok(Self::with_key(&key))
            }
        }
    }

    /// The same, for something that was sealed before: a key made now could not open it.
    pub(crate) fn from_existing(source: &KeySource) -> Result<Self, SealError> {
        match source {
            KeySource::File(path) if !path.exists() => Err(SealError::NoKey(path.clone())),
            _ => Self::from_source(source),
        }
    }

    /// With a key that is at hand.
    pub(crate) fn with_key(key: &[u8; KEY]) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(*key)))
    }

    /// With the key in this file, which is made if it is not there.
    pub(crate) fn with_key_file(path: &Path) -> Result<Self, SealError> {
        let digits = match fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path)?,
            Err(error) => return Err(error.into()),
        };
        let key = Zeroizing::new(from_hex(digits.trim_ascii()).ok_or(SealError::DamagedKey)?);
        Ok(Self::with_key(&key))
    }

    pub(crate) fn seal(&self, belongs_to: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let payload = Payload { msg: plain, aad: belongs_to.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Closed)?;
        Ok([HEADER, &nonce, &sealed].concat())
    }

    pub(crate) fn open(&self, belongs_to: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let rest = sealed.strip_prefix(HEADER).ok_or(SealError::Foreign)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Foreign)?;
        let payload = Payload { msg: text, aad: belongs_to.as_bytes() };
        self.0.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| SealError::Closed)
    }
}

/// Makes a key and writes it durably. Two processes may do so at once: a lock lets one of them win.
fn make_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    unix::make_private_dir(dir)?;
    let lock = unix::open_private(&path.with_extension("lock"))?;
    lock.lock()?;
    if let Ok(bytes) = fs::read(path) {
        return Ok(Zeroizing::new(bytes));
    }
    let mut key = Zeroizing::new([0; KEY]);
    getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
    let digits: Zeroizing<String> = Zeroizing::new(key.iter().map(|byte| format!("{byte:02x}")).collect());
    let text = Zeroizing::new([digits.as_bytes(), b"\n"].concat());
    Durable::new(path.to_owned()).replace(&text)?;
    Ok(text)
}

fn from_hex(digits: &[u8]) -> Option<[u8; KEY]> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2 * KEY && digits.is_ascii())?;
    let mut key = [0; KEY];
    for (byte, pair) in key.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(digits.get(2 * pair..2 * pair + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/master.key");
        let sealed = Sealer::with_key_file(&path).unwrap().seal("here", b"canary").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        let again = Sealer::with_key_file(&path).unwrap();
        assert_eq!(again.open("here", &sealed).unwrap().as_slice(), b"canary");
        assert!(matches!(again.open("there", &sealed), Err(SealError::Closed)));
        let mut altered = sealed.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(matches!(again.open("here", &altered), Err(SealError::Closed)));
        assert!(matches!(again.open("here", b"scribble"), Err(SealError::Foreign)));
    }

    #[test]
    fn another_key_does_not_open_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = Sealer::with_key_file(&dir.path().join("a.key")).unwrap().seal("x", b"y").unwrap();
        let other = Sealer::with_key_file(&dir.path().join("b.key")).unwrap();
        assert!(matches!(other.open("x", &sealed), Err(SealError::Closed)));
        fs::write(dir.path().join("c.key"), "short").unwrap();
        assert!(matches!(Sealer::with_key_file(&dir.path().join("c.key")), Err(SealError::DamagedKey)));
    }
}
