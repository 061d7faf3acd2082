//! Ctrl-C: before anything is sent a command leaves at once; a request that is under way is seen through; a second
//! Ctrl-C abandons it, and its intent stays on the disk for the next command (laws 4 and 7).

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command};
use support::{Ended, World, wait_until};

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.unwrap().success(), "kill -{name}");
}

/// A command whose request is under way.
fn under_way(world: &World, words: &[&str]) -> Child {
    let sent = world.requests();
    let child = world.spawn(words);
    wait_until("the request is under way", || world.requests() > sent);
    child
}

fn ended(child: Child) -> Ended {
    Ended::of(&child.wait_with_output().unwrap())
}

#[test]
fn a_refresh_that_is_under_way_is_seen_through_and_stored() {
    for (words, name) in
        [(&["refresh"][..], "INT"), (&["refresh"], "TERM"), (&["token", "--min-ttl", "2h"], "INT")]
    {
        let world = World::held_with(World::plain());
        let old = world.tokens();
        world.inject(json!([{"kind": "delay", "milliseconds": 1000}]));
        let child = under_way(&world, words);
        signal(&child, name);
        let ended = ended(child);
        ended.is_trouble(&world, 130, "error: interrupted", "nothing is lost");
        assert!(ended.stderr.contains("is seen through, so that its answer is not lost"), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
        assert_ne!(world.tokens()["access_token"], old["access_token"], "the answer is stored");
        assert!(world.tokens()["perennial"]["intent"].is_null());
        let status = world.status();
        assert_eq!((&status["state"], &status["generation"]), (&json!("held"), &json!(2)));
        assert_eq!(world.requests(), 2);
    }
}

#[test]
fn obtaining_is_seen_through_too() {
    let world = World::with(World::plain());
    world.fill();
    world.inject(json!([{"kind": "delay", "milliseconds": 1000}]));
    let child = under_way(&world, &["run"]);
    signal(&child, "INT");
    ended(child).is_trouble(&world, 130, "error: interrupted", "nothing is lost");
    let ended = world.run_ok(&["run"]);
    assert!(ended.stdout.contains("the stored refresh token is valid"), "{ended:?}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_renewal_beside_the_work_is_interrupted_like_any_other() {
    for words in [&["run"], &["token"]] {
        let world = World::held_with(World::plain());
        let mut tokens = world.tokens();
        let refreshed_at = tokens["perennial"]["refreshed_at"].as_i64().unwrap();
        tokens["perennial"]["refreshed_at"] = json!(refreshed_at - 8 * 24 * 3600);
        support::write_json(&world.token_file(), &tokens);
        world.inject(json!([{"kind": "delay", "milliseconds": 1000}]));
        let child = under_way(&world, words);
        signal(&child, "INT");
        let ended = ended(child);
        assert_eq!(ended.code, 130, "{words:?}: {ended:?}");
        assert_eq!(world.status()["generation"], 2, "{words:?}: stored all the same");
    }
}

#[test]
fn a_second_ctrl_c_abandons_the_request_and_the_next_command_recovers() {
    for next in [&["refresh"], &["token"]] {
        let world = World::held_with(World::plain());
        world.let_access_token_end();
        let token = world.refresh_token();
        world.inject(json!([{"kind": "hang", "spent": true}]));
        let mut child = under_way(&world, &["token"]);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        signal(&child, "INT");
        let mut told = String::new();
        stderr.read_line(&mut told).unwrap();
        assert!(told.contains("Ctrl-C abandons it"), "{told}");
        signal(&child, "INT");
        stderr.read_to_string(&mut told).unwrap();
        let ended = Ended { stderr: told, ..ended(child) };
        ended.is_trouble(
            &world,
            130,
            "abandoned a request whose outcome is not known",
            "the next command finds that note",
        );

        let intent = &world.tokens()["perennial"]["intent"];
        assert_eq!((&intent["purpose"], &intent["generation"]), (&json!("refresh"), &json!(1)), "law 4");
        assert_eq!(world.refresh_token(), token, "law 5");
        assert_eq!(world.status()["state"], "refreshing", "until its deadline; then it is uncertain");
        world.run_ok(next);
        assert_eq!(world.status()["state"], "held");
        assert!(world.tokens()["perennial"]["intent"].is_null());
        assert_eq!(world.requests(), 3);
    }
}

#[test]
fn before_anything_is_sent_ctrl_c_leaves_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::with(World::plain());
    world.fill();
    let before = world.files();
    let base = format!("https://{}", silent.local_addr().unwrap());
    let child = world.spawn(&["run", "--base-uri", &base]);
    // It has connected, and waits for a greeting that will not come.
    let (_line, _) = silent.accept().unwrap();
    wait_until("the signal's handler stands", || catches_interrupts(&child));
    signal(&child, "INT");
    ended(child).is_trouble(&world, 130, "error: interrupted", "nothing is lost");
    assert_eq!((world.files(), world.requests()), (before, 0));
}

/// Bit 1 of SigCgt is SIGINT. Where there is no /proc the connection itself is enough to go by.
fn catches_interrupts(child: &Child) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).is_some_and(|bits| bits & 2 != 0)
}

#[test]
fn a_call_that_is_under_way_just_ends() {
    let world = World::held_with(World::plain());
    let before = world.files();
    world.inject(json!([{"kind": "hang", "on": "api"}]));
    let child = world.spawn(&["call", support::USERS]);
    wait_until("the call is under way", || world.sandbox.stats().api_calls == 1);
    signal(&child, "INT");
    assert_eq!(ended(child).code, 130);
    assert_eq!((world.files(), world.requests()), (before, 1));
}
