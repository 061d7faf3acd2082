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

/// Runs `script` with the world's directory on a disk of its own of 128 KiB; `None` where this system grants none.
fn on_a_small_disk(world: &World, script: &str) -> Option<Ended> {
    let root = world.dir().parent().unwrap().to_owned();
    let (disk, copy) = (root.join("disk"), root.join("copy"));
    fs::create_dir_all(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=128k,mode=700 tmpfs {disk} 2>/dev/null || exit 77
         cp -p {dir}/* {disk}/ && cd {disk} || exit 77
         {script}
         code=$?; rm -f filler; mkdir {copy} && cp -a {disk}/. {copy}/ || exit 78; exit $code",
        disk = disk.display(),
        copy = copy.display(),
        dir = world.dir().display(),
    );
    let words = world.command(&[]);
    for namespaces in ["-m", "-rm"] {
        let mut unshare = Command::new("unshare");
        unshare.args([namespaces, "sh", "-c", &script]).env_clear().env("PERENNIAL", binary());
        unshare.envs(words.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshare.env("PERENNIAL_STORE", "sap-sample:.");
        let Ok(output) = unshare.stdin(Stdio::null()).output() else { continue };
        let ended = Ended::of(&output);
        if ended.code != 77 && !ended.stderr.contains("unshare failed") {
            assert_ne!(ended.code, 78, "{ended:?}");
            return Some(ended);
        }
    }
    #[expect(clippy::print_stderr, reason = "what is not tested is said aloud")]
    {
        eprintln!("skipped: this system grants neither root nor users a mount of their own");
    }
    assert!(!may_mount(), "whoever may mount a disk gets one");
    None
}

/// Capability 21, CAP_SYS_ADMIN: root in a container may lack it.
fn may_mount() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .is_some_and(|bits| bits >> 21 & 1 == 1)
}

#[test]
fn on_a_full_disk_nothing_is_presented() {
    let world = World::held_with(World::plain());
    let before = world.files();
    let fill = "head -c 1000000 /dev/zero > filler 2>/dev/null";
    let Some(ended) = on_a_small_disk(&world, &format!("{fill}; \"$PERENNIAL\" refresh")) else { return };
    ended.is_trouble(
        &world,
        3,
        "No space left on device",
        "no token was presented, so nothing is lost; make room (df -h ",
    );
    assert_eq!(world.requests(), 1);
    let left = files(&world.dir().with_file_name("copy"));
    let expected: Vec<_> = before.into_iter().collect();
    assert_eq!(left, expected, "not a byte has changed, and no half-written file is left");
}

#[test]
fn a_disk_that_fills_up_while_the_request_is_under_way_finds_room_reserved() {
    let world = World::held_with(World::plain());
    world.inject(json!([{"kind": "delay", "milliseconds": 1500}]));
    // Once the intent is on the disk, room for the answer is too; then the disk is filled to the last block.
    let script = "\"$PERENNIAL\" refresh & pid=$!
        while kill -0 $pid 2>/dev/null && ! grep -q '\"intent\"' refreshTokenObjectFile.json; do :; done
        head -c 1000000 /dev/zero > filler 2>/dev/null
        wait $pid";
    let Some(ended) = on_a_small_disk(&world, script) else { return };
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.sandbox.stats().refreshes, 1);
    let copy = world.dir().with_file_name("copy");
    assert_eq!(
        support::read_json(&copy.join(TOKEN_FILE))["perennial"]["generation"],
        2,
        "law 4: it was stored"
    );
    assert!(world.rescue_files().is_empty(), "no rescue was needed");
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
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
