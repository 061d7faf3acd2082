//! Law 12: restraint. Nobody is asked more often than it helps, whoever asks, and from however many processes; and law
//! 9: what is valid is served meanwhile.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use perennial_sandbox::{Config, Rotate};
use serde_json::{Value, json};
use support::{Ended, USERS, World, write_json};

fn strict() -> World {
    World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() })
}

/// A fault for every request of a kind that is yet to come.
fn from_now_on(world: &World, mut fault: Value) {
    fault["count"] = 1000.into();
    world.inject(json!([fault]));
}

/// Changes our bookkeeping, as time would.
fn change(world: &World, how: impl Fn(&mut Value)) {
    let mut tokens = world.tokens();
    how(&mut tokens["perennial"]);
    write_json(&world.token_file(), &tokens);
}

fn let_the_wait_end(world: &World) {
    change(world, |own| own["condition"]["until"] = 1_000_000_000.into());
}

fn let_renewal_be_due(world: &World) {
    change(world, |own| {
        let refreshed_at = own["refreshed_at"].as_i64().expect("a time");
        own["refreshed_at"] = (refreshed_at - 8 * 24 * 3600).into();
    });
}

fn at_once(world: &World, count: usize, words: &[&str]) -> Vec<Ended> {
    let started: Vec<_> = (0..count).map(|_| world.spawn(words)).collect();
    started.into_iter().map(|child| Ended::of(&child.wait_with_output().expect("it ends"))).collect()
}

#[test]
fn a_403_for_ever_forces_one_refresh_in_five_minutes() {
    let world = strict();
    from_now_on(&world, json!({"kind": "status", "status": 403, "on": "api"}));
    for ended in at_once(&world, 10, &["call", USERS]) {
        assert_eq!(ended.code, 1, "{ended:?}");
    }
    for _ in 0..5 {
        let ended = world.run(&["call", USERS]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("not tried again with a new token"), "{ended:?}");
    }
    assert_eq!(world.sandbox.stats().refreshes, 1);

    change(&world, |own| own["forced_at"] = (own["forced_at"].as_i64().expect("a time") - 300).into());
    for ended in at_once(&world, 10, &["call", USERS]) {
        assert_eq!(ended.code, 1, "{ended:?}");
    }
    assert_eq!((world.sandbox.stats().refreshes, world.sandbox.stats().reuse_detected), (2, 0));
}

#[test]
fn a_server_that_fails_is_asked_once_by_however_many() {
    for fault in [
        json!({"kind": "status", "status": 429}),
        json!({"kind": "status", "status": 503}),
        json!({"kind": "reset"}),
        json!({"kind": "html", "status": 502}),
        json!({"kind": "error", "code": 134}),
    ] {
        let world = strict();
        world.let_access_token_end();
        // A wait of its own may be as short as a second: this one is not over before the last process has looked.
        let mut fault = fault;
        if fault["kind"] == "status" {
            fault["retry_after"] = 600.into();
        }
        from_now_on(&world, fault.clone());
        let before = world.requests();
        for ended in at_once(&world, 20, &["token"]) {
            assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{fault}: {ended:?}");
        }
        assert_eq!(world.requests() - before, 1, "{fault}");
    }
}

#[test]
fn retry_after_is_honoured_in_both_forms_and_across_processes() {
    let hour = SignedDuration::from_hours(1);
    let date =
        DateTimePrinter::new().timestamp_to_rfc9110_string(&(Timestamp::now() + hour)).expect("a date");
    for retry_after in [json!(3600), json!("3600"), json!(date)] {
        for (status, state) in [(429, "backing_off"), (503, "uncertain")] {
            let world = strict();
            world.let_access_token_end();
            world.inject(json!([{"kind": "status", "status": status, "retry_after": retry_after}]));
            let asked_at = Timestamp::now().as_second();
            world.run(&["token"]).is_trouble(&world, 4, &format!("{status}"), "");
            let asked = world.requests();
            assert_eq!(world.status()["state"], state);
            let until = world.tokens()["perennial"]["condition"]["until"].as_i64().expect("a time");
            assert!((3595..=3600 + 365).contains(&(until - asked_at)), "{retry_after}: {}", until - asked_at);

            for words in [&["token"][..], &["call", USERS], &["refresh", "--due"], &["token", "--json"]] {
                let ended = world.run(words);
                let due = words.contains(&"--due");
                assert_eq!(ended.code, if due { 0 } else { 4 }, "{words:?}: {ended:?}");
            }
            assert_eq!(world.requests(), asked, "nothing is sent before its time");

            let_the_wait_end(&world);
            world.run_ok(&["token"]);
            assert_eq!((world.requests(), world.status()["state"].as_str()), (asked + 1, Some("held")));
        }
    }
}

#[test]
fn a_person_may_insist() {
    let world = strict();
    world.let_access_token_end();
    world.inject(json!([{"kind": "status", "status": 503, "retry_after": 3600}]));
    assert_eq!(world.run(&["token"]).code, 4);
    let asked = world.requests();
    let ended = world.run(&["token"]);
    ended.is_trouble(&world, 4, "the next one is being waited for", "perennial refresh");
    assert_eq!(world.requests(), asked);
    world.run_ok(&["refresh"]);
    assert_eq!(world.requests(), asked + 1);
    assert_eq!(world.status()["state"], "held");
}

