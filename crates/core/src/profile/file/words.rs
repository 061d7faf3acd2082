//! Words that stand for something, read so that a wrong one is told with its place and with the right ones.

use crate::profile::{BlankKind, ReplayRule, Rotation};
use crate::server::ClientAuthentication;
use crate::time::parse_duration;
use crate::verdict::Verdict;
use serde::{Deserialize, Deserializer, de};
use std::time::Duration;

/// What a word can stand for.
pub(super) trait Word: Sized {
    fn read(word: &str) -> Result<Self, String>;
}

/// A word in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<T>(pub(super) T);

impl<'de, T: Word> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        T::read(&word).map(Self).map_err(de::Error::custom)
    }
}

/// A time, or `none` where there is no such end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life(pub(super) Option<Duration>);

impl Word for Life {
    fn read(word: &str) -> Result<Self, String> {
        if word == "none" {
            return Ok(Self(None));
        }
        match parse_duration(word) {
            Ok(Duration::ZERO) => {
                Err("a time of nothing; where there is no such end, write \"none\"".to_owned())
            }
            Ok(time) => Ok(Self(Some(time))),
            Err(problem) => Err(format!("{problem}, or \"none\"")),
        }
    }
}

/// Whether `refresh_expires_in` is a point in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsAbsolute(pub(super) bool);

impl Word for IsAbsolute {
    fn read(word: &str) -> Result<Self, String> {
        match word {
            "duration" => Ok(Self(false)),
            "absolute" => Ok(Self(true)),
            _ => Err(none_of(word, &["duration", "absolute"])),
        }
    }
}

impl Word for ReplayRule {
    fn read(word: &str) -> Result<Self, String> {
        word.parse()
    }
}

impl Word for Rotation {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| none_of(word, &Self::ALL.map(Self::as_str)))
    }
}

impl Word for BlankKind {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| none_of(word, &Self::ALL.map(Self::as_str)))
    }
}

impl Word for ClientAuthentication {
    fn read(word: &str) -> Result<Self, String> {
        Self::parse(word).ok_or_else(|| none_of(word, &Self::ALL.map(Self::as_str)))
    }
}

/// What a row may say. `relocate` is not among them: only Concur's answers say where to.
const VERDICTS: [&str; 7] =
    ["retry", "fix_client", "fix_scope", "grant_gone", "ask_support", "our_bug", "unknown"];

impl Word for Verdict {
    fn read(word: &str) -> Result<Self, String> {
        let known = VERDICTS.contains(&word).then(|| Self::parse(word)).flatten();
        known.ok_or_else(|| none_of(word, &VERDICTS))
    }
}

fn none_of(word: &str, known: &[&str]) -> String {
    format!("\"{word}\" is none of: {}", known.join(", "))
}
