//! Law 4 and its consequences: the process is killed, really, before each call that changes a file, and while its
//! request is under way. Whatever is on disk then, the grant is not lost, and nothing is presented twice.
//!
//! One window cannot be closed by anybody: the answer has come, and its first byte has not been written. Where a
//! refresh token is good once, a kill in just that window costs the grant; everywhere else it costs nothing.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Rotate};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use support::power::{Power, prepare};
use support::store::StoreKind;
use support::{Ended, World, read_json, wait_until};

/// More calls than any command here makes: who reaches this goes round in circles.
const FAR: usize = 200;

#[test]
fn a_refresh_is_killed_before_each_of_its_calls_where_the_token_stays() {
    let lost = kill_a_refresh_everywhere(Rotate::Never);
    assert_eq!(lost, 0);
}

#[test]
fn a_refresh_is_killed_before_each_of_its_calls_where_the_token_changes_at_times() {
    let lost = kill_a_refresh_everywhere(Rotate::Sometimes);
    assert_eq!(lost, 0);
}

#[test]
fn a_refresh_is_killed_before_each_of_its_calls_where_a_token_is_good_once() {
    let lost = kill_a_refresh_everywhere(Rotate::Always);
    assert_eq!(lost, 2, "before the commit opens its room, and before it writes into it");
}

/// Returns how often the grant was lost.
fn kill_a_refresh_everywhere(rotate: Rotate) -> u64 {
    let world = World::held_with(Config { tls: false, rotate, ..Config::default() });
    world.forget_request_token();
    let mut lost = 0;
    for at in 1..FAR {
        world.let_access_token_end();
        let before = world.sandbox.stats();
        let killed = Killed::before(&world, at, &["token"]);
        let sent = world.requests() - before.requests;
        if !killed.was_killed {
            assert_eq!((killed.ended.code, sent), (0, 1), "{killed:?}");
            assert!(at > 10, "so few calls cannot be all of them: {killed:?}");
            return lost;
        }
        files_are_whole(&world, &killed);
        let in_the_window = sent == 1 && killed.answer_is_in_memory_only();
        let next = world.run(&["token"]);
        let reused = world.sandbox.stats().reuse_detected - before.reuse_detected;
        if rotate == Rotate::Always && in_the_window {
            // An answer that nobody holds was lost with the process; a person is told, and nothing else is.
            next.is_trouble(&world, 3, "code 108", "companyRequestToken");
            lost += 1;
            world.obtain_anew();
            continue;
        }
        assert_eq!((next.code, reused), (0, 0), "{killed:?} {next:?}");
        assert_eq!(next.stdout.trim_end(), world.tokens()["access_token"].as_str().expect("one"));
        let spent = world.requests() - before.requests;
        assert_eq!(
            spent,
            if in_the_window { 2 } else { 1 },
            "what is on disk is not asked for again: {killed:?}"
        );
        grant_is_whole(&world, &killed, lost);
    }
    panic!("no end of calls");
}

#[test]
fn obtaining_is_killed_before_each_of_its_calls() {
    for at in 1..FAR {
        let world = World::with(Config { tls: false, rotate: Rotate::Always, ..Config::default() });
        world.fill();
        let killed = Killed::before(&world, at, &["run"]);
        if !killed.was_killed {
            assert_eq!((killed.ended.code, world.requests()), (0, 1), "{killed:?}");
            assert!(at > 20, "so few calls cannot be all of them: {killed:?}");
            return;
        }
        files_are_whole(&world, &killed);
        let in_the_window = world.requests() == 1 && killed.answer_is_in_memory_only();
        world.run_ok(&["run"]);
        let uses = world.sandbox.stats().request_token_uses;
        assert_eq!(uses, if in_the_window { 2 } else { 1 }, "{killed:?}");
        let counted = world.tokens()["perennial"]["request_token"]["uses"].as_u64();
        assert!(counted >= Some(uses), "each use is counted before it is sent: {killed:?}");
        grant_is_whole(&world, &killed, 0);
    }
    panic!("no end of calls");
}

