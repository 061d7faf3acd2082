//! `perennial support`: what SAP's support asks for, in a file without any secret.

mod support;

use perennial_sandbox::{Config, Expire, Rotate};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{Ended, World};

fn world() -> World {
    let world = World::with(Config { rotate: Rotate::Always, ..World::plain() });
    world.add("acme");
    world.keep_ok(&["refresh", "acme"]);
    world.keep_ok(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
    world.keep_ok(&["policy", "acme", "renew_after=3d"]);
    world.sandbox.expire(Expire::RequestToken);
    world.inject(json!([{"kind": "error", "code": 108}]));
    assert_eq!(world.keep(&["refresh", "acme"]).code, 3);
    world
}

#[test]
fn the_file_tells_what_support_asks_for_and_is_its_owners_alone() {
    let world = world();
    let ended = world.keep_ok(&["support"]);
    let path = world.dir().join(ended.stdout.trim());
    assert!(ended.stdout.starts_with("perennial-support-acme-"), "{ended:?}");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(path).expect("text");
    let ready = world.sandbox.ready();
    for part in [
        env!("CARGO_PKG_VERSION"),
        "store             sqlite",
        "measured skew     0 s",
        &ready.app_id,
        &ready.company_uuid,
        world.sandbox.base_uri(),
        "state             needs_reauthorization",
        "policy overrides  renew_after=3d",
        "code              5",
        "correlation id    ",
        "verdict           grant_gone",
        "proxy             none",
        "refused: code 108: the refresh token is wrong or expired",
        "obtained: refresh token",
    ] {
        assert!(text.contains(part), "no \"{part}\" in {text}");
    }
}

#[test]
fn law_10_no_secret_is_in_it() {
    let world = world();
    let access = world.keep(&["token", "acme"]).stdout.trim().to_owned();
    let mut command = world.keeps(&["support", "acme", "--output", "-"]);
    command.env("HTTPS_PROXY", "http://someone:proxy-canary@proxy.example:8080");
    let ended = Ended::of(&command.output().expect("it starts"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("http://proxy.example:8080"), "{ended:?}");
    let mut secrets = world.sandbox.secrets();
    secrets.extend([access, "proxy-canary".to_owned(), "eyJhbGciOi".to_owned()]);
    assert!(secrets.len() > 7, "{}", secrets.len());
    ended.shows_none_of(&secrets);
    let home = world.home();
    assert!(!ended.stdout.contains(home.to_str().expect("a path")), "nor whose home it is");
}

#[test]
fn law_10_a_secret_that_a_person_wrote_where_none_belongs_is_blotted() {
    let world = World::with(World::plain());
    world.add("acme");
    let secret = world.sandbox.ready().client_secret.clone();
    // Somebody has named a connection by the secret of its app.
    world.keep_ok(&["rename", "acme", "west"]);
    assert_eq!(world.keep(&["rename", "west", &secret]).code, 0);
    let ended = world.keep(&["support", "--output", "-"]);
    assert!(ended.stdout.contains("[redacted]"), "{ended:?}");
    assert!(!ended.stdout.contains(&secret), "{ended:?}");
}

#[test]
fn nothing_is_overwritten_and_the_json_names_the_file() {
    let world = world();
    let told: Value =
        serde_json::from_str(&world.keep_ok(&["support", "--json", "--output", "ticket.txt"]).stdout)
            .expect("JSON");
    assert_eq!(told, json!({"connection": "acme", "file": "ticket.txt"}));
    let ended = world.keep(&["support", "--output", "ticket.txt"]);
    ended.is_trouble(&world, 3, "could not write ticket.txt", "name another file");
    world.keep(&["support", "west"]).is_trouble(&world, 2, "no connection named \"west\"", "perennial list");
}

#[test]
fn saps_two_files_have_one_too() {
    let world = World::held_with(World::plain());
    let ended = world.run_ok(&["support", "--output", "-"]);
    assert!(ended.stdout.contains("store             sap-sample"), "{ended:?}");
    ended.shows_none_of(&world.secrets());
}
