//! `perennial recover`: a grant that was refused or is in doubt comes back, in the permitted order, and nothing that is
//! kept is given up.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire, Regrant, Rotate};
use serde_json::{Value, json};
use support::{Ended, World, write_json};

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// What would be tried, in its order.
fn to_try(world: &World) -> Vec<String> {
    let shown = json_of(&world.keep_ok(&["recover", "acme", "--dry-run", "--json"]));
    let remedies = shown["to_try"].as_array().expect("a list").iter();
    remedies.map(|remedy| remedy["what"].as_str().expect("a word").to_owned()).collect()
}

/// One grant took the place of another, and then the server forgot the newer one.
fn replaced_and_refused(config: Config) -> World {
    let world = World::with(config);
    world.add("acme");
    world.keep_ok(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
    world.sandbox.expire(Expire::RequestToken);
    world.inject(json!([{"kind": "error", "code": 108}]));
    assert_eq!(world.keep(&["refresh", "acme"]).code, 3);
    assert_eq!(world.status_of("acme")["state"], "needs_reauthorization");
    world
}

#[test]
fn what_is_well_is_left_alone() {
    let world = World::with(World::plain());
    world.add("acme");
    let ended = world.keep_ok(&["recover"]);
    assert!(ended.stdout.starts_with("acme is held\n"), "{ended:?}");
    assert!(ended.stderr.contains("nothing stands in the way; nothing was sent"), "{ended:?}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_dry_run_shows_fingerprints_and_sends_nothing() {
    let world = replaced_and_refused(World::plain());
    let before = world.requests();
    let ended = world.keep_ok(&["recover", "acme", "--dry-run"]);
    assert_eq!(world.requests(), before);
    for part in [
        "acme is needs_reauthorization",
        "last fault",
        "in force",
        "replaced",
        "to try",
        "1. the refresh token in force",
    ] {
        assert!(ended.stdout.contains(part), "no \"{part}\" in {ended:?}");
    }
    assert!(ended.stderr.contains("nothing was sent"), "{ended:?}");
    assert_eq!(to_try(&world), ["in_force", "replaced", "request_token"]);
}

#[test]
fn law_5_a_refused_token_that_works_again_is_all_it_takes() {
    let world = replaced_and_refused(World::plain());
    let before = world.requests();
    let ended = world.keep_ok(&["recover", "acme"]);
    assert!(
        ended.stdout.contains("✓ the refresh token in force, ") && ended.stdout.contains(": it works"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("acme is back, in generation 3"), "{ended:?}");
    assert_eq!(world.requests(), before + 1);
    assert_eq!(world.status_of("acme")["state"], "held");
    assert!(world.events("acme").ends_with(&["refreshed".to_owned(), "recovered".to_owned()]));
}

#[test]
fn law_5_the_grant_before_takes_the_place_of_a_refused_one_which_is_kept() {
    let world = replaced_and_refused(World::plain());
    let shown = json_of(&world.keep_ok(&["recover", "acme", "--dry-run", "--json"]));
    let (refused, older) = (
        shown["kept"]["in_force"]["fingerprint"].clone(),
        shown["kept"]["replaced"][0]["fingerprint"].clone(),
    );
    world.inject(json!([{"kind": "error", "code": 108}]));
    let before = world.requests();
    let told = json_of(&world.keep_ok(&["recover", "acme", "--json"]));
    assert_eq!(told["recovered"], true);
    let tried: Vec<_> =
        told["tried"].as_array().expect("a list").iter().map(|tried| &tried["worked"]).collect();
    assert_eq!(tried, [&json!(false), &json!(true)]);
    assert_eq!(world.requests(), before + 2, "one request each");
    assert_eq!(
        told["kept"]["in_force"],
        json!({"fingerprint": older, "generation": 3,
        "issued_at": told["kept"]["in_force"]["issued_at"]})
    );
    assert_eq!(told["kept"]["replaced"][0]["fingerprint"], refused);
    assert_eq!(world.status_of("acme")["state"], "held");
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn where_everything_is_refused_everything_is_kept_and_a_person_is_told() {
    let world = replaced_and_refused(World::plain());
    let kept = || json_of(&world.keep_ok(&["recover", "acme", "--dry-run", "--json"]))["kept"].clone();
    let before = kept();
    world.sandbox.expire(Expire::Refresh);
    let ended = world.keep(&["recover", "acme"]);
    ended.is_trouble(
        &world,
        3,
        "nothing that is kept works; all of it is still kept",
        "perennial reauthorize acme",
    );
    assert_eq!(ended.stdout.matches('✗').count(), 3, "a line for each try: {ended:?}");
    assert_eq!(kept(), before);
    assert_eq!(world.status_of("acme")["state"], "needs_reauthorization");
    // An administrator has made a new request token.
    world.keep_ok(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
}

#[test]
fn what_passes_ends_the_tries_for_it_says_nothing_about_the_tokens() {
    let world = replaced_and_refused(World::plain());
    for (fault, exit, says) in [
        (json!({"kind": "error", "code": 134}), 4, "scheduled maintenance"),
        (json!({"kind": "error", "code": 61}), 3, "no app has this App ID"),
        (json!({"kind": "reset"}), 4, "the connection ended before an answer came"),
    ] {
        let before = world.requests();
        world.inject(json!([fault]));
        let ended = world.keep(&["recover", "acme"]);
        ended.is_trouble(&world, exit, says, "perennial re");
        assert_eq!(world.requests(), before + 1, "{fault}");
    }
    assert_eq!(world.keep_ok(&["recover", "acme"]).stdout.matches('✓').count(), 1);
}

#[test]
fn law_7_with_rotation_an_open_intent_is_waited_out_before_anything_is_presented() {
    let world = World::with(Config { rotate: Rotate::Always, ..World::plain() });
    world.add("acme");
    world.keep_ok(&["policy", "acme", "replay=never"]);
    world.sandbox.expire(Expire::RequestToken);
    // The answer is lost: the token may be spent, and a second presentation would end the grant.
    world.inject(json!([{"kind": "reset", "spent": true}]));
    assert_eq!(world.keep(&["refresh", "acme"]).code, 4);
    assert_eq!(world.status_of("acme")["state"], "uncertain");
    let before = world.requests();
    let ended = world.keep(&["recover", "acme"]);
    ended.is_trouble(&world, 4, "the refresh token in force", "try again from");
    assert_eq!((world.requests(), world.sandbox.stats().reuse_detected), (before, 0));
    assert_eq!(world.keep(&["token", "acme"]).code, 0, "law 9: what lives is handed out");
}

#[test]
fn a_young_request_token_is_the_last_remedy() {
    let world = World::with(Config { regrant: Regrant::Invalidate, ..World::plain() });
    world.add("acme");
    world.sandbox.expire(Expire::Refresh);
    // The flight's own chance to obtain anew meets maintenance.
    world.inject(json!([{"kind": "error", "code": 108}, {"kind": "error", "code": 134}]));
    assert_ne!(world.keep(&["refresh", "acme"]).code, 0);
    assert_eq!(to_try(&world), ["in_force", "request_token"]);
    let ended = world.keep_ok(&["recover", "acme"]);
    assert!(ended.stdout.contains("✗ the refresh token in force"), "{ended:?}");
    assert!(ended.stdout.contains("✓ the company request token that is kept: it works"), "{ended:?}");
    assert_eq!(world.status_of("acme")["state"], "held");
}

#[test]
fn without_any_tokens_there_is_nothing_to_try() {
    let world = World::with(World::plain());
    world.keep_ok(&world.adding("acme", &["--later"]));
    let ended = world.keep_ok(&["recover", "acme"]);
    assert!(ended.stdout.contains("✓ the company request token that is kept"), "{ended:?}");
    let dir = World::filled();
    dir.run(&["recover"]).is_trouble(&dir, 3, "there are no tokens", "put it into credentials.json");
    world.keep(&["recover", "west"]).is_trouble(&world, 2, "no connection named \"west\"", "perennial list");
}

#[test]
fn saps_two_files_are_recovered_the_same_way() {
    let world = World::held_with(World::plain());
    world.sandbox.expire(Expire::RequestToken);
    world.inject(json!([{"kind": "error", "code": 108}]));
    assert_eq!(world.run(&["refresh"]).code, 3);
    let ended = world.run_ok(&["recover"]);
    assert!(ended.stdout.contains("✓ the refresh token in force"), "{ended:?}");
    ended.shows_none_of(&world.secrets());
}

#[test]
fn law_6_a_late_answer_goes_first_and_has_to_prove_itself() {
    let world = World::held_with(Config { rotate: Rotate::Always, ..World::plain() });
    let sample = world.by_the_sample();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    world.write_as_the_sample(&sample);
    assert_eq!(Ended::landed(child).code, 0);
    world.run_ok(&["refresh"]);
    let mut tokens = world.tokens();
    tokens["perennial"]["condition"] = json!({"state": "needs_reauthorization"});
    write_json(&world.token_file(), &tokens);

    // It comes along into a database, and is the first thing to be tried there, too.
    world.keep_ok(&["add", "acme", "--from-dir", "."]);
    assert_eq!(to_try(&world)[..2], ["late_answer", "in_force"]);
    let before = world.requests();
    let ended = world.keep_ok(&["recover", "acme"]);
    assert!(ended.stdout.contains("✓ the late answer with "), "{ended:?}");
    assert_eq!((world.requests(), world.sandbox.stats().reuse_detected), (before + 1, 0));
    assert_eq!(world.status_of("acme")["state"], "held");
    let events = world.events("acme");
    assert!(events.ends_with(&["adopted", "recovered", "refreshed"].map(str::to_owned)), "{events:?}");
}
