//! A grant is gone, and the company request token is young: the keeper obtains a new grant by itself, once, counts the
//! use before it is sent, and keeps the old grant (laws 4, 5 and 12). In all other cases a person is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire, Rotate};
use serde_json::{Value, json};
use std::fs;
use support::power::{Power, calls, prepare};
use support::{Ended, TOKEN_FILE, World, wait_until, write_json};

const HOUR: i64 = 3600;

/// A grant is held that the server has ended, and its access token has ended too.
fn gone() -> World {
    let world = World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() });
    world.sandbox.expire(Expire::Refresh);
    world.let_access_token_end();
    world
}

fn own(world: &World) -> Value {
    world.tokens()["perennial"].clone()
}

fn change_own(world: &World, change: impl Fn(&mut Value)) {
    let mut tokens = world.tokens();
    change(&mut tokens["perennial"]);
    write_json(&world.token_file(), &tokens);
}

/// The request token was first used this long ago.
fn let_request_token_age(world: &World, seconds: i64) {
    change_own(world, |own| {
        let first = own["request_token"]["first_used_at"].as_i64().unwrap();
        own["request_token"]["first_used_at"] = json!(first - seconds);
    });
}

/// A person is told, and the request token is not spent.
#[track_caller]
fn a_person_is_told(world: &World) {
    let (before, token) = (world.sandbox.stats(), world.refresh_token());
    world.run(&["token"]).is_trouble(world, 3, "code 108", "companyRequestToken");
    let after = world.sandbox.stats();
    assert_eq!(after.requests - before.requests, 1, "{after:?}");
    assert_eq!(after.request_token_uses, before.request_token_uses);
    assert_eq!((world.refresh_token(), &world.status()["state"]), (token, &json!("needs_reauthorization")));
    world.run(&["token"]).is_trouble(world, 3, "", "companyRequestToken");
    assert_eq!(world.requests(), after.requests, "law 12");
}

#[test]
fn a_grant_that_is_gone_is_obtained_anew_and_the_old_one_is_kept() {
    for (words, minutes) in [(&["token"][..], 0), (&["refresh"], 0), (&["run"], 23 * 60 + 50)] {
        let world = gone();
        let_request_token_age(&world, minutes * 60);
        let (old, token) = (own(&world), world.refresh_token());
        // `run` asks only for what is due.
        change_own(&world, |own| own["refreshed_at"] = json!(1_000_000_000));
        let before = world.sandbox.stats();
        let ended = world.run_ok(words);
        let stats = world.sandbox.stats();
        assert_eq!(stats.requests - before.requests, 2, "{words:?}: {ended:?}");
        assert_eq!(stats.request_token_uses, 2);
        let new = own(&world);
        assert_eq!(new["request_token"]["uses"], 2, "law 4: {new}");
        assert_ne!(new["grant_id"], old["grant_id"]);
        assert_eq!((&new["generation"], &new["condition"]), (&json!(2), &Value::Null));
        assert_eq!(new["previous"][0]["refresh_token"], token, "law 5");
        assert_eq!(new["previous"][0]["grant_id"], old["grant_id"]);
        assert_ne!(world.refresh_token(), token);
        assert_eq!(events(&world), ["obtained", "refused", "needs_reauthorization", "obtained", "recovered"]);
        world.run_ok(&["refresh"]);
        assert_eq!(
            own(&world)["previous"].as_array().map(Vec::len),
            Some(1),
            "the new one has proved itself"
        );
        ended.shows_none_of(&world.sandbox.secrets());
    }
}

/// What the journal tells, by name.
fn events(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.dir().join(format!("{TOKEN_FILE}.journal"))).unwrap();
    let name =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned();
    text.lines().map(name).collect()
}

#[test]
fn a_request_token_that_has_had_its_day_is_not_presented() {
    let world = gone();
    let_request_token_age(&world, 24 * HOUR);
    a_person_is_told(&world);
}

#[test]
fn a_request_token_that_is_used_up_is_not_presented() {
    let world = gone();
    change_own(&world, |own| own["request_token"]["uses"] = json!(5));
    a_person_is_told(&world);
}

#[test]
fn without_a_request_token_a_person_is_told() {
    let world = gone();
    world.forget_request_token();
    a_person_is_told(&world);
}

