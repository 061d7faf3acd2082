//! The journal beside SAP's two files: one line an event, in order, whoever writes; no secret; and nobody fails for it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial::SapSample;
use perennial::store::{Recorded, Store};
use perennial_sandbox::{Config, Rotate};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use support::{TOKEN_FILE, World, wait_until};

fn strict() -> World {
    World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() })
}

fn path(world: &World) -> PathBuf {
    world.dir().join(format!("{TOKEN_FILE}.journal"))
}

/// Every line, which must be an object.
fn lines(world: &World) -> Vec<Value> {
    let text = fs::read_to_string(path(world)).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn names(world: &World) -> Vec<String> {
    lines(world).iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

fn read(world: &World, after: Option<u64>, limit: usize) -> Vec<Recorded> {
    SapSample::open(world.dir()).unwrap().journal(None, after, limit).unwrap()
}

/// A life with everything in it: obtained, refreshed, a lost answer, a refusal.
fn a_life() -> World {
    let world = World::held_with(Config { tls: false, rotate: Rotate::Never, ..Config::default() });
    world.run_ok(&["refresh"]);
    world.let_access_token_end();
    world.inject(json!([{"kind": "hang"}]));
    let before = world.requests();
    let mut child = world.spawn(&["token"]);
    wait_until("the request is under way", || world.requests() > before);
    child.kill().unwrap();
    child.wait().unwrap();
    world.run_ok(&["token"]);
    world.inject(json!([{"kind": "error", "code": 61}]));
    assert_eq!(world.run(&["refresh"]).code, 3);
    world.run_ok(&["refresh"]);
    world
}

#[test]
fn it_tells_what_happened_in_order_one_line_an_event() {
    let world = a_life();
    let expected = [
        "obtained",
        "refreshed",
        "intent_found",
        "replayed",
        "refreshed",
        "refused",
        "suspended",
        "refreshed",
        "recovered",
    ];
    assert_eq!(names(&world), expected);
    let lines = lines(&world);
    let times: Vec<_> = lines.iter().map(|line| line["at"].as_i64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let generations: Vec<_> = lines.iter().filter_map(|line| line["generation"].as_u64()).collect();
    assert_eq!(generations, [1, 2, 3, 4]);
    assert!(lines.iter().all(|line| line["correlation_id"].is_string()
        || ["suspended", "recovered"].contains(&line["event"].as_str().unwrap())));
    assert_eq!((&lines[5]["code"], &lines[5]["verdict"]), (&json!(61), &json!("fix_client")));
}

#[test]
fn law_10_it_holds_no_secret_and_only_its_owner_may_read_it() {
    let world = a_life();
    let text = fs::read_to_string(path(&world)).unwrap();
    let secrets = world.sandbox.secrets().into_iter().chain(world.secrets());
    for secret in secrets.filter(|secret| !secret.is_empty()) {
        assert!(!text.contains(&secret), "{text}");
    }
    assert_eq!(fs::metadata(path(&world)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_line_that_a_death_has_torn_spoils_no_other() {
    let world = strict();
    let mut file = fs::OpenOptions::new().append(true).open(path(&world)).unwrap();
    file.write_all(b"{\"at\":17955").unwrap();
    world.run_ok(&["refresh"]);
    let text = fs::read_to_string(path(&world)).unwrap();
    let torn: Vec<_> = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
    assert_eq!(torn, ["{\"at\":17955"], "{text}");
    let entries = read(&world, None, 10);
    let told: Vec<_> =
        entries.iter().map(|recorded| (recorded.number, recorded.entry.event.as_str())).collect();
    assert_eq!(told, [(1, "obtained"), (3, "refreshed")]);
}

#[test]
fn the_newest_entries_come_and_then_those_behind_a_number() {
    let world = a_life();
    let last: Vec<_> = read(&world, None, 2).iter().map(|recorded| recorded.number).collect();
    assert_eq!(last, [8, 9]);
    let behind: Vec<_> = read(&world, Some(2), 3).iter().map(|recorded| recorded.number).collect();
    assert_eq!(behind, [3, 4, 5]);
    assert!(read(&world, Some(9), 3).is_empty());
}

#[test]
fn nobody_fails_because_it_cannot_be_written() {
    let world = strict();
    fs::remove_file(path(&world)).unwrap();
    fs::create_dir(path(&world)).unwrap();
    let ended = world.run_ok(&["refresh"]);
    assert!(!ended.stderr.contains("error: "), "{ended:?}");
    assert_eq!(world.status()["generation"], 2);
}

#[test]
fn many_writers_leave_whole_lines() {
    let world = strict();
    let started: Vec<_> = (0..10).map(|_| world.spawn(&["refresh"])).collect();
    for child in started {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let refreshes = usize::try_from(world.sandbox.stats().refreshes).unwrap();
    assert_eq!(names(&world).iter().filter(|name| *name == "refreshed").count(), refreshes);
}
