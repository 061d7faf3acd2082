//! `import` and `export`: connections as SAP's two files, with our bookkeeping and the journal, from one store to another.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::{CREDENTIALS, TOKEN_FILE, World, read_json};

fn world() -> World {
    World::with(World::plain())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[test]
fn what_is_exported_works_as_saps_two_files() {
    let world = world();
    world.add("acme");
    world.keep_ok(&["policy", "acme", "renew_after=3d"]);
    let token = world.keep(&["token", "acme"]).stdout;
    let out = world.home().join("out");
    let ended = world.keep_ok(&["export", "acme", "--to-dir", text(&out), "--yes"]);
    assert!(
        ended.stderr.contains("these files are plain") && ended.stderr.contains("drift apart"),
        "{ended:?}"
    );
    for name in [CREDENTIALS, TOKEN_FILE] {
        let mode = fs::metadata(out.join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(world.run(&["token", "--dir", text(&out)]).stdout, token);
    world.run_ok(&["refresh", "--dir", text(&out)]);
    world.run_ok(&["run", "--dir", text(&out)]);
    let tokens = read_json(&out.join(TOKEN_FILE));
    assert_eq!(tokens["perennial"]["policy"]["renew_after"], "3d");
    let log = world.run_ok(&["log", "--dir", text(&out)]).stdout;
    assert!(log.contains("added, with a company request token") && log.contains("refreshed"), "{log}");
    assert!(
        world.events("acme").last().is_some_and(|event| event == "noted"),
        "the export is in the journal"
    );
}

#[test]
fn law_5_an_export_overwrites_nothing() {
    let world = world();
    world.add("acme");
    for name in [CREDENTIALS, TOKEN_FILE] {
        let out = world.home().join(name);
        fs::create_dir(&out).expect("a directory");
        fs::write(out.join(name), "mine").expect("it can be written");
        let ended = world.keep(&["export", "acme", "--to-dir", text(&out), "--yes"]);
        ended.is_trouble(&world, 1, "it is there already", "nothing is overwritten; name another directory");
        assert_eq!(fs::read_to_string(out.join(name)).expect("it is there"), "mine");
        assert_eq!(fs::read_dir(&out).expect("it is there").count(), 1);
    }
}

#[test]
fn all_go_into_a_directory_each_and_come_back_from_there() {
    let world = world();
    for name in ["acme", "east", "west"] {
        world.add(name);
    }
    let out = world.home().join("all");
    world.keep_ok(&["export", "--all", "--to-dir", text(&out), "--yes"]);
    let before = world.requests();
    let other = format!("sqlite:{}", world.home().join("other/other.db").display());
    let ended = world.keep_ok(&["import", text(&out), "--store", &other]);
    assert!(ended.stdout.contains("taken in 3"), "{ended:?}");
    let list = world.keep_ok(&["list", "--store", &other]).stdout;
    assert!(
        list.contains("acme  held") && list.contains("east  held") && list.contains("west  held"),
        "{list}"
    );
    assert_eq!(world.requests(), before, "nothing was sent");
    assert_eq!(
        world.keep(&["token", "east", "--store", &other]).stdout,
        world.keep(&["token", "east"]).stdout
    );
    world.keep_ok(&["refresh", "--all", "--store", &other]);
}

#[test]
fn one_directory_comes_in_by_its_own_name_or_by_another() {
    let world = world();
    let dir = world.directory("acme");
    world.keep_ok(&["import", text(&dir)]);
    world.keep_ok(&["import", text(&dir), "--as", "again"]);
    assert_eq!(world.names(), ["acme", "again"]);
    let ended = world.keep_ok(&["import", text(&dir)]);
    assert!(ended.stdout.contains("taken in 0, already there 1"), "{ended:?}");
    let other = world.directory("others/acme");
    world.keep(&["import", text(&other)]).is_trouble(
        &world,
        3,
        "there is a connection of that name already, with another grant",
        "perennial rename NAME OTHER",
    );
    world.keep(&["import", text(&dir), "--as", "a b"]).is_trouble(
        &world,
        2,
        "is no name for a connection",
        "letters",
    );
    let told: Value =
        serde_json::from_str(&world.keep_ok(&["import", text(&dir), "--as", "third", "--json"]).stdout)
            .expect("JSON");
    assert_eq!(told["connections"][0], "third");
}

#[test]
fn a_directory_that_cannot_be_taken_in_keeps_no_other_from_it() {
    let world = world();
    world.directory("customers/acme");
    let broken = world.home().join("customers/broken");
    fs::create_dir(&broken).expect("a directory");
    fs::write(broken.join(CREDENTIALS), "{").expect("it can be written");
    fs::write(broken.join(TOKEN_FILE), "{}").expect("it can be written");
    let without = world.home().join("customers/without");
    fs::create_dir(&without).expect("a directory");
    fs::copy(world.home().join("customers/acme").join(TOKEN_FILE), without.join(TOKEN_FILE)).expect("a copy");
    fs::create_dir(world.home().join("customers/notes")).expect("a directory");
    let customers = world.home().join("customers");
    let ended = world.keep(&["import", text(&customers)]);
    ended.is_trouble(&world, 3, "broken: ", "it has not been touched; mend it");
    assert!(ended.stderr.contains("App ID and client secret are needed beside the tokens"), "{ended:?}");
    assert!(ended.stdout.contains("taken in 1, refused 2"), "{ended:?}");
    assert_eq!(world.names(), ["acme"]);
    assert_eq!(fs::read_to_string(broken.join(CREDENTIALS)).expect("it is there"), "{");
}

#[test]
fn a_place_without_the_two_files_is_told() {
    let world = world();
    world.keep(&["import", "nowhere"]).is_trouble(&world, 2, "cannot read nowhere", "perennial import FROM");
    world.keep(&["import", "."]).is_trouble(
        &world,
        2,
        "there is neither credentials.json nor",
        "SAP's two files",
    );
    world.directory("both/acme");
    world.directory("both/west");
    let both = world.home().join("both");
    let ended = world.keep(&["import", text(&both), "--as", "one"]);
    ended.is_trouble(&world, 2, "--as names one connection, and there are several", "perennial import");
    assert!(!world.database().exists());
}

#[test]
fn a_connection_that_awaits_its_grant_can_be_carried_too() {
    let world = world();
    world.keep_ok(&world.adding("acme", &["--later"]));
    let out = world.home().join("out");
    world.keep_ok(&["export", "acme", "--to-dir", text(&out), "--yes"]);
    assert!(!out.join(TOKEN_FILE).exists());
    world.run_ok(&["run", "--dir", text(&out)]);
    let fresh = world.home().join("fresh");
    fs::create_dir(&fresh).expect("a directory");
    fs::copy(out.join(CREDENTIALS), fresh.join(CREDENTIALS)).expect("a copy");
    world.keep_ok(&["import", text(&fresh)]);
    world.keep_ok(&["reauthorize", "fresh"]);
}
