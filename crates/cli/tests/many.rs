//! `refresh --all`: many connections, eight at a time, with a summary and the gravest exit code.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use support::{Ended, MEANWHILE, World, wait_until};

/// So many connections, with a grant each.
fn world(count: usize) -> World {
    let world = World::with(World::plain());
    for number in 0..count {
        world.add(&format!("c{number:02}"));
    }
    world
}

fn list(ended: &Ended) -> Vec<Value> {
    serde_json::from_str::<Value>(&ended.stdout).expect("JSON").as_array().expect("a list").clone()
}

#[test]
fn all_are_renewed_and_counted() {
    let world = world(12);
    let before = world.sandbox.stats().refreshes;
    let ended = world.keep_ok(&["refresh", "--all"]);
    assert_eq!(ended.stderr, "renewed 12\n", "no bar where nobody looks on");
    assert_eq!(world.sandbox.stats().refreshes, before + 12);
    let ended = world.keep_ok(&["refresh", "--all", "--due"]);
    assert_eq!(ended.stderr, "renewed 0, not due 12\n");
    assert_eq!(world.sandbox.stats().refreshes, before + 12);
}

#[test]
fn a_failure_is_told_in_a_line_and_keeps_nobody_else_from_being_renewed() {
    let world = world(3);
    world.keep_ok(&world.adding("later", &["--later"]));
    world.inject(json!([{"kind": "error", "code": 134}]));
    let ended = world.keep(&["refresh", "--all"]);
    assert_eq!(ended.code, 3, "a person goes before a wait: {ended:?}");
    assert!(ended.stderr.contains("error: later: there are no tokens yet"), "{ended:?}");
    assert!(
        ended.stderr.contains("hint: this obtains the first ones: perennial reauthorize later"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("scheduled maintenance"), "{ended:?}");
    assert!(ended.stderr.ends_with("renewed 2, failed 2\n"), "{ended:?}");
    ended.shows_none_of(&world.sandbox.secrets());
    world.keep_ok(&["remove", "later", "--yes"]);
    world.inject(json!([{"kind": "error", "code": 134}]));
    assert_eq!(world.keep(&["refresh", "--all"]).code, 4, "what passes");
}

#[test]
fn the_json_has_a_member_for_each_in_the_order_of_their_names() {
    let world = world(3);
    world.keep_ok(&world.adding("later", &["--later"]));
    let ended = world.keep(&["refresh", "--all", "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (3, ""));
    let list = list(&ended);
    let names: Vec<_> = list.iter().map(|row| row["connection"].as_str().expect("a name")).collect();
    assert_eq!(names, ["c00", "c01", "c02", "later"]);
    assert_eq!((&list[0]["refreshed"], &list[0]["generation"]), (&json!(true), &json!(2)));
    assert_eq!(list[3]["error"]["exit_code"], 3);
    assert_eq!(list[3]["error"]["hint"], "this obtains the first ones: perennial reauthorize later");
}

#[test]
fn names_and_all_do_not_go_together_and_an_empty_store_is_told() {
    let world = World::with(World::plain());
    world.keep(&["refresh", "--all"]).is_trouble(&world, 3, "there are no connections", "perennial add NAME");
    world.keep(&["refresh", "acme", "--all"]).is_usage("cannot be used with");
}

#[test]
fn law_12_a_server_that_fails_for_all_is_left_alone() {
    let world = World::with(World::plain());
    let app = world.sandbox.ready().app_id.clone();
    for number in 0..24 {
        // Nobody knows how old these tokens are: they are due at once. Nobody listens where they live.
        let name = format!("c{number:02}");
        let words = ["add", &name, "--later", "--app-id", &app, "--client-secret-env", "CLIENT_SECRET"];
        let more = ["--refresh-token-env", "REQUEST_TOKEN", "--geolocation", "https://127.0.0.1:1"];
        world.keep_ok(&[&words[..], &more].concat());
    }
    let ended = world.keep(&["refresh", "--all", "--due"]);
    ended.is_trouble(
        &world,
        4,
        "has failed several times in a row",
        "nothing was sent, and what is held is kept",
    );
    assert!(ended.stderr.contains("or insist: perennial refresh c"), "{ended:?}");
    assert!(ended.stderr.contains("no connection to https://127.0.0.1:1"), "{ended:?}");
    assert!(ended.stderr.ends_with("renewed 0, failed 24\n"), "{ended:?}");
}

#[test]
fn law_12_eight_at_a_time_are_sent() {
    let world = world(10);
    let slow: Vec<_> = (0..8).map(|_| json!({"kind": "hang"})).collect();
    world.inject(json!(slow));
    let before = world.requests();
    let mut child = world.keeps(&["refresh", "--all"]).spawn().expect("it starts");
    wait_until("eight are under way", || world.requests() == before + 8);
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    assert_eq!(world.requests(), before + 8, "and no more");
}

#[test]
fn ctrl_c_starts_no_new_ones_and_sees_the_running_ones_through() {
    let world = world(20);
    let slow: Vec<_> = (0..8).map(|_| json!({"kind": "delay", "milliseconds": MEANWHILE})).collect();
    world.inject(json!(slow));
    let before = world.requests();
    let child = world.keeps(&["refresh", "--all"]).spawn().expect("it starts");
    wait_until("eight are under way", || world.requests() == before + 8);
    interrupt(child.id());
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.stderr.contains("no more are started"), "{ended:?}");
    assert!(ended.stderr.ends_with("renewed 8, not tried 12\n"), "{ended:?}");
    assert_eq!(world.requests(), before + 8);
    // What they brought is stored.
    let generations = |ended: &Ended| list(ended).iter().filter(|row| row["generation"] == 2).count();
    assert_eq!(generations(&world.keep_ok(&["list", "--json"])), 8);
}

#[test]
fn a_second_ctrl_c_abandons_them_and_their_intents_are_on_disk() {
    let world = world(3);
    world.inject(json!([{"kind": "hang"}, {"kind": "hang"}, {"kind": "hang"}]));
    let before = world.requests();
    let mut child = world.keeps(&["refresh", "--all"]).spawn().expect("it starts");
    wait_until("three are under way", || world.requests() == before + 3);
    interrupt(child.id());
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut heard = String::new();
    stderr.read_line(&mut heard).expect("it is told");
    assert!(heard.contains("no more are started"), "{heard}");
    interrupt(child.id());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("it is told");
    let ended = Ended {
        code: child.wait().expect("it ends").code().unwrap_or(-1),
        stdout: String::new(),
        stderr: rest,
    };
    ended.is_trouble(
        &world,
        130,
        "abandoned a request whose outcome is not known",
        "the next command finds that note",
    );
    world.sandbox.clear_faults();
    world.keep_ok(&["refresh", "--all"]);
}

fn interrupt(process: u32) {
    let _ = Command::new("kill").args(["-INT", &process.to_string()]).status();
}
