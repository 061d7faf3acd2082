//! Stores that cannot be written: nothing is spent, nothing is lost (laws 1 and 4). Root may write anywhere, so where
//! the tests run as root the binary runs as nobody.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Ended, TOKEN_FILE, World, binary, wait_until};

const NOBODY: u32 = 65534;

fn is_root(world: &World) -> bool {
    fs::metadata(world.dir()).unwrap().uid() == 0 || fs::metadata(world.home()).unwrap().uid() == NOBODY
}

/// The binary under somebody whom mode bits bind, who owns this world's files.
fn bound(world: &World, words: &[&str]) -> Command {
    let mut command = world.command(words);
    if is_root(world) {
        give_away(world.dir().parent().unwrap());
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

fn run(world: &World, words: &[&str]) -> Ended {
    Ended::of(&bound(world, words).output().unwrap())
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn in_a_directory_that_cannot_be_written_nothing_is_obtained() {
    let world = World::with(World::plain());
    allow(&world.dir(), 0o500);
    let ended = run(&world, &["run"]);
    ended.is_trouble(&world, 3, "could not write", "chmod u+rwx");
    assert!(world.files().is_empty());

    allow(&world.dir(), 0o700);
    world.fill();
    let before = world.files();
    allow(&world.dir(), 0o500);
    let ended = run(&world, &["run"]);
    ended.is_trouble(&world, 3, "could not write", "no token was presented, so nothing is lost");
    let hint = format!("chmod u+rwx {}\n", world.dir().canonicalize().unwrap().display());
    assert!(ended.stderr.contains(&hint), "{ended:?}");
    assert_eq!((world.files(), world.requests()), (before, 0));
}

#[test]
fn in_a_directory_that_cannot_be_written_nothing_is_presented() {
    let world = World::held_with(World::plain());
    let before = world.files();
    allow(&world.dir(), 0o500);
    let ended = run(&world, &["refresh"]);
    ended.is_trouble(&world, 3, "could not write", "chmod u+rwx");
    assert!(run(&world, &["token"]).stdout.starts_with("ey"), "law 9: reading is enough");
    assert_eq!((world.files(), world.requests()), (before, 1));

    // The lock cannot be made either where another program's file is taken over.
    allow(&world.dir(), 0o700);
    fs::remove_file(world.dir().join(format!("{TOKEN_FILE}.lock"))).unwrap();
    allow(&world.dir(), 0o500);
    run(&world, &["refresh"]).is_trouble(&world, 3, ".lock: Permission denied", "chmod u+rwx");
    allow(&world.dir(), 0o700);
    assert_eq!(run(&world, &["refresh"]).code, 0);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_lock_that_cannot_be_taken_keeps_everything_as_it_is() {
    let world = World::held_with(World::plain());
    let lock = world.dir().join(format!("{TOKEN_FILE}.lock"));
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let before = world.files();
    let ended = world.run(&["refresh"]);
    ended.is_trouble(&world, 3, "Is a directory", "so move that away: ");
    assert!(ended.stderr.contains(&*lock.canonicalize().unwrap().to_string_lossy()), "{ended:?}");
    assert_eq!((world.files(), world.requests()), (before, 1));
}

#[test]
fn a_read_only_token_file_is_respected() {
    let world = World::held_with(World::plain());
    allow(&world.token_file(), 0o400);
    let before = world.files();
    let ended = world.run(&["refresh"]);
    ended.is_trouble(&world, 3, "is read-only, so new tokens could not be stored", "allow it: chmod u+w ");
    assert!(world.run_ok(&["token"]).stdout.starts_with("ey"), "law 9");
    assert_eq!((world.files(), world.requests()), (before, 1));
    allow(&world.token_file(), 0o600);
    world.run_ok(&["refresh"]);
}

#[test]
fn a_directory_that_everybody_may_write_is_not_used() {
    let world = World::held_with(World::plain());
    allow(&world.dir(), 0o777);
    let ended = world.run(&["token"]);
    ended.is_trouble(&world, 3, "can be written by everybody", "take that right away: chmod o-w ");
    assert!(ended.stdout.is_empty());
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_limit_on_the_size_of_files_is_met_before_anything_is_sent() {
    let world = World::held_with(World::plain());
    let before = world.files();
    // 16 blocks of 512 bytes: the intent itself would fit, the room for the answer does not.
    let mut shell = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
    let words = world.command(&[]);
    shell.args(["-c", script, "sh"]).arg(binary()).arg("refresh").current_dir(world.dir()).env_clear();
    shell.envs(words.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Ended::of(&shell.stdin(Stdio::null()).output().unwrap());
    ended.is_trouble(&world, 3, "File too large", "no token was presented, so nothing is lost; make room");
    assert_eq!((world.files(), world.requests()), (before, 1));
    world.run_ok(&["refresh"]);
}

#[test]
fn what_the_store_refuses_after_the_answer_goes_sealed_into_a_rescue_file() {
    let world = World::held_with(World::plain());
    let old = world.tokens();
    world.inject(json!([{"kind": "delay", "milliseconds": 1500}]));
    let child = bound(&world, &["token", "--min-ttl", "2h"]).spawn().unwrap();
    wait_until("the request is under way", || world.requests() == 2);
    allow(&world.dir(), 0o500);
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 0, "law 1: a rescue file is durable: {ended:?}");
    assert!(ended.stderr.contains("the store would not take the new tokens; they are kept in "), "{ended:?}");
    assert_ne!(ended.stdout.trim(), old["access_token"], "the new token is handed out");
    let [rescue] = &world.rescue_files()[..] else { panic!("one rescue file: {:?}", world.rescue_files()) };
    let sealed = fs::read(rescue).unwrap();
    let token = old["refresh_token"].as_str().unwrap();
    assert!(!sealed.windows(token.len()).any(|window| window == token.as_bytes()), "law 10");
    assert_eq!(fs::metadata(rescue).unwrap().mode() & 0o777, 0o600);
    assert_eq!(world.refresh_token(), token, "law 5");

    let status = run(&world, &["status", "--json"]);
    assert!(status.stdout.contains("\"state\": \"unsaved\""), "{status:?}");
    allow(&world.dir(), 0o700);
    let again = run(&world, &["token"]);
    assert_eq!(again.stdout, ended.stdout, "every start drains it first");
    assert!(world.rescue_files().is_empty());
    assert_eq!((world.requests(), world.status()["generation"].as_u64()), (2, Some(2)));
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let world = World::held_with(World::plain());
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = world.command(&["token"]);
    let ended = Ended::of(&command.stdout(full).output().unwrap());
    ended.is_trouble(&world, 1, "could not write the output: No space left on device", "");
}
