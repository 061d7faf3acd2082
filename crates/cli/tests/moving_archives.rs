//! `export` into a sealed archive, and back: what is cut short, altered or sealed with another key is told, nothing secret
//! is legible, and a store that is handed over renews nothing any more.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Ended, World, wait_until};

const WORDS: &str = "correct horse battery staple";

fn world() -> World {
    let world = World::with(World::plain());
    for name in ["acme", "west"] {
        world.add(name);
    }
    world
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// With the passphrase in a variable.
fn with_words(world: &World, words: &[&str]) -> Ended {
    let mut command = world.keeps(words);
    Ended::of(&command.env("WORDS", WORDS).output().expect("the binary starts"))
}

/// All connections in an archive.
fn archive(world: &World) -> PathBuf {
    let file = world.home().join("all.perennial");
    let ended = with_words(world, &["export", "--all", "--to", text(&file), "--passphrase-env", "WORDS"]);
    assert!(ended.code == 0 && ended.stdout.contains("2 connections, sealed; it opens again"), "{ended:?}");
    assert!(ended.stderr.contains("use only one of the two"), "{ended:?}");
    file
}

/// On a machine of its own, where no key is known.
struct Elsewhere<'a> {
    world: &'a World,
    store: String,
    key: String,
}

impl Elsewhere<'_> {
    fn of(world: &World) -> Elsewhere<'_> {
        let store = format!("sqlite:{}", world.home().join("other/other.db").display());
        let key = format!("file:{}", world.home().join("keys/other.key").display());
        Elsewhere { world, store, key }
    }

    fn command(&self, words: &[&str]) -> Command {
        let all = [words, &["--store", &self.store, "--master-key", &self.key]].concat();
        let mut command = self.world.keeps(&all);
        command.env("WORDS", WORDS);
        command
    }

    fn keep(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).output().expect("the binary starts"))
    }
}

#[test]
fn all_that_belongs_to_a_connection_goes_through_an_archive() {
    let world = world();
    world.keep_ok(&["policy", "acme", "renew_after=3d"]);
    let file = archive(&world);
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let before = world.requests();
    let there = Elsewhere::of(&world);
    let import = ["import", text(&file), "--passphrase-env", "WORDS"];
    let ended = there.keep(&[import.as_slice(), &["--dry-run"]].concat());
    assert!(ended.stdout.contains("would take in 2"), "{ended:?}");
    let ended = there.keep(&import);
    assert!(ended.code == 0 && ended.stdout.contains("taken in 2"), "{ended:?}");
    let ended = there.keep(&import);
    assert!(ended.code == 0 && ended.stdout.contains("taken in 0, already there 2"), "{ended:?}");
    assert_eq!(world.requests(), before, "nothing was sent");
    assert_eq!(there.keep(&["token", "west"]).stdout, world.keep(&["token", "west"]).stdout);
    assert!(there.keep(&["policy", "acme"]).stdout.contains("3d"));
    let log = there.keep(&["log", "acme"]).stdout;
    assert!(log.contains("added, with a company request token"), "{log}");
    assert_eq!(there.keep(&["refresh", "acme"]).code, 0);
    let ended = there.keep(&[import.as_slice(), &["--as", "one"]].concat());
    ended.is_trouble(&world, 2, "--as names one connection", "leave --as out");
}

