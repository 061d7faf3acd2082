//! `perennial doctor`: what is good, and what is not, with the exact next command.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{Ended, World};

fn world() -> World {
    let world = World::with(World::plain());
    world.add("acme");
    world
}

/// A line with a cross says this, and the line below it says what to do.
#[track_caller]
fn finds(ended: &Ended, says: &str, remedy: &str) {
    assert_eq!(ended.code, 3, "{ended:?}");
    let lines: Vec<_> = ended.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("✗ ") && line.contains(says));
    let at = at.unwrap_or_else(|| panic!("no \"{says}\" in {ended:?}"));
    assert!(
        lines[at + 1].starts_with("  ") && lines[at + 1].contains(remedy),
        "no \"{remedy}\" in {ended:?}"
    );
}

#[test]
fn a_healthy_store_is_good_and_nothing_is_sent() {
    let world = world();
    let ended = world.keep_ok(&["doctor"]);
    assert!(ended.stdout.contains("✓ acme is held"), "{ended:?}");
    assert!(!ended.stdout.contains('✗'), "{ended:?}");
    assert_eq!(world.requests(), 1);
    let sap = World::held_with(World::plain());
    let ended = sap.run_ok(&["doctor"]);
    assert!(ended.stdout.contains("✓ default is held") && !ended.stdout.contains('✗'), "{ended:?}");
}

#[test]
fn an_empty_store_is_good_too_and_is_not_made() {
    let world = World::with(World::plain());
    let ended = world.keep_ok(&["doctor"]);
    assert!(ended.stdout.contains("there are no connections yet"), "{ended:?}");
    assert!(!world.database().exists());
}

#[test]
fn the_json_is_a_list_of_findings() {
    let world = world();
    let findings: Value = serde_json::from_str(&world.keep_ok(&["doctor", "--json"]).stdout).expect("JSON");
    for finding in findings.as_array().expect("a list") {
        assert_eq!((&finding["good"], &finding["remedy"]), (&json!(true), &Value::Null), "{finding}");
        assert!(finding["what"].is_string());
        assert!(["good", "remark"].contains(&finding["severity"].as_str().expect("a word")), "{finding}");
    }
    let areas: BTreeSet<_> =
        findings.as_array().expect("a list").iter().filter_map(|finding| finding["area"].as_str()).collect();
    let expected =
        ["backup", "connections", "contents", "copies", "keys", "network", "outside", "permissions", "place"];
    assert!(areas.is_superset(&expected.into()), "{areas:?}");
    assert!(areas.is_superset(&["schema", "space"].into()), "{areas:?}");
}

#[test]
fn a_server_that_cannot_be_reached_passes_by_itself_and_offline_asks_nobody() {
    let world = World::with(World::plain());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", nobody.local_addr().expect("an address"));
    drop(nobody);
    import(&world, &base, 1, now() + 180 * 86_400, now());
    let ended = world.keep(&["doctor"]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stdout.contains("! no connection to http://127.0.0.1"), "{ended:?}");
    let ended = world.keep_ok(&["doctor", "--offline"]);
    assert!(!ended.stdout.contains("127.0.0.1"), "{ended:?}");
}

#[test]
fn a_certificate_that_nobody_trusts_is_a_persons_to_mend() {
    let world = World::with(Config::default());
    world.add("acme");
    let before = world.requests();
    let ended = world.keep_ok(&["doctor"]);
    assert!(
        ended.stdout.contains("✓ https://127.0.0.1") && ended.stdout.contains("can be reached"),
        "{ended:?}"
    );
    let mut command = world.keeps(&["doctor"]);
    let ended = Ended::of(&command.env_remove("PERENNIAL_CA_CERT").output().expect("it starts"));
    finds(&ended, "no TLS session", "--ca-cert FILE.pem");
    assert_eq!(world.requests(), before, "nothing was sent");
}

#[test]
fn a_copy_and_a_store_that_was_handed_over_are_told() {
    let world = world();
    let archive = world.home().join("all.perennial");
    world.keep_ok(&["export", "--move", "--to", archive.to_str().expect("a path")]);
    let ended = world.keep_ok(&["doctor"]);
    assert!(
        ended.stdout.contains("was handed over to ")
            && ended.stdout.contains("  to take that back: perennial adopt")
    );
    world.keep_ok(&["adopt"]);
    let copy = world.home().join("copy");
    fs::create_dir(&copy).expect("a directory");
    let copy = copy.join("perennial.db");
    for ending in ["", ".backup"] {
        let name = |path: &std::path::Path| format!("{}{ending}", path.display());
        fs::copy(name(&world.database()), name(&copy)).expect("a copy");
    }
    let store = format!("sqlite:{}", copy.display());
    let ended = world.keep_ok(&["doctor", "--store", &store]);
    assert!(
        ended.stdout.contains("is a copy") && ended.stdout.contains("perennial adopt"),
        "a remark: {ended:?}"
    );
    world.keep_ok(&["policy", "acme", "replay=never", "--store", &store]);
    finds(&world.keep(&["doctor", "--store", &store]), "is a copy", "perennial adopt");
}

