//! The commands over PostgreSQL: what a person sees.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial::failpoint::REKEY_STEPS;
use perennial_sandbox::Config;
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use support::postgres_server::url_by;
use support::store::{NAME, StoreKind, is_there, schema, server};
use support::{Ended, World};

fn world() -> Option<World> {
    is_there().then(|| World::holding(StoreKind::Postgres, Config { tls: false, ..Config::default() }))
}

fn with_store(world: &World, store: &str, words: &[&str]) -> Ended {
    Ended::of(&world.command(words).env("PERENNIAL_STORE", store).output().expect("the binary starts"))
}

#[test]
fn a_connection_lives_in_postgresql() {
    let Some(world) = world() else { return };
    let first = world.run_ok(&["token"]).stdout;
    world.run_ok(&["refresh"]);
    let second = world.run_ok(&["token"]).stdout;
    assert_ne!(first, second);
    assert!(world.run_ok(&["call", support::USERS]).stdout.contains("Resources"));
    assert!(world.run_ok(&["list"]).stdout.contains(NAME));
    assert!(world.run_ok(&["log"]).stdout.contains("refreshed"));
    world.run_ok(&["rename", NAME, "acme"]);
    world.run_ok(&["remove", "acme", "--yes"]);
    let none = world.run(&["token"]);
    assert_eq!(none.code, 3);
    assert!(none.stderr.contains("perennial add NAME"), "{none:?}");
}

#[test]
fn doctor_looks_at_the_server() {
    let Some(world) = world() else { return };
    let ended = world.run(&["doctor", "--json"]);
    let found: Vec<Value> = serde_json::from_str(&ended.stdout).expect("JSON");
    let told = |what: &str| {
        let one =
            found.iter().find(|finding| finding["what"].as_str().is_some_and(|text| text.contains(what)));
        one.unwrap_or_else(|| panic!("{what}: {found:#?}"))["good"].as_bool().expect("good or not")
    };
    for good in [
        "answers on this machine: PostgreSQL",
        "it takes writes",
        "no standby is connected",
        "agree",
        "of form 1",
        "every secret of 1 connection opens",
        "default is held",
    ] {
        assert!(told(good), "{good}: {found:#?}");
    }
    // The server of these tests is in a hurry.
    assert!(!told("fsync is off") && !told("full_page_writes is off"), "{found:#?}");
    assert_eq!(ended.code, 3);
    let bad = found.iter().filter(|finding| finding["good"] == false).count();
    assert_eq!(bad, 2, "{found:#?}");
}

#[test]
fn doctor_finds_a_row_that_was_altered() {
    let Some(world) = world() else { return };
    server().sql(&format!("UPDATE {}.connections SET company = 'another'", schema(&world.dir())));
    let ended = world.run(&["doctor"]);
    assert_eq!(ended.code, 3);
    assert!(ended.stdout.contains("was altered by something else"), "{ended:?}");
    let ended = world.run(&["token"]);
    assert!(ended.code == 3 && ended.stderr.contains("perennial doctor"), "{ended:?}");
}

#[test]
fn law_10_a_password_in_the_address_is_refused_and_never_shown() {
    let Some(world) = world() else { return };
    for store in
        ["postgres://me:canary@db.example/grants", "postgres://db.example/grants?user=me&password=canary"]
    {
        for words in
            [&["token"][..], &["doctor"], &["list", "--json"], &["schema"], &["token", "--store", store]]
        {
            let ended = with_store(&world, store, words);
            assert_eq!(ended.code, 2, "{ended:?}");
            assert!(
                ended.stderr.contains("carries a password") && ended.stderr.contains(".pgpass"),
                "{ended:?}"
            );
            assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
        }
    }
}

#[test]
fn what_stands_in_the_way_of_the_server_is_told_with_the_next_step() {
    let Some(world) = world() else { return };
    let own = server().url(&schema(&world.dir()));
    let nowhere = url_by(&world.dir(), "x");
    let told = |store: &str, code: i32, what: &str, hint: &str| {
        let ended = with_store(&world, store, &["token"]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(what) && ended.stderr.contains(hint), "{ended:?}");
        assert_eq!(ended.stdout, "");
    };
    told(&nowhere, 4, "it cannot be reached", "no token was presented, so nothing is lost; check the server");
    told(&own.replace("/postgres?", "/nothing?"), 3, "no such database", "createdb");
    told(&own.replace("perennial@", "nobody_known@"), 3, "refused the login", "pg_hba.conf");
    told("postgres://db.example/x?sslmode=disable", 2, "in the clear", "sslrootcert");
    told("postgres://db.example/x?novelty=1", 2, "novelty is no parameter", "schema, pool");
    server().sql(&format!(
        "CREATE ROLE cli_reader LOGIN; GRANT USAGE ON SCHEMA {} TO cli_reader",
        schema(&world.dir())
    ));
    told(&own.replace("perennial@", "cli_reader@"), 3, "lacks a right", "perennial schema --role");
    server().sql(&format!("UPDATE {}.meta SET version = 99", schema(&world.dir())));
    told(&own, 3, "written by a newer Perennial", "a newer one");
}

