//! `list`, `rename`, `remove`, `reauthorize`, `policy`: what a person does with connections.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire, Regrant};
use serde_json::{Value, json};
use support::{Ended, World};

fn world() -> World {
    let world = World::with(World::plain());
    world.add("acme");
    world
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).expect("JSON")
}

#[test]
fn a_list_has_a_line_for_each_connection_and_no_colours_where_nobody_looks() {
    let world = world();
    world.keep_ok(&world.adding("west", &["--later"]));
    let lines: Vec<_> = world.keep_ok(&["list"]).stdout.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("NAME  STATE"), "{lines:?}");
    assert!(
        lines[1].starts_with("acme  held            in ") && lines[1].contains("obtained: refresh token"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("west  awaiting_grant  -") && lines[2].contains("added, with"), "{lines:?}");
    assert!(!lines.concat().contains('\u{1b}'));
}

#[test]
fn the_json_of_a_list_is_that_of_status_with_the_last_event() {
    let world = world();
    let list = json_of(&world.keep_ok(&["list", "--json"]));
    let mut row = list[0].clone();
    let last = row.as_object_mut().expect("an object").remove("last_event").expect("it is there");
    assert_eq!(last["event"], "obtained");
    assert_eq!(row, world.status_of("acme"));
}

#[test]
fn a_connection_whose_row_was_altered_is_named_and_the_others_go_on() {
    let world = world();
    world.add("west");
    let sql = rusqlite::Connection::open(world.database()).expect("a database");
    sql.execute("UPDATE connections SET company = 'another' WHERE name = 'acme'", [])
        .expect("it can be altered");
    drop(sql);
    let ended = world.keep(&["list"]);
    ended.is_trouble(&world, 3, "acme: ", "perennial doctor");
    assert!(ended.stdout.contains("acme  unreadable") && ended.stdout.contains("west  held"), "{ended:?}");
    let ended = world.keep(&["status"]);
    ended.is_trouble(&world, 3, "acme: ", "perennial doctor");
    assert!(ended.stdout.contains("west: held"), "{ended:?}");
    for words in [["list", "--json"], ["status", "--json"]] {
        let told = json_of(&world.keep(&words));
        assert_eq!(
            (&told[0]["error"]["exit_code"], &told[1]["state"]),
            (&json!(3), &json!("held")),
            "{words:?}"
        );
    }
    world.keep(&["token", "acme"]).is_trouble(&world, 3, "damaged", "perennial doctor");
    world.keep_ok(&["refresh", "west"]);
    let ended = world.keep(&["refresh", "--all"]);
    assert!(
        ended.stderr.contains("error: acme: ") && ended.stderr.ends_with("renewed 1, failed 1\n"),
        "{ended:?}"
    );
    let ended = world.keep(&["doctor"]);
    assert!(
        ended.code == 3 && ended.stdout.contains("✗") && ended.stdout.contains("✓ west is held"),
        "{ended:?}"
    );
    let out = world.home().join("out");
    let ended = world.keep(&["export", "--all", "--to-dir", out.to_str().expect("a path"), "--yes"]);
    ended.is_trouble(&world, 3, "acme: ", "perennial doctor");
    assert!(ended.stdout.contains("west: written to"), "{ended:?}");
    world.add("east");
}

#[test]
fn a_list_over_saps_two_files_has_one_line() {
    let world = World::held_with(World::plain());
    let ended = world.run_ok(&["list"]);
    assert!(ended.stdout.contains("default  held"), "{ended:?}");
}

#[test]
fn a_renamed_connection_keeps_its_tokens_and_its_history() {
    let world = world();
    let token = world.keep(&["token", "acme"]).stdout;
    world.keep_ok(&["rename", "acme", "west"]);
    assert_eq!(world.keep(&["token", "west"]).stdout, token);
    assert_eq!(world.events("west"), ["noted", "obtained", "noted"]);
    world.keep(&["token", "acme"]).is_trouble(&world, 2, "no connection named \"acme\"", "perennial list");
    world.keep(&["rename", "acme", "east"]).is_trouble(
        &world,
        2,
        "no connection named \"acme\"",
        "perennial list",
    );
    world.keep(&["rename", "west", "a b"]).is_trouble(&world, 2, "is no name for a connection", "letters");
    world.add("acme");
    world.keep(&["rename", "west", "acme"]).is_trouble(
        &world,
        2,
        "\"acme\" already",
        "perennial rename acme OTHER",
    );
    assert_eq!(
        json_of(&world.keep_ok(&["rename", "west", "east", "--json"])),
        json!({"connection": "east", "was": "west"})
    );
}

