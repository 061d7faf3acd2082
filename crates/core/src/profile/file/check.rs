//! What several parts of a file must agree on. Every mistake is found, not only the first.

use super::{Facts, Mistake, Parts, Row, addresses};
use crate::profile::template::{is_host, is_label};
use crate::token_endpoint::response::KNOWN_MEMBERS;
use std::ops::Range;
use toml::Spanned;

/// Profiles that are code, because a command that hands out a token must not read TOML first.
const BUILT_IN: [&str; 2] = ["concur", "generic"];

/// The longest name: it stands in tables and in names of files.
const LONGEST_NAME: usize = 32;

/// True for what may be a profile's name: lower case letters, digits and hyphens.
#[must_use]
pub fn is_name(name: &str) -> bool {
    is_label(name) && name.len() <= LONGEST_NAME && !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Collects mistakes.
pub(super) struct Findings<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Findings<'_> {
    pub(super) fn say(&mut self, span: Range<usize>, what: impl Into<String>) {
        self.mistakes.push(Mistake::at(self.text, &span, what.into()));
    }
}

/// Everything that is wrong, in the order of the file.
pub(super) fn check(parts: &Parts, text: &str) -> Vec<Mistake> {
    let mut findings = Findings { text, mistakes: Vec::new() };
    names(parts, &mut findings);
    texts(parts, &mut findings);
    sources(parts, &mut findings);
    lives(&parts.facts, &mut findings);
    answers(&parts.facts, &mut findings);
    hosts(&parts.facts, &mut findings);
    addresses::check(&parts.server, &mut findings);
    rows(&parts.errors, &mut findings);
    let mut mistakes = findings.mistakes;
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes
}

fn names(parts: &Parts, findings: &mut Findings<'_>) {
    let name = parts.name.get_ref();
    if !is_name(name) {
        let what = format!(
            "\"{name}\" is no name for a profile: at most {LONGEST_NAME} lower case letters, digits and hyphens"
        );
        findings.say(parts.name.span(), what);
    }
    if BUILT_IN.contains(&name.as_str()) {
        findings.say(
            parts.name.span(),
            format!("{name} is built in and cannot be replaced; choose another name"),
        );
    }
}

/// Texts are shown in a terminal: each is one line that says something.
fn texts(parts: &Parts, findings: &mut Findings<'_>) {
    let notes = parts.facts.stated().filter_map(|(_, _, note)| note);
    let of_sources = parts.sources.iter().flat_map(|source| [&source.key, &source.title, &source.address]);
    let of_rows = parts.errors.iter().flat_map(|row| {
        let names = [&row.error, &row.suberror, &row.description].into_iter().flatten();
        names.chain([&row.meaning])
    });
    let of_blanks = parts.server.blanks.iter().map(|blank| &blank.meaning);
    let all = [&parts.title].into_iter().chain(notes).chain(of_sources).chain(of_rows);
    for text in all.chain(of_blanks).chain(parts.quirks.iter().map(|quirk| &quirk.text)) {
        if text.get_ref().trim().is_empty() {
            findings.say(text.span(), "says nothing");
        } else if text.get_ref().chars().any(char::is_control) {
            findings.say(text.span(), "has a control character in it; write it in one line");
        }
    }
}

/// A fact without a source is no fact.
fn sources(parts: &Parts, findings: &mut Findings<'_>) {
    let references = parts.references();
    for (number, source) in parts.sources.iter().enumerate() {
        let key = source.key.get_ref();
        if parts.sources.iter().take(number).any(|earlier| earlier.key.get_ref() == key) {
            findings.say(source.key.span(), format!("there are two sources \"{key}\""));
        }
        if !references.iter().any(|(_, named)| named.get_ref() == key) {
            findings.say(source.key.span(), format!("no fact names the source \"{key}\""));
        }
        if !source.address.get_ref().starts_with("https://") {
            findings.say(source.address.span(), "where a source is to be read begins with https://");
        }
    }
    for (what, key) in references {
        if !parts.sources.iter().any(|source| source.key.get_ref() == key.get_ref()) {
            let said = format!("{what}: there is no [[source]] with the key \"{}\"", key.get_ref());
            findings.say(key.span(), said);
        }
    }
    if parts.server.sources.get_ref().is_empty() {
        findings.say(parts.server.sources.span(), "server: name the source of its endpoints");
    }
}

