//! The kinds of values that options have.

use perennial::core::Origin;
use perennial::core::time::{parse_duration, write_duration};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// A duration: `90s`, `5m`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(pub Duration);

impl FromStr for Life {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write_duration(self.0))
    }
}

/// A size: `512`, `64KiB`, `2MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = match text[digits.len()..].trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => 0,
        };
        let size = digits.parse::<usize>().ok().and_then(|count| count.checked_mul(factor));
        size.filter(|size| *size > 0)
            .map(Self)
            .ok_or_else(|| format!("\"{text}\" is no size; write it as 64KiB"))
    }
}

/// A name, or names with `*` in them for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// All names.
    #[must_use]
    pub fn all() -> Self {
        Self("*".to_owned())
    }

    /// The name, where it stands for one alone.
    #[must_use]
    pub fn as_name(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|name| !name.contains('*'))
    }

    /// True when it stands for this name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0 == "*" || matches(self.0.as_bytes(), name.as_bytes())
    }
}

/// `*` is any characters, also none. Linear in practice: only the last `*` is gone back to.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, seen));
            at += 1;
        } else if pattern.get(at) == Some(&name[seen]) {
            (at, seen) = (at + 1, seen + 1);
        } else if let Some((star_at, from)) = star {
            (at, seen, star) = (star_at + 1, from + 1, Some((star_at, from + 1)));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Err("an empty name stands for nothing; all names are \"*\"".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Scheme, host and port of a server: `https://login.corp.internal:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site(pub Origin);

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Origin::parse(text).map(Self).map_err(|error| format!("\"{text}\" {error}"))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Requests that may be forwarded: `GET /profile/*`, `* /expensereports/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Methods {
    method: Option<String>,
    path: Glob,
}

impl Methods {
    /// True when it stands for this request; `path` is without its query.
    #[must_use]
    pub fn permit(&self, method: &str, path: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own == method) && self.path.matches(path)
    }
}

impl FromStr for Methods {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("\"{text}\" is no method and path; write it as \"GET /profile/*\", or \"* /profile/*\"")
        };
        let (method, path) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let path = path.trim();
        let plain =
            method == "*" || (!method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase()));
        if !plain || !(path.starts_with('/') || path == "*") {
            return Err(wrong());
        }
        Ok(Self { method: Some(method.to_owned()).filter(|method| method != "*"), path: path.parse()? })
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_deref().unwrap_or("*"), self.path)
    }
}

/// Where a secret comes from: `file:PATH`, `env:NAME`, or `systemd:NAME` for a credential of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; a line break at its end does not count.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A file in the directory that systemd's `LoadCredential=` fills.
    Systemd(String),
}

/// A secret that is read when it is needed: it may be replaced meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(pub SecretSource);

impl Secret {
    /// Reads it.
    ///
    /// # Errors
    /// In words for a person, without the secret.
    pub fn read(&self) -> Result<Zeroizing<String>, String> {
        let text = match &self.0 {
            SecretSource::File(path) => read_file(path)?,
            SecretSource::Env(name) => {
                Zeroizing::new(std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?)
            }
            SecretSource::Systemd(name) => {
                let dir = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or("systemd gave this process no credentials: LoadCredential=")?;
                read_file(&PathBuf::from(dir).join(name))?
            }
        };
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        if text.is_empty() { Err(format!("{self} is empty")) } else { Ok(text) }
    }
}

fn read_file(path: &std::path::Path) -> Result<Zeroizing<String>, String> {
    let text = std::fs::read_to_string(path);
    text.map(Zeroizing::new).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

impl FromStr for Secret {
    type Err = String;

    /// What is refused is not shown: it may be the secret itself.
    fn from_str(text: &str) -> Result<Self, String> {
        let source = match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => SecretSource::File(path.into()),
            Some(("env", name)) if !name.is_empty() => SecretSource::Env(name.to_owned()),
            Some(("systemd", name)) if !name.is_empty() => SecretSource::Systemd(name.to_owned()),
            _ => {
                return Err("a secret is named by where it comes from: file:PATH, env:NAME or systemd:NAME"
                    .to_owned());
            }
        };
        Ok(Self(source))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SecretSource::File(path) => write!(f, "file:{}", path.display()),
            SecretSource::Env(name) => write!(f, "env:{name}"),
            SecretSource::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// A value that is written as a text.
macro_rules! as_text {
    ($($kind:ty),*) => { $(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Zeroizing::new(String::deserialize(deserializer)?);
                text.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )* };
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

as_text!(Life, Bytes, Glob, Methods, Secret, Site);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("acme*", "acme", true),
            ("acme*", "acme-eu", true),
            ("acme*", "bacme", false),
            ("*-eu", "acme-eu", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("acme", "acme2", false),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn sizes_and_requests_are_read() {
        assert_eq!("64KiB".parse(), Ok(Bytes(65_536)));
        assert!("64 parsecs".parse::<Bytes>().is_err() && "0".parse::<Bytes>().is_err());
        let reads: Methods = "GET /profile/*".parse().unwrap();
        assert!(reads.permit("GET", "/profile/v4/Users") && !reads.permit("POST", "/profile/v4/Users"));
        assert!(!reads.permit("GET", "/expense"));
        assert!("get /x".parse::<Methods>().is_err() && "GET x".parse::<Methods>().is_err());
    }

    #[test]
    fn law_10_a_secret_that_stands_in_the_file_itself_is_refused_and_not_shown() {
        let refused = "whsec_canary".parse::<Secret>().unwrap_err();
        assert!(!refused.contains("canary"), "{refused}");
    }
}
