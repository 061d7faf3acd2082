//! Where a master key comes from, and how its text is read. A key text is a list, one key of 64 hexadecimal digits a
//! line, the newest first: that one seals, every one opens. docs/security.md tells what each source protects against.

use super::{KEY, SealError, command, key_file};
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Where the master key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// A file with the key; made on first use, readable for its owner only.
    File(PathBuf),
    /// An environment variable with the key.
    Env(String),
    /// What a command writes to its stdout: a password manager, a client of a key service.
    Command(String),
    /// A credential that systemd hands to a service (`LoadCredential=`, `LoadCredentialEncrypted=`).
    Systemd(String),
    /// A passphrase that a person types.
    Passphrase,
}

/// The keys of a list, the newest first.
pub(super) type KeyList = Vec<Zeroizing<[u8; KEY]>>;

impl FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("command", line)) => match command::words(line) {
                Some(_) => Ok(Self::Command(line.to_owned())),
                None => Err("the command after \"command:\" is empty, or a quote in it is open".to_owned()),
            },
            // A name, and no way out of the directory that systemd made.
            Some(("systemd", name)) if !name.is_empty() && !name.contains('/') && !name.starts_with('.') => {
                Ok(Self::Systemd(name.to_owned()))
            }
            None if text == "passphrase" => Ok(Self::Passphrase),
            _ => Err(format!(
                "\"{text}\" names no master key; write it as file:PATH, env:NAME, command:WORDS, systemd:NAME or passphrase"
            )),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::Command(line) => write!(f, "command:{line}"),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
            Self::Passphrase => f.write_str("passphrase"),
        }
    }
}

impl KeySource {
    /// The same for messages: of a command its first word, for the others are nobody's business.
    #[must_use]
    pub fn in_short(&self) -> String {
        match self {
            Self::Command(line) => {
                let words = command::words(line).unwrap_or_default();
                format!("command:{}", words.first().map_or("", String::as_str))
            }
            other => other.to_string(),
        }
    }

    /// Reads the keys that are there. A passphrase is none: it is asked for elsewhere.
    pub(super) fn read(&self) -> Result<KeyList, SealError> {
        let text = match self {
            Self::File(path) => match fs::read(path) {
                Ok(bytes) => Zeroizing::new(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(SealError::NoKey(path.clone()));
                }
                Err(error) => return Err(error.into()),
            },
            Self::Env(name) => {
                let text = env::var(name).map_err(|_| SealError::NoVariable(name.clone()))?;
                Zeroizing::new(text.into_bytes())
            }
            Self::Command(line) => command::run(line, command::PATIENCE)?,
            Self::Systemd(name) => {
                let directory = env::var_os("CREDENTIALS_DIRECTORY").filter(|value| !value.is_empty());
                let directory = directory.ok_or_else(|| SealError::NoCredential(name.clone()))?;
                let read = fs::read(PathBuf::from(directory).join(name));
                Zeroizing::new(read.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => SealError::NoCredential(name.clone()),
                    _ => SealError::Io(error),
                })?)
            }
            Self::Passphrase => return Err(SealError::NobodyToAsk),
        };
        parse(&text)
    }

    /// The same; a file is made if it is not there.
    pub(super) fn read_or_make(&self) -> Result<KeyList, SealError> {
        match self.read() {
            Err(SealError::NoKey(path)) => parse(&key_file::make(&path)?),
            read => read,
        }
    }
}

/// The keys in a key text, the newest first.
pub(super) fn parse(text: &[u8]) -> Result<KeyList, SealError> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let keys: KeyList =
        lines.map(|line| from_hex(line).ok_or(SealError::DamagedKey)).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err(SealError::DamagedKey) } else { Ok(keys) }
}

/// A key as a line of a key text.
pub(super) fn to_line(key: &[u8; KEY]) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(2 * KEY + 1));
    for byte in key {
        for half in [byte >> 4, byte & 15] {
            line.push(char::from_digit(u32::from(half), 16).unwrap_or_default());
        }
    }
    line.push('\n');
    line
}

fn from_hex(digits: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    if digits.len() != 2 * KEY {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_read_as_it_is_written() {
        for text in
            ["file:/k/master.key", "env:KEY", "command:pass show 'a b'", "systemd:master", "passphrase"]
        {
            assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
        }
        for text in
            ["", "file:", "env:", "command:", "command: ", "command:a 'b", "systemd:", "systemd:../x", "key"]
        {
            assert!(text.parse::<KeySource>().is_err(), "{text}");
        }
        let secretive: KeySource = "command:fetch --pin canary".parse().unwrap();
        assert_eq!(secretive.in_short(), "command:fetch");
    }

    #[test]
    fn a_key_text_is_a_list_with_the_newest_first() {
        let (new, old) = ("0b".repeat(KEY), "A1".repeat(KEY));
        let keys = parse(format!("{new}\r\n\n  {old}").as_bytes()).unwrap();
        assert_eq!(keys.iter().map(|key| key[0]).collect::<Vec<_>>(), [0x0b, 0xa1]);
        assert_eq!(to_line(&keys[1]).trim(), old.to_lowercase());
        for text in ["", "\n", "0b0b", &format!("{new}{old}"), &format!("{new}\nshort"), &"+1".repeat(KEY)] {
            assert!(matches!(parse(text.as_bytes()), Err(SealError::DamagedKey)), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let told = |text: &str| text.parse::<KeySource>().unwrap().read().unwrap_err().to_string();
        assert!(told("env:PERENNIAL_TEST_NO_SUCH_KEY").contains("PERENNIAL_TEST_NO_SUCH_KEY"));
        assert!(told("systemd:no-such-credential").contains("no-such-credential"));
        assert!(told("file:/nowhere/master.key").contains("/nowhere/master.key is not there"));
    }
}
