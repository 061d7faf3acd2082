//! A profile written as TOML: its parts, each fact with the key of its source. The directory `profiles/` has five of them,
//! docs/profiles.md explains each line of one. Nothing here opens a file: texts come from the shell.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the parts of a file |
//! | `words` | words that stand for something |
//! | `check` | what several parts must agree on |
//! | `addresses` | addresses and the blanks in them (law 10) |
//! | `build` | from a file to a profile |
//! | `mistake` | what is wrong, and in which line |

mod addresses;
mod build;
mod check;
mod mistake;
#[cfg(test)]
mod tests;
mod words;

pub use check::is_name;
pub use mistake::Mistake;

use super::{BlankKind, Profile, ReplayRule, Rotation, shipped};
use crate::server::ClientAuthentication;
use crate::verdict::Verdict;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;
use words::{IsAbsolute, Life, Written};

/// A file without mistakes.
#[derive(Debug)]
pub struct ProfileFile(Parts);

impl ProfileFile {
    /// Reads a file.
    ///
    /// # Errors
    /// All mistakes that were found, each with its place. What is no TOML, or has a part that does not exist, is told
    /// alone: what follows cannot be trusted.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let parts: Parts = toml::from_str(text).map_err(|error| vec![Mistake::of_toml(text, &error)])?;
        let mistakes = check::check(&parts, text);
        if mistakes.is_empty() { Ok(Self(parts)) } else { Err(mistakes) }
    }

    /// The name that connections will carry.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name.get_ref()
    }

    /// True when it may stand in the place of one that comes with Perennial.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.0.replaces
    }

    /// What is wrong with where it stands: a file is found by the name that it has, and one that comes with Perennial gives
    /// way only to a file that says so. `stem` is the file's name without `.toml`, where that matters.
    #[must_use]
    pub fn misplaced(&self, text: &str, stem: Option<&str>) -> Vec<Mistake> {
        let name = &self.0.name;
        let mut mistakes = Vec::new();
        let mut say = |what: String| mistakes.push(Mistake::at(text, &name.span(), what));
        if stem.is_some_and(|stem| stem != name.get_ref()) {
            say(format!("the file must be called {0}.toml for the profile \"{0}\"", name.get_ref()));
        }
        if shipped::find(name.get_ref()).is_some() && !self.0.replaces {
            say(format!(
                "\"{}\" comes with Perennial; to stand in its place on purpose: replaces = true",
                name.get_ref()
            ));
        }
        mistakes
    }

    /// The profile. Its texts stay in memory for as long as the process lives.
    #[must_use]
    pub fn into_profile(self) -> Profile {
        build::profile(self.0)
    }
}

/// Everything that stands in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    name: Spanned<String>,
    title: Spanned<String>,
    #[serde(default)]
    replaces: bool,
    facts: Facts,
    server: ServerPart,
    #[serde(default, rename = "error")]
    errors: Vec<Row>,
    #[serde(default, rename = "quirk")]
    quirks: Vec<QuirkPart>,
    #[serde(rename = "source")]
    sources: Vec<SourcePart>,
}

/// What is known, and from which source.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fact<T> {
    is: Spanned<T>,
    source: Spanned<String>,
    note: Option<Spanned<String>>,
}

/// How tokens live. Only what keeps a grant from being lost must be said; the rest has the most careful defaults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    replay: Fact<Written<ReplayRule>>,
    rotation: Fact<Written<Rotation>>,
    access_lifetime: Option<Fact<Written<Life>>>,
    refresh_lifetime: Option<Fact<Written<Life>>>,
    longest_grant: Option<Fact<Written<Life>>>,
    refresh_expiry: Option<Fact<Written<IsAbsolute>>>,
    pause: Option<Fact<Written<Life>>>,
    hosts: Option<Fact<Vec<Spanned<String>>>>,
    api_member: Option<Fact<String>>,
    code_decides: Option<Fact<bool>>,
    names_certificate: Option<Fact<bool>>,
}

