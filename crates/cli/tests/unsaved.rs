//! Law 1: nothing is handed out before it is durable. The store stops taking anything between an intent and its commit;
//! the answer goes, sealed, into a rescue file, or waits in memory; and it comes home.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Rotate};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use support::power::{Power, prepare};
use support::{Ended, MEANWHILE, World, wait_until};

fn strict() -> World {
    World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() })
}

/// The room for the commit; with a directory in its place nobody, root neither, can write there.
fn room(world: &World) -> PathBuf {
    world.dir().join(".refreshTokenObjectFile.json.next")
}

fn break_store(world: &World) {
    let _ = fs::remove_file(room(world));
    fs::create_dir(room(world)).expect("a directory");
}

fn mend_store(world: &World) {
    fs::remove_dir(room(world)).expect("it is there");
}

/// The number of the call that writes a commit into its room.
fn commit_in(trace: &Path) -> usize {
    let trace = fs::read_to_string(trace).expect("a trace");
    let calls: Vec<&str> = trace.lines().collect();
    let is_commit = |call: &&str| call.starts_with("write ") && call.ends_with(".json.next");
    1 + calls.iter().rposition(is_commit).expect("one")
}

/// A refresh whose answer the store did not take.
fn unsaved(world: &World) -> Ended {
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    break_store(world);
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("they are kept in") && ended.stderr.contains("rescue"), "{ended:?}");
    assert_eq!(world.rescue_files().len(), 1);
    ended
}