#[test]
fn a_final_verdict_is_not_asked_for_again_but_by_a_person() {
    for (code, state, exit) in [
        (61, "suspended", 3),
        (54, "suspended", 3),
        (108, "needs_reauthorization", 3),
        (10, "suspended", 3),
        (115, "suspended", 1),
    ] {
        let world = strict();
        world.forget_request_token();
        let kept = world.refresh_token();
        world.let_access_token_end();
        let_renewal_be_due(&world);
        world.inject(json!([{"kind": "error", "code": code}]));
        let before = world.requests();
        assert_ne!(world.run(&["token"]).code, 0);
        assert_eq!((world.requests() - before, world.status()["state"].as_str()), (1, Some(state)), "{code}");
        for words in [&["token"][..], &["refresh", "--due"], &["call", USERS], &["token", "--min-ttl", "2h"]]
        {
            let ended = world.run(words);
            assert_eq!(ended.code, exit, "{code}: {words:?}: {ended:?}");
        }
        assert_eq!(world.requests() - before, 1, "{code}");
        assert_eq!(world.refresh_token(), kept, "law 5");
        world.run_ok(&["refresh"]);
        assert_eq!(world.status()["state"], "held", "{code}");
        assert_eq!(world.sandbox.stats().reuse_detected, 0);
    }
}

#[test]
fn a_code_that_is_not_documented_is_tried_three_times_more_and_is_never_the_end_of_a_grant() {
    let world = strict();
    let kept = world.refresh_token();
    world.let_access_token_end();
    from_now_on(&world, json!({"kind": "error", "code": 9_999}));
    let before = world.requests();
    for tried in 1..=4 {
        world.run(&["token"]);
        assert_eq!(world.requests() - before, tried);
        assert_eq!(world.run(&["token"]).code, if tried < 4 { 4 } else { 3 });
        let state = world.status()["state"].clone();
        assert_eq!(state, if tried < 4 { "backing_off" } else { "suspended" }, "{tried}");
        if tried < 4 {
            let_the_wait_end(&world);
        }
    }
    assert_eq!(world.requests() - before, 4, "a suspended connection is left alone");
    world.run(&["token"]).is_trouble(&world, 3, "code 9999", "is left alone now");
    assert_eq!(world.refresh_token(), kept);
    world.sandbox.clear_faults();
    world.run_ok(&["refresh"]);
    assert_eq!(world.status()["state"], "held");
}

#[test]
fn law_9_a_valid_token_is_served_while_refreshing_fails() {
    for fault in [
        json!({"kind": "status", "status": 503, "retry_after": 600}),
        json!({"kind": "error", "code": 61}),
        json!({"kind": "error", "code": 108}),
        json!({"kind": "error", "code": 134}),
        json!({"kind": "html"}),
    ] {
        let world = strict();
        let token = world.run_ok(&["token"]).stdout;
        from_now_on(&world, fault.clone());
        let before = world.requests();
        for _ in 0..3 {
            let ended = world.run_ok(&["token", "--min-ttl", "2h"]);
            assert_eq!(ended.stdout, token, "{fault}");
            assert!(ended.stderr.contains("warning: the token lives only"), "{fault}: {ended:?}");
        }
        let sent = world.requests() - before;
        assert!((1..=2).contains(&sent), "{fault}: {sent}");
        assert_eq!(world.run_ok(&["token"]).stderr, "", "a plain wish is met without a word: {fault}");
        world.run_ok(&["call", USERS]);
    }
}

#[test]
fn a_renewal_that_fails_harms_nothing_and_is_not_repeated_at_once() {
    let world = strict();
    let_renewal_be_due(&world);
    from_now_on(&world, json!({"kind": "status", "status": 503, "retry_after": 600}));
    let before = world.requests();
    let ended = world.run_ok(&["token"]);
    assert!(ended.stderr.contains("due for renewal, and that failed"), "{ended:?}");
    for words in [&["token"][..], &["call", USERS], &["run"]] {
        world.run_ok(words);
    }
    world.run(&["refresh", "--due"]).is_trouble(&world, 4, "waited for", "perennial refresh");
    assert_eq!(world.requests() - before, 1);
    world.sandbox.clear_faults();
    let_the_wait_end(&world);
    world.run_ok(&["call", USERS]);
    assert_eq!((world.requests() - before, world.sandbox.stats().refreshes), (2, 1), "`call` renews too");
    assert_eq!(world.status()["generation"], 2);
}

#[test]
fn no_token_is_minted_within_anothers_life() {
    let world = strict();
    for words in [&["token"][..], &["call", USERS], &["run"], &["status"], &["whoami"], &["refresh", "--due"]]
    {
        for ended in at_once(&world, 5, words) {
            assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        }
    }
    assert_eq!(world.requests(), 1, "the one that obtained it");
}
