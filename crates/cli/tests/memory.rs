//! Law 10: a process that holds tokens leaves no core dump behind.

#![cfg(target_os = "linux")]

mod support;

use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use support::{World, not_here, wait_until};

#[test]
fn law_10_memory_does_not_go_into_core_dumps() {
    let world = World::held();
    world.inject(json!([{"kind": "hang"}]));
    let mut child = world.spawn(&["refresh"]);
    let limits = format!("/proc/{}/limits", child.id());
    wait_until("the limit for core dumps is zero", || {
        let text = fs::read_to_string(&limits).unwrap();
        let limit = text.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        limit.split_whitespace().skip(4).take(2).eq(["0", "0"])
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The kernel's own word for it, wherever dumps go on this machine.
#[test]
fn law_10_a_process_that_is_aborted_with_an_open_store_is_not_dumped() {
    let limit = |line: &str| format!("ulimit -c unlimited 2>/dev/null || exit 77; exec {line}");
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &limit(line)]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let dir = tempfile::tempdir().unwrap();
    let plain = shell("sh -c 'kill -ABRT $$'").current_dir(dir.path()).status().unwrap();
    if !plain.core_dumped() {
        return not_here("this machine dumps no process, so that nothing could be shown");
    }
    let world = World::with(World::plain());
    world.add("acme");
    world.inject(json!([{"kind": "hang"}]));
    let before = world.requests();
    let inner = world.keeps(&[]);
    let mut command = shell(&format!("{} refresh acme", support::binary().display()));
    command.current_dir(dir.path()).env_clear();
    for (name, value) in inner.get_envs() {
        value.map(|value| command.env(name, value));
    }
    let mut child = command.spawn().unwrap();
    wait_until("the request is under way", || world.requests() > before);
    let abort = Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().unwrap();
    let ended = child.wait().unwrap();
    assert!(abort.success() && ended.signal() == Some(6) && !ended.core_dumped(), "{ended:?}");
}

/// What may not be dumped may not be traced either: its memory belongs to root alone.
#[test]
fn law_10_the_memory_of_a_process_with_an_open_store_is_roots_alone() {
    let world = World::with(World::plain());
    world.add("acme");
    world.inject(json!([{"kind": "hang"}]));
    let before = world.requests();
    let mut child = world.keeps(&["refresh", "acme"]).spawn().unwrap();
    wait_until("the request is under way", || world.requests() > before);
    let owner = fs::metadata(format!("/proc/{}/mem", child.id())).unwrap().uid();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(owner, 0, "a process that may be traced has its own files in /proc");
}

/// Root reads everything, so both are somebody else's where the tests are root's.
#[test]
fn law_10_no_other_program_of_this_user_reads_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("perennial");
    fs::copy(env!("CARGO_BIN_EXE_perennial"), &program).unwrap();
    let mut ours = of_a_user(&program).args(["sandbox", "--no-tls"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(ours.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let mut control = of_a_user("sleep").arg("60").spawn().unwrap();
    // The list of its pages is given to whoever may read them.
    let reads =
        |pid: u32| of_a_user("cat").arg(format!("/proc/{pid}/maps")).output().unwrap().status.success();
    let (is_read, is_control_read) = (reads(ours.id()), reads(control.id()));
    for child in [&mut ours, &mut control] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(ready.contains("base_uri"), "{ready}");
    assert!(is_control_read, "another process of this user can be read");
    assert!(!is_read, "ours cannot");
}

fn of_a_user(program: impl AsRef<OsStr>) -> Command {
    const NOBODY: u32 = 65_534;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
