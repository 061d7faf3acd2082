//! A directory, a sandbox, and the real binary: what every story here is told with.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::expect_used,
    reason = "each test file uses its own part of this module"
)]

pub mod browser;
pub mod disk;
pub mod kills;
#[path = "../../../keeper/tests/postgres_server/mod.rs"]
pub mod postgres_server;
pub mod power;
pub mod store;

use perennial::seal::KeySource;
use perennial::store::{Sqlite, SqliteOptions, Store as _};
use perennial_sandbox::{Config, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use store::StoreKind;
use tempfile::TempDir;

pub const TOKEN_FILE: &str = "refreshTokenObjectFile.json";
pub const CREDENTIALS: &str = "credentials.json";
pub const USERS: &str = "/profile/identity/v4/Users";

/// How long an answer takes while something else happens, in milliseconds: long enough for a busy machine.
pub const MEANWHILE: u64 = 2000;

/// A sandbox and a directory of its own, with a home beside it that no other test shares.
pub struct World {
    pub sandbox: Sandbox,
    pub kind: StoreKind,
    /// How long a token request may take, where a test wants it otherwise.
    pub answer_within: Option<&'static str>,
    root: TempDir,
}

impl World {
    /// Nothing in the directory yet.
    pub fn empty() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Self::of(StoreKind::SapSample, config)
    }

    pub fn of(kind: StoreKind, config: Config) -> Self {
        let sandbox = Sandbox::start(config).expect("a sandbox");
        let root = tempfile::tempdir().expect("a directory");
        for name in ["dir", "home"] {
            fs::create_dir(root.path().join(name)).expect("a directory");
        }
        if let Some(pem) = sandbox.ca_cert_pem() {
            fs::write(root.path().join("ca.pem"), pem).expect("a certificate");
        }
        Self { sandbox, kind, answer_within: None, root }
    }

    /// Credentials are filled in, and nothing has been obtained yet.
    pub fn filled() -> Self {
        let world = Self::empty();
        world.fill();
        world
    }

    /// A grant is held.
    pub fn held() -> Self {
        Self::held_with(Config::default())
    }

    pub fn held_with(config: Config) -> Self {
        let world = Self::with(config);
        world.fill();
        world.run_ok(&["run"]);
        world
    }

    pub fn fill(&self) {
        self.sandbox.write_credentials(&self.dir()).expect("credentials");
        let _ = fs::remove_file(self.dir().join("sandbox-ca.pem"));
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join("dir")
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub fn token_file(&self) -> PathBuf {
        self.dir().join(TOKEN_FILE)
    }

    pub fn credentials(&self) -> PathBuf {
        self.dir().join(CREDENTIALS)
    }

    /// The binary, in this world's directory, with an environment that holds nothing of the machine's.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("PERENNIAL_STORE", self.kind.address(&self.dir()))
            .env("PERENNIAL_BASE_URI", self.sandbox.base_uri())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(answer_within) = self.answer_within {
            command.env("PERENNIAL_ANSWER_WITHIN", answer_within);
        }
        if self.sandbox.ca_cert_pem().is_some() {
            command.env("PERENNIAL_CA_CERT", self.root.path().join("ca.pem"));
        }
        command
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).output().expect("the binary starts"))
    }

    pub fn run_ok(&self, words: &[&str]) -> Ended {
        let ended = self.run(words);
        assert_eq!(ended.code, 0, "{words:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    pub fn spawn(&self, words: &[&str]) -> Child {
        self.command(words).spawn().expect("the binary starts")
    }

    /// Starts a command whose answer takes its time, and returns when its request is under way.
    pub fn under_way(&self, words: &[&str]) -> Child {
        self.inject(json!([{"kind": "delay", "milliseconds": MEANWHILE}]));
        let before = self.requests();
        let child = self.spawn(words);
        wait_until("the request is under way", || self.requests() > before);
        child
    }

    pub fn inject(&self, faults: Value) {
        self.sandbox.inject(faults).expect("the sandbox knows these faults");
    }

    /// What the token file holds.
    pub fn tokens(&self) -> Value {
        read_json(&self.token_file())
    }

    pub fn refresh_token(&self) -> String {
        self.tokens()["refresh_token"].as_str().expect("a refresh token").to_owned()
    }

    pub fn status(&self) -> Value {
        serde_json::from_str::<Value>(&self.run_ok(&["status", "--json"]).stdout).expect("JSON")[0].clone()
    }

    /// How many requests the token endpoint has received.
    pub fn requests(&self) -> u64 {
        self.sandbox.stats().requests
    }

    /// Every secret that this world knows of: nothing else than the two files may hold one.
    pub fn secrets(&self) -> Vec<String> {
        let ready = self.sandbox.ready();
        let mut secrets = vec![ready.client_secret.clone(), ready.request_token.clone()];
        if let Ok(bytes) = fs::read(self.token_file())
            && let Ok(tokens) = serde_json::from_slice::<Value>(&bytes)
        {
            let names = ["access_token", "refresh_token", "id_token"];
            let texts =
                names.iter().filter_map(|name| tokens[*name].as_str()).filter(|text| !text.is_empty());
            secrets.extend(texts.map(str::to_owned));
        }
        secrets
    }
}

