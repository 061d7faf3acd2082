//! Law 2: many processes at once, and one presenter. Where every refresh token is good once, a second presentation
//! would show as reuse.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire, Rotate};
use serde_json::json;
use std::collections::BTreeSet;
use support::store::{NAME, StoreKind};
use support::{Ended, MEANWHILE, USERS, World};

/// Each refresh token is good once.
fn strict() -> Config {
    Config { rotate: Rotate::Always, ..Config::default() }
}

/// The same command, `count` times at once; all of them must do well.
#[track_caller]
fn all_at_once(world: &World, count: usize, words: &[&str]) -> Vec<Ended> {
    let started: Vec<_> = (0..count).map(|_| world.spawn(words)).collect();
    let ended = started.into_iter().map(|child| Ended::of(&child.wait_with_output().expect("it ends")));
    let ended: Vec<Ended> = ended.collect();
    for one in &ended {
        assert_eq!(one.code, 0, "{one:?}");
    }
    ended
}

/// Nothing was presented twice, nor two things at once.
#[track_caller]
fn one_presenter(world: &World) {
    let stats = world.sandbox.stats();
    assert_eq!(stats.reuse_detected, 0, "{stats:?}");
    assert_eq!(stats.refused, 0, "{stats:?}");
    assert!(stats.most_in_flight <= 1, "{stats:?}");
}

#[track_caller]
fn ask_for_a_token_that_has_ended(world: &World, count: usize) {
    world.let_access_token_end();
    let before = world.sandbox.stats();
    let ended = all_at_once(world, count, &["token"]);
    let tokens: BTreeSet<&str> = ended.iter().map(|one| one.stdout.trim_end()).collect();
    assert_eq!(tokens.len(), 1, "everyone is handed the same token");
    assert_eq!(tokens.first().copied(), world.tokens()["access_token"].as_str());
    let after = world.sandbox.stats();
    assert_eq!(after.requests - before.requests, 1, "one request is sent");
    assert_eq!(after.refreshes - before.refreshes, 1);
    one_presenter(world);
    world.run_ok(&["call", USERS]);
}

#[test]
fn two_processes_refresh_once() {
    let world = World::held_with(strict());
    for _ in 0..5 {
        ask_for_a_token_that_has_ended(&world, 2);
    }
}

#[test]
fn fifty_processes_refresh_once() {
    for config in [strict(), Config::default()] {
        ask_for_a_token_that_has_ended(&World::held_with(config), 50);
    }
}

/// What is being presented may not be presented again, and is waited for all the same.
#[test]
fn fifty_processes_refresh_once_where_a_second_presentation_would_end_the_grant() {
    let world = World::holding(StoreKind::Sqlite, Config { tls: false, ..strict() });
    world.run_ok(&["policy", NAME, "replay=never"]);
    for _ in 0..3 {
        world.let_access_token_end();
        // All of them come while it is under way.
        world.inject(json!([{"kind": "delay", "milliseconds": MEANWHILE}]));
        let before = world.requests();
        let ended = all_at_once(&world, 50, &["token"]);
        let tokens: BTreeSet<&str> = ended.iter().map(|one| one.stdout.trim_end()).collect();
        assert_eq!((tokens.len(), world.requests() - before), (1, 1));
        one_presenter(&world);
    }
}

#[test]
fn fifty_first_runs_spend_one_use_of_the_request_token() {
    let world = World::with(strict());
    world.fill();
    all_at_once(&world, 50, &["run"]);
    let stats = world.sandbox.stats();
    assert_eq!((stats.requests, stats.request_token_uses), (1, 1), "{stats:?}");
    one_presenter(&world);
    assert_eq!(world.status()["generation"], 1);
}

#[test]
fn twenty_persons_who_refresh_at_once_present_each_token_once() {
    let world = World::held_with(strict());
    all_at_once(&world, 20, &["refresh"]);
    one_presenter(&world);
    let refreshes = world.sandbox.stats().refreshes;
    assert!((1..=20).contains(&refreshes), "{refreshes}");
    assert_eq!(world.status()["generation"], 1 + refreshes, "every answer was kept");
    world.run_ok(&["refresh"]);
    one_presenter(&world);
}

#[test]
fn twenty_rejected_calls_force_one_refresh() {
    let world = World::held_with(strict());
    world.sandbox.expire(Expire::Access);
    all_at_once(&world, 20, &["call", USERS]);
    assert_eq!(world.sandbox.stats().refreshes, 1);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
    // Before the refresh some calls were refused for their token, and only for that.
    assert_eq!(world.sandbox.stats().by_grant.get("refresh_token"), Some(&1));
}

#[test]
fn commands_of_all_kinds_at_once_lose_nothing() {
    let world = World::held_with(strict());
    for _ in 0..3 {
        world.let_access_token_end();
        let kinds: [&[&str]; 5] =
            [&["token"], &["refresh"], &["call", USERS], &["run"], &["token", "--min-ttl", "2h"]];
        let started: Vec<_> = (0..4).flat_map(|_| kinds).map(|words| world.spawn(words)).collect();
        for child in started {
            let ended = Ended::of(&child.wait_with_output().expect("it ends"));
            assert_eq!(ended.code, 0, "{ended:?}");
        }
        one_presenter(&world);
    }
    world.run_ok(&["refresh"]);
    one_presenter(&world);
}