/// The refresh token in force is known: it is presented, and taken. Nothing is left lying about. Each grant that was
/// lost on purpose has cost one reuse.
#[track_caller]
fn grant_is_whole(world: &World, killed: &Killed, lost: u64) {
    let ended = world.run(&["refresh"]);
    let stats = world.sandbox.stats();
    assert_eq!((ended.code, stats.reuse_detected), (0, lost), "{killed:?} {ended:?} {stats:?}");
    let names: BTreeSet<String> = fs::read_dir(world.dir())
        .expect("the directory is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let expected = [
        "credentials.json",
        "refreshTokenObjectFile.json",
        "refreshTokenObjectFile.json.journal",
        "refreshTokenObjectFile.json.lock",
    ];
    assert_eq!(names, expected.map(str::to_owned).into(), "{killed:?}");
}

/// Both files are as they were, or as they were to become; never half of either.
#[track_caller]
fn files_are_whole(world: &World, killed: &Killed) {
    assert!(read_json(&world.credentials())["appID"].is_string());
    if world.token_file().exists() {
        let tokens = read_json(&world.token_file());
        assert!(tokens["perennial"].is_object(), "{killed:?}");
    }
}

#[test]
fn whoever_completes_a_commit_may_be_killed_too() {
    let world = World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() });
    world.let_access_token_end();
    let whole = Killed::before(&world, FAR, &["token"]).trace;
    let written = 1 + whole.iter().rposition(|call| call.starts_with("ftruncate ")).expect("one");
    for at in 1..FAR {
        world.let_access_token_end();
        assert!(Killed::before(&world, written, &["token"]).was_killed);
        let sent = world.requests();
        let killed = Killed::before(&world, at, &["token"]);
        if !killed.was_killed {
            assert!(at > 5, "so few calls cannot be all of them: {killed:?}");
            return;
        }
        files_are_whole(&world, &killed);
        world.run_ok(&["token"]);
        assert_eq!(world.requests(), sent, "the answer is on disk: {killed:?}");
        grant_is_whole(&world, &killed, 0);
    }
}

#[test]
fn each_call_fails_once_and_nothing_is_lost_by_that() {
    fail_each_call(StoreKind::SapSample);
}

#[test]
fn each_call_fails_once_and_nothing_is_lost_by_that_in_sqlite() {
    fail_each_call(StoreKind::Sqlite);
}

fn fail_each_call(kind: StoreKind) {
    let world = World::holding(kind, Config { tls: false, rotate: Rotate::Always, ..Config::default() });
    for at in 1..FAR {
        world.let_access_token_end();
        let before = world.sandbox.stats();
        let (mut command, trace) = prepare(&world, Power::Flickers(at), &["token"]);
        let ended = Ended::of(&command.output().expect("the binary starts"));
        let trace = fs::read_to_string(trace).expect("a trace");
        assert!(ended.code == 0 || ended.stdout.is_empty(), "{trace} {ended:?}");
        let next = world.run(&["token"]);
        assert_eq!(next.code, 0, "{trace} {ended:?} {next:?}");
        if ended.code == 0 {
            assert_eq!(next.stdout, ended.stdout, "what was handed out had been durable: {trace} {ended:?}");
        }
        world.run_ok(&["refresh"]);
        let stats = world.sandbox.stats();
        assert_eq!((stats.reuse_detected, stats.refused), (0, 0), "{trace} {ended:?}");
        assert_eq!(stats.refreshes - before.refreshes, 2, "{trace} {ended:?}");
        assert_eq!(world.rescue_files().len(), 0, "{trace} {ended:?}");
        if trace.lines().count() < at {
            assert!(at > 10, "so few calls cannot be all of them: {trace}");
            return;
        }
    }
}