#[test]
fn an_administrator_gets_the_sql_that_makes_the_tables() {
    let Some(world) = world() else { return };
    let url = server().url("by_an_administrator").replace("perennial@", "cli_keeper@");
    server().sql("CREATE ROLE cli_keeper LOGIN");
    let sql = with_store(&world, &url, &["schema", "--role", "cli_keeper"]);
    assert_eq!(sql.code, 0, "{sql:?}");
    server().sql(&sql.stdout);
    server().sql(&sql.stdout); // Once more does no harm: it may be about the rights alone.
    let list = with_store(&world, &url, &["doctor"]);
    assert!(list.stdout.contains("of form 1"), "{list:?}");
    let none = world.run(&["schema", "--store", "sqlite:x.db"]);
    assert_eq!(none.code, 2, "{none:?}");
}

#[test]
fn law_5_no_master_key_is_forgotten_that_a_server_may_need() {
    let Some(world) = world() else { return };
    let file = world.home().join(".config/perennial/master.key");
    let old = std::fs::read_to_string(&file).expect("a key");
    // No machine of a fleet makes a key that the others do not have.
    world.run_ok(&["key", "rotate"]);
    assert_eq!(std::fs::read_to_string(&file).expect("a key"), old);
    // A person puts the new one in front, on each machine.
    std::fs::write(&file, format!("{}\n{old}", "3c".repeat(32))).expect("it can be written");
    let ended = world.run(&["key", "forget", "--yes"]);
    assert!(ended.code == 3 && ended.stderr.contains("is still needed"), "{ended:?}");
    world.run_ok(&["token"]);
    world.run_ok(&["key", "rotate", "--data"]);
    world.run_ok(&["key", "check"]);
    world.run_ok(&["key", "forget", "--yes"]);
    assert_eq!(std::fs::read_to_string(&file).expect("a key").trim(), "3c".repeat(32));
    assert!(world.run_ok(&["token"]).stdout.starts_with("ey"));
    world.run_ok(&["refresh"]);
}

#[test]
fn law_5_a_rotation_on_a_server_that_is_killed_at_any_step_goes_on() {
    let Some(world) = world() else { return };
    let file = world.home().join(".config/perennial/master.key");
    let mut kills = 0;
    for (step, digit) in REKEY_STEPS.iter().zip('1'..) {
        let old = std::fs::read_to_string(&file).expect("a key");
        std::fs::write(&file, format!("{}\n{old}", digit.to_string().repeat(64))).expect("it can be written");
        let mut rotate = world.command(&["key", "rotate", "--data"]);
        let ended = rotate.env("PERENNIAL_FAILPOINT", format!("{step}:1")).output().expect("it starts");
        kills += usize::from(ended.status.signal() == Some(9));
        assert!(world.run_ok(&["token"]).stdout.starts_with("ey"), "{step}");
        world.run_ok(&["refresh"]);
        world.run_ok(&["key", "rotate", "--data"]);
        let checked = world.run_ok(&["key", "check", "--json"]);
        let checked: Value = serde_json::from_str(&checked.stdout).expect("JSON");
        let data_keys = checked["data_keys"].as_array().expect("a list");
        assert_eq!(data_keys.len(), 1, "{step}: {checked}");
        assert_eq!(data_keys[0]["master_key"], checked["master_keys"][0], "{step}: {checked}");
        world.run_ok(&["key", "forget", "--yes"]);
    }
    assert!(kills + 1 >= REKEY_STEPS.len(), "{kills} of {REKEY_STEPS:?}");
}

#[test]
fn law_7_a_dump_that_was_restored_elsewhere_is_a_copy() {
    let Some(world) = world() else { return };
    let here = schema(&world.dir());
    server().sql(&format!("UPDATE {here}.meta SET home = 'another cluster/5'"));
    let ended = world.run_ok(&["token"]);
    assert!(ended.stderr.contains("is a copy") && ended.stderr.contains("perennial adopt"), "{ended:?}");
    world.run_ok(&["adopt"]);
    assert!(!world.run_ok(&["token"]).stderr.contains("is a copy"));
    server().sql(&format!("UPDATE {here}.meta SET closed = 'elsewhere'"));
    let before = world.requests();
    let ended = world.run(&["refresh"]);
    assert!(ended.code == 3 && ended.stderr.contains("handed over to elsewhere"), "{ended:?}");
    assert_eq!(world.requests(), before);
}