#[test]
fn a_request_token_whose_age_nobody_knows_is_a_persons_to_use() {
    let world = gone();
    world.set_request_token(&world.sandbox.mint_request_token());
    a_person_is_told(&world);
    world.run_ok(&["run"]);
    assert_eq!(world.status()["state"], "held");
}

#[test]
fn a_refused_request_token_is_presented_once_and_not_by_every_command() {
    let world = gone();
    let token = world.refresh_token();
    world.sandbox.expire(Expire::RequestToken);
    let before = world.requests();
    world.run(&["token"]).is_trouble(&world, 3, "code 5", "companyRequestToken");
    assert_eq!(world.requests() - before, 2);
    for words in [&["token"][..], &["token", "--min-ttl", "2h"], &["call", support::USERS]] {
        assert_eq!(world.run(words).code, 3, "{words:?}");
    }
    assert_eq!(world.requests() - before, 2, "law 12");
    assert_eq!((world.refresh_token(), &world.status()["state"]), (token, &json!("needs_reauthorization")));
    world.set_request_token(&world.sandbox.mint_request_token());
    world.run_ok(&["run"]);
}

#[test]
fn a_new_grant_that_is_refused_at_once_is_not_replaced_in_the_same_flight() {
    let world = gone();
    let refused = json!({"kind": "error", "code": 108, "grant": "refresh_token", "count": 9});
    world.inject(json!([refused]));
    world.run_ok(&["token"]);
    let before = world.requests();
    world.run_ok(&["refresh"]);
    assert_eq!(world.requests() - before, 2, "one refresh, one obtaining");
    assert_eq!(world.sandbox.stats().request_token_uses, 3);
}

#[test]
fn law_13_a_new_grant_of_somebody_else_is_kept_aside() {
    let world = gone();
    let token = world.refresh_token();
    world.inject(json!([{"kind": "other_principal", "grant": "password"}]));
    let ended = world.run(&["token"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
    assert_eq!(own(&world)["candidates"][0]["reason"], "other_principal");
    assert_eq!(world.refresh_token(), token);
}

#[test]
fn law_2_twenty_processes_whose_grant_is_gone_obtain_one() {
    let world = gone();
    let before = world.requests();
    let started: Vec<_> = (0..20).map(|_| world.spawn(&["token"])).collect();
    let ended: Vec<_> = started.into_iter().map(Ended::landed).collect();
    for one in &ended {
        assert_eq!((one.code, &one.stdout), (0, &ended[0].stdout), "{one:?}");
    }
    let stats = world.sandbox.stats();
    assert_eq!(
        (stats.requests - before, stats.request_token_uses, stats.most_in_flight),
        (2, 2, 1),
        "{stats:?}"
    );
}

#[test]
fn law_4_whoever_is_killed_in_between_is_succeeded_by_who_comes_next() {
    for at in 1..200 {
        let world = gone();
        let before = world.requests();
        let (mut command, trace) = prepare(&world, Power::Cut(at), &["token"]);
        let killed = command.output().unwrap();
        let trace = calls(&trace);
        if killed.status.success() {
            assert!(at > 20, "so few calls cannot be all of them: {trace:#?}");
            return;
        }
        let next = world.run(&["token"]);
        assert_eq!(next.code, 0, "no person is needed: {trace:#?} {next:?}");
        let (stats, counted) = (world.sandbox.stats(), own(&world)["request_token"]["uses"].as_u64());
        assert!(counted >= Some(stats.request_token_uses), "counted before it is sent: {trace:#?}");
        assert!(stats.request_token_uses <= 3 && stats.requests - before <= 4, "{trace:#?} {stats:?}");
        world.run_ok(&["refresh"]);
        assert_eq!(world.sandbox.stats().reuse_detected, 0, "{trace:#?}");
    }
    panic!("no end of calls");
}

#[test]
fn law_7_whoever_hangs_while_it_obtains_is_succeeded_too() {
    let world = gone();
    world.inject(json!([{"kind": "hang", "spent": true, "grant": "password"}]));
    let before = world.requests();
    let mut child = world.spawn(&["token"]);
    wait_until("the request token is under way", || world.requests() - before == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    world.run_ok(&["token"]);
    assert_eq!(own(&world)["request_token"]["uses"], 3);
    assert_eq!(world.sandbox.stats().request_token_uses, 3);
}
