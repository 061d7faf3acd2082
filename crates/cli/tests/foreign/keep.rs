//! A directory with a store in it, kept by the real binary, at a server that nobody here wrote.

use crate::person::Person;
use crate::servers::Server;
use crate::support::store::StoreKind;
use crate::support::{self, Ended};
use crate::web;
use perennial::core::{Connection, Expiry, UnixTime};
use perennial::store::Store;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The connection that most stories are about.
pub(crate) const NAME: &str = "acme";

/// What is kept, and the server behind it.
pub(crate) struct Keep<'s> {
    pub(crate) server: &'s Server,
    root: TempDir,
}

impl<'s> Keep<'s> {
    /// Nothing is kept yet.
    pub(crate) fn at(server: &'s Server) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        for name in ["dir", "home"] {
            fs::create_dir(root.path().join(name)).expect("a directory");
        }
        if let Some(key) = server.knows("key") {
            fs::write(root.path().join("key.pem"), key).expect("a file");
        }
        Self { server, root }
    }

    /// A person has signed in for this client.
    #[track_caller]
    pub(crate) fn signed_in(server: &'s Server, client: &str, words: &[&str]) -> Self {
        let keep = Self::at(server);
        let ended = keep.sign_in("add", client, words);
        assert_eq!(ended.code, 0, "{ended:?}");
        keep
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root().join("dir")
    }

    fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The binary, with an environment that holds nothing of the machine's.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(support::binary());
        command
            .args(words)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home())
            .env("PERENNIAL_STORE", StoreKind::Sqlite.address(&self.dir()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).output().expect("the binary starts"))
    }

    #[track_caller]
    pub(crate) fn run_ok(&self, words: &[&str]) -> Ended {
        let ended = self.run(words);
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        ended
    }

    /// `perennial add`, or another verb that takes the same words, with what this client proves itself with.
    pub(crate) fn adding(&self, verb: &str, client: &str, words: &[&str]) -> Command {
        let mut command = self.command(&[verb, NAME]);
        if verb == "add" {
            command.args(["--issuer", self.server.issuer(), "--app-id", client]);
        }
        command.args(words);
        if let Some(secret) = self.server.secret(client) {
            command.env("CLIENT_SECRET", secret);
            if verb == "add" {
                command.args(["--client-secret-env", "CLIENT_SECRET"]);
            }
        }
        command
    }

    /// The same for a client that signs with its private key.
    pub(crate) fn adding_with_key(&self, words: &[&str]) -> Command {
        let mut command = self.adding("add", "key", words);
        command.arg("--private-key-file").arg(self.root().join("key.pem"));
        command.args(["--key-id", self.server.said("key_id")]);
        command
    }

    /// A person signs in where the command sends them, and their browser comes back to it.
    #[track_caller]
    pub(crate) fn sign_in(&self, verb: &str, client: &str, words: &[&str]) -> Ended {
        let words = [words, &["--user", "--no-browser"]].concat();
        let command =
            if client == "key" { self.adding_with_key(&words) } else { self.adding(verb, client, &words) };
        self.with_a_browser(command)
    }

    #[track_caller]
    pub(crate) fn with_a_browser(&self, mut command: Command) -> Ended {
        let mut told = Told::by(command.spawn().expect("the binary starts"));
        if let Some(address) = told.address("  http") {
            let back = Person::at(self.server).sign_in(&address);
            let shown = web::get(&back);
            assert!(shown.status < 500, "{shown:?}");
        }
        told.ended()
    }

    pub(crate) fn store(&self) -> Box<dyn Store> {
        StoreKind::Sqlite.open(&self.dir(), &self.home()).expect("the store opens")
    }

    pub(crate) fn connection(&self) -> Connection {
        self.store().read(NAME).expect("it can be read")
    }

    pub(crate) fn status(&self) -> Value {
        let status = self.run_ok(&["status", NAME, "--json"]).stdout;
        serde_json::from_str::<Value>(&status).expect("JSON")[0].clone()
    }

    /// Takes the access token's life away, as time would.
    pub(crate) fn let_access_token_end(&self) {
        self.change(|connection| {
            let held = connection.held.as_mut().expect("a grant");
            held.access.as_mut().expect("an access token").expiry = Expiry::Stated(UnixTime(1_000_000_000));
        });
    }

    /// As if the sender's deadline had passed.
    pub(crate) fn let_deadline_pass(&self) {
        self.change(|connection| {
            let intent = connection.intent.as_mut().expect("an open intent");
            let past = i64::try_from(intent.patience().as_secs()).expect("minutes") + 1;
            for time in [&mut intent.written_at, &mut intent.first_presented_at, &mut intent.deadline] {
                time.0 -= past;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Connection)) {
        let store = self.store();
        let mut claim = store.try_claim(NAME).expect("it can be written").expect("nobody else is there");
        let before = claim.read().expect("it can be read");
        let mut after = before.clone();
        change(&mut after);
        claim.commit(&before.version(), &after).expect("it is taken");
    }

    /// The tokens in force: access and refresh token.
    pub(crate) fn tokens(&self) -> (Option<String>, Option<String>) {
        tokens(self.connection())
    }

    /// What a process that starts now would find, from a copy: the recovery proper is still to come.
    pub(crate) fn on_disk(&self) -> Connection {
        let copy = TempDir::new_in(self.home()).expect("a directory");
        for entry in fs::read_dir(self.dir()).expect("the directory is there") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("a copy");
            }
        }
        let store = StoreKind::Sqlite.open(copy.path(), &self.home()).expect("the copy opens");
        store.read(NAME).expect("it can be read")
    }

    /// Law 10: of these secrets none stands in what was printed, nor in any file but the client's own key.
    #[track_caller]
    pub(crate) fn shows_none_of(&self, secrets: &[String], printed: &[&Ended]) {
        for ended in printed {
            ended.shows_none_of(secrets);
        }
        let mut dirs = vec![self.dir(), self.home()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
                let found = secrets.iter().find(|secret| text.contains(secret.as_str()));
                assert!(found.is_none(), "a secret in {}", path.display());
            }
        }
    }
}

/// Access and refresh token.
pub(crate) fn tokens(connection: Connection) -> (Option<String>, Option<String>) {
    let held = connection.held.expect("a grant");
    let access = held.access.map(|access| access.token.expose().to_owned());
    (access, held.refresh.map(|refresh| refresh.expose().to_owned()))
}

/// A command under way, and what it has told so far.
pub(crate) struct Told {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    so_far: String,
}

impl Told {
    pub(crate) fn by(mut child: Child) -> Self {
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        Self { child, stderr, so_far: String::new() }
    }

    /// The address in the first line that has this in it; none when the command ends without one.
    pub(crate) fn address(&mut self, before: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.stderr.read_line(&mut line).expect("it can be read") == 0 {
                return None;
            }
            self.so_far.push_str(&line);
            if line.contains(before) {
                return line.find("http").map(|at| line[at..].trim().to_owned());
            }
        }
    }

    pub(crate) fn ended(mut self) -> Ended {
        self.stderr.read_to_string(&mut self.so_far).expect("it can be read");
        let mut ended = Ended::landed(self.child);
        ended.stderr = self.so_far;
        ended
    }
}
