//! `perennial revoke` and `remove --revoke`: the server ends the grant, a person is told what that means, and what is held
//! stays.

mod support;

use perennial_sandbox::Expire;
use serde_json::{Value, json};
use support::World;

fn world() -> World {
    let world = World::with(World::plain());
    world.add("acme");
    world
}

#[test]
fn nobody_is_revoked_without_being_asked() {
    let world = world();
    let ended = world.keep(&["revoke", "acme"]);
    ended.is_trouble(
        &world,
        2,
        "nobody is there to be asked whether acme is to be revoked",
        "perennial revoke acme --yes",
    );
    assert_eq!(world.status_of("acme")["state"], "held");
}

#[test]
fn law_5_a_revoked_grant_is_kept_marked_and_served_no_more() {
    let world = world();
    let ended = world.keep_ok(&["revoke", "acme", "--yes"]);
    let company = &world.sandbox.ready().company_uuid;
    let says = format!("every refresh token that the principal {company} has for this app ends");
    assert!(ended.stdout.contains(&says), "{ended:?}");
    assert_eq!(world.status_of("acme")["state"], "revoked");
    assert!(world.events("acme").contains(&"revoked".to_owned()));
    let ended = world.keep(&["token", "acme"]);
    ended.is_trouble(&world, 3, "the connection is revoked", "a new company request token is needed");
    // The server has ended it, and a person who insists hears that from the server.
    let ended = world.keep(&["refresh", "acme"]);
    ended.is_trouble(&world, 3, "code 108", "perennial recover acme");
}

#[test]
fn a_bearer_that_has_ended_is_replaced_first() {
    let world = world();
    world.sandbox.expire(Expire::Access);
    world.keep_ok(&["revoke", "acme", "--yes"]);
    assert_eq!(world.requests(), 2, "one refresh for it");
    assert_eq!(world.status_of("acme")["state"], "revoked");
}

#[test]
fn what_the_server_did_not_end_is_not_marked() {
    let world = world();
    world.sandbox.expire(Expire::Access);
    world.inject(json!([{"kind": "error", "code": 134}]));
    let ended = world.keep(&["revoke", "acme", "--yes"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("acme is not revoked: "), "{ended:?}");
    assert_ne!(world.status_of("acme")["state"], "revoked");
    let ended = world.keep(&["remove", "acme", "--yes", "--revoke", "--timeout", "1s"]);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert_eq!(world.names(), ["acme"], "and nothing is put away");
}

/// Killed between the server's act and our mark: nobody is told, and yet the grant is not fetched anew by itself.
#[test]
fn a_process_that_dies_while_it_revokes_brings_nothing_back() {
    let world = world();
    world.inject(json!([{"on": "api", "kind": "hang", "spent": true}]));
    let mut child = world.keeps(&["revoke", "acme", "--yes"]).spawn().expect("it starts");
    support::wait_until("the server has ended the grant", || world.sandbox.stats().revocations == 1);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let ended = world.keep(&["refresh", "acme"]);
    ended.is_trouble(&world, 3, "code 108", "perennial recover acme");
    assert_eq!(world.sandbox.stats().request_token_uses, 1, "the request token was young, and is let lie");
    assert_eq!(world.status_of("acme")["state"], "needs_reauthorization");
}

#[test]
fn a_request_token_is_as_good_as_before_where_nothing_was_revoked() {
    let world = world();
    world.inject(json!([{"on": "api", "kind": "status", "status": 503}]));
    let ended = world.keep(&["revoke", "acme", "--yes"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    let ended = world.keep_ok(&["reauthorize", "acme"]);
    assert!(ended.stdout.contains("a new grant is obtained"), "{ended:?}");
    assert_eq!(world.sandbox.stats().request_token_uses, 2);
}

#[test]
fn remove_revokes_where_it_is_told_to() {
    let world = world();
    let ended = world.keep_ok(&["remove", "acme", "--yes", "--revoke"]);
    assert!(ended.stderr.contains("its grant was revoked"), "{ended:?}");
    world.keep_ok(&["remove", "--undo", "acme"]);
    assert_eq!(world.status_of("acme")["state"], "revoked");
}

#[test]
fn a_new_request_token_brings_it_back() {
    let world = world();
    world.keep_ok(&["revoke", "acme", "--yes"]);
    let token = world.sandbox.mint_request_token();
    let mut command = world.keeps(&["reauthorize", "acme", "--request-token-env", "NEW"]);
    let ended = support::Ended::of(&command.env("NEW", token).output().expect("it runs"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.status_of("acme")["state"], "held");
}

#[test]
fn certification_shows_its_evidence_and_no_secret() {
    let world = world();
    let rows = |world: &World| -> Vec<(String, String)> {
        let ended = world.keep(&["doctor", "--certification", "--json"]);
        ended.shows_none_of(&world.sandbox.secrets());
        let page: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        let row = |row: &Value| {
            (
                row["asks"].as_str().expect("a row").to_owned(),
                row["standing"].as_str().expect("a row").to_owned(),
            )
        };
        page["rows"].as_array().expect("rows").iter().map(row).collect()
    };
    let standing = |world: &World, asks: &str| {
        rows(world).into_iter().find(|(row, _)| row.contains(asks)).map(|(_, standing)| standing).expect(asks)
    };
    assert_eq!(rows(&world).len(), 7);
    assert_eq!(standing(&world, "geolocation"), "shown");
    for asks in
        ["refresh token is stored", "expiry date", "revoked", "correlation id", "in an EU", "seven days"]
    {
        assert_eq!(standing(&world, asks), "not seen yet", "{asks}");
    }
    world.keep_ok(&["refresh", "acme"]);
    world.inject(json!([{"kind": "error", "code": 134}]));
    world.keep(&["refresh", "acme"]);
    world.keep_ok(&["refresh", "acme"]);
    world.keep_ok(&["revoke", "acme", "--yes"]);
    for asks in ["refresh token is stored", "expiry date", "revoked", "correlation id"] {
        assert_eq!(standing(&world, asks), "shown", "{asks}");
    }
    let page = world.keep(&["doctor", "--certification"]);
    assert_eq!(page.code, 3, "some rows are not shown yet");
    for part in ["# Token management of Perennial", "## 4. ", "correlation id ", "Next: "] {
        assert!(page.stdout.contains(part), "{page:?}");
    }
    page.shows_none_of(&world.sandbox.secrets());
}

#[test]
fn certification_does_not_pass_plain_files() {
    let world = World::held_with(World::plain());
    let page = world.run(&["doctor", "--certification"]);
    assert!(page.stdout.contains("NOT MET"), "{page:?}");
}