#[test]
fn law_5_what_is_removed_is_put_away_and_can_be_brought_back() {
    let world = world();
    let token = world.keep(&["token", "acme"]).stdout;
    world.keep(&["remove", "acme"]).is_trouble(
        &world,
        2,
        "nobody is there to be asked",
        "perennial remove acme --yes",
    );
    assert_eq!(world.names(), ["acme"]);
    let ended = world.keep_ok(&["remove", "acme", "--yes"]);
    assert!(ended.stderr.contains("perennial remove --undo acme"), "{ended:?}");
    assert!(ended.stderr.contains("its grant was not revoked"), "{ended:?}");
    world.keep(&["token", "acme"]).is_trouble(&world, 2, "no connection named \"acme\"", "perennial list");
    assert_eq!(world.names(), Vec::<String>::new());
    world.keep_ok(&["remove", "--undo", "acme"]);
    assert_eq!(world.keep(&["token", "acme"]).stdout, token);
    assert_eq!(world.requests(), 1);
    world.keep(&["remove", "--undo", "acme"]).is_trouble(&world, 2, "\"acme\" already", "");
    world.keep(&["remove", "--undo", "west"]).is_trouble(&world, 2, "no connection named \"west\"", "");
    world.keep(&["remove", "west", "--yes"]).is_trouble(
        &world,
        2,
        "no connection named \"west\"",
        "perennial list",
    );
}

#[test]
fn saps_two_files_are_a_persons_own() {
    let world = World::held_with(World::plain());
    world.run(&["rename", "default", "acme"]).is_trouble(
        &world,
        2,
        "calls its one connection default",
        "rename the directory",
    );
    world.run(&["remove", "default", "--yes"]).is_trouble(
        &world,
        2,
        "two files that are yours",
        "move the directory away",
    );
    world.run(&["reauthorize"]).is_trouble(&world, 2, "a file that a person edits", "perennial run");
}

