//! An app that speaks for itself: no person, no refresh token, and a valid access token all the same.

mod support;

use perennial_sandbox::Expire;
use serde_json::json;
use support::{Ended, USERS, World};

/// `perennial add svc --app`, with flags alone.
fn added(world: &World) -> Ended {
    let app_id = world.sandbox.ready().app_id.clone();
    world.keep(&["add", "svc", "--app", "--app-id", &app_id, "--client-secret-env", "CLIENT_SECRET"])
}

fn world() -> World {
    let world = World::with(World::plain());
    assert_eq!(added(&world).code, 0);
    world
}

#[test]
fn a_token_is_obtained_and_handed_out_and_nobody_need_act() {
    let world = World::with(World::plain());
    let ended = added(&world);
    assert!(ended.stdout.contains("svc: added, and a grant obtained"), "{ended:?}");
    ended.shows_none_of(&world.sandbox.secrets());
    let status = world.status_of("svc");
    assert_eq!((&status["state"], &status["way"]), (&json!("held"), &json!("client_credentials")));
    assert_eq!(status["refresh_expires_at"], json!(null));
    world.keep_ok(&["call", "svc", USERS]);
    assert_eq!(world.requests(), 1, "law 12: one token for all of it");
}

#[test]
fn law_12_the_next_token_is_obtained_when_the_last_has_ended_and_not_before() {
    let world = world();
    for _ in 0..3 {
        world.keep_ok(&["token", "svc"]);
    }
    assert_eq!(world.requests(), 1);
    let first = world.keep_ok(&["token", "svc"]).stdout;
    // More life than the server gives: one flight, then the newest token with a warning.
    let ended = world.keep_ok(&["token", "svc", "--min-ttl", "2h"]);
    assert_ne!(ended.stdout, first);
    assert_eq!(world.requests(), 2);
}

#[test]
fn law_12_a_rejected_token_is_replaced_once() {
    let world = world();
    world.sandbox.expire(Expire::Access);
    world.keep_ok(&["call", "svc", USERS]);
    assert_eq!(world.requests(), 2);
    assert_eq!(world.status_of("svc")["generation"], 2);
}

#[test]
fn a_failure_is_waited_out_and_a_wrong_secret_stops() {
    let world = world();
    world.inject(json!([{"kind": "status", "status": 503}]));
    let ended = world.keep(&["refresh", "svc"]);
    ended.is_trouble(&world, 4, "503", "try again");
    assert_eq!(world.status_of("svc")["state"], "uncertain");
    world.keep_ok(&["refresh", "svc"]);
    world.inject(json!([{"kind": "error", "code": 64}]));
    let ended = world.keep(&["refresh", "svc"]);
    ended.is_trouble(&world, 3, "code 64: the client secret is wrong", "OAuth 2.0 Application Management");
    assert_eq!(world.status_of("svc")["state"], "suspended");
    let token = world.keep_ok(&["token", "svc"]);
    assert!(!token.stdout.is_empty(), "law 9: what lives is served");
}

#[test]
fn housekeeping_leaves_it_alone() {
    let world = world();
    let ended = world.keep_ok(&["refresh", "--all", "--due"]);
    assert_eq!(world.requests(), 1, "{ended:?}");
}

#[test]
fn a_new_secret_is_proved_by_a_token() {
    let world = world();
    let ended = world.keep_ok(&["reauthorize", "svc", "--client-secret-env", "CLIENT_SECRET"]);
    assert!(ended.stdout.contains("svc: a new grant is obtained"), "{ended:?}");
    assert_eq!(world.requests(), 2);
}

/// It obtains by itself whenever its token ends: with the scope that works.
#[test]
fn a_scope_that_is_refused_is_not_left_behind() {
    let world = world();
    world.keep_ok(&["reauthorize", "svc", "--scope", "user.read"]);
    let asks = || world.connection("svc").obtaining.scope;
    assert_eq!(asks().as_deref(), Some("user.read"));
    let refused = world.keep(&["reauthorize", "svc", "--scope", "nobodys"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(asks().as_deref(), Some("user.read"));
    assert_eq!(world.status_of("svc")["state"], "held", "nor does it stop what works");
    let requests = world.requests();
    world.keep_ok(&["token", "svc", "--min-ttl", "2h"]);
    assert_eq!(world.requests(), requests + 1, "and the next token is obtained");
    assert_eq!(world.keep(&["reauthorize", "svc", "--scope", "a\"b"]).code, 2);
    let log = world.keep_ok(&["log", "svc"]).stdout;
    for part in [
        "asks for the scope \"nobodys\" from now on",
        "no grant came of it: the scope of before is asked for again",
    ] {
        assert!(log.contains(part), "no {part} in {log}");
    }
}