/// Where the endpoints are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerPart {
    issuer: Option<Spanned<String>>,
    #[serde(default)]
    discovers: Option<Spanned<bool>>,
    token: Option<Spanned<String>>,
    authorization: Option<Spanned<String>>,
    device_authorization: Option<Spanned<String>>,
    revocation: Option<Spanned<String>>,
    introspection: Option<Spanned<String>>,
    keys: Option<Spanned<String>>,
    api: Option<Spanned<String>>,
    authentication: Option<Written<ClientAuthentication>>,
    audience: Option<Spanned<String>>,
    scope: Option<Spanned<String>>,
    #[serde(default)]
    authorize: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default, rename = "blank")]
    blanks: Vec<BlankPart>,
    sources: Spanned<Vec<Spanned<String>>>,
}

/// What a person must say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlankPart {
    name: Spanned<String>,
    kind: Written<BlankKind>,
    meaning: Spanned<String>,
    default: Option<Spanned<String>>,
}

/// A row of the error table: `verdict`, or what it means when obtaining and when refreshing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    code: Option<Spanned<u32>>,
    error: Option<Spanned<String>>,
    suberror: Option<Spanned<String>>,
    description: Option<Spanned<String>>,
    meaning: Spanned<String>,
    verdict: Option<Written<Verdict>>,
    obtaining: Option<Written<Verdict>>,
    refreshing: Option<Written<Verdict>>,
    source: Spanned<String>,
}

/// What else a reader should know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuirkPart {
    text: Spanned<String>,
    source: Spanned<String>,
}

/// A document that facts come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcePart {
    key: Spanned<String>,
    title: Spanned<String>,
    address: Spanned<String>,
}

impl Facts {
    /// Each fact that is stated: its name, the key of its source, its note.
    fn stated(&self) -> impl Iterator<Item = (&'static str, &Spanned<String>, Option<&Spanned<String>>)> {
        fn of<'a, T>(name: &'static str, fact: Option<&'a Fact<T>>) -> Option<Stated<'a>> {
            fact.map(|fact| (name, &fact.source, fact.note.as_ref()))
        }
        [
            of("replay", Some(&self.replay)),
            of("rotation", Some(&self.rotation)),
            of("access_lifetime", self.access_lifetime.as_ref()),
            of("refresh_lifetime", self.refresh_lifetime.as_ref()),
            of("longest_grant", self.longest_grant.as_ref()),
            of("refresh_expiry", self.refresh_expiry.as_ref()),
            of("pause", self.pause.as_ref()),
            of("hosts", self.hosts.as_ref()),
            of("api_member", self.api_member.as_ref()),
            of("code_decides", self.code_decides.as_ref()),
            of("names_certificate", self.names_certificate.as_ref()),
        ]
        .into_iter()
        .flatten()
    }
}

type Stated<'a> = (&'static str, &'a Spanned<String>, Option<&'a Spanned<String>>);

impl Row {
    /// What a person calls it.
    fn name(&self) -> String {
        let error = self.error.as_ref().map(Spanned::get_ref);
        match (&self.code, error) {
            (Some(code), _) => format!("error {}", code.get_ref()),
            (None, error) => format!("error {}", error.map_or("", String::as_str)),
        }
    }
}

impl Parts {
    /// Every key of a source that is named, with what names it.
    fn references(&self) -> Vec<(String, &Spanned<String>)> {
        let facts = self.facts.stated().map(|(name, key, _)| (name.to_owned(), key));
        let server = self.server.sources.get_ref().iter().map(|key| ("server".to_owned(), key));
        let errors = self.errors.iter().map(|row| (row.name(), &row.source));
        let quirks = self.quirks.iter().map(|quirk| ("quirks".to_owned(), &quirk.source));
        facts.chain(server).chain(errors).chain(quirks).collect()
    }
}
