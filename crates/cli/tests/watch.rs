//! `perennial status --watch`: a picture on a terminal, lines in a pipe, and a clean end.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use support::{Ended, World, skip, wait_until};

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn with_json_each_change_is_one_line() {
    let world = World::with(World::plain());
    world.add("acme");
    world.add("west");
    let words = ["status", "--watch", "--json", "--interval", "1s"];
    let mut child = world.keeps(&words).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = [next(), next()];
    assert_eq!((&first[0]["connection"], &first[1]["connection"]), (&json!("acme"), &json!("west")));
    assert_eq!((&first[0]["state"], &first[0]["generation"]), (&json!("held"), &json!(1)));
    world.keep_ok(&["refresh", "west"]);
    let changed = next();
    assert_eq!(
        (&changed["connection"], &changed["generation"]),
        (&json!("west"), &json!(2)),
        "and nothing of acme"
    );
    world.keep_ok(&["remove", "west", "--yes"]);
    assert_eq!(next(), json!({"connection": "west", "state": null, "removed": true}));
    interrupt(&child);
    let ended = Ended::landed(child);
    assert_eq!((ended.code, ended.stderr.as_str()), (130, ""), "a wish, and no error");
}

#[test]
fn in_a_pipe_it_is_written_again_when_it_is_another_and_never_clears() {
    let world = World::with(World::plain());
    world.add("acme");
    let mut child = world.keeps(&["status", "acme", "--watch", "--interval", "1s"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut wait_for = |text: &str| {
        lines
            .by_ref()
            .map(Result::unwrap)
            .inspect(|line| assert!(!line.contains('\x1b')))
            .find(|line| line.contains(text))
            .unwrap();
    };
    wait_for("generation     1");
    world.keep_ok(&["refresh", "acme"]);
    wait_for("generation     2");
    interrupt(&child);
    assert_eq!(Ended::landed(child).code, 130);
}

#[test]
fn on_a_terminal_the_picture_is_drawn_anew_until_ctrl_c() {
    let world = World::with(World::plain());
    world.add("acme");
    let inner = world.keeps(&[]);
    let line = format!(
        "sh -c 'trap : INT; {} status --watch --interval 1s; echo exits: $?'",
        support::binary().display()
    );
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(world.dir())
        .env_clear();
    for (name, value) in inner.get_envs() {
        value.map(|value| command.env(name, value));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return skip("there is no script(1)") };
    let screen = Arc::new(Mutex::new(String::new()));
    let (shown, mut out) = (Arc::clone(&screen), child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut some = [0; 256];
        while let Ok(count @ 1..) = out.read(&mut some) {
            shown.lock().unwrap().push_str(&String::from_utf8_lossy(&some[..count]));
        }
    });
    let times = |text: &str| screen.lock().unwrap().matches(text).count();
    wait_until("it has been drawn three times", || times("\x1b[H\x1b[2J") >= 3);
    assert!(times("acme: held") >= 2 && times("Ctrl-C ends it") >= 2);
    world.keep_ok(&["refresh", "acme"]);
    wait_until("the change is seen", || times("generation     2") >= 1);
    child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    wait_until("it ends", || times("exits: 130") == 1);
    child.wait().unwrap();
}

#[test]
fn a_store_without_connections_is_watched_until_there_is_one() {
    let world = World::with(World::plain());
    let mut child = world.keeps(&["status", "--watch", "--interval", "1s"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("no connections"));
    world.add("acme");
    assert!(lines.any(|line| line == "acme: held"));
    interrupt(&child);
    assert_eq!(Ended::landed(child).code, 130);
}

#[test]
fn what_is_not_there_is_an_error_at_once() {
    let world = World::with(World::plain());
    world.add("acme");
    world.keep(&["status", "east", "--watch"]).is_trouble(&world, 2, "no connection named", "perennial list");
    world.keep(&["status", "--interval", "1s"]).is_usage("--watch");
}