fn lives(facts: &Facts, findings: &mut Findings<'_>) {
    let life = |fact: &Option<super::Fact<super::Written<super::Life>>>| {
        fact.as_ref().and_then(|fact| fact.is.get_ref().0.0)
    };
    for (name, fact) in [("access_lifetime", &facts.access_lifetime), ("pause", &facts.pause)] {
        if let Some(fact) = fact
            && fact.is.get_ref().0.0.is_none()
        {
            findings.say(fact.is.span(), format!("{name} must be a time, such as \"1h\""));
        }
    }
    if let (Some(refresh), Some(longest), Some(fact)) =
        (life(&facts.refresh_lifetime), life(&facts.longest_grant), &facts.refresh_lifetime)
        && refresh > longest
    {
        findings.say(fact.is.span(), "refresh_lifetime is longer than longest_grant, which ends it");
    }
}

/// The address of an API comes from an answer only where it can be told from a foreign one (law 10).
fn answers(facts: &Facts, findings: &mut Findings<'_>) {
    let Some(fact) = &facts.api_member else { return };
    let member = fact.is.get_ref();
    if KNOWN_MEMBERS.contains(&member.as_str()) || member.is_empty() {
        findings.say(fact.is.span(), format!("api_member: \"{member}\" is no member with an address"));
    }
    if facts.hosts.as_ref().is_none_or(|hosts| hosts.is.get_ref().is_empty()) {
        let what = "api_member needs hosts: an address in an answer is followed only below one of them";
        findings.say(fact.is.span(), what);
    }
}

fn hosts(facts: &Facts, findings: &mut Findings<'_>) {
    let hosts = facts.hosts.iter().flat_map(|fact| fact.is.get_ref());
    let mut seen: Vec<&str> = Vec::new();
    for host in hosts {
        let text = host.get_ref().as_str();
        let suffix = text.strip_prefix('.').filter(|rest| is_host(rest));
        if suffix.is_none() || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let what = format!(
                "hosts: \"{text}\" must begin with a dot and have two labels at least, in lower case, as in \".example.com\""
            );
            findings.say(host.span(), what);
        }
        if seen.contains(&text) {
            findings.say(host.span(), format!("hosts: \"{text}\" stands there twice"));
        }
        seen.push(text);
    }
}

fn rows(rows: &[Row], findings: &mut Findings<'_>) {
    for (number, row) in rows.iter().enumerate() {
        let at = row.meaning.span();
        if row.code.is_none() && row.error.is_none() {
            findings.say(at.clone(), "an error needs a code or an error");
        }
        for text in [&row.suberror, &row.description].into_iter().flatten() {
            if text.get_ref().to_lowercase() != *text.get_ref() {
                findings.say(text.span(), "is compared in lower case; write it so");
            }
        }
        let (obtaining, refreshing) = (row.obtaining.is_some(), row.refreshing.is_some());
        if row.verdict.is_some() && (obtaining || refreshing) {
            findings.say(at.clone(), "an error has either a verdict, or obtaining and refreshing");
        } else if row.verdict.is_none() && !(obtaining && refreshing) {
            findings.say(at.clone(), "an error needs a verdict, or both obtaining and refreshing");
        }
        if let Some(earlier) = rows.iter().take(number).find(|earlier| earlier.hides(row)) {
            let line = Mistake::at(findings.text, &earlier.meaning.span(), String::new()).line;
            findings.say(
                at,
                format!("is never reached: the error whose meaning stands in line {line} is meant first"),
            );
        }
    }
}

impl Row {
    /// True when every answer that means `other` means this row too. The first row that is meant counts.
    fn hides(&self, other: &Self) -> bool {
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.get_ref().clone());
        let within = |own: &Option<Spanned<String>>, theirs: &Option<Spanned<String>>| {
            text(own).is_none_or(|own| text(theirs).is_some_and(|theirs| theirs.contains(&own)))
        };
        let code = |row: &Self| row.code.as_ref().map(|code| *code.get_ref());
        let by_name = match code(self) {
            Some(own) => code(other) == Some(own),
            None => self.error.is_none() || text(&self.error) == text(&other.error),
        };
        by_name && within(&self.suberror, &other.suberror) && within(&self.description, &other.description)
    }
}
