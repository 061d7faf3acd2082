//! The options that every verb takes, and what they mean.

use crate::env_vars;
use crate::place::{Anew, Place};
use crate::stores::{Choice, DEFAULT_TENANT};
use crate::trouble::Trouble;
use crate::words::parse_duration;
use clap::{Args, ValueEnum};
use perennial::core::Origin;
use perennial::core::profile::concur;
use perennial::http::Resolve;
use perennial::seal::KeySource;
use std::path::PathBuf;
use std::time::Duration;

/// Options that every verb takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// Where connections are kept: sqlite:FILE, postgres://USER@HOST/DATABASE or sap-sample:DIR [default: sqlite: in the
    /// XDG data directory]
    #[arg(long, global = true, value_name = "STORE", env = env_vars::STORE, help_heading = "Global options")]
    pub(crate) store: Option<String>,

    /// Short for --store sap-sample:DIR
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) dir: Option<PathBuf>,

    /// What secrets are sealed with: file:PATH, env:NAME, command:WORDS, systemd:NAME or passphrase [default: a file in
    /// the XDG configuration directory]
    #[arg(long, global = true, value_name = "SOURCE", env = env_vars::MASTER_KEY, help_heading = "Global options")]
    pub(crate) master_key: Option<KeySource>,

    /// Whose connections, where several share one store
    #[arg(long, global = true, value_name = "NAME", env = env_vars::TENANT, default_value = DEFAULT_TENANT)]
    #[arg(help_heading = "Global options", hide_short_help = true)]
    pub(crate) tenant: String,

    /// Where a grant is obtained; later commands need not name it
    #[arg(long, global = true, value_name = "URI", env = env_vars::BASE_URI, help_heading = "Global options")]
    pub(crate) base_uri: Option<String>,

    /// Where a grant is obtained, by the name of the data centre [default: glz]
    #[arg(long, global = true, value_name = "NAME", env = env_vars::DATACENTER, help_heading = "Global options")]
    pub(crate) datacenter: Option<Datacenter>,

    /// Trust the certificates in this PEM file beside those of this machine
    #[arg(long, global = true, value_name = "FILE", env = env_vars::CA_CERT, help_heading = "Global options")]
    pub(crate) ca_cert: Option<PathBuf>,

    /// Use this address for a host and port; several by comma
    #[arg(long, global = true, value_name = "HOST:PORT:ADDRESS", env = env_vars::RESOLVE, value_delimiter = ',')]
    #[arg(help_heading = "Global options")]
    pub(crate) resolve: Vec<Resolve>,

    /// Wait at most this long; a request that is already under way is still seen through
    #[arg(long, global = true, value_name = "DURATION", env = env_vars::TIMEOUT, value_parser = parse_duration)]
    #[arg(help_heading = "Global options")]
    pub(crate) timeout: Option<Duration>,

    /// How long one token request may take before its outcome counts as unknown
    #[arg(long, global = true, value_name = "DURATION", env = env_vars::ANSWER_WITHIN, value_parser = parse_duration)]
    #[arg(default_value = "60s", help_heading = "Global options", hide_short_help = true)]
    pub(crate) answer_within: Duration,

    /// Machine-readable output, errors included
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,

    /// Tell more; twice: tell everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,

    /// Print data and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub(crate) quiet: bool,

    /// How to write what --verbose tells
    #[arg(long, global = true, value_name = "FORMAT", env = env_vars::LOG_FORMAT, default_value = "text")]
    #[arg(help_heading = "Global options", hide_short_help = true)]
    pub(crate) log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Concur's data centres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Datacenter {
    Us2,
    Eu2,
    Apj1,
    Usg,
    Glz,
    UsImpl,
    EmeaImpl,
}

impl Globals {
    /// The store that the options name: `--store`, else `--dir`, else the variable, else the default.
    pub(crate) fn choice(&self) -> Result<Choice, Trouble> {
        match (self.named_store(), &self.dir) {
            (Some(_), Some(_)) => {
                Err(Trouble::usage("--dir and --store name two stores", "name one of them"))
            }
            (Some(store), None) => Choice::read(store),
            (None, Some(dir)) => Ok(Choice::SapSample(dir.clone())),
            (None, None) => self.store.as_deref().map_or_else(Choice::standard, Choice::read),
        }
    }