#[test]
fn law_10_nothing_secret_is_legible_in_an_archive_nor_in_any_message_about_it() {
    let world = world();
    let file = archive(&world);
    let bytes = fs::read(&file).expect("it is there");
    let mut secrets = world.sandbox.secrets();
    secrets.push(WORDS.to_owned());
    for secret in &secrets {
        let secret = secret.as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    let there = Elsewhere::of(&world);
    let ended = there.keep(&["import", text(&file), "--passphrase-env", "WORDS", "--json"]);
    ended.shows_none_of(&secrets);
}

#[test]
fn a_wrong_passphrase_and_a_wrong_key_are_told_and_nothing_is_taken_in() {
    let world = world();
    let file = archive(&world);
    let there = Elsewhere::of(&world);
    let mut command = there.command(&["import", text(&file), "--passphrase-env", "OTHER"]);
    let ended = Ended::of(&command.env("OTHER", "another horse").output().expect("it starts"));
    ended.is_trouble(&world, 3, "it does not open with this passphrase", "--passphrase-file FILE");
    let ended = there.keep(&["import", text(&file)]);
    ended.is_trouble(&world, 2, "the passphrase is missing", "--passphrase-file FILE");
    let sealed = world.home().join("by-key.perennial");
    world.keep_ok(&["export", "--all", "--to", text(&sealed)]);
    let ended = there.keep(&["import", text(&sealed)]);
    ended.is_trouble(&world, 3, "the master key", "--from-master-key file:PATH");
    let old = format!("file:{}", world.home().join(".config/perennial/master.key").display());
    assert!(there.keep(&["import", text(&sealed), "--from-master-key", &old]).stdout.contains("taken in 2"));
}

#[test]
fn a_short_passphrase_is_refused() {
    let world = world();
    let file = world.home().join("all.perennial");
    let mut command = world.keeps(&["export", "--all", "--to", text(&file), "--passphrase-env", "WORDS"]);
    let ended = Ended::of(&command.env("WORDS", "secret").output().expect("it starts"));
    ended.is_trouble(&world, 2, "the passphrase is too short", "at least 12 characters");
    assert!(!file.exists());
}

#[test]
fn a_half_written_archive_is_told_and_what_came_before_is_good() {
    let world = world();
    let file = archive(&world);
    let whole = fs::read(&file).expect("it is there");
    let there = Elsewhere::of(&world);
    let import = ["import", text(&file), "--passphrase-env", "WORDS"];
    // Without its end: both connections are in the piece before.
    fs::write(&file, &whole[..whole.len() - 3]).expect("it can be written");
    let ended = there.keep(&import);
    ended.is_trouble(&world, 3, "it is cut short: only 2 connections", "written or copied again");
    assert!(ended.stdout.contains("taken in 2, refused 1"), "{ended:?}");
    fs::write(&file, &whole[..200]).expect("it can be written");
    there.keep(&import).is_trouble(&world, 3, "all.perennial: it", "again");
    let mut altered = whole.clone();
    let middle = whole.len() / 2;
    altered[middle] ^= 1;
    fs::write(&file, &altered).expect("it can be written");
    there.keep(&import).is_trouble(&world, 3, "altered or damaged behind its first 0", "again");
}

#[test]
fn law_5_an_archive_overwrites_nothing() {
    let world = world();
    let file = world.home().join("all.perennial");
    fs::write(&file, "mine").expect("it can be written");
    let ended = world.keep(&["export", "--all", "--to", text(&file)]);
    ended.is_trouble(&world, 3, "it is there already", "nothing is overwritten");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "mine");
}

#[test]
fn a_store_that_is_handed_over_renews_nothing_and_says_where_it_went() {
    let world = world();
    let file = world.home().join("all.perennial");
    let ended = with_words(&world, &["export", "--move", "--to", text(&file), "--passphrase-env", "WORDS"]);
    assert!(ended.code == 0 && ended.stdout.contains("is closed: it renews nothing any more"), "{ended:?}");
    let before = world.requests();
    let ended = world.keep(&["refresh", "acme"]);
    ended.is_trouble(&world, 3, "was handed over to ", "perennial adopt");
    let ended = world.keep(&["refresh", "--all"]);
    assert_eq!((ended.code, ended.stderr.matches("error: ").count()), (3, 1), "{ended:?}");
    let ended = world.keep(&["token", "acme"]);
    assert!(ended.code == 0 && ended.stderr.contains("all.perennial"), "law 9: {ended:?}");
    assert_eq!(world.requests(), before, "nothing was sent");
    let again = world.home().join("again.perennial");
    let ended = world.keep(&["export", "--move", "--to", text(&again)]);
    ended.is_trouble(&world, 3, "was handed over to ", "perennial adopt");

    let there = Elsewhere::of(&world);
    let ended = there.keep(&["import", text(&file), "--passphrase-env", "WORDS"]);
    assert!(ended.code == 0 && !ended.stderr.contains("drift apart"), "{ended:?}");
    assert_eq!(there.keep(&["refresh", "acme"]).code, 0);

    let ended = world.keep_ok(&["adopt"]);
    assert!(ended.stdout.contains("is the one in use again"), "{ended:?}");
    world.keep_ok(&["refresh", "west"]);
}

