//! `perennial log`: what happened, one line an event, with correlation ids and never a secret.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire, Rotate};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Command;
use support::World;

fn world() -> World {
    let world = World::with(Config { rotate: Rotate::Always, ..World::plain() });
    world.add("acme");
    world
}

fn entries(world: &World, words: &[&str]) -> Vec<Value> {
    let log = world.keep_ok(&[&["log", "--json"], words].concat()).stdout;
    log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn each_event_is_a_line_with_time_name_and_what_support_asks_for() {
    let world = world();
    world.keep_ok(&["refresh", "acme"]);
    world.sandbox.expire(Expire::RequestToken);
    world.inject(json!([{"kind": "error", "code": 108}]));
    assert_eq!(world.keep(&["refresh", "acme"]).code, 3);
    let ended = world.keep_ok(&["log", "acme"]);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].contains("Z  acme  added, with a company request token"), "{ended:?}");
    assert!(
        lines[1].contains("obtained: refresh token ") && lines[1].contains(", generation 1 ["),
        "{ended:?}"
    );
    assert!(lines[2].contains("refreshed: ") && lines[2].contains(" → "), "{ended:?}");
    // Our words, Concur's words, the code and the correlation id.
    assert!(lines[3].contains("refused: code 108: the refresh token is wrong or expired (\""), "{ended:?}");
    assert!(lines[3].ends_with(']'), "{ended:?}");
    assert!(lines[4].contains("needs reauthorization; what is held is kept"), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'), "no colours where nobody looks on");
}

#[test]
fn the_json_has_an_object_a_line_with_code_and_correlation_id() {
    let world = world();
    world.inject(json!([{"kind": "error", "code": 134}]));
    assert_eq!(world.keep(&["refresh", "acme"]).code, 4);
    let entries = entries(&world, &[]);
    let refused = entries.last().expect("one");
    assert_eq!((&refused["event"], &refused["code"]), (&json!("refused"), &json!(134)));
    assert_eq!((&refused["connection"], &refused["verdict"]), (&json!("acme"), &json!("retry")));
    assert!(refused["correlation_id"].is_string() && refused["said"].is_string(), "{refused}");
    assert!(refused["time"].as_str().expect("a time").ends_with('Z'));
    let numbers: Vec<_> = entries.iter().map(|entry| entry["number"].as_u64().expect("a number")).collect();
    assert!(numbers.is_sorted());
}

#[test]
fn limit_and_since_choose_the_newest() {
    let world = world();
    world.add("west");
    for _ in 0..3 {
        world.keep_ok(&["refresh", "acme"]);
    }
    assert_eq!(entries(&world, &[]).len(), 7);
    assert_eq!(entries(&world, &["acme"]).len(), 5);
    assert_eq!(entries(&world, &["--limit", "2"]).len(), 2);
    assert_eq!(entries(&world, &["acme", "-n", "1"])[0]["generation"], 4);
    assert_eq!(entries(&world, &["--since", "1h"]).len(), 7);
    assert_eq!(entries(&world, &["--since", "1h", "--limit", "2"])[1]["generation"], 4);
    world.keep(&["log", "--since", "soon"]).is_usage("no duration");
    world.keep(&["log", "east"]).is_trouble(&world, 2, "no connection named \"east\"", "perennial list");
}

#[test]
fn follow_goes_on_as_things_happen_and_ends_with_ctrl_c() {
    let world = world();
    let mut child = world.keeps(&["log", "acme", "--follow", "--limit", "1"]).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("it can be read");
    assert!(next().contains("obtained"), "what was");
    world.keep_ok(&["refresh", "acme"]);
    assert!(next().contains("refreshed"), "what comes");
    world.keep_ok(&["policy", "acme", "pause=1m"]);
    assert!(next().contains("policy: pause=1m"));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    let ended = support::Ended::landed(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (130, ""), "a wish, and no error");
}

#[test]
fn the_journal_of_saps_two_files_is_read_the_same_way() {
    let world = World::held_with(World::plain());
    world.run_ok(&["refresh"]);
    let ended = world.run_ok(&["log"]);
    assert!(
        ended.stdout.lines().count() == 2 && ended.stdout.contains("  default  refreshed: "),
        "{ended:?}"
    );
}

#[test]
fn law_10_no_secret_is_in_it_whatever_a_server_says() {
    let world = world();
    let ready = world.sandbox.ready().clone();
    let refresh = world.sandbox.secrets();
    let echo = format!("{} {}", ready.client_secret, refresh.join(" "));
    let body = json!({"code": 108, "error": "invalid_grant", "error_description": echo}).to_string();
    world.inject(json!([{"kind": "status", "status": 400, "body": body}]));
    world.keep(&["refresh", "acme"]);
    for words in [&["log"][..], &["log", "--json"]] {
        let ended = world.keep(words);
        // The request token was not sent with this refresh, so only what was sent is known to be a secret.
        ended.shows_none_of(std::slice::from_ref(&ready.client_secret));
        assert!(ended.stdout.contains("[redacted]"), "{ended:?}");
    }
}
