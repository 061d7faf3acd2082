//! Copies of a database, told by its file: `cp` makes one, `mv` does not, a restored backup is one. A copy hands out what
//! lives, and presents no refresh token that may be presented only once, until a person says which one is in use.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::disk::on_a_disk;
use support::store::StoreKind;
use support::{Ended, World};

const COPY: &str = "is a copy: what it was copied from was in use as another file";

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// A world that keeps `acme`, whose server ends a grant when a used refresh token comes back.
fn strict() -> World {
    let world = World::with(World::plain());
    world.add("acme");
    world.keep_ok(&["policy", "acme", "replay=never"]);
    world
}

/// Copies the database with what is beside it, as `cp -a` of its directory does.
fn copy(world: &World) -> PathBuf {
    let from = world.database();
    let to = world.home().join("copy");
    fs::create_dir(&to).expect("a directory");
    for entry in fs::read_dir(from.parent().expect("a directory")).expect("it is there") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
    to.join("perennial.db")
}

fn on(world: &World, database: &Path, words: &[&str]) -> Ended {
    let store = format!("sqlite:{}", database.display());
    let words: Vec<_> = words.iter().copied().chain(["--store", &store]).collect();
    world.keep(&words)
}

#[test]
fn law_7_a_copy_hands_out_what_lives_and_presents_nothing_until_it_is_adopted() {
    let world = strict();
    let there = copy(&world);
    let before = world.requests();
    let ended = on(&world, &there, &["token", "acme"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stderr.matches(COPY).count(), 1, "once a command: {ended:?}");
    assert_eq!(ended.stdout, world.keep_ok(&["token", "acme"]).stdout, "law 9");
    let ended = on(&world, &there, &["refresh", "acme"]);
    ended.is_trouble(&world, 3, "may be presented from one place only", "perennial adopt --store sqlite:");
    assert_eq!(world.requests(), before, "nothing was sent");
    let ended = on(&world, &there, &["adopt"]);
    assert!(ended.code == 0 && ended.stdout.contains("is the one in use from now on"), "{ended:?}");
    let ended = on(&world, &there, &["refresh", "acme"]);
    assert!(ended.code == 0 && !ended.stderr.contains("is a copy"), "{ended:?}");
    assert_eq!(world.requests(), before + 1);
}

#[test]
fn a_copy_of_what_may_be_presented_twice_is_only_remarked_on() {
    let world = World::with(World::plain());
    world.add("acme");
    let there = copy(&world);
    let ended = on(&world, &there, &["refresh", "acme"]);
    assert!(ended.code == 0 && ended.stderr.contains(COPY), "{ended:?}");
}

#[test]
fn a_database_that_was_moved_is_no_copy() {
    let world = strict();
    let from = world.database();
    let to = from.with_file_name("other.db");
    for ending in ["", "-wal", "-shm", ".lock", ".backup"] {
        let name = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        fs::rename(name(&from), name(&to)).expect("it moves");
    }
    let ended = on(&world, &to, &["refresh", "acme"]);
    assert!(ended.code == 0 && !ended.stderr.contains("copy"), "{ended:?}");
}

#[test]
fn another_machine_is_told_where_machines_are_known() {
    let world = strict();
    let sql = rusqlite::Connection::open(world.database()).expect("it opens");
    let home: String = sql.query_row("SELECT home FROM meta", [], |row| row.get(0)).expect("it is there");
    let mut home: serde_json::Value = serde_json::from_str(&home).expect("JSON");
    if home["machine"].is_null() {
        return support::not_here("this machine has no /etc/machine-id");
    }
    home["machine"] = "another".into();
    sql.execute("UPDATE meta SET home = ?1", [home.to_string()]).expect("it is taken");
    drop(sql);
    let ended = world.keep(&["refresh", "acme"]);
    ended.is_trouble(&world, 3, "was in use on another machine", "perennial adopt");
    world.keep_ok(&["adopt"]);
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn a_backup_opens_is_never_overwritten_and_comes_back_as_a_copy() {
    let world = strict();
    let file = world.home().join("keep.db");
    let ended = world.keep_ok(&["backup", text(&file)]);
    assert!(ended.stdout.contains("keep.db: 1 connection, ") && ended.stdout.contains("every secret opens"));
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&file).expect("it is there");
    for secret in world.sandbox.secrets() {
        let secret = secret.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "law 10");
    }
    world.keep(&["backup", text(&file)]).is_trouble(
        &world,
        1,
        "it is there already",
        "nothing is overwritten",
    );

    world.keep_ok(&["refresh", "acme"]);
    let ended = world.keep_ok(&["restore", text(&file)]);
    assert!(ended.stdout.contains("is kept as ") && ended.stdout.contains(".replaced-1"), "{ended:?}");
    let ended = world.keep(&["refresh", "acme"]);
    ended.is_trouble(&world, 3, "may be presented from one place only", "perennial adopt");
    world.keep_ok(&["adopt"]);
    world.keep_ok(&["token", "acme"]);
    let kept = world.database().with_file_name("perennial.db.replaced-1");
    assert!(kept.exists(), "law 5");
}

