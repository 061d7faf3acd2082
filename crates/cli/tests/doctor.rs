//! `perennial doctor`: what is good, and what is not, with the exact next command.

mod support;

use perennial_sandbox::Expire;
use serde_json::{Value, json};
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
    }
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
    let ended = world.keep_ok(&["doctor"]);
    assert!(ended.stdout.contains("✓ acme is backing_off: tried again from"), "{ended:?}");
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