/// For stories about what goes wrong.
impl World {
    /// A world without TLS: quicker, for tables with many rows.
    pub fn plain() -> Config {
        Config { tls: false, ..Config::default() }
    }

    /// Every file in the directory and what it holds.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.dir()).expect("the directory is there");
        let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
        paths
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                (name, fs::read(path).expect("the file is there"))
            })
            .collect()
    }

    /// What the store would not take, or nobody could read, sealed in the home directory.
    pub fn rescue_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home().join(".local/state/perennial/rescue"));
        entries.map_or_else(
            |_| Vec::new(),
            |entries| entries.map(|entry| entry.expect("an entry").path()).collect(),
        )
    }
}

/// For stories about many connections in one database: the default store, in this world's home.
impl World {
    pub fn database(&self) -> PathBuf {
        self.home().join(".local/share/perennial/perennial.db")
    }

    /// The binary on the database; what it needs to add a connection stands in two variables.
    pub fn keeps(&self, words: &[&str]) -> Command {
        let ready = self.sandbox.ready();
        let mut command = self.command(words);
        command
            .env_remove("PERENNIAL_STORE")
            .env("CLIENT_SECRET", &ready.client_secret)
            .env("REQUEST_TOKEN", self.sandbox.mint_request_token());
        command
    }

    pub fn keep(&self, words: &[&str]) -> Ended {
        Ended::of(&self.keeps(words).output().expect("the binary starts"))
    }

    #[track_caller]
    pub fn keep_ok(&self, words: &[&str]) -> Ended {
        let ended = self.keep(words);
        assert_eq!(ended.code, 0, "{words:?}: {}{}", ended.stdout, ended.stderr);
        ended.shows_none_of(&self.sandbox.secrets());
        ended
    }

