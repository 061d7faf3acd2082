//! The servers in `foreign/`: each a process that ends with its standard input, so that none outlives a test run, however
//! that ends.

use crate::support;
use crate::web::{self, Answer};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every refresh token is good once; reuse ends the grant.
    NodeOidcProvider,
    /// The refresh token stays, and no answer names it; with `--rotate` each is good once.
    Authlib,
    /// Every refresh token is good once, and for a while its predecessor brings the same answer again.
    Django,
}

/// A server that runs.
pub(crate) struct Server {
    process: Child,
    ready: Value,
}

impl Server {
    /// Starts one; none where it is not installed, which is said.
    pub(crate) fn start(kind: Kind, words: &[&str]) -> Option<Self> {
        let Some(mut command) = command(kind) else {
            skipped(kind);
            return None;
        };
        let log = tempfile::tempfile().expect("a file");
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process =
            command.stderr(log.try_clone().expect("the same file")).spawn().expect("the server starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let Ok(ready) = serde_json::from_str(&line) else {
            let _ = (process.kill(), process.wait());
            panic!("{kind:?} said \"{line}\" and: {}", whole(log));
        };
        Some(Self { process, ready })
    }

    pub(crate) fn node() -> Option<Self> {
        Self::start(Kind::NodeOidcProvider, &[])
    }

    /// What it said of itself.
    pub(crate) fn said(&self, name: &str) -> &str {
        self.ready[name].as_str().expect("it says so")
    }

    /// The same, where it may have nothing to say.
    pub(crate) fn knows(&self, name: &str) -> Option<&str> {
        self.ready[name].as_str()
    }

    pub(crate) fn issuer(&self) -> &str {
        self.said("issuer")
    }

    /// A client's secret, where it has one.
    pub(crate) fn secret(&self, client: &str) -> Option<&str> {
        self.ready["secrets"][client].as_str()
    }

    /// A path below its issuer.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer())
    }

    /// What its metadata says.
    pub(crate) fn metadata(&self) -> Value {
        let places = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
        let found = places.iter().map(|path| web::get(&self.at(path))).find(|answer| answer.status == 200);
        found.expect("a document").json()
    }

    pub(crate) fn endpoint(&self, name: &str) -> String {
        self.metadata()[name].as_str().expect("it has one").to_owned()
    }

    pub(crate) fn stats(&self) -> Value {
        web::get(self.said("stats")).json()
    }

    /// One number of what it has seen.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.stats()[name].as_u64().expect("a number")
    }

    /// How many token requests of this grant it has seen.
    pub(crate) fn asked(&self, grant: &str) -> u64 {
        self.stats()["by_grant"][grant].as_u64().unwrap_or(0)
    }

    /// Returns when it is done with whatever a process that is no more has sent: connections are accepted in their order,
    /// so once ours is answered all others have been seen.
    pub(crate) fn settle(&self) {
        support::wait_until("the server is idle", || {
            let stats = self.stats();
            stats["connections"] == 0 && stats["in_flight"] == 0
        });
    }

    /// A token request of nobody's but the test's.
    pub(crate) fn ask_for_tokens(&self, client: &str, form: &[(&str, &str)]) -> Answer {
        let mut form = form.to_vec();
        form.push(("client_id", client));
        if let Some(secret) = self.secret(client) {
            form.push(("client_secret", secret));
        }
        web::post(&self.endpoint("token_endpoint"), &form)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

/// How it is started, where it is installed.
fn command(kind: Kind) -> Option<Command> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../foreign");
    let installed = installed();
    let python = installed.join("python/bin/python");
    let mut command = match kind {
        Kind::NodeOidcProvider => Command::new("node"),
        Kind::Authlib | Kind::Django => Command::new(python),
    };
    let (package, script) = match kind {
        Kind::NodeOidcProvider => ("node", "node-oidc-provider/server.js"),
        Kind::Authlib => ("python", "authlib/server.py"),
        Kind::Django => ("python", "django/server.py"),
    };
    command.arg(source.join(script));
    if kind == Kind::NodeOidcProvider {
        command.arg("--packages").arg(installed.join(package));
    }
    installed.join(package).join("installed").exists().then_some(command)
}

/// Below cargo's target directory.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target directory").join("foreign")
}

fn skipped(kind: Kind) {
    let needed = std::env::var_os("PERENNIAL_TESTS_NEED_FOREIGN").is_some_and(|value| !value.is_empty());
    let why = format!("{kind:?} is not installed (foreign/install.sh)");
    assert!(!needed, "{why}");
    support::not_here(&why);
}

fn whole(mut log: File) -> String {
    let mut text = String::new();
    let _ = log.seek(SeekFrom::Start(0)).and_then(|_| log.read_to_string(&mut text));
    text
}