#[test]
fn a_late_answer_that_was_kept_aside_survives_a_kill() {
    let world = World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() });
    // The commit of a late answer ends as any does: ftruncate, fsync, rename.
    for calls in [0, 1, 2] {
        let sample = world.by_the_sample();
        world.let_access_token_end();
        let whole = Killed::before(&world, FAR, &["token"]).trace;
        let written = 1 + whole.iter().rposition(|call| call.starts_with("ftruncate ")).expect("one");
        let at = written + calls;
        world.let_access_token_end();
        world.inject(json!([{"kind": "delay", "milliseconds": 1000}]));
        let sent = world.requests();
        let (mut command, _) = prepare(&world, Power::Cut(at), &["token"]);
        let child = command.spawn().expect("the binary starts");
        wait_until("the request is under way", || world.requests() > sent);
        world.write_as_the_sample(&sample);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
        assert!(world.tokens()["perennial"].is_null(), "what the sample wrote stands there yet");
        let next = world.run_ok(&["token"]);
        assert_eq!(next.stdout.trim_end(), sample["access_token"].as_str().expect("one"));
        world.run_ok(&["refresh"]);
        let candidate = &world.tokens()["perennial"]["candidates"][0];
        assert_eq!(candidate["reason"], "late", "{candidate}");
    }
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn a_process_is_killed_while_its_request_is_under_way() {
    for rotate in [Rotate::Never, Rotate::Sometimes, Rotate::Always] {
        for spent in [false, true] {
            let world = World::held_with(Config { tls: false, rotate, ..Config::default() });
            world.forget_request_token();
            for _ in 0..3 {
                hang_and_kill(&world, spent);
                let next = world.run(&["token"]);
                if rotate == Rotate::Always && spent {
                    next.is_trouble(&world, 3, "code 108", "companyRequestToken");
                    world.obtain_anew();
                } else {
                    assert_eq!((next.code, world.sandbox.stats().reuse_detected), (0, 0), "{next:?}");
                }
            }
            world.run_ok(&["refresh"]);
        }
    }
}

/// A process has sent its request, waits for the answer, and is killed.
fn hang_and_kill(world: &World, spent: bool) {
    world.let_access_token_end();
    world.inject(json!([{"kind": "hang", "spent": spent}]));
    let before = world.requests();
    let mut child = world.spawn(&["token"]);
    wait_until("the request is under way", || world.requests() > before);
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    let state = world.status()["state"].clone();
    assert_eq!(state, "refreshing", "its deadline has not passed");
    assert!(world.tokens()["perennial"]["intent"]["correlation_id"].is_string(), "support can be asked");
}