#[test]
fn law_5_a_new_grant_takes_the_place_of_the_old_one_which_is_kept_until_it_has_refreshed() {
    let world = world();
    world.sandbox.expire(Expire::Refresh);
    world.sandbox.expire(Expire::RequestToken);
    world.keep(&["refresh", "acme"]).is_trouble(&world, 3, "code 5", "perennial reauthorize acme");
    assert_eq!(world.status_of("acme")["state"], "needs_reauthorization");
    let ended = world.keep_ok(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
    assert!(ended.stdout.contains("the old one is kept until the new one has refreshed"), "{ended:?}");
    let kept =
        || json_of(&world.keep_ok(&["recover", "acme", "--dry-run", "--json"]))["kept"]["replaced"].clone();
    assert_eq!(kept().as_array().map(Vec::len), Some(1));
    assert_eq!(world.status_of("acme")["generation"], 2);
    world.keep_ok(&["refresh", "acme"]);
    assert_eq!(kept().as_array().map(Vec::len), Some(0));
    let events = world.events("acme");
    assert!(
        events.ends_with(&["noted", "obtained", "recovered", "refreshed"].map(str::to_owned)),
        "{events:?}"
    );
}

#[test]
fn without_a_request_token_the_one_that_is_kept_is_used_again_while_it_has_uses() {
    let world = world();
    // One use is spent, four are left.
    for _ in 0..4 {
        world.keep_ok(&["reauthorize", "acme"]);
    }
    assert_eq!(world.requests(), 5);
    world.keep(&["reauthorize", "acme"]).is_trouble(
        &world,
        2,
        "the company request token is missing",
        "--request-token-file",
    );
    assert_eq!(world.requests(), 5, "law 4: it is good for five uses");
    world.keep_ok(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
}

#[test]
fn a_refused_request_token_leaves_the_grant_as_it_is() {
    let world = world();
    let token = world.keep(&["token", "acme"]).stdout;
    let mut command = world.keeps(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
    let ended = Ended::of(&command.env("REQUEST_TOKEN", "canary").output().expect("it starts"));
    ended.is_trouble(
        &world,
        3,
        "what was given is stored, but it did not work",
        "perennial reauthorize acme",
    );
    assert!(!ended.stderr.contains("canary"), "{ended:?}");
    assert_eq!(world.keep(&["token", "acme"]).stdout, token);
    assert_eq!(world.status_of("acme")["state"], "held");
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn a_new_client_secret_is_proved_and_a_wrong_one_is_taken_back() {
    let world = world();
    world.add("west");
    let replace = |secret: &str| {
        let mut command =
            world.keeps(&["reauthorize", "acme", "--keep-grant", "--client-secret-env", "CLIENT_SECRET"]);
        Ended::of(&command.env("CLIENT_SECRET", secret).output().expect("it starts"))
    };
    let ended = replace("canary-wrong");
    ended.is_trouble(&world, 3, "the client secret before is in force again", "the client secret is wrong");
    assert!(!ended.stderr.contains("canary"), "{ended:?}");
    // The app is shared: nobody else has suffered.
    world.keep_ok(&["refresh", "west"]);
    let ended = replace(&world.sandbox.ready().client_secret);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.status_of("acme")["state"], "held");
}

#[test]
fn law_13_nothing_is_sent_for_another_company() {
    let world = world();
    let words = ["reauthorize", "acme", "--company", "11111111-2222-3333-4444-555555555555"];
    let ended = world.keep(&[&words[..], &["--request-token-env", "REQUEST_TOKEN"]].concat());
    ended.is_trouble(
        &world,
        3,
        "the stored tokens belong to",
        "keep one connection for each company: perennial add OTHER",
    );
    assert_eq!(world.requests(), 1, "nothing was sent");
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn a_request_token_of_another_app_is_explained() {
    let world = world();
    world.inject(json!([{"kind": "error", "code": 136}]));
    let ended = world.keep(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
    ended.is_trouble(&world, 3, "code 136", "belongs to another App ID");
    assert!(
        ended.stderr.contains("companytokens") && !ended.stderr.contains("credentials.json"),
        "{ended:?}"
    );
}

#[test]
fn every_number_of_the_policy_is_shown_and_can_be_changed_and_reset() {
    let world = world();
    let shown = world.keep_ok(&["policy", "acme"]).stdout;
    assert!(
        shown.starts_with("KEY") && shown.contains("renew_after") && shown.contains("at the latest"),
        "{shown}"
    );
    let policy = |words: &[&str]| json_of(&world.keep_ok(&[&["policy", "acme", "--json"], words].concat()));
    let changed = policy(&["renew_after=3d", "backoff_cap=5m"]);
    assert_eq!(
        (&changed["renew_after"]["value"], &changed["renew_after"]["default"]),
        (&"3d".into(), &"7d".into())
    );
    let reset = policy(&["--reset", "renew_after"]);
    assert_eq!(
        (&reset["renew_after"]["value"], &reset["backoff_cap"]["value"]),
        (&"7d".into(), &"5m".into())
    );
    // A refresh keeps what a person has chosen.
    world.keep_ok(&["refresh", "acme"]);
    assert_eq!(policy(&[])["backoff_cap"]["value"], "5m");
    let log = world.keep_ok(&["log", "acme"]).stdout;
    assert!(log.contains("policy: renew_after=3d, backoff_cap=5m"), "{log}");
    let due = || json_of(&world.keep_ok(&["refresh", "--due", "--json"]))["renewal_due_at"].to_string();
    let before = due();
    world.keep_ok(&["policy", "acme", "renew_after=1d"]);
    assert!(due() < before, "what is due is decided by it");
}

#[test]
fn a_number_that_is_none_changes_nothing() {
    let world = world();
    for (words, says) in [
        (&["renew_often=3d"][..], "there are: renew_after"),
        (&["renew_after=soon"], "renew_after: \"soon\" is no duration"),
        (&["renew_after"], "\"renew_after\" has no = in it"),
        (&["renew_after=2d", "pause=0s"], "longer than nothing"),
        (&["--reset", "renew_often"], "there is no number \"renew_often\""),
    ] {
        let ended = world.keep(&[&["policy", "acme"], words].concat());
        ended.is_trouble(&world, 2, says, "perennial policy acme");
    }
    let policy = json_of(&world.keep_ok(&["policy", "acme", "--json"]));
    assert_eq!(policy["renew_after"]["value"], "7d");
    world.keep(&["policy", "west"]).is_trouble(&world, 2, "no connection named \"west\"", "perennial list");
}

#[test]
fn the_policy_of_saps_two_files_stands_beside_the_tokens() {
    let world = World::held_with(World::plain());
    world.run_ok(&["policy", "default", "renew_after=3d"]);
    assert_eq!(world.tokens()["perennial"]["policy"]["renew_after"], "3d");
    world.run_ok(&["refresh"]);
    assert_eq!(world.tokens()["perennial"]["policy"]["renew_after"], "3d");
}

#[test]
fn a_new_grant_that_ends_the_old_one_is_no_trouble() {
    let world = World::with(Config { regrant: Regrant::Invalidate, ..World::plain() });
    world.add("acme");
    world.keep_ok(&["reauthorize", "acme", "--request-token-env", "REQUEST_TOKEN"]);
    world.keep_ok(&["refresh", "acme"]);
}
