//! Law 2 where its tool is taken away: somebody deletes the lock file by hand. The next one of its name is another lock,
//! and keeps nobody out who holds the first; so what the first has sent is waited out, and nothing is sent under a lock
//! that is not there any more.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Rotate};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use support::{Ended, MEANWHILE, TOKEN_FILE, World, wait_until};

/// How long a sender waits for its answer here.
const PATIENCE: [&str; 2] = ["--answer-within", "2s"];
const TOKEN: [&str; 3] = ["token", PATIENCE[0], PATIENCE[1]];

fn world(rotate: Rotate) -> World {
    let world = World::held_with(Config { tls: false, rotate, ..Config::default() });
    world.forget_request_token();
    world.let_access_token_end();
    world
}

fn delete_lock(world: &World) {
    fs::remove_file(world.dir().join(format!("{TOKEN_FILE}.lock"))).expect("there is one");
}

/// A refresh that stands still at this step until the file is there.
fn stopped_at(world: &World, step: &str) -> (Child, PathBuf) {
    let (steps, go) = (world.home().join("steps"), world.home().join("go"));
    let _ = (fs::remove_file(&steps), fs::remove_file(&go));
    let mut command = world.command(&TOKEN);
    command.env("PERENNIAL_FAILPOINT", format!("{step}:1:{}", go.display())).env("PERENNIAL_STEPS", &steps);
    let child = command.spawn().expect("the binary starts");
    let last = || fs::read_to_string(&steps).unwrap_or_default().lines().last().map(str::to_owned);
    wait_until("it stands still", || last().as_deref() == Some(step));
    (child, go)
}

fn go_on(go: &Path) {
    fs::write(go, "").expect("a file");
}

/// Nothing went out while something else was under way, and nothing was presented that had been replaced.
#[track_caller]
fn one_request_at_a_time(world: &World) {
    let stats = world.sandbox.stats();
    assert_eq!((stats.most_in_flight, stats.reuse_detected), (1, 0), "{stats:?}");
}

fn candidates(world: &World) -> Value {
    world.tokens()["perennial"]["candidates"].clone()
}

#[test]
fn law_2_the_flight_under_way_is_waited_for_and_its_answer_used() {
    let world = world(Rotate::Always);
    let before = world.requests();
    let first = world.under_way(&["token"]);
    delete_lock(&world);
    let others: Vec<_> = (0..5).map(|_| world.spawn(&["token"])).collect();
    let first = Ended::landed(first);
    assert_eq!(first.code, 0, "{first:?}");
    for other in others {
        let other = Ended::landed(other);
        assert_eq!((other.code, &other.stdout), (0, &first.stdout), "{other:?}");
    }
    assert_eq!(world.requests() - before, 1);
    one_request_at_a_time(&world);
    world.run_ok(&["refresh"]);
    one_request_at_a_time(&world);
}

#[test]
fn law_2_a_sender_that_was_suspended_is_waited_out_and_then_sends_nothing() {
    // It lives: the number of its lock file is not given to another one, as that of a dead process would be.
    let world = world(Rotate::Always);
    let before = world.requests();
    let (first, go) = stopped_at(&world, "intended");
    let deadline = world.tokens()["perennial"]["intent"]["deadline"].as_i64().expect("one");
    delete_lock(&world);
    let second = world.run_ok(&TOKEN);
    let refreshed_at = world.tokens()["perennial"]["refreshed_at"].as_i64().expect("a time");
    assert!(refreshed_at >= deadline, "{refreshed_at} is before {deadline}");
    go_on(&go);
    let first = Ended::landed(first);
    assert_eq!((first.code, &first.stdout), (0, &second.stdout), "{first:?}");
    assert_eq!(world.requests() - before, 1, "its time was over");
    one_request_at_a_time(&world);
    world.run_ok(&["refresh"]);
    one_request_at_a_time(&world);
}

#[test]
fn law_2_nothing_is_sent_under_a_lock_that_is_not_there_any_more() {
    // Claimed, connected, about to write the intent.
    let world = world(Rotate::Always);
    for with_a_sibling in [false, true] {
        world.let_access_token_end();
        let before = world.requests();
        let (first, go) = stopped_at(&world, "intending");
        delete_lock(&world);
        let sibling = with_a_sibling.then(|| Ended::landed(world.spawn(&TOKEN)));
        assert_eq!(world.requests() - before, u64::from(with_a_sibling), "{sibling:?}");
        go_on(&go);
        let first = Ended::landed(first);
        assert_eq!(first.code, 0, "{first:?}");
        assert!(sibling.is_none_or(|sibling| sibling.stdout == first.stdout), "law 3");
        assert_eq!(world.requests() - before, 1);
        one_request_at_a_time(&world);
    }
}

/// A sender that stands still with its answer in hand, under a lock that was deleted, until after its deadline; and a
/// successor whose request is under way by then.
fn overtaken(world: &World, successor: &[Value]) -> (Child, PathBuf, Child) {
    let before = world.requests();
    let (first, go) = stopped_at(world, "answered");
    assert_eq!(world.requests() - before, 1);
    delete_lock(world);
    world.inject(Value::Array(successor.to_vec()));
    let second = world.spawn(&TOKEN);
    wait_until("the successor's request is under way", || world.requests() - before == 2);
    (first, go, second)
}

#[test]
fn law_8_who_comes_after_its_deadline_keeps_its_answer_aside_and_harms_nobody() {
    let world = world(Rotate::Sometimes);
    let (first, go, second) = overtaken(&world, &[json!({"kind": "delay", "milliseconds": MEANWHILE / 2})]);
    go_on(&go);
    let first = Ended::landed(first);
    assert_eq!(first.code, 0, "what is durable may be handed out: {first:?}");
    assert_eq!(candidates(&world)[0]["reason"], "late");
    let room = world.dir().join(format!(".{TOKEN_FILE}.next"));
    assert!(fs::metadata(room).is_ok_and(|room| room.len() >= 64 * 1024), "the successor's room is its own");
    let second = Ended::landed(second);
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(world.tokens()["access_token"], second.stdout.trim_end());
    let late = candidates(&world)[0]["answer"]["access_token"].clone();
    assert_eq!(late, first.stdout.trim_end(), "the successor's commit has not dropped it");
    one_request_at_a_time(&world);
    world.run_ok(&["refresh"]);
    one_request_at_a_time(&world);
}

#[test]
fn law_7_the_late_answer_to_an_open_intent_is_adopted_and_nothing_is_presented_again() {
    let world = world(Rotate::Never);
    let (first, go, mut second) = overtaken(&world, &[json!({"kind": "hang"})]);
    second.kill().expect("it is ours");
    second.wait().expect("it ends");
    go_on(&go);
    let first = Ended::landed(first);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(world.tokens()["perennial"]["intent"].is_object(), "the successor's");
    let before = world.requests();
    let third = world.run_ok(&["token"]);
    assert_eq!((third.stdout, world.requests()), (first.stdout, before), "it is adopted");
    let own = world.tokens()["perennial"].clone();
    assert!(own["intent"].is_null() && own["candidates"].is_null(), "{own}");
    let journal =
        fs::read_to_string(world.dir().join(format!("{TOKEN_FILE}.journal"))).expect("there is one");
    assert!(journal.lines().last().is_some_and(|line| line.contains("\"adopted\"")), "{journal}");
    world.run_ok(&["refresh"]);
    one_request_at_a_time(&world);
}
