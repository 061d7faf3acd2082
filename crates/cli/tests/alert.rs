//! `perennial alert test`: each sink is tried once, and what came of it is told.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use support::{Ended, binary};

const CANARY: &str = "canary-3c5f";

/// Takes one request, gives this answer, and hands the request back.
fn receiver(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/services/{CANARY}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut bytes) = (String::new(), [0; 4096]);
        while !request.ends_with('}') {
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{request}");
            request.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").unwrap();
        request
    });
    (url, thread)
}

fn secret(dir: &Path, name: &str, value: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, value).unwrap();
    format!("file:{}", path.display())
}

fn test(dir: &Path, config: &str, words: &[&str]) -> Ended {
    let file = dir.join("perennial.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(binary());
    command.args(["alert", "test", "--config"]).arg(&file).args(words).env("HOME", dir);
    Ended::of(&command.output().expect("the binary starts"))
}

#[test]
fn each_sink_is_tried_and_told_and_no_secret_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (good, took) = receiver("204 x");
    let (bad, refused) = receiver("404 x");
    let url = secret(dir.path(), "url", &good);
    let key = secret(dir.path(), "key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let chat = secret(dir.path(), "chat", &bad);
    let config = format!(
        "[[alerts.to]]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = \"{key}\"\n\
         [[alerts.to]]\nkind = \"slack\"\nurl = \"{chat}\"\n\
         [[alerts.to]]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"exit 3\"]\n"
    );
    let ended = test(dir.path(), &config, &["--json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let told: Vec<_> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["sink"], &one["delivered"], &one["status"]))
        .collect();
    let wanted = [("webhook 1", true, 204), ("slack 2", false, 404), ("command 3", false, 3)];
    let wanted = wanted.map(|(sink, delivered, status)| (json!(sink), json!(delivered), json!(status)));
    assert_eq!(
        told,
        wanted.iter().map(|(sink, delivered, status)| (sink, delivered, status)).collect::<Vec<_>>()
    );
    let (took, refused) = (took.join().unwrap(), refused.join().unwrap());
    assert!(took.contains("webhook-signature: v1,") && took.contains("\"type\":\"alerts.test\""), "{took}");
    assert!(refused.contains("{\"text\":\"perennial: this is a test"), "{refused}");
    assert!(!format!("{ended:?}").contains(CANARY), "{ended:?}");
}

#[test]
fn a_person_reads_who_has_taken_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[[alerts.to]]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"exit 0\"]\n";
    let ended = test(dir.path(), config, &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("✓ command 1 has taken it: exit code 0, "), "{ended:?}");
}

#[test]
fn where_nobody_is_to_be_told_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let ended = test(dir.path(), "", &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("names nobody to tell") && ended.stderr.contains("[[alerts.to]]"),
        "{ended:?}"
    );
    let ended = test(dir.path(), "[alerts]\nto = 3\n", &[]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("line 2, column 6"), "{ended:?}");
}
