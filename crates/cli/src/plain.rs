//! The plainest ways to ask for a token, read without clap. `perennial token` is what programs start again and again;
//! to build and search the whole command tree takes longer than to find the token. Whatever is not as plain as this
//! (another option, a mistake, a repetition) is clap's, and so is every message; a test holds the two together.

use crate::command_line::{CommandLine, Verb};
use crate::commands::token::Token;
use crate::env_vars;
use crate::options::{Globals, LogFormat};
use crate::stores::DEFAULT_TENANT;
use crate::words::parse_duration;
use perennial::keeper;
use std::env;
use std::ffi::OsString;
use std::mem;
use std::path::PathBuf;
use std::time::Duration;

/// Reads `perennial token [NAME] [--dir DIR] [--min-ttl DURATION] [--header | --json]`.
pub(crate) fn token(arguments: impl IntoIterator<Item = OsString>) -> Option<CommandLine> {
    let mut words = arguments.into_iter().skip(1).map(|argument| argument.into_string().ok());
    if words.next()?? != "token" {
        return None;
    }
    let (mut name, mut dir, mut min_ttl, mut header, mut json) = (None, None, None, false, false);
    while let Some(word) = words.next() {
        let word = word?;
        let repeated = match word.as_str() {
            "--dir" => dir.replace(value(words.next()??)?).is_some(),
            "--min-ttl" => min_ttl.replace(parse_duration(&value(words.next()??)?).ok()?).is_some(),
            "--header" => mem::replace(&mut header, true),
            "--json" => mem::replace(&mut json, true),
            _ => name.replace(value(word)?).is_some(),
        };
        if repeated {
            return None;
        }
    }
    if header && json {
        return None;
    }
    let globals = Globals { dir: dir.map(PathBuf::from), json, ..surroundings()? };
    let token = Token { name, min_ttl: min_ttl.unwrap_or(Duration::from_secs(60)), header };
    Some(CommandLine { globals, verb: Verb::Token(token) })
}

/// Something that clap, too, would take for a value.
fn value(word: String) -> Option<String> {
    Some(word).filter(|word| !word.is_empty() && !word.starts_with('-'))
}

/// The global options as the environment sets them; `None` where it holds something that calls for clap.
fn surroundings() -> Option<Globals> {
    use env_vars::{
        ANSWER_WITHIN, BASE_URI, CA_CERT, DATACENTER, LOG_FORMAT, MASTER_KEY, RESOLVE, STORE, TENANT, TIMEOUT,
    };
    let rare = [DATACENTER, RESOLVE, TIMEOUT, ANSWER_WITHIN, LOG_FORMAT];
    if rare.iter().any(|name| env::var_os(name).is_some()) {
        return None;
    }
    let text = |name| match env::var_os(name) {
        Some(text) => value(text.into_string().ok()?).map(Some),
        None => Some(None),
    };
    Some(Globals {
        store: text(STORE)?,
        dir: None,
        master_key: text(MASTER_KEY)?.map(|source| source.parse()).transpose().ok()?,
        tenant: text(TENANT)?.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
        base_uri: text(BASE_URI)?,
        datacenter: None,
        ca_cert: text(CA_CERT)?.map(PathBuf::from),
        resolve: Vec::new(),
        timeout: None,
        answer_within: keeper::ANSWER_WITHIN,
        json: false,
        verbose: 0,
        quiet: false,
        log_format: LogFormat::Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(|word| word.trim_matches('\'').into()).collect()
    }

    fn reads_as_clap_does(line: &str) -> bool {
        let plain = token(words(line));
        if let Some(plain) = &plain {
            let clap = CommandLine::try_parse_from(words(line));
            assert_eq!(format!("{plain:?}"), format!("{:?}", clap.unwrap()), "{line}");
        }
        plain.is_some()
    }

    #[test]
    fn plain_lines_are_read_as_clap_reads_them() {
        for line in [
            "perennial token",
            "perennial token acme",
            "perennial token acme --dir x --min-ttl 1h30m --header",
            "perennial token --json --dir x acme",
        ] {
            assert!(reads_as_clap_does(line), "{line}");
        }
    }

    #[test]
    fn all_else_is_left_to_clap() {
        for line in [
            "perennial",
            "perennial tokens",
            "perennial --dir x token",
            "perennial token --store sap-sample:x",
        ] {
            assert!(!reads_as_clap_does(line), "{line}");
        }
        for line in ["--dir x --dir y", "--min-ttl 1m --min-ttl 2m", "--header --json"] {
            assert!(!reads_as_clap_does(&format!("perennial token {line}")), "{line}");
        }
    }

    #[test]
    fn whatever_is_read_is_read_as_clap_reads_it() {
        const WORDS: [&str; 14] = [
            "a",
            "help",
            "--dir",
            "--dir=x",
            "--min-ttl",
            "5m",
            "--json",
            "--header",
            "--help",
            "-V",
            "-",
            "--",
            "''",
            "--store",
        ];
        for first in WORDS {
            for second in WORDS {
                for third in WORDS {
                    reads_as_clap_does(&format!("perennial token {first} {second} {third}"));
                }
                reads_as_clap_does(&format!("perennial token {first} {second}"));
            }
        }
    }
}