#[test]
fn whoever_waits_takes_over_at_once_when_the_presenter_dies() {
    let world = World::held_with(Config { rotate: Rotate::Always, ..Config::default() });
    world.let_access_token_end();
    world.inject(json!([{"kind": "hang"}]));
    let before = world.requests();
    let mut presenter = world.spawn(&["token"]);
    wait_until("the request is under way", || world.requests() > before);
    let waiting: Vec<_> = (0..5).map(|_| world.spawn(&["token"])).collect();
    presenter.kill().expect("it is ours");
    presenter.wait().expect("it ends");
    for child in waiting {
        let ended = Ended::of(&child.wait_with_output().expect("it ends"));
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    let stats = world.sandbox.stats();
    assert_eq!((world.requests() - before, stats.reuse_detected), (2, 0), "{stats:?}");
}

#[test]
fn contents_are_durable_before_they_take_a_place_and_the_place_is_after() {
    let world = World::held_with(Config { tls: false, ..Config::default() });
    world.let_access_token_end();
    let whole = Killed::before(&world, FAR, &["token"]);
    in_order(&whole.trace);
    // What a process that died has left is completed by the next, with the same care.
    world.let_access_token_end();
    let rename = whole.trace.iter().rposition(|call| call.starts_with("rename ")).expect("a rename");
    let written = whole.trace.iter().rposition(|call| call.starts_with("ftruncate ")).expect("one");
    for at in [written, rename] {
        world.let_access_token_end();
        assert!(Killed::before(&world, at + 1, &["token"]).was_killed);
        let before = world.requests();
        let next = Killed::before(&world, FAR, &["token"]);
        assert_eq!((next.ended.code, world.requests()), (0, before), "{next:?}");
        in_order(&next.trace);
    }
}

/// Every rename finds its file synced after the last write to it, and is followed by a sync of the directory.
#[track_caller]
fn in_order(trace: &[String]) {
    let renames: Vec<usize> = (0..trace.len()).filter(|at| trace[*at].starts_with("rename ")).collect();
    assert!(!renames.is_empty(), "{trace:#?}");
    for at in renames {
        let path = trace[at].trim_start_matches("rename ");
        let last = trace[..at].iter().rev().find(|call| call.ends_with(path));
        assert_eq!(last, Some(&format!("fsync {path}")), "{trace:#?}");
        let dir = Path::new(path).parent().expect("a directory").display();
        assert_eq!(trace.get(at + 1), Some(&format!("fsync {dir}")), "{trace:#?}");
    }
}

#[test]
fn no_call_that_changes_a_file_goes_uncounted() {
    if Command::new("strace").arg("-V").output().is_err() {
        return support::skip("strace is not there");
    }
    for kind in [StoreKind::SapSample, StoreKind::Sqlite] {
        every_call_is_counted(&World::holding(kind, World::plain()));
    }
}

fn every_call_is_counted(world: &World) {
    world.let_access_token_end();
    let counted = Killed::before(world, FAR, &["token"]).trace.len();
    world.let_access_token_end();
    let log = world.home().join("strace.log");
    let mut command = Command::new("strace");
    let plain = world.command(&["token"]);
    command
        .args(["-f", "-y", "-e", "trace=file,desc", "-o"])
        .arg(&log)
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(world.dir())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Ended::of(&command.output().expect("strace starts"));
    if ended.code != 0 && ended.stderr.contains("ptrace") {
        return support::skip("ptrace is forbidden");
    }
    assert_eq!(ended.code, 0, "{ended:?}");
    let log = fs::read_to_string(log).expect("a log");
    let root = world.dir().parent().expect("a root").display().to_string();
    let changing: Vec<&str> = log.lines().filter(|line| line.contains(&root) && changes(line)).collect();
    assert_eq!(changing.len(), counted, "{changing:#?}");
}

/// A line of strace's that tells of a call which changes a file.
fn changes(line: &str) -> bool {
    let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
    let name = call.split('(').next().unwrap_or_default();
    match name {
        "open" | "openat" | "openat2" => ["O_CREAT", "O_TRUNC"].iter().any(|flag| call.contains(flag)),
        "read" | "pread64" | "readv" | "close" | "lseek" | "fstat" | "stat" | "lstat" | "statx"
        | "newfstatat" | "readlink" | "readlinkat" | "access" | "faccessat" | "faccessat2" | "getdents64"
        | "fcntl" | "ioctl" | "mmap" | "poll" | "execve" | "chdir" | "getcwd" | "fadvise64" | "statfs"
        | "fstatfs" => false,
        // Room that is kept behind a file's end changes nothing in it; and the kernel is asked for it without the C
        // library, where nobody can count.
        "fallocate" => !call.contains("FALLOC_FL_KEEP_SIZE"),
        // A call that another thread cut in two is told twice, and counted by its beginning.
        _ => !call.starts_with("<...") && !name.is_empty(),
    }
}

/// A command that was killed, or was not as it made fewer calls.
#[derive(Debug)]
struct Killed {
    was_killed: bool,
    /// Every call below the world's root; the last one was not made if it was killed.
    trace: Vec<String>,
    ended: Ended,
}

impl Killed {
    fn before(world: &World, at: usize, words: &[&str]) -> Self {
        let (mut command, trace) = prepare(world, Power::Cut(at), words);
        let output = command.output().expect("the binary starts");
        let trace = fs::read_to_string(&trace).unwrap_or_default().lines().map(str::to_owned).collect();
        Self { was_killed: output.status.signal() == Some(9), trace, ended: Ended::of(&output) }
    }

    /// The commit was about to open its room, or to write the answer into it: the only place where it is nowhere else.
    fn answer_is_in_memory_only(&self) -> bool {
        let last = self.trace.last().map_or("", String::as_str);
        last.ends_with(".next") && (last.starts_with("open ") || last.starts_with("write "))
    }
}