#[test]
fn an_answer_that_the_store_refuses_is_sealed_told_and_taken_in_later() {
    let world = strict();
    let old = world.tokens();
    let ended = unsaved(&world);
    let token = ended.stdout.trim_end();
    assert_ne!(old["access_token"], token);
    assert_eq!(world.tokens()["access_token"], old["access_token"], "the store is as it was");

    let sealed = fs::read(&world.rescue_files()[0]).expect("it can be read");
    for part in [
        token.as_bytes(),
        b"access_token",
        b"refresh_token",
        old["refresh_token"].as_str().expect("one").as_bytes(),
    ] {
        assert!(!sealed.windows(part.len()).any(|window| window == part), "something is readable");
    }
    assert_eq!(world.status()["state"], "unsaved");

    mend_store(&world);
    let before = world.requests();
    assert_eq!(world.run_ok(&["token"]).stdout.trim_end(), token);
    assert_eq!((world.requests(), world.rescue_files().len()), (before, 0));
    assert_eq!(world.tokens()["access_token"], token);
    assert_eq!(world.status()["state"], "held");
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn each_kind_of_command_takes_it_in() {
    for words in [&["status"][..], &["run"], &["call", support::USERS], &["refresh", "--due"], &["refresh"]] {
        let world = strict();
        unsaved(&world);
        mend_store(&world);
        let ended = world.run(words);
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        assert_eq!(world.rescue_files().len(), 0, "{words:?}");
        world.run_ok(&["refresh"]);
        assert_eq!(world.sandbox.stats().reuse_detected, 0, "{words:?}");
    }
}

#[test]
fn law_9_while_the_store_refuses_it_a_token_that_is_durable_elsewhere_is_handed_out() {
    let world = strict();
    let token = unsaved(&world).stdout;
    let before = world.requests();
    for _ in 0..3 {
        let ended = world.run_ok(&["token"]);
        assert_eq!(ended.stdout, token);
        assert!(ended.stderr.contains("they are kept in"), "{ended:?}");
    }
    world.run_ok(&["call", support::USERS]);
    // A person may insist as they like: a store that cannot write spends no token.
    assert_ne!(world.run(&["refresh"]).code, 0);
    assert_eq!(world.requests(), before);
    mend_store(&world);
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn law_3_who_waited_for_the_claim_looks_into_the_rescue_file_too() {
    let world = strict();
    world.let_access_token_end();
    let (mut whole, trace) = prepare(&world, Power::Flickers(usize::MAX), &["token"]);
    assert!(whole.output().expect("the binary starts").status.success());
    let commit = commit_in(&trace);

    world.let_access_token_end();
    let before = world.sandbox.stats();
    world.inject(json!([{"kind": "delay", "milliseconds": MEANWHILE}]));
    let (mut first, _) = prepare(&world, Power::Flickers(commit), &["token"]);
    let first = first.spawn().expect("the binary starts");
    wait_until("the request is under way", || world.requests() > before.requests);
    let waiting: Vec<Child> = (0..10).map(|_| world.spawn(&["token"])).collect();
    let first = Ended::landed(first);
    assert!(first.stderr.contains("they are kept in"), "{first:?}");
    for child in waiting {
        let ended = Ended::landed(child);
        assert_eq!((ended.code, &ended.stdout), (0, &first.stdout), "{ended:?}");
    }
    let stats = world.sandbox.stats();
    assert_eq!((stats.refreshes - before.refreshes, stats.reuse_detected), (1, 0), "{stats:?}");
    assert_eq!(world.rescue_files().len(), 0);
}

#[test]
fn where_no_rescue_file_can_be_written_either_the_token_waits_for_the_store() {
    let world = strict();
    world.let_access_token_end();
    let rescue = world.home().join(".local/state/perennial/rescue");
    let mut child = world.under_way(&["token"]);
    break_store(&world);
    fs::remove_dir_all(&rescue).expect("it was made before anything was sent");
    fs::write(&rescue, "in the way").expect("a file");
    let told = BufReader::new(child.stderr.take().expect("it is piped"));
    let held = told.lines().find(|line| line.as_ref().is_ok_and(|line| line.contains("held in memory")));
    assert!(held.is_some(), "it is told");
    assert!(child.try_wait().expect("it is ours").is_none(), "nothing is handed out before it is durable");
    let waiting = world.spawn(&["token"]);
    mend_store(&world);
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.tokens()["access_token"], ended.stdout.trim_end());
    assert_eq!(Ended::landed(waiting).stdout, ended.stdout);
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn a_directory_that_was_moved_away_meanwhile_costs_nothing() {
    let world = strict();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    let away = world.home().join("away");
    fs::rename(world.dir(), &away).expect("it is ours");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.rescue_files().len(), 1);
    fs::rename(&away, world.dir()).expect("it is ours");
    assert_eq!(world.run_ok(&["token"]).stdout, ended.stdout);
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn law_8_what_was_rescued_and_then_overtaken_is_kept_beside() {
    let world = strict();
    let sample = world.by_the_sample();
    unsaved(&world);
    mend_store(&world);
    world.write_as_the_sample(&sample);
    let ended = world.run_ok(&["token"]);
    assert_eq!(ended.stdout.trim_end(), sample["access_token"].as_str().expect("one"));
    let tokens = world.tokens();
    assert_eq!(tokens["refresh_token"], sample["refresh_token"]);
    assert_eq!(tokens["perennial"]["candidates"][0]["reason"], "late", "{tokens}");
    assert_eq!(world.rescue_files().len(), 0);
}

#[test]
fn law_13_a_strangers_answer_that_was_rescued_is_not_lost_by_that() {
    let world = World::held_with(Config { tls: false, ..Config::default() });
    let sample = world.by_the_sample();
    world.let_access_token_end();
    world.inject(json!([{"kind": "other_principal"}]));
    let ended = world.run(&["token"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
    // Once more, to see where the commit of such a refresh is among its calls: it finds the intent of the one before.
    world.inject(json!([{"kind": "other_principal"}]));
    let (mut command, trace) = prepare(&world, Power::Flickers(usize::MAX), &["refresh"]);
    assert_eq!(Ended::of(&command.output().expect("the binary starts")).code, 3);
    let commit = commit_in(&trace);

    world.inject(json!([{"kind": "other_principal"}]));
    let (mut command, _) = prepare(&world, Power::Flickers(commit), &["refresh"]);
    let ended = Ended::of(&command.output().expect("the binary starts"));
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(world.rescue_files().len(), 1);
    world.write_as_the_sample(&sample);
    world.run_ok(&["token"]);
    let candidates = world.tokens()["perennial"]["candidates"].clone();
    let reasons: Vec<_> = candidates.as_array().expect("some").iter().map(|kept| &kept["reason"]).collect();
    assert_eq!(reasons, ["other_principal"; 3], "those before are not lost either");
    assert_eq!(world.rescue_files().len(), 0);
}
