//! `perennial add`: a connection comes in, from a company request token, a refresh token, or SAP's two files; and what
//! a person typed is never lost.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use support::{Ended, USERS, World, read_json};

fn world() -> World {
    World::with(World::plain())
}

/// Nothing was stored, and nothing was sent.
#[track_caller]
fn refused(world: &World, words: &[&str], says: &str, hints: &str) {
    let ended = world.keep(words);
    ended.is_trouble(world, 2, says, hints);
    assert!(!world.database().exists(), "nothing is made for {words:?}");
    assert_eq!(world.requests(), 0, "{words:?}");
}

#[test]
fn a_request_token_becomes_a_grant_at_once() {
    let world = World::empty();
    let ended = world.keep_ok(&world.adding("acme", &[]));
    assert!(
        ended.stdout.contains("acme: added, and a grant obtained; the refresh token is good until"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("next: perennial token acme"), "{ended:?}");
    assert_eq!(world.status_of("acme")["state"], "held");
    assert_eq!(world.events("acme"), ["noted", "obtained"]);
    let token = world.keep(&["token"]).stdout;
    assert_eq!(world.keep(&["token", "acme"]).stdout, token, "the one connection need not be named");
    world.keep_ok(&["call", USERS]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn law_10_no_secret_stands_in_the_database() {
    let world = world();
    world.add("acme");
    world.keep_ok(&["refresh", "acme"]);
    let access = world.keep(&["token", "acme"]).stdout.trim().to_owned();
    let secrets: Vec<String> = world.sandbox.secrets().into_iter().chain([access]).collect();
    let dir = world.database().parent().expect("a directory").to_owned();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("it can be read");
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret in {}", path.display());
        }
    }
}

#[test]
fn secrets_come_from_files_from_stdin_and_from_variables() {
    let world = world();
    let ready = world.sandbox.ready().clone();
    let file = world.home().join("secret.txt");
    // As Windows and editors write it.
    fs::write(&file, format!("\u{feff}{}\r\n", ready.client_secret)).expect("it can be written");
    let file = file.to_str().expect("a path");
    let app = ["--app-id", &ready.app_id, "--company", &ready.company_uuid, "--client-secret-file", file];
    let words = [&["add", "acme"][..], &app, &["--request-token-file", "-"]].concat();
    let mut child = world.keeps(&words).stdin(Stdio::piped()).spawn().expect("it starts");
    let token = world.sandbox.mint_request_token();
    writeln!(child.stdin.take().expect("piped"), "{token}").expect("it reads");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.shows_none_of(&world.sandbox.secrets());
    assert_eq!(world.status_of("acme")["state"], "held");
}

#[test]
fn law_10_a_secret_typed_as_a_word_is_refused_and_explained() {
    let world = world();
    let ready = world.sandbox.ready().clone();
    for (option, secret) in [
        ("--client-secret", &ready.client_secret),
        ("--request-token", &ready.request_token),
        ("--refresh-token", &ready.request_token),
    ] {
        let typed = format!("{option}={secret}");
        for words in
            [vec!["add", "acme", option, secret], vec!["add", "acme", &typed], vec!["add", "acme", option]]
        {
            refused(
                &world,
                &words,
                "every user of this machine can read it there",
                &format!("{option}-file FILE"),
            );
        }
    }
}

#[test]
fn two_secrets_cannot_both_come_from_stdin() {
    let world = world();
    let words = ["add", "acme", "--client-secret-file", "-", "--request-token-file", "-"];
    refused(&world, &words, "cannot both come from stdin", "by a file or a variable");
}

#[test]
fn what_is_missing_is_named_where_nobody_can_be_asked() {
    let world = world();
    let app = ["add", "acme", "--app-id", "app"];
    let company = [&app[..], &["--client-secret-env", "CLIENT_SECRET"]].concat();
    let token = [&company[..], &["--company", "uuid"]].concat();
    for (words, says, hints) in [
        (&["add", "acme"][..], "the App ID is missing", "--app-id ID"),
        (
            &app,
            "the client secret is missing",
            "--client-secret-file FILE (- is stdin) or --client-secret-env VARIABLE",
        ),
        (&company, "the Company UUID is missing", "--company UUID"),
        (&token, "the company request token is missing", "--request-token-file FILE"),
        (&["add", "acme", "--app-id", "an id"], "has characters in it that none has", "--app-id ID"),
    ] {
        refused(&world, words, says, hints);
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_told_by_its_place() {
    let world = world();
    let write = |name: &str, text: &str| {
        let path = world.home().join(name);
        fs::write(&path, text).expect("it can be written");
        path.to_str().expect("a path").to_owned()
    };
    let (empty, two) = (write("empty", " \n"), write("two", "canary-1\ncanary-2\n"));
    for (option, value, says) in [
        ("--client-secret-file", "nowhere", "cannot read the client secret from nowhere"),
        ("--client-secret-file", "/", "cannot read the client secret from /"),
        ("--client-secret-file", &empty, "the client secret is empty"),
        ("--client-secret-file", &two, "has blanks, line breaks or other characters in it"),
        ("--client-secret-env", "NOT_SET", "NOT_SET, which should hold the client secret, is not set"),
    ] {
        let words = ["add", "acme", "--app-id", "app", option, value];
        refused(&world, &words, says, "");
        assert!(!world.keep(&words).stderr.contains("canary"), "no value is shown");
    }
}

#[test]
fn a_name_that_is_none_or_taken_is_told_before_anything_is_asked_for() {
    let world = world();
    for name in ["a b", ".acme", "a/b", "", "-x", "a\nb"] {
        let ended = world.keep(&["add", "--", name]);
        ended.is_trouble(&world, 2, "is no name for a connection", "letters, digits");
    }
    world.add("acme");
    let ended = world.keep(&["add", "acme"]);
    ended.is_trouble(
        &world,
        2,
        "there is a connection named \"acme\" already",
        "perennial rename acme OTHER",
    );
    assert_eq!(world.requests(), 1);
}

#[test]
fn the_second_connection_of_an_app_is_not_asked_for_its_secret() {
    let world = world();
    world.add("acme");
    let ready = world.sandbox.ready().clone();
    let words = ["add", "west", "--app-id", &ready.app_id, "--company", &ready.company_uuid];
    let words = [&words[..], &["--request-token-env", "REQUEST_TOKEN"]].concat();
    world.keep_ok(&words);
    assert_eq!(world.names(), ["acme", "west"]);
    // One app has one secret: a wrong one would be wrong for acme too.
    let mut command = world.keeps(&world.adding("north", &[]));
    let ended = Ended::of(&command.env("CLIENT_SECRET", "another").output().expect("it starts"));
    ended.is_trouble(
        &world,
        2,
        "another than the one that acme works with",
        "perennial reauthorize acme --keep-grant",
    );
    world.keep_ok(&["refresh", "acme"]);
    assert_eq!(world.names(), ["acme", "west"]);
}

#[test]
fn later_sends_nothing_and_reauthorize_obtains_with_what_is_kept() {
    let world = world();
    let ended = world.keep_ok(&world.adding("acme", &["--later"]));
    assert!(ended.stderr.contains("next: perennial reauthorize acme"), "{ended:?}");
    assert_eq!(world.requests(), 0);
    world.keep(&["token"]).is_trouble(&world, 3, "there are no tokens yet", "perennial reauthorize acme");
    world.keep_ok(&["reauthorize", "acme"]);
    world.keep(&["token", "acme"]);
    assert_eq!(world.status_of("acme")["state"], "held");
}

#[test]
fn what_was_typed_is_kept_whatever_the_server_says() {
    for (code, exit, says) in [(61, 3, "no app has this App ID"), (134, 4, "scheduled maintenance")] {
        let world = world();
        world.inject(serde_json::json!([{"kind": "error", "code": code}]));
        let ended = world.keep(&world.adding("acme", &[]));
        ended.is_trouble(&world, exit, "acme is kept, with all that was given, but does not work yet", says);
        assert!(ended.stderr.contains("perennial reauthorize acme"), "{ended:?}");
        // What is kept is enough.
        world.keep_ok(&["reauthorize", "acme"]);
        assert_eq!(world.status_of("acme")["state"], "held");
        assert_eq!(world.requests(), 2);
    }
}

#[test]
fn an_unproved_secret_is_not_used_for_another_connection() {
    let world = world();
    let mut command = world.keeps(&world.adding("acme", &[]));
    let ended = Ended::of(&command.env("CLIENT_SECRET", "wrong").output().expect("it starts"));
    ended.is_trouble(&world, 3, "the client secret is wrong", "perennial reauthorize acme");
    // The right one is taken, and is the app's from now on.
    world.add("west");
    world.keep_ok(&["reauthorize", "acme"]);
}

/// A refresh token that something else has obtained.
fn imported(world: &World) -> String {
    let dir = world.directory("elsewhere");
    let tokens = read_json(&dir.join(support::TOKEN_FILE));
    fs::remove_dir_all(dir).expect("it is ours");
    tokens["refresh_token"].as_str().expect("one").to_owned()
}

fn importing<'a>(world: &'a World, more: &[&'a str]) -> Vec<&'a str> {
    let app =
        ["add", "acme", "--app-id", &world.sandbox.ready().app_id, "--client-secret-env", "CLIENT_SECRET"];
    [&app[..], &["--refresh-token-env", "REFRESH"], more].concat()
}

#[test]
fn an_imported_refresh_token_is_proved_by_one_refresh() {
    let world = World::empty();
    let token = imported(&world);
    let before = world.requests();
    let base = world.sandbox.base_uri().to_owned();
    let import = |more: &[&str]| {
        let mut command = world.keeps(&importing(&world, more));
        Ended::of(&command.env("REFRESH", &token).output().expect("it starts"))
    };
    let ended = import(&["--geolocation", &base]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("acme: added, and the refresh token works"), "{ended:?}");
    ended.shows_none_of(&world.sandbox.secrets());
    assert_eq!(world.requests(), before + 1);
    let status = world.status_of("acme");
    assert_eq!(status["principal"], world.sandbox.ready().company_uuid.as_str());
    assert_eq!(world.events("acme"), ["noted", "refreshed"]);
}

#[test]
fn an_imported_refresh_token_that_is_refused_is_kept() {
    let world = world();
    let base = world.sandbox.base_uri().to_owned();
    let words = importing(&world, &["--geolocation", &base]);
    let mut command = world.keeps(&words);
    let ended = Ended::of(&command.env("REFRESH", "imported-canary").output().expect("it starts"));
    ended.is_trouble(&world, 3, "acme is kept, with all that was given", "perennial recover acme");
    ended.shows_none_of(&["imported-canary".to_owned()]);
    assert_eq!(world.status_of("acme")["state"], "needs_reauthorization");
    let out = world.home().join("out");
    world.keep_ok(&["export", "acme", "--to-dir", out.to_str().expect("a path"), "--yes"]);
    assert_eq!(read_json(&out.join(support::TOKEN_FILE))["refresh_token"], "imported-canary");
}

#[test]
fn law_10_an_imported_refresh_token_goes_to_the_geolocation_that_was_named_and_nowhere_else() {
    let world = world();
    let import = |more: &[&str]| {
        let mut command = world.keeps(&importing(&world, more));
        command.env_remove("PERENNIAL_BASE_URI").env("REFRESH", "canary");
        Ended::of(&command.output().expect("it starts"))
    };
    import(&[]).is_trouble(&world, 2, "good at its own geolocation only", "--geolocation https://us2");
    import(&["--geolocation", "nonsense"]).is_trouble(
        &world,
        2,
        "the geolocation \"nonsense\"",
        "--geolocation https://us2",
    );
    import(&["--geolocation", "http://example.com"]).is_trouble(
        &world,
        2,
        "http://example.com",
        "--geolocation",
    );
    import(&["--geolocation", "https://us2.api.concursolutions.com", "--request-token-env", "REQUEST_TOKEN"])
        .is_trouble(&world, 2, "two ways to the same end", "give one of them");
    assert!(!world.database().exists());
}

#[test]
fn saps_two_files_come_in_with_their_history() {
    let world = world();
    let dir = world.directory("acme");
    let dir = dir.to_str().expect("a path");
    world.run_ok(&["refresh", "--dir", dir]);
    let before = (world.requests(), world.run_ok(&["token", "--dir", dir]).stdout);
    let ended = world.keep_ok(&["add", "acme", "--from-dir", dir]);
    assert!(ended.stderr.contains("two keepers of one grant drift apart"), "{ended:?}");
    assert_eq!(world.keep(&["token", "acme"]).stdout, before.1, "the same token");
    assert_eq!(world.requests(), before.0, "nothing was sent");
    assert_eq!(world.status_of("acme")["generation"], 2);
    assert_eq!(world.events("acme"), ["obtained", "refreshed", "noted"]);
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn a_store_of_one_connection_takes_no_other() {
    let world = World::filled();
    let ended = world.run(&["add", "acme", "--app-id", "app"]);
    ended.is_trouble(&world, 2, "holds one connection, named default", "--store sqlite:FILE");
}

#[test]
fn json_tells_what_stands_in_the_store() {
    let world = world();
    let ended = world.keep_ok(&world.adding("acme", &["--json"]));
    let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((&told["connection"], &told["state"]), (&"acme".into(), &"held".into()));
    let ended = world.keep(&["add", "acme", "--json"]);
    let error: Value = serde_json::from_str(&ended.stderr).expect("JSON");
    assert_eq!(error["error"]["exit_code"], 2);
}