    /// The directory of SAP's tutorial, which is about two files in a directory whatever the default store is.
    pub(crate) fn directory(&self) -> Result<PathBuf, Trouble> {
        match self.choice() {
            Ok(Choice::SapSample(dir)) => Ok(dir),
            Ok(Choice::Sqlite(_) | Choice::Postgres(_)) if self.named_store().is_some() => {
                Err(Trouble::usage(
                    "perennial run is about SAP's two files in a directory, and this store is none",
                    "for this store: perennial add NAME; for a directory: perennial run --dir DIR",
                ))
            }
            Err(trouble) if self.named_store().is_some() => Err(trouble),
            _ => Ok(PathBuf::from(".")),
        }
    }

    /// What `--store` says; the variable stands back where `--dir` is given.
    fn named_store(&self) -> Option<&str> {
        self.store.as_deref().filter(|store| !is_variable(env_vars::STORE, store))
    }

    /// The words with which the next command names the same store, beginning with a space; none where it need not.
    fn store_words(&self) -> String {
        let mut words = match (self.named_store(), &self.dir) {
            // What cannot be read may hold a password: it is not named again.
            (Some(store), _) if Choice::read(store).is_err() => String::new(),
            (Some(store), _) => format!(" --store {}", quoted(store)),
            (None, Some(dir)) => format!(" --dir {}", quoted(&dir.to_string_lossy())),
            (None, None) => String::new(),
        };
        let master_key = self.master_key.as_ref().map(ToString::to_string).unwrap_or_default();
        let tenant = if self.tenant == DEFAULT_TENANT { "" } else { &self.tenant };
        for (option, variable, value) in [
            ("--master-key", env_vars::MASTER_KEY, master_key.as_str()),
            ("--tenant", env_vars::TENANT, tenant),
        ] {
            if !value.is_empty() && !is_variable(variable, value) {
                words.push_str(&format!(" {option} {}", quoted(value)));
            }
        }
        words
    }

    /// The same for the base.
    fn base_words(&self) -> String {
        let datacenter = self.datacenter.and_then(|datacenter| datacenter.to_possible_value());
        match (&self.base_uri, datacenter) {
            (Some(uri), _) if !is_variable(env_vars::BASE_URI, uri) => format!(" --base-uri {}", quoted(uri)),
            (None, Some(name)) if !is_variable(env_vars::DATACENTER, name.get_name()) => {
                format!(" --datacenter {}", name.get_name())
            }
            _ => String::new(),
        }
    }

    /// The same for certificates and addresses.
    fn network_words(&self) -> String {
        let ca_cert = self.ca_cert.as_ref().map(|path| path.to_string_lossy().into_owned());
        let resolve = self.resolve.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let mut words = String::new();
        for (option, variable, value) in [
            ("--ca-cert", env_vars::CA_CERT, ca_cert.unwrap_or_default()),
            ("--resolve", env_vars::RESOLVE, resolve),
        ] {
            if !value.is_empty() && !is_variable(variable, &value) {
                words.push_str(&format!(" {option} {}", quoted(&value)));
            }
        }
        words
    }

    /// What the next command must name again.
    pub(crate) fn place(&self) -> Place {
        Place {
            kind: self.choice().map(|choice| choice.kind()).unwrap_or_default(),
            connection: None,
            store: self.store_words(),
            base: self.base_words(),
            network: self.network_words(),
            anew: Anew::default(),
        }
    }

    /// Where a grant is obtained, if a person says so.
    pub(crate) fn base(&self) -> Result<Option<Origin>, Trouble> {
        let text = match (&self.base_uri, self.datacenter) {
            (Some(uri), _) => uri.as_str(),
            (None, Some(datacenter)) => {
                let name = datacenter
                    .to_possible_value()
                    .map(|value| value.get_name().to_owned())
                    .unwrap_or_default();
                concur::DATACENTERS.iter().find(|(known, _)| **known == *name).map_or("", |(_, base)| base)
            }
            (None, None) => return Ok(None),
        };
        let wrong = |error| {
            let hint = "write it as https://us2.api.concursolutions.com, or choose one: --datacenter us2";
            Trouble::usage(format!("the base URI \"{text}\" {error}"), hint)
        };
        Origin::parse(text).map(Some).map_err(wrong)
    }
}

/// clap does not tell a variable from an option.
fn is_variable(name: &str, value: &str) -> bool {
    std::env::var(name).is_ok_and(|variable| variable == value)
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