#[test]
fn a_move_that_fails_leaves_the_store_in_use() {
    let world = world();
    let ended = world.keep(&["export", "--move", "--to", "/nowhere/all.perennial"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    world.keep_ok(&["refresh", "acme"]);
}

#[test]
fn law_2_a_move_waits_for_a_request_that_is_under_way() {
    let world = world();
    world.inject(json!([{"kind": "delay", "milliseconds": support::MEANWHILE}]));
    let before = world.requests();
    let refresh = world.keeps(&["refresh", "acme"]).spawn().expect("the binary starts");
    wait_until("the request is under way", || world.requests() > before);
    let file = world.home().join("all.perennial");
    let ended = with_words(&world, &["export", "--move", "--to", text(&file), "--passphrase-env", "WORDS"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(Ended::landed(refresh).code, 0, "its answer is taken in");
    let there = Elsewhere::of(&world);
    assert_eq!(there.keep(&["import", text(&file), "--passphrase-env", "WORDS"]).code, 0);
    let tokens = [there.keep(&["token", "acme"]).stdout, world.keep(&["token", "acme"]).stdout];
    assert_eq!(tokens[0], tokens[1], "the archive holds the newest tokens");
}

#[test]
fn in_the_clear_nothing_is_written_before_a_person_has_said_so_twice() {
    let world = world();
    let list = world.home().join("grants.jsonl");
    let export = ["export", "--all", "--plain", "--to", text(&list)];
    let ended = world.keep(&export);
    ended.is_trouble(&world, 2, "of 2 connections would be written in the clear", "--yes");
    assert!(!list.exists());
    let ended = world.keep(&[export.as_slice(), &["--yes"]].concat());
    assert!(ended.code == 0 && ended.stdout.contains("2 connections, in the clear"), "{ended:?}");
    assert_eq!(fs::metadata(&list).expect("it is there").permissions().mode() & 0o777, 0o600);
    let there = Elsewhere::of(&world);
    let ended = there.keep(&["import", text(&list)]);
    assert!(ended.code == 0 && ended.stdout.contains("taken in 2"), "{ended:?}");
    assert_eq!(there.keep(&["token", "acme"]).stdout, world.keep(&["token", "acme"]).stdout);
    assert_eq!(there.keep(&["refresh", "acme"]).code, 0);
}

#[test]
fn a_killed_import_is_run_again_and_finishes() {
    let world = World::with(World::plain());
    let base = world.sandbox.base_uri();
    let mut list = "name,client_id,client_secret,refresh_token,geolocation\n".to_owned();
    for number in 0..4000 {
        list += &format!("c-{number},app,secret,token-{number},{base}\n");
    }
    let file = world.home().join("grants.csv");
    fs::write(&file, list).expect("it can be written");
    let there = Elsewhere::of(&world);
    let mut import = there.command(&["import", text(&file)]);
    let mut child = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let database = world.home().join("other/other.db");
    let count = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let sql = rusqlite::Connection::open_with_flags(&database, flags).ok()?;
        sql.query_row("SELECT count(*) FROM connections", [], |row| row.get::<_, i64>(0)).ok()
    };
    wait_until("some are taken in", || count().is_some_and(|count| count > 100));
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    let so_far = count().expect("it is there");
    let ended = there.keep(&["import", text(&file)]);
    let summary = format!("taken in {}, already there {so_far}", 4000 - so_far);
    assert!(ended.code == 0 && ended.stdout.contains(&summary), "{summary}: {ended:?}");
    assert_eq!(count(), Some(4000));
}

#[test]
fn ctrl_c_ends_an_import_cleanly_and_says_how_far_it_came() {
    let world = World::with(World::plain());
    let base = world.sandbox.base_uri();
    let mut list = "name,client_id,client_secret,refresh_token,geolocation\n".to_owned();
    for number in 0..20_000 {
        list += &format!("c-{number},app,secret,token-{number},{base}\n");
    }
    let file = world.home().join("grants.csv");
    fs::write(&file, list).expect("it can be written");
    let there = Elsewhere::of(&world);
    let child = there.command(&["import", text(&file)]).spawn().expect("it starts");
    let database = world.home().join("other/other.db");
    wait_until("it is at work", || database.exists());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill starts").success());
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(
        ended.stdout.contains("taken in ") && ended.stderr.contains("this goes on: perennial import"),
        "{ended:?}"
    );
}
