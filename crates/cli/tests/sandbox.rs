//! `perennial sandbox` and `perennial demo`, as a newcomer meets them.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use support::{Ended, USERS, binary, read_json};

/// A sandbox in a process of its own, ended with the test.
struct Process {
    child: Child,
    ready: Value,
}

impl Process {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .arg("sandbox")
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        Self { child, ready: serde_json::from_str(&line).expect("one JSON line") }
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().expect("a text")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(dir: &std::path::Path, words: &[&str]) -> Ended {
    let command = &mut Command::new(binary());
    Ended::of(&command.args(words).current_dir(dir).env("HOME", dir).output().expect("the binary starts"))
}

#[test]
fn one_json_line_tells_all_that_a_client_needs() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap();
    let sandbox = Process::start(&["--write-credentials", place, "--seed", "7"]);
    let credentials = read_json(&dir.path().join("credentials.json"));
    assert_eq!(credentials["appID"], sandbox.ready["app_id"]);
    assert_eq!(credentials["companyRequestToken"], sandbox.ready["request_token"]);
    let (base, ca) = (sandbox.text("base_uri"), sandbox.text("ca_cert"));
    let ended = run(dir.path(), &["run", "--base-uri", base, "--ca-cert", ca]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let ended = run(dir.path(), &["call", USERS, "--dir", ".", "--ca-cert", ca]);
    assert_eq!(ended.code, 0, "the base is kept with the connection: {ended:?}");
}

#[test]
fn a_seed_makes_the_same_ids_again() {
    let (one, two) = (Process::start(&["--seed", "7"]), Process::start(&["--seed", "7", "--no-tls"]));
    assert_eq!(one.ready["app_id"], two.ready["app_id"]);
    assert_eq!(one.ready["request_token"], two.ready["request_token"]);
    assert!(two.text("base_uri").starts_with("http://127.0.0.1:"));
    assert!(two.ready["ca_cert"].is_null());
}

#[test]
fn the_sandbox_stays_on_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let ended = run(dir.path(), &["sandbox", "--listen", "0.0.0.0:0"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("loopback"), "{ended:?}");
}

#[test]
fn the_demo_does_the_whole_job_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ended = {
        let command = &mut Command::new(binary());
        Ended::of(&command.arg("demo").env("HOME", dir.path()).env("TMPDIR", dir.path()).output().unwrap())
    };
    assert_eq!(ended.code, 0, "{ended:?}");
    for step in [
        "a template was written",
        "received and stored",
        "valid until",
        "renewed",
        "answered 200",
        "try next",
    ] {
        assert!(ended.stdout.contains(step), "no \"{step}\" in {ended:?}");
    }
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().filter_map(Result::ok).map(|entry| entry.path()).collect();
    assert!(left.iter().all(|path| !path.to_string_lossy().contains("demo")), "{left:?}");
    assert!(!dir.path().join(".local").exists(), "not even a key");
}

#[test]
fn the_demo_keeps_its_directory_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let command = &mut Command::new(binary());
    let output =
        command.args(["demo", "--keep"]).env("HOME", dir.path()).env("TMPDIR", dir.path()).output().unwrap();
    assert_eq!(Ended::of(&output).code, 0);
    let kept = std::fs::read_dir(dir.path())
        .unwrap()
        .filter_map(Result::ok)
        .find(|e| e.path().to_string_lossy().contains("demo"));
    assert!(kept.unwrap().path().join("refreshTokenObjectFile.json").exists());
}