    /// The words that add a connection.
    pub fn adding<'a>(&'a self, name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let ready = self.sandbox.ready();
        let mut words = vec!["add", name, "--app-id", &ready.app_id];
        let from = ["--client-secret-env", "CLIENT_SECRET", "--request-token-env", "REQUEST_TOKEN"];
        words.extend(["--company", &ready.company_uuid]);
        words.extend(from);
        words.extend(more);
        words
    }

    /// A connection with a grant of its own.
    pub fn add(&self, name: &str) {
        self.keep_ok(&self.adding(name, &[]));
    }

    /// One connection, as `status --json` tells it.
    pub fn status_of(&self, name: &str) -> Value {
        let status = self.keep_ok(&["status", name, "--json"]);
        serde_json::from_str::<Value>(&status.stdout).expect("JSON")[0].clone()
    }

    /// What the database holds of it.
    pub fn connection(&self, name: &str) -> perennial::core::Connection {
        let key = KeySource::File(self.home().join(".config/perennial/master.key"));
        let store = Sqlite::open(self.database(), SqliteOptions::new(key)).expect("it opens");
        store.read(name).expect("it can be read")
    }

    pub fn names(&self) -> Vec<String> {
        let list: Value = serde_json::from_str(&self.keep_ok(&["list", "--json"]).stdout).expect("JSON");
        let rows = list.as_array().expect("a list").iter();
        rows.map(|row| row["connection"].as_str().expect("a name").to_owned()).collect()
    }

    /// What the journal says, oldest first: the events' names.
    pub fn events(&self, name: &str) -> Vec<String> {
        let log = self.keep_ok(&["log", name, "--json", "--limit", "1000"]).stdout;
        let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.map(|entry| entry["event"].as_str().expect("an event").to_owned()).collect()
    }

    /// A directory with SAP's two files, in which a grant is held.
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.home().join(name);
        fs::create_dir_all(&dir).expect("a directory");
        self.sandbox.write_credentials(&dir).expect("credentials");
        let _ = fs::remove_file(dir.join("sandbox-ca.pem"));
        self.run_ok(&["run", "--dir", dir.to_str().expect("a path")]);
        dir
    }
}

/// For stories in which SAP's sample writes too.
impl World {
    /// Tokens as the sample would have obtained them: another grant of the same company, and nothing of ours.
    pub fn by_the_sample(&self) -> Value {
        let elsewhere = self.home().join("elsewhere");
        fs::create_dir_all(&elsewhere).expect("a directory");
        fs::copy(self.credentials(), elsewhere.join(CREDENTIALS)).expect("a copy");
        self.run_ok(&["run", "--dir", elsewhere.to_str().expect("a path")]);
        let mut tokens = read_json(&elsewhere.join(TOKEN_FILE));
        fs::remove_dir_all(elsewhere).expect("it is ours");
        tokens.as_object_mut().expect("an object").remove("perennial");
        tokens
    }

    /// Writes the token file as the sample does: in place, and not at once.
    pub fn write_as_the_sample(&self, tokens: &Value) {
        let text = tokens.to_string();
        let mut file = fs::File::create(self.token_file()).expect("the file can be written");
        for piece in text.as_bytes().chunks(700) {
            file.write_all(piece).expect("the file can be written");
        }
    }
}

/// Waits for an event, at most half a minute: a machine that is very busy is no failure.
#[track_caller]
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        #[expect(clippy::disallowed_methods, reason = "a poll, with a deadline")]
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What this machine does not have, and nobody can install: it is said, and no failure anywhere.
pub fn not_here(why: &str) {
    #[expect(clippy::print_stderr, reason = "it is to be seen")]
    {
        eprintln!("skipped: {why}");
    }
}

/// A test that cannot be run says so, and does not pass for one that was where all of them must be.
pub fn skip(why: &str) {
    not_here(why);
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped: {why}");
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Waits for a command that was started.
    pub fn landed(child: Child) -> Self {
        Self::of(&child.wait_with_output().expect("it ends"))
    }

    /// The error has this exit code, says this, hints at that, and shows no secret (law 10).
    #[track_caller]
    pub fn is_trouble(&self, world: &World, code: i32, says: &str, hints: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains("error: ") && self.stderr.contains(says), "no \"{says}\" in {self:?}");
        assert!(self.stderr.contains(hints), "no \"{hints}\" in {self:?}");
        self.shows_none_of(&world.secrets());
    }

    /// The command line was wrong, and is told so.
    #[track_caller]
    pub fn is_usage(&self, says: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.stderr.contains("error: ") && self.stderr.contains(says), "no \"{says}\" in {self:?}");
    }

    #[track_caller]
    pub fn shows_none_of(&self, secrets: &[String]) {
        for secret in secrets {
            assert!(!self.stdout.contains(secret.as_str()), "a secret on stdout: {self:?}");
            assert!(!self.stderr.contains(secret.as_str()), "a secret on stderr: {self:?}");
        }
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_perennial"))
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("JSON")
}

pub fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_vec_pretty(value).expect("JSON")).expect("the file can be written");
}
