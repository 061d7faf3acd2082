//! SAP's Node sample and Perennial work on the same two files, one after the other, in either order. The sample is
//! played by `support/sample.js`.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Rotate};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::{USERS, World, read_json, write_json};

const BY_ANOTHER: &str = "was last written by something else";

/// The sample in this world's directory; returns what it printed.
fn sample(world: &World, words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/sample.js");
    let mut node = Command::new("node");
    node.arg(script).args(words).current_dir(world.dir()).env("BASE_URI", world.sandbox.base_uri());
    let output = node.output().expect("node starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A world in which the sample can work; none where there is no node.
fn world(rotate: Rotate) -> Option<World> {
    if Command::new("node").arg("--version").output().is_err() {
        support::skip("node is not there");
        return None;
    }
    let world = World::with(Config { tls: false, rotate, ..Config::default() });
    world.fill();
    Some(world)
}

#[test]
fn what_the_sample_has_obtained_works_here_at_once() {
    let Some(world) = world(Rotate::Always) else { return };
    assert_eq!(sample(&world, &[]), "obtained");
    let by_sample = world.tokens();
    assert!(by_sample["perennial"].is_null());

    let status = world.run_ok(&["status"]);
    assert!(status.stderr.contains(BY_ANOTHER), "{status:?}");
    assert!(status.stderr.contains("can be read by others"), "{status:?}");
    let status = world.status();
    assert_eq!((&status["state"], &status["refresh_expiry"]), (&json!("held"), &json!("stated")));
    assert_eq!(status["principal"], by_sample["companyUUID"]);

    let token = world.run_ok(&["token", "--timeout", "30s"]);
    assert_eq!(token.stdout.trim_end(), by_sample["access_token"].as_str().expect("one"), "it lives");
    world.run_ok(&["call", USERS]);
    let run = world.run_ok(&["run"]);
    assert!(run.stdout.contains("the stored refresh token is valid"), "{run:?}");
    world.run_ok(&["refresh"]);
    let stats = world.sandbox.stats();
    assert_eq!((stats.request_token_uses, stats.reuse_detected, stats.refused), (1, 0, 0), "{stats:?}");

    let ours = world.run_ok(&["status"]);
    assert_eq!(ours.stderr, "", "now it was last written here");
    let mode = fs::metadata(world.token_file()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_was_obtained_here_the_sample_finds_valid() {
    let Some(world) = world(Rotate::Never) else { return };
    world.run_ok(&["run"]);
    let before = (world.tokens(), world.requests());
    assert_eq!(sample(&world, &[]), "valid");
    assert_eq!((world.tokens(), world.requests()), before);
    assert_eq!(sample(&world, &["call"]), "called: 200");
    world.run_ok(&["refresh"]);
    assert_eq!(sample(&world, &[]), "valid");
    assert_eq!(sample(&world, &["call"]), "called: 200");
    world.run_ok(&["call", USERS]);
    assert_eq!(world.run_ok(&["status"]).stderr, "", "the sample has only read");
}

#[test]
fn the_samples_template_is_one_that_can_be_filled_in_here() {
    let Some(world) = world(Rotate::Never) else { return };
    fs::remove_file(world.credentials()).expect("it is there");
    assert_eq!(sample(&world, &[]), "template");
    let empty = read_json(&world.credentials());
    world.run(&["run"]).is_trouble(&world, 3, "appID is empty", "edit");
    assert_eq!(read_json(&world.credentials()), empty, "never touched");
    fs::remove_file(world.credentials()).expect("it is there");
    world.run(&["run"]);
    assert_eq!(read_json(&world.credentials()), empty, "the same fields in either's template");
    world.fill();
    assert_eq!(sample(&world, &[]), "obtained");
}

#[test]
fn back_and_forth_nothing_is_lost_and_unknown_keys_survive() {
    let Some(world) = world(Rotate::Sometimes) else { return };
    assert_eq!(sample(&world, &[]), "obtained");
    for round in 2..5 {
        let mut tokens = world.tokens();
        tokens["note"] = json!({"kept by": "whoever wrote it", "round": round});
        write_json(&world.token_file(), &tokens);
        world.run_ok(&["refresh"]);
        world.run_ok(&["refresh"]);
        assert_eq!(world.tokens()["note"], tokens["note"], "an unknown key survives");
        assert_eq!(sample(&world, &[]), "valid");

        // Its date has passed: the sample obtains anew, and drops whatever it does not know.
        let mut tokens = world.tokens();
        tokens["refresh_expires_in"] = json!(1_300_000_000);
        write_json(&world.token_file(), &tokens);
        assert_eq!(sample(&world, &[]), "obtained");
        assert!(world.tokens()["perennial"].is_null());
        let by_sample = world.refresh_token();

        let status = world.run_ok(&["status"]);
        assert!(status.stderr.contains(BY_ANOTHER), "{status:?}");
        let run = world.run_ok(&["run"]);
        assert!(run.stderr.contains(BY_ANOTHER), "{run:?}");
        assert!(run.stdout.contains("renewed by a refresh grant"), "nobody knows how old it is: {run:?}");
        world.run_ok(&["call", USERS]);
        let known = world.tokens().to_string().contains(&by_sample);
        assert!(known, "law 5: the one before is kept until its successor has been used");
        assert_eq!(world.sandbox.stats().request_token_uses, round);
    }
    let stats = world.sandbox.stats();
    assert_eq!((stats.reuse_detected, stats.refused), (0, 0), "{stats:?}");
}

#[test]
fn tokens_that_the_sample_wrote_over_ours_are_told_and_used() {
    let Some(world) = world(Rotate::Always) else { return };
    world.run_ok(&["run"]);
    // As an editor or another version of the sample might: our key stays, and is of the tokens before.
    let mut tokens = world.tokens();
    let sample = world.by_the_sample();
    for member in ["access_token", "refresh_token", "id_token", "refresh_expires_in"] {
        tokens[member] = sample[member].clone();
    }
    write_json(&world.token_file(), &tokens);
    let status = world.run_ok(&["status"]);
    assert!(status.stderr.contains(BY_ANOTHER), "{status:?}");
    assert_eq!(world.status()["generation"], 2);
    assert_eq!(world.run_ok(&["token"]).stdout.trim_end(), sample["access_token"].as_str().expect("one"));
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}
