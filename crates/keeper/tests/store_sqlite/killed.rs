//! A process that is killed on entry of each call of the system that changes a file: what is left is sound.

use super::sample::{app, full};
use super::{World, argument, child, open_of, refresh};
use perennial::Sqlite;
use perennial::store::Store;
use std::process::Command;

/// Adds the first connection.
#[test]
fn child_that_makes_a_database() {
    let Some(root) = argument() else { return };
    let store = open_of(&root);
    store.add(&full("acme"), &app("app-1", "one")).unwrap();
    println!("\ndurable");
}

/// Renews once.
#[test]
fn child_that_renews_once() {
    let Some(root) = argument() else { return };
    let store = open_of(&root);
    refresh(&store, "acme", "once");
    println!("\ndurable");
}

/// The calls of the system that change a file, or make a change durable.
const CHANGES: [&str; 9] =
    ["pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "rename", "renameat2", "unlink", "mkdir"];

/// Kills the child of this name on entry of each call that changes a file, one after the other (of the many writes into
/// pages every third), and looks each time at what is left. How often it was killed; `None` where there is no strace.
pub(super) fn at_every_change(
    test: &str,
    begin: fn() -> World,
    look: impl Fn(&World, bool, &str),
) -> Option<usize> {
    let mut kills = 0;
    for change in CHANGES {
        let step = if change == "pwrite64" { 3 } else { 1 };
        for number in (1..).step_by(step) {
            let world = begin();
            let child = child(test, world.root.path());
            let inject = format!("inject={change}:signal=KILL:when={number}");
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={change}"), "-e", &inject]);
            strace.arg(child.get_program()).args(child.get_args());
            strace.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let output = strace.output().ok()?;
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            look(&world, told.contains("\ndurable\n"), &format!("{change} {number}"));
            if output.status.success() {
                break;
            }
            kills += 1;
        }
    }
    Some(kills)
}

fn is_sound(world: &World, when: &str) {
    let findings = Sqlite::examine(world.path(), &world.options());
    let bad: Vec<_> = findings.into_iter().filter(|finding| !finding.is_good).collect();
    assert!(bad.is_empty(), "{when}: {bad:?}");
    let files = world.files();
    let left = files.iter().filter(|file| file.to_string_lossy().contains("new")).collect::<Vec<_>>();
    assert!(left.is_empty(), "{when}: {left:?}");
}

#[test]
fn a_database_that_is_killed_while_it_is_made_is_made_by_the_next() {
    let killed =
        at_every_change("killed::child_that_makes_a_database", World::new, |world, durable, when| {
            let store = world.try_open().unwrap_or_else(|error| panic!("{when}: {error}"));
            let names = store.names().unwrap();
            assert!(!durable || names == ["acme"], "{when}: {names:?}");
            if names.is_empty() {
                store.add(&full("acme"), &app("app-1", "one")).unwrap();
            }
            refresh(&store, "acme", "after");
            drop(store);
            is_sound(world, when);
        });
    assert!(killed.is_none_or(|killed| killed > 20), "{killed:?}");
}

#[test]
fn law_1_a_renewal_that_is_killed_is_done_or_not_done() {
    let killed = at_every_change("killed::child_that_renews_once", World::filled, |world, durable, when| {
        let store = world.try_open().unwrap_or_else(|error| panic!("{when}: {error}"));
        let generation = store.read("acme").unwrap().version().generation;
        assert!(generation == 3 || (generation == 2 && !durable), "{when}: {generation}");
        refresh(&store, "acme", "after");
        drop(store);
        is_sound(world, when);
    });
    assert!(killed.is_none_or(|killed| killed > 20), "{killed:?}");
}
