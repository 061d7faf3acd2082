//! The binary is killed some hundred times here, and thousands of times by `just crash`, in every store and with every
//! rotation; each time a token is asked for afterwards. Where a refresh token stays the same no grant is lost. Where
//! each is good once, a grant is lost only to a kill between the server's commit and ours: an answer that nobody holds
//! cannot be saved by any client.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial::failpoint::STEPS;
use perennial_sandbox::{Config, Rotate};
use std::process::Command;
use support::kills::{HEAD, How, Killer, Tally, line, settle};
use support::power::{self, Power, prepare};
use support::store::{NAME, StoreKind, is_there};
use support::{Ended, World};

/// What must hold whatever the numbers are.
#[track_caller]
fn promises_are_kept(rotate: Rotate, tally: &Tally) {
    assert_eq!(tally.lost, tally.lost_in_the_window, "lost elsewhere than in the window: {tally:?}");
    assert_eq!(tally.twice, 0, "what was on disk was presented again: {tally:?}");
    assert_eq!(tally.at_once, 0, "two requests at once: {tally:?}");
    assert_eq!(tally.needless_reuse, 0, "{tally:?}");
    if rotate == Rotate::Always {
        assert_eq!(tally.lost, tally.in_the_window, "{tally:?}");
    } else {
        assert_eq!((tally.lost, tally.reuse), (0, 0), "{tally:?}");
    }
    // The one that was cut off, the refused one and the new grant.
    assert!(tally.requests().1 <= if rotate == Rotate::Always { 2 } else { 1 }, "{tally:?}");
}

/// Kills so often in each way, and prints the report.
fn kill_in_every_way(kind: StoreKind, seed: u64, often: impl Fn(How, &Killer) -> u64) {
    let mut report = vec![HEAD.to_owned()];
    for rotate in [Rotate::Never, Rotate::Sometimes, Rotate::Always] {
        let mut killer = Killer::of(kind, rotate, seed);
        for how in How::ALL {
            let tally = killer.kill_often(how, often(how, &killer));
            report.push(line(&killer, &how, &tally));
            promises_are_kept(rotate, &tally);
        }
    }
    tell(&format!("seed {seed}\n{}", report.join("\n")));
}

fn tell(report: &str) {
    #[expect(clippy::print_stderr, reason = "the report is to be seen")]
    {
        eprintln!("{report}");
    }
}

/// A share for every run of the tests: each step, and calls all over a refresh; some 150 kills in less than a minute.
fn a_share(kind: StoreKind) {
    kill_in_every_way(kind, 1, |how, killer| match (how, killer.rotate) {
        (How::Steps, _) => STEPS.len() as u64,
        (How::Calls, Rotate::Always) => 48.min(killer.calls as u64),
        (How::Calls, _) => 12,
        (How::Random | How::Chains, _) => 6,
    });
}

#[test]
fn law_4_killed_at_each_step_and_call_in_saps_files() {
    a_share(StoreKind::SapSample);
}

#[test]
fn law_4_killed_at_each_step_and_call_in_sqlite() {
    a_share(StoreKind::Sqlite);
}

/// What a kill there leaves behind is in the server: calls that change files are few, and none of them counts.
#[test]
fn law_4_killed_at_each_step_in_postgresql() {
    if !is_there() {
        return;
    }
    kill_in_every_way(StoreKind::Postgres, 1, |how, _| match how {
        How::Steps => STEPS.len() as u64,
        How::Random => 6,
        How::Calls | How::Chains => 0,
    });
}

/// Adds a connection in a process that is killed, then goes on as a person would. False when it makes fewer calls.
fn add_and_kill(world: &World, at: usize) -> bool {
    let ready = world.sandbox.ready();
    let add = ["add", NAME, "--app-id", &ready.app_id, "--company", &ready.company_uuid];
    let sources = ["--client-secret-env", "CLIENT_SECRET", "--request-token-env", "REQUEST_TOKEN"];
    let words: Vec<&str> = add.into_iter().chain(sources).collect();
    let with_secrets = |command: &mut Command| {
        command.env("CLIENT_SECRET", &ready.client_secret).env("REQUEST_TOKEN", &ready.request_token);
        command.output().expect("the binary starts")
    };
    let (mut command, trace) = prepare(world, Power::Cut(at), &words);
    let killed = with_secrets(&mut command);
    let calls = power::calls(&trace);
    if killed.status.success() {
        assert!(at > 20, "so few calls cannot be all of them: {calls:#?}");
        return false;
    }
    settle(world);
    let before = world.sandbox.stats().request_token_uses;
    // What was typed is kept, or it is typed again; where the grant is held already, there is nothing to do.
    let is_there = world.run(&["list"]).stdout.contains(NAME);
    let next = match is_there {
        false => Ended::of(&with_secrets(&mut world.command(&words))),
        true if world.run(&["token"]).code == 0 => world.run(&["token"]),
        true => world.run(&["reauthorize", NAME]),
    };
    assert_eq!(next.code, 0, "{calls:#?} {next:?}");
    let stats = world.sandbox.stats();
    assert!(before <= 1 && stats.request_token_uses <= before + 1, "{calls:#?} {stats:?}");
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0, "{calls:#?}");
    true
}

#[test]
fn law_4_killed_at_each_call_while_the_first_grant_is_obtained_in_sqlite() {
    // Each third call here, all of them in `just crash`.
    kill_while_obtaining(3);
}

fn kill_while_obtaining(step: usize) {
    for at in (1..1000).step_by(step) {
        let config = Config { tls: false, rotate: Rotate::Always, ..Config::default() };
        if !add_and_kill(&World::of(StoreKind::Sqlite, config), at) {
            return;
        }
    }
    panic!("no end of calls");
}

/// `just crash`: CRASH_KILLS in each store (1,200 unless said otherwise), moments chosen by CRASH_SEED.
#[test]
#[ignore = "takes minutes: just crash"]
fn law_4_killed_a_thousand_times() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    };
    let (kills, seed) = (number("CRASH_KILLS", 1200), number("CRASH_SEED", u64::from(std::process::id())));
    for kind in [StoreKind::SapSample, StoreKind::Sqlite] {
        // Three rotations; a third of the kills is random, a third before each call, the rest in the other ways.
        kill_in_every_way(kind, seed, |how, _| match how {
            How::Calls | How::Random => kills.div_ceil(9),
            How::Steps | How::Chains => kills.div_ceil(18),
        });
    }
    kill_while_obtaining(1);
}
