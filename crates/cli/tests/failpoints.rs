//! The steps at which a test may kill the process are in test builds only: a variable that somebody sets must not be
//! able to end the program that a user runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use support::World;

/// The features of each package in what `cargo build` makes.
fn features_of(edges: &str) -> String {
    let output = Command::new(std::env::var_os("CARGO").unwrap())
        .args(["tree", "--offline", "--locked", "--package", "perennial-cli", "--edges", edges])
        .args(["--prefix", "none", "--format", "{p} {f}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.starts_with("perennial v")).unwrap().to_owned()
}

#[test]
fn what_users_run_knows_no_failpoints() {
    assert!(!features_of("normal").contains("failpoints"));
    assert!(features_of("normal,dev").contains("failpoints"), "this test would see them");
}

#[test]
fn what_tests_run_knows_them() {
    let world = World::held_with(World::plain());
    let before = world.requests();
    for step in ["looked:1", "claimed:1"] {
        let output = world.command(&["refresh"]).env("PERENNIAL_FAILPOINT", step).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{step}");
    }
    let output = world.command(&["refresh"]).env("PERENNIAL_FAILPOINT", "claimed:2").output().unwrap();
    assert!(output.status.success(), "it comes by there once");
    assert_eq!(world.requests() - before, 1);
}
