//! A PostgreSQL server for tests: made in a temporary directory, reached by a socket in the file system and by nothing
//! else, run by a user without rights where the tests run as root, and gone when the test process is, however that ends.
//!
//! Where the server's binaries are not installed, a test says "skipped: …" and passes; with
//! PERENNIAL_TESTS_NEED_POSTGRES=1, as CI has it, it fails.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// Settings that make a server fast, and not durable.
const IN_A_HURRY: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// A server.
pub(crate) struct PostgresServer {
    dir: PathBuf,
    settings: Vec<String>,
    running: Mutex<Option<Running>>,
}

/// The shell that watches over the server: it ends the server when its stdin is closed.
struct Running {
    shell: Child,
    /// Lines of the server's log.
    log: Receiver<String>,
}

/// The server of this test process.
pub(crate) fn server() -> Option<&'static PostgresServer> {
    static SERVER: OnceLock<Option<PostgresServer>> = OnceLock::new();
    SERVER.get_or_init(|| PostgresServer::start(&IN_A_HURRY)).as_ref()
}

impl PostgresServer {
    /// A server of its own for a test that treats it badly.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        Self::start_in(tempfile::Builder::new().prefix("pg").tempdir().unwrap().keep(), settings)
    }

    /// The same, with its data in a directory that is there already, and empty.
    pub(crate) fn start_in(dir: PathBuf, settings: &[&str]) -> Option<Self> {
        let Some(bin) = binaries() else {
            skipped("the binaries of PostgreSQL are not installed (apt-get install postgresql)");
            return None;
        };
        own(&dir);
        let data = dir.join("data");
        let mut initdb = unprivileged(Command::new(bin.join("initdb")), &dir);
        initdb.args([
            "--auth=trust",
            "--username=perennial",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-D",
        ]);
        let made = initdb.arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(ToString::to_string).collect();
        let server = Self { dir, settings, running: Mutex::default() };
        server.start_again();
        Some(server)
    }

    /// Starts it, or starts it again after it was killed; returns when it is ready.
    pub(crate) fn start_again(&self) {
        // Processes of one that was killed may still be on their way out.
        let mut said = String::new();
        let running = (0..200).find_map(|_| self.try_start().map_err(|log| said = log).ok());
        let running = running.unwrap_or_else(|| panic!("the server does not start: {said}"));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }

    fn try_start(&self) -> Result<Running, String> {
        let bin = binaries().unwrap();
        let mut command = unprivileged(Command::new("sh"), &self.dir);
        // The shell outlives the test process by a moment, whatever ends that one, and takes the server with it.
        let script =
            "\"$@\" 2>&1 & server=$!; cat >/dev/null; kill -QUIT $server; wait $server; rm -rf \"$OF\"";
        command.args(["-c", script, "sh"]).arg(bin.join("postgres")).arg("-D").arg(self.dir.join("data"));
        command.arg("-k").arg(&self.dir).args(["-c", "listen_addresses="]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.env("OF", &self.dir).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut shell = command.spawn().unwrap();
        let (lines, log) = mpsc::channel();
        let output = BufReader::new(shell.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut said = String::new();
        for line in log.iter() {
            if line.contains("ready to accept connections") {
                return Ok(Running { shell, log });
            }
            said += &format!("{line}\n");
            if line.contains("FATAL") && !line.contains("starting up") {
                break;
            }
        }
        let _ = shell.kill();
        let _ = shell.wait();
        Err(said)
    }

    /// Ends it as a power cut does: without a word to anybody.
    pub(crate) fn kill(&self) {
        let pid_file = fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap();
        let pid = pid_file.lines().next().unwrap();
        assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        let Some(mut running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        // The log ends with the last of its processes. The shell would remove the data.
        let _ = running.shell.kill();
        let _ = running.shell.wait();
        for _ in running.log.iter() {}
    }

    /// The directory of its socket, where its data lies too.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the server has written into its log since this was asked last.
    pub(crate) fn log(&self) -> String {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().unwrap().log.try_iter().collect::<Vec<_>>().join("\n")
    }

    /// A schema that no other test uses.
    pub(crate) fn new_schema(&self) -> String {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        format!("t{}", NUMBER.fetch_add(1, Ordering::SeqCst))
    }

    /// The address of a store in this schema.
    pub(crate) fn url(&self, schema: &str) -> String {
        url_by(&self.dir, schema)
    }

    /// What this SQL gives, as psql prints it.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let psql = binaries().map(|bin| bin.join("psql")).filter(|path| path.exists());
        let output = Command::new(psql.unwrap_or_else(|| "psql".into()))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "perennial", "-d", "postgres", "-c", sql, "-h"])
            .arg(&self.dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut running) = running.take() {
            drop(running.shell.stdin.take());
            let _ = running.shell.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The address of a store that is reached by the socket in this directory.
pub(crate) fn url_by(socket_dir: &Path, schema: &str) -> String {
    let dir = socket_dir.to_str().unwrap().replace('/', "%2F");
    format!("postgres://perennial@{dir}/postgres?schema={schema}")
}

/// Says so, loudly; or fails where a skip is forbidden.
pub(crate) fn skipped(why: &str) {
    assert!(
        env::var_os("PERENNIAL_TESTS_NEED_POSTGRES").is_none_or(|need| need != "1"),
        "not to be skipped: {why}"
    );
    eprintln!("skipped: {why}");
}

/// Where `postgres`, `initdb` and their like are: Debian keeps them out of PATH.
pub(crate) fn binaries() -> Option<PathBuf> {
    let in_path =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|dir| dir.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.sort();
    versions
        .into_iter()
        .rev()
        .chain(in_path)
        .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
}

/// PostgreSQL refuses to run as root.
pub(crate) fn unprivileged(mut command: Command, dir: &Path) -> Command {
    if let Some((user, group)) = unprivileged_user() {
        command.uid(user).gid(group);
    }
    command.current_dir(dir).env("HOME", dir);
    command
}

/// Gives a directory to the user that the server runs as.
pub(crate) fn own(path: &Path) {
    if let Some((user, group)) = unprivileged_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

fn unprivileged_user() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if !is_root {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let id_of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    id_of("postgres").or_else(|| id_of("nobody"))
}

/// True when this program can be run.
pub(crate) fn is_installed(program: impl AsRef<OsStr>) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
