//! `import` from lists and from Postman: each row whole or not at all, none keeps another from it, and nothing is sent.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::{Ended, TOKEN_FILE, World, read_json};

fn world() -> World {
    World::with(World::plain())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// A file in this world's home.
fn file(world: &World, name: &str, content: &str) -> PathBuf {
    let path = world.home().join(name);
    fs::write(&path, content).expect("it can be written");
    path
}

/// The refresh token of a grant that something else has obtained.
fn grant(world: &World) -> String {
    let dir = world.directory("by-another");
    let tokens = read_json(&dir.join(TOKEN_FILE));
    fs::remove_dir_all(&dir).expect("it is ours");
    tokens["refresh_token"].as_str().expect("a token").to_owned()
}

const HEADER: &str = "name,client_id,client_secret,refresh_token,geolocation\n";

fn row(world: &World, name: &str, refresh_token: &str) -> String {
    let ready = world.sandbox.ready();
    let base = world.sandbox.base_uri();
    format!("{name},{},{},{refresh_token},{base}\n", ready.app_id, ready.client_secret)
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn a_grant_from_a_list_works_and_a_second_import_finds_it_there() {
    let world = world();
    let token = grant(&world);
    let list = file(&world, "grants.csv", &(HEADER.to_owned() + &row(&world, "acme", &token)));
    let before = world.requests();
    let ended = world.keep(&["import", text(&list), "--as", "west"]);
    ended.is_trouble(&world, 2, "a list names its connections itself", "leave --as out");
    let ended = world.keep_ok(&["import", text(&list), "--dry-run"]);
    assert!(ended.stdout.contains("would take in 1") && !world.database().exists(), "{ended:?}");
    let ended = world.keep_ok(&["import", text(&list)]);
    assert!(ended.stdout.contains("acme: imported"), "{ended:?}");
    ended.shows_none_of(std::slice::from_ref(&token));
    assert_eq!(world.requests(), before, "nothing was sent");
    let log = world.keep_ok(&["log", "acme"]).stdout;
    assert!(log.contains("imported from ") && log.contains("grants.csv"), "{log}");
    world.keep_ok(&["refresh", "acme"]);
    let ended = world.keep_ok(&["import", text(&list)]);
    assert!(ended.stdout.contains("taken in 0, already there 1"), "also after a refresh: {ended:?}");
    world.keep_ok(&["refresh", "acme"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn rows_that_are_wrong_are_named_by_their_lines_and_keep_no_other_out() {
    let world = world();
    let canary = "canary-5e0d";
    let mut list = HEADER.to_owned();
    for number in 0..30 {
        list += &row(&world, &format!("good-{number}"), &format!("{canary}-{number}"));
        list += &row(&world, &format!("-{canary}"), canary);
    }
    list += &format!("short,{canary}\n");
    list += &row(&world, "good-1", &format!("{canary}-other"));
    let list = file(&world, "grants.csv", &list);
    let errors = world.home().join("refused.txt");
    let ended = world.keep(&["import", text(&list), "--errors", text(&errors)]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("taken in 30, refused 32"), "{ended:?}");
    assert!(ended.stderr.contains("grants.csv:3: name is none for a connection"), "{ended:?}");
    assert!(ended.stderr.contains("and 12 more were refused; all of them: "), "{ended:?}");
    assert_eq!(ended.stderr.matches("error: ").count(), 20, "{ended:?}");
    let told = fs::read_to_string(&errors).expect("it is there");
    assert_eq!(told.lines().count(), 32, "{told}");
    assert!(told.contains("grants.csv:62: it has 2 columns, and the header has 5"), "{told}");
    assert!(told.contains("grants.csv:63: there is a connection of that name already"), "{told}");
    for output in [&ended.stdout, &ended.stderr, &told] {
        assert!(!output.contains(canary), "law 10: {output}");
    }
    let again = world.keep(&["import", text(&list), "--errors", text(&errors)]);
    again.is_trouble(&world, 3, "could not write", "a file that is not there yet");
    assert_eq!(world.names().len(), 30);
}

#[test]
fn a_column_that_nobody_knows_stops_all_before_anything_is_taken_in() {
    let world = world();
    let list = file(&world, "grants.csv", "name,client_id,colour\nacme,app,red\n");
    let ended = world.keep(&["import", text(&list)]);
    ended.is_trouble(&world, 2, "grants.csv:1:3: there is no column \"colour\"", "name, client_id");
    let headless = file(&world, "headless.csv", &row(&world, "acme", "canary-77aa"));
    let ended = world.keep(&["import", text(&headless)]);
    ended.is_trouble(&world, 2, "headless.csv:1: this is no header", "name, client_id");
    ended.shows_none_of(&["canary-77aa".to_owned()]);
    let twice = file(&world, "twice.csv", "name;App-ID;clientId\n");
    let ended = world.keep(&["import", text(&twice)]);
    ended.is_trouble(&world, 2, "twice.csv:1:3: client_id is there twice", "leave one");
    assert!(!world.database().exists());
}

#[test]
fn json_lines_take_saps_names_and_secrets_from_files() {
    let world = world();
    let ready = world.sandbox.ready();
    file(&world, "secret.txt", &format!("{}\n", ready.client_secret));
    let good = json!({
        "name": "acme", "appID": ready.app_id, "client_secret_file": "secret.txt",
        "refreshToken": grant(&world), "baseUri": world.sandbox.base_uri(),
        "companyUUID": ready.company_uuid, "refresh_expires_in": 1_900_000_000,
    });
    let odd = json!({"name": "west", "colour": "red"});
    let lines = format!("{good}\n\n{odd}\n{{\"name\": \n");
    let list = file(&world, "grants.jsonl", &lines);
    let ended = world.keep(&["import", text(&list)]);
    ended.is_trouble(&world, 3, "grants.jsonl:3: there is no column \"colour\"", "mend that row");
    assert!(ended.stderr.contains("grants.jsonl:4: it is no JSON"), "{ended:?}");
    assert_eq!(world.status_of("acme")["principal"], ready.company_uuid.as_str());
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn a_postman_environment_is_taken_in_and_its_variables_are_named() {
    let world = world();
    let ready = world.sandbox.ready();
    let variable = |key: &str, value: &str| json!({"key": key, "value": value, "enabled": true});
    let environment = json!({
        "id": "1", "name": "Concur (acme)", "_postman_variable_scope": "environment",
        "values": [
            variable("clientId", &ready.app_id),
            variable("clientSecret", &ready.client_secret),
            variable("REFRESHTOKEN", &grant(&world)),
            variable("geolocation", world.sandbox.base_uri()),
            variable("unrelated", "something"),
            {"key": "refresh_token", "value": "an older one", "enabled": false},
        ],
    });
    let path = file(
        &world,
        "Concur.postman_environment.json",
        &serde_json::to_string_pretty(&environment).expect("JSON"),
    );
    let ended = world.keep_ok(&["import", text(&path)]);
    assert!(
        ended.stderr.contains("these were used: clientId, clientSecret, REFRESHTOKEN, geolocation"),
        "{ended:?}"
    );
    assert_eq!(world.names(), ["Concur--acme"]);
    world.keep_ok(&["import", text(&path), "--as", "acme"]);
    world.keep_ok(&["refresh", "acme"]);
    let told = json_of(&world.keep_ok(&["import", text(&path), "--as", "acme", "--json"]));
    assert_eq!((&told["taken_in"], &told["already_there"]), (&json!(0), &json!(1)), "{told}");
}

#[test]
fn another_store_is_taken_in_with_its_history_and_its_own_key() {
    let world = world();
    world.add("acme");
    world.add("west");
    let from = format!("sqlite:{}", world.database().display());
    let there = format!("sqlite:{}", world.home().join("other/other.db").display());
    let other = |words: &[&str]| {
        let key = format!("file:{}", world.home().join("keys/other.key").display());
        let words: Vec<_> = words.iter().copied().chain(["--store", &there, "--master-key", &key]).collect();
        world.keep(&words)
    };
    let ended = other(&["import", &from]);
    ended.is_trouble(&world, 3, "does not open", "--from-master-key file:PATH");
    let old_key = format!("file:{}", world.home().join(".config/perennial/master.key").display());
    let before = world.requests();
    let ended = other(&["import", &from, "--from-master-key", &old_key]);
    assert!(ended.code == 0 && ended.stdout.contains("taken in 2"), "{ended:?}");
    assert!(ended.stderr.contains("still holds what was taken in"), "{ended:?}");
    let log = other(&["log", "acme"]).stdout;
    assert!(log.contains("added, with a company request token") && log.contains("imported from"), "{log}");
    assert_eq!(other(&["token", "west"]).stdout, world.keep(&["token", "west"]).stdout);
    let again = other(&["import", &from, "--from-master-key", &old_key]);
    assert!(again.stdout.contains("taken in 0, already there 2"), "{again:?}");
    assert_eq!(world.requests(), before, "nothing was sent");
}