#[test]
fn a_key_that_others_may_read_is_told() {
    let world = world();
    let key = world.home().join(".config/perennial/master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("it is ours");
    finds(&world.keep(&["doctor"]), "is open to others", &format!("chmod 600 {}", key.display()));
}

/// A list of grants, each of which ends at this time.
fn import(world: &World, base: &str, count: usize, ends: i64, refreshed: i64) {
    let mut list =
        "name,client_id,client_secret,refresh_token,geolocation,refresh_expires_at,refreshed_at\n".to_owned();
    for number in 0..count {
        list += &format!("c-{number},app,secret,token-{number},{base},{ends},{refreshed}\n");
    }
    let path = world.home().join("grants.csv");
    fs::write(&path, list).expect("it can be written");
    world.keep_ok(&["import", path.to_str().expect("a path")]);
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(now.as_secs()).expect("it fits")
}

#[test]
fn refresh_tokens_that_end_soon_are_named_up_to_twenty_and_counted_beyond() {
    let world = World::with(World::plain());
    let day = 86_400;
    import(&world, world.sandbox.base_uri(), 25, now() + 10 * day + 3600, now() - 170 * day);
    let ended = world.keep(&["doctor"]);
    finds(
        &ended,
        "c-0: the refresh token ends in 10 days, and nothing has renewed it",
        "perennial refresh c-0",
    );
    finds(&ended, "5 more refresh tokens end within 30 days", "perennial refresh --all --due");
    assert_eq!(ended.stdout.matches("nothing has renewed it").count(), 20, "{ended:?}");
    assert!(ended.stdout.contains("✓ 25 connections are held"), "what is good is counted: {ended:?}");
    assert_eq!(ended.stdout.matches("can be reached").count(), 1, "each server once");
}

#[test]
fn refresh_tokens_that_have_ended_are_told_and_those_that_are_renewed_in_time_are_not() {
    let world = World::with(World::plain());
    import(&world, world.sandbox.base_uri(), 1, now() - 86_400, now() - 181 * 86_400);
    finds(&world.keep(&["doctor"]), "c-0: the refresh token ended on ", "perennial refresh c-0");
    let fresh = World::with(World::plain());
    import(&fresh, fresh.sandbox.base_uri(), 1, now() + 20 * 86_400, now());
    assert!(!fresh.keep_ok(&["doctor"]).stdout.contains("refresh token"));
}

#[test]
fn rights_that_are_too_wide_are_told_with_the_command_that_mends_them() {
    let world = world();
    let path = world.database();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    finds(&world.keep(&["doctor"]), "can be read by others", &format!("chmod 600 {}", path.display()));
    let sap = World::held_with(World::plain());
    fs::set_permissions(sap.credentials(), fs::Permissions::from_mode(0o644)).expect("it is ours");
    finds(&sap.run(&["doctor"]), "credentials.json can be read by others", "chmod 600");
}

#[test]
fn connections_that_need_a_person_are_told_with_what_the_person_does() {
    let world = world();
    world.keep_ok(&world.adding("later", &["--later"]));
    world.sandbox.expire(Expire::RequestToken);
    world.inject(json!([{"kind": "error", "code": 108}]));
    world.keep(&["refresh", "acme"]);
    world.add("west");
    world.inject(json!([{"kind": "error", "code": 59}]));
    world.keep(&["refresh", "west"]);
    let ended = world.keep(&["doctor"]);
    finds(&ended, "acme is needs_reauthorization", "perennial recover acme");
    finds(&ended, "later is awaiting_grant", "perennial reauthorize later");
    finds(&ended, "west is suspended: code 59: the app is disabled", "perennial refresh west");
}

#[test]
fn what_passes_by_itself_needs_nobody() {
    let world = world();
    world.inject(json!([{"kind": "error", "code": 134}]));
    world.keep(&["refresh", "acme"]);
    let ended = world.keep(&["doctor"]);
    assert!(ended.code == 4 && ended.stdout.contains("! acme is backing_off"), "{ended:?}");
    assert!(ended.stdout.contains("  tried again from ") && !ended.stdout.contains('✗'), "{ended:?}");
}

#[test]
fn law_5_an_answer_that_nobody_could_read_is_named() {
    let world = world();
    world.inject(json!([{"kind": "html"}]));
    world.keep(&["refresh", "acme"]);
    finds(&world.keep(&["doctor"]), "an answer that nobody could read is kept in", "keep it until");
}

#[test]
fn tokens_that_wait_for_the_store_are_named_with_the_key_that_opens_them() {
    let world = World::held_with(World::plain());
    // The room for the commit; with a directory in its place nobody can write there.
    let room = world.dir().join(".refreshTokenObjectFile.json.next");
    let child = world.under_way(&["refresh"]);
    let _ = fs::remove_file(&room);
    fs::create_dir(&room).expect("a directory");
    assert_eq!(Ended::landed(child).code, 0);
    finds(&world.run(&["doctor"]), "tokens wait in ", "perennial status");
    let mut command = world.command(&["doctor"]);
    let ended = Ended::of(
        &command
            .env("KEY", "f".repeat(64))
            .env("PERENNIAL_MASTER_KEY", "env:KEY")
            .output()
            .expect("it starts"),
    );
    finds(&ended, "and it does not open", "--master-key file:PATH");
}

#[test]
fn a_clock_that_stands_wrong_is_told() {
    let world = World::held_with(World::plain());
    let mut tokens = world.tokens();
    tokens["perennial"]["clocks"][0]["skew"] = json!(-250);
    support::write_json(&world.token_file(), &tokens);
    finds(&world.run(&["doctor"]), "this host's clock is 250 s ahead of the server's", "timedatectl");
}

#[test]
fn a_lock_that_cannot_be_taken_is_told() {
    let world = World::held_with(World::plain());
    let lock = world.dir().join("refreshTokenObjectFile.json.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    finds(&world.run(&["doctor"]), "refreshTokenObjectFile.json.lock", "a directory has its name");
}

#[test]
fn another_key_is_told_as_such() {
    let world = world();
    let mut command = world.keeps(&["doctor"]);
    let ended = Ended::of(
        &command
            .env("KEY", "f".repeat(64))
            .env("PERENNIAL_MASTER_KEY", "env:KEY")
            .output()
            .expect("it starts"),
    );
    finds(&ended, "does not open", "--master-key");
}

#[test]
fn saps_two_files_that_cannot_be_read_are_told() {
    let world = World::held_with(World::plain());
    fs::write(world.credentials(), "{").expect("it can be written");
    finds(&world.run(&["doctor"]), "credentials.json cannot be read", "mend it");
    fs::write(world.token_file(), "<html>").expect("it can be written");
    finds(&world.run(&["doctor"]), "refreshTokenObjectFile.json cannot be read", "perennial run");
    world.run(&["doctor", "--restore-backup"]).is_trouble(
        &world,
        2,
        "SAP's two files have no backup",
        "--store sqlite:FILE",
    );
}

#[test]
fn a_damaged_database_is_named_and_its_backup_put_back() {
    let world = world();
    world.keep_ok(&["refresh", "acme"]);
    let bytes = fs::read(world.database()).expect("it is there");
    fs::write(world.database(), &bytes[..bytes.len() / 2]).expect("it can be written");
    let _ = fs::remove_file(world.database().with_file_name("perennial.db-wal"));
    let ended = world.keep(&["token", "acme"]);
    ended.is_trouble(&world, 3, "perennial.db is damaged: ", "perennial doctor --restore-backup");
    finds(&world.keep(&["doctor"]), "is damaged", "perennial doctor --restore-backup");
    let ended = world.keep_ok(&["doctor", "--restore-backup"]);
    assert!(ended.stdout.contains("the last good copy is in place; what was there is kept as"), "{ended:?}");
    assert_eq!(world.keep(&["token", "acme"]).code, 0);
    world.keep_ok(&["refresh", "acme"]);
    let before = world.requests();
    world.keep_ok(&["doctor"]);
    assert_eq!(world.requests(), before);
}

#[test]
fn law_8_an_older_copy_is_not_used_before_a_person_takes_it_for_good() {
    let world = world();
    let dir = world.database().parent().expect("a directory").to_owned();
    let copy = world.home().join("copy");
    fs::create_dir(&copy).expect("a directory");
    let names = ["perennial.db", "perennial.db-wal"];
    let carry = |from: &std::path::Path, to: &std::path::Path| {
        for name in names {
            if from.join(name).exists() {
                fs::copy(from.join(name), to.join(name)).expect("a copy");
            }
        }
    };
    carry(&dir, &copy);
    world.keep_ok(&["refresh", "acme"]);
    for name in ["perennial.db", "perennial.db-wal", "perennial.db-shm"] {
        let _ = fs::remove_file(dir.join(name));
    }
    carry(&copy, &dir);
    let ended = world.keep(&["token", "acme"]);
    ended.is_trouble(&world, 3, "is damaged", "perennial doctor");
    finds(&world.keep(&["doctor"]), "older", "perennial doctor --accept-older");
    let ended = world.keep_ok(&["doctor", "--accept-older"]);
    assert!(ended.stdout.contains("is taken for good as it is"), "{ended:?}");
    world.keep_ok(&["refresh", "acme"]);
}