#[test]
fn what_is_no_good_backup_changes_nothing() {
    let world = strict();
    let file = world.home().join("keep.db");
    world.keep_ok(&["backup", text(&file)]);
    let good = fs::read(&file).expect("it is there");
    let token = world.keep(&["token", "acme"]).stdout;

    fs::write(&file, &good[..good.len() / 2]).expect("it can be written");
    world.keep(&["restore", text(&file)]).is_trouble(&world, 3, "keep.db is damaged", "nothing was changed");
    fs::write(&file, "scribble").expect("it can be written");
    world.keep(&["restore", text(&file)]).is_trouble(&world, 3, "keep.db", "nothing was changed");
    fs::write(&file, &good).expect("it can be written");
    let mut command = world.keeps(&["restore", text(&file)]);
    command.env("KEY", "f".repeat(64)).env("PERENNIAL_MASTER_KEY", "env:KEY");
    let ended = Ended::of(&command.output().expect("it starts"));
    ended.is_trouble(&world, 3, "keep.db does not open", "nothing was changed");
    world.keep(&["restore", "nowhere.db"]).is_trouble(&world, 3, "nowhere.db", "perennial restore FILE");

    let sql = rusqlite::Connection::open(&file).expect("it opens");
    sql.execute("UPDATE connections SET name = 'other'", []).expect("it is taken");
    drop(sql);
    world.keep(&["restore", text(&file)]).is_trouble(&world, 3, "was altered", "nothing was changed");
    assert_eq!(world.keep_ok(&["token", "acme"]).stdout, token);
    let dir = fs::read_dir(world.database().parent().expect("a directory")).expect("it is there");
    let left = dir.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        let name = name.to_string_lossy();
        name.contains("restored") || name.contains("replaced")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_backup_that_finds_no_room_leaves_nothing_and_the_database_as_it_was() {
    let world = World::holding(StoreKind::Sqlite, World::plain());
    let script =
        "p before token; fill; p backup backup keep.db; ls -a >$OUT/ls.txt; rm -f filler; p after token";
    let Some(disk) = on_a_disk(&world, 2048, script) else { return };
    let out = world.dir().parent().expect("a root").join("out");
    let (ended, _) = disk.ended();
    ended["backup"].is_trouble(&world, 3, "keep.db", "make room");
    assert_eq!(ended["before"].stdout, ended["after"].stdout);
    let left = fs::read_to_string(out.join("ls.txt")).expect("it is there");
    assert!(!left.contains("keep.db"), "{left}");
}

#[test]
fn a_killed_backup_is_taken_over_by_the_next() {
    let world = strict();
    let unfinished = world.home().join(".keep.db.unfinished");
    fs::write(&unfinished, vec![7; 100_000]).expect("it can be written");
    world.keep_ok(&["backup", text(&world.home().join("keep.db"))]);
    assert!(!unfinished.exists());
}
