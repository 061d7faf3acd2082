//! Disks that fill up, turn read-only, or lose what was written on them, under each store: a clear error, no panic, no
//! token spent; `perennial doctor` says what to do, and doing that helps.

#![cfg(target_os = "linux")]

mod support;

use perennial_sandbox::{Config, Rotate};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use support::disk::on_a_disk;
use support::store::{NAME, StoreKind, database};
use support::{Ended, MEANWHILE, World, wait_until};

const KINDS: [StoreKind; 2] = [StoreKind::SapSample, StoreKind::Sqlite];

/// Each refresh token is good once: what is spent needlessly shows.
fn world(kind: StoreKind) -> World {
    World::holding(kind, Config { tls: false, rotate: Rotate::Always, ..Config::default() })
}

/// Room for the store and for what a refresh needs, and not much more.
fn kibibytes(kind: StoreKind) -> u32 {
    match kind {
        StoreKind::SapSample => 192,
        StoreKind::Sqlite => 2048,
    }
}

#[track_caller]
fn nothing_lost(world: &World, refreshes: u64) {
    let stats = world.sandbox.stats();
    assert_eq!((stats.refreshes, stats.reuse_detected, stats.refused), (refreshes, 0, 0), "{stats:?}");
    assert!(world.rescue_files().is_empty());
}

#[track_caller]
fn panics_nowhere(commands: &BTreeMap<String, Ended>, world: &World) {
    for (name, ended) in commands {
        assert!(!ended.stderr.contains("panicked"), "{name}: {ended:?}");
        let secrets = world.sandbox.secrets();
        ended.shows_none_of(&secrets);
    }
}

/// A line with a cross says this, and the line below it says what to do.
#[track_caller]
fn finds(doctor: &Ended, says: &str, remedy: &str) {
    assert_eq!(doctor.code, 3, "{doctor:?}");
    let lines: Vec<_> = doctor.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("✗ ") && line.contains(says));
    let at = at.unwrap_or_else(|| panic!("no \"{says}\" in {doctor:?}"));
    assert!(lines[at + 1].contains(remedy), "no \"{remedy}\" in {doctor:?}");
}

#[test]
fn law_4_on_a_full_disk_nothing_is_presented() {
    for kind in KINDS {
        let world = world(kind);
        let script = "fill; p refresh refresh; p token token; p doctor doctor; rm filler; p after refresh";
        let Some(disk) = on_a_disk(&world, kibibytes(kind), script) else { return };
        let (commands, _) = disk.ended();
        let says = "No space left on device";
        commands["refresh"].is_trouble(
            &world,
            3,
            says,
            "no token was presented, so nothing is lost; make room (df -h ",
        );
        finds(&commands["doctor"], "No space left on device", "make room (df -h ");
        assert!(commands["token"].stdout.starts_with("ey"), "law 9: {commands:?}");
        assert_eq!(commands["after"].code, 0, "{commands:?}");
        nothing_lost(&world, 1);
        panics_nowhere(&commands, &world);
    }
}

#[test]
fn law_4_a_disk_that_fills_up_behind_the_intent_has_room_for_the_answer() {
    for kind in KINDS {
        let world = world(kind);
        world.inject(json!([{"kind": "delay", "milliseconds": MEANWHILE}]));
        let script =
            "p refresh refresh & wait_for under-way; fill; wait; p token token; rm filler; p after refresh";
        let Some(disk) = on_a_disk(&world, kibibytes(kind), script) else { return };
        wait_until("the request is under way", || world.requests() == 2);
        disk.tell("under-way");
        let (commands, copy) = disk.ended();
        assert_eq!(commands["refresh"].code, 0, "{commands:?}");
        assert!(
            !commands["refresh"].stderr.contains("they are kept in"),
            "no rescue was needed: {commands:?}"
        );
        assert!(commands["token"].stdout.starts_with("ey"), "{commands:?}");
        assert_eq!(commands["after"].code, 0, "{commands:?}");
        let store = kind.open(&copy, &world.home()).expect("it opens");
        assert_eq!(store.read(NAME).expect("it can be read").version().generation, 3);
        nothing_lost(&world, 2);
        panics_nowhere(&commands, &world);
    }
}

#[test]
fn law_4_on_a_disk_that_turned_read_only_nothing_is_presented() {
    for kind in KINDS {
        let world = world(kind);
        let script = "mount -o remount,ro . || exit 77
            p refresh refresh; p token token; p doctor doctor
            mount -o remount,rw . || exit 77
            p after refresh";
        let Some(disk) = on_a_disk(&world, kibibytes(kind), script) else { return };
        let (commands, _) = disk.ended();
        commands["refresh"].is_trouble(
            &world,
            3,
            "Read-only file system",
            "no token was presented, so nothing is lost",
        );
        finds(&commands["doctor"], "Read-only file system", "that can be written");
        assert!(commands["token"].stdout.starts_with("ey"), "law 9: {commands:?}");
        assert_eq!(commands["after"].code, 0, "{commands:?}");
        nothing_lost(&world, 1);
        panics_nowhere(&commands, &world);
    }
}

/// All that was written stands in the database itself, and nothing of it in the -wal file alone. A process that ends in
/// a hurry leaves that to the next one.
fn set_at_rest(path: &Path) {
    let moved = rusqlite::Connection::open(path)
        .and_then(|sql| sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
    assert_eq!(moved, Ok(0), "nobody else has it open");
}

/// What a person does who reads the doctor's first remedy: copies the command from it.
#[track_caller]
fn follow(world: &World, doctor: &Ended) {
    let remedy = doctor.stdout.lines().skip_while(|line| !line.starts_with("✗ ")).nth(1).unwrap_or_default();
    let (_, command) = remedy.split_once("perennial ").unwrap_or_else(|| panic!("no command in {doctor:?}"));
    let command = command.split([';', ',']).next().unwrap_or_default();
    let words: Vec<&str> = command.split_whitespace().collect();
    world.run_ok(&words);
}

/// The database is damaged: whoever asks is told so, with the copy that helps, and no token is spent; and what the
/// doctor says helps.
#[track_caller]
fn is_told_and_mended(world: &World, what: &str) {
    let before = world.sandbox.stats();
    for words in [&["token", "--min-ttl", "2h"][..], &["refresh"]] {
        let ended = world.run(words);
        assert!(ended.code == 3 && ended.stdout.is_empty(), "{what}: {ended:?}");
        assert!(
            ended.stderr.contains("perennial doctor") && !ended.stderr.contains("panicked"),
            "{what}: {ended:?}"
        );
        let backup = database(&world.dir()).with_extension("db.backup");
        assert!(ended.stderr.contains(&*backup.to_string_lossy()), "the backup is named: {what}: {ended:?}");
        ended.shows_none_of(&world.sandbox.secrets());
    }
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code, 3, "{what}: {doctor:?}");
    assert_eq!(world.requests(), before.requests, "{what}: nothing was sent");
    follow(world, &doctor);
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.code, 0, "{what}: {doctor:?}");
    world.run_ok(&["refresh"]);
    let stats = world.sandbox.stats();
    assert_eq!((stats.reuse_detected, stats.refused), (0, 0), "{what}: {stats:?}");
}

#[test]
fn law_5_a_database_that_was_cut_short_is_put_back_from_its_backup() {
    let world = world(StoreKind::Sqlite);
    let path = database(&world.dir());
    set_at_rest(&path);
    let whole = fs::metadata(&path).expect("it is there").len();
    for length in [0, 1, 99, 4096, whole / 2, whole - 4096, whole - 1] {
        set_at_rest(&path);
        File::options().write(true).open(&path).and_then(|file| file.set_len(length)).expect("it can be cut");
        is_told_and_mended(&world, &format!("cut to {length}"));
    }
}

#[test]
fn law_5_a_byte_that_was_turned_is_found_or_does_no_harm() {
    let world = world(StoreKind::Sqlite);
    let path = database(&world.dir());
    set_at_rest(&path);
    let mut found = 0;
    // Pages are filled from their ends; what is between is empty as a rule.
    let pages = usize::try_from(fs::metadata(&path).expect("it is there").len()).expect("it is small") / 4096;
    for at in (0..pages).flat_map(|page| [4, 2000, 4090].map(|at| page * 4096 + at)) {
        let mut bytes = fs::read(&path).expect("it can be read");
        let before = world.sandbox.stats();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).expect("it can be written");
        let doctor = world.run(&["doctor"]);
        assert!(!doctor.stderr.contains("panicked"), "{at}: {doctor:?}");
        if doctor.code == 0 {
            // In a place that nothing is in.
            bytes[at] ^= 0x41;
            fs::write(&path, &bytes).expect("it can be written");
            world.run_ok(&["token"]);
            continue;
        }
        found += 1;
        let ended = world.run(&["token"]);
        assert!(!ended.stderr.contains("panicked"), "{at}: {ended:?}");
        assert!(ended.code == 3 || ended.stdout.starts_with("ey"), "{at}: {ended:?}");
        assert_eq!(world.requests(), before.requests, "{at}: nothing was sent");
        follow(&world, &doctor);
        world.run_ok(&["refresh"]);
        set_at_rest(&path);
        let stats = world.sandbox.stats();
        assert_eq!((stats.reuse_detected, stats.refused), (0, 0), "{at}: {stats:?}");
    }
    assert!(found > pages, "{found}");
}

#[test]
fn law_5_a_log_that_was_deleted_after_a_kill_is_missed() {
    let world = World::holding(StoreKind::Sqlite, World::plain());
    let mut command = world.command(&["refresh"]);
    let killed = command.env("PERENNIAL_FAILPOINT", "committed:1").output().expect("the binary starts");
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    let path = database(&world.dir());
    for ending in ["db-wal", "db-shm"] {
        fs::remove_file(path.with_extension(ending)).expect("there is one");
    }
    is_told_and_mended(&world, "its -wal file was deleted");
}

#[test]
fn law_8_an_older_copy_in_its_place_is_not_taken_for_the_newest() {
    let world = World::holding(StoreKind::Sqlite, World::plain());
    let path = database(&world.dir());
    set_at_rest(&path);
    let older = fs::read(&path).expect("it can be read");
    world.run_ok(&["refresh"]);
    set_at_rest(&path);
    fs::write(&path, older).expect("it can be written");
    is_told_and_mended(&world, "an older copy");
}
