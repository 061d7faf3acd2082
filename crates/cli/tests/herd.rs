//! Law 2 measured: fifty processes want a token that has ended, all at once, in every store, also when the answer takes
//! longer than any lock that is merely timed would last. One request goes out, and all fifty are handed its token.
//! `just race` does it a hundred times over and prints a table.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Rotate, Stats};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use support::kills::settle;
use support::store::{StoreKind, is_there};
use support::{Ended, World};

const PROCESSES: usize = 50;

/// What came of many rounds.
#[derive(Clone, Debug, Default)]
struct Tally {
    rounds: u64,
    handed_out: usize,
    failed: usize,
    requests: u64,
    most_requests: u64,
    most_tokens: usize,
    most_in_flight: u64,
    reuse: u64,
    times: Vec<Duration>,
}

/// Rounds with a herd of processes in one world.
struct Herd {
    world: World,
    rotate: Rotate,
    answer: Duration,
}

impl Herd {
    fn of(kind: StoreKind, rotate: Rotate, answer: Duration) -> Self {
        let world = World::holding(kind, Config { tls: false, rotate, ..Config::default() });
        Self { world, rotate, answer }
    }

    fn run(&self, rounds: u64) -> Tally {
        let mut tally = Tally { rounds, ..Tally::default() };
        for _ in 0..rounds {
            self.round(&mut tally);
        }
        tally
    }

    fn round(&self, tally: &mut Tally) {
        let world = &self.world;
        world.let_access_token_end();
        if !self.answer.is_zero() {
            world.inject(json!([{"kind": "delay", "milliseconds": self.answer.as_millis()}]));
        }
        let (before, started) = (world.sandbox.stats(), Instant::now());
        let herd: Vec<_> = (0..PROCESSES).map(|_| world.spawn(&["token"])).collect();
        let ended: Vec<Ended> = herd.into_iter().map(Ended::landed).collect();
        tally.times.push(started.elapsed());
        settle(world);
        let Stats { requests, reuse_detected, most_in_flight, .. } = world.sandbox.stats();
        let asked = requests - before.requests;
        tally.requests += asked;
        tally.most_requests = tally.most_requests.max(asked);
        tally.reuse += reuse_detected - before.reuse_detected;
        tally.most_in_flight = tally.most_in_flight.max(most_in_flight);
        let good: Vec<&Ended> = ended.iter().filter(|one| one.code == 0).collect();
        tally.handed_out += good.len();
        tally.failed += PROCESSES - good.len();
        let tokens: BTreeSet<&str> = good.iter().map(|one| one.stdout.as_str()).collect();
        tally.most_tokens = tally.most_tokens.max(tokens.len());
        // Whoever asks once more is handed the same.
        let last = world.run_ok(&["token"]).stdout;
        assert!(tokens.contains(last.as_str()), "what was handed out is what is kept");
        let failures: Vec<&Ended> = ended.iter().filter(|one| one.code != 0).collect();
        assert!(failures.is_empty(), "{failures:?} of {tally:?}");
    }

    fn line(&self, tally: &Tally) -> String {
        let Tally { rounds, handed_out, failed, requests, most_requests, .. } = tally;
        let Tally { most_tokens, most_in_flight, reuse, .. } = tally;
        let mut times = tally.times.clone();
        times.sort_unstable();
        let [median, most] = [times.get(times.len() / 2), times.last()];
        let [median, most] = [median, most].map(|time| time.map_or(0, Duration::as_millis));
        format!(
            "| {} | {} | {} s | {rounds} | {handed_out} | {failed} | {requests} | {most_requests} | {most_in_flight} | \
             {most_tokens} | {reuse} | {median}, {most} |",
            self.world.kind.name(),
            self.rotate,
            self.answer.as_secs(),
        )
    }
}

const HEAD: &str = "\
| store | rotation | answers after | rounds of 50 processes | tokens handed out | failed | refresh requests | most in a \
round | most at once | different tokens in a round | reuse detected | ms for a round: median, most |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

#[track_caller]
fn one_request_for_all(tally: &Tally) {
    assert_eq!((tally.requests, tally.most_requests), (tally.rounds, 1), "{tally:?}");
    let all = usize::try_from(tally.rounds).expect("few") * PROCESSES;
    assert_eq!((tally.handed_out, tally.failed, tally.most_tokens), (all, 0, 1), "{tally:?}");
    assert_eq!((tally.reuse, tally.most_in_flight), (0, 1), "{tally:?}");
}

/// So many rounds with quick answers and with slow ones, for each rotation; prints the table.
fn race(kinds: &[StoreKind], rounds: u64, slow_rounds: u64, slow: Duration) {
    let mut report = vec![HEAD.to_owned()];
    for kind in kinds {
        for rotate in [Rotate::Never, Rotate::Always] {
            for (rounds, answer) in [(rounds, Duration::ZERO), (slow_rounds, slow)] {
                let herd = Herd::of(*kind, rotate, answer);
                let tally = herd.run(rounds);
                report.push(herd.line(&tally));
                one_request_for_all(&tally);
            }
        }
    }
    #[expect(clippy::print_stderr, reason = "the table is to be seen")]
    {
        eprintln!("{}", report.join("\n"));
    }
}

#[test]
fn law_2_fifty_processes_in_saps_files_refresh_once() {
    race(&[StoreKind::SapSample], 5, 1, Duration::from_secs(3));
}

#[test]
fn law_2_fifty_processes_in_sqlite_refresh_once() {
    race(&[StoreKind::Sqlite], 5, 1, Duration::from_secs(3));
}

#[test]
fn law_2_fifty_processes_in_postgresql_refresh_once() {
    if is_there() {
        race(&[StoreKind::Postgres], 5, 1, Duration::from_secs(3));
    }
}

/// `just race`: RACE_ROUNDS for each store and rotation (100 unless said otherwise), and three with answers that take
/// 25 s: longer than any lock of a fixed life that was seen in the field.
#[test]
#[ignore = "takes minutes: just race"]
fn law_2_a_hundred_times_fifty_processes() {
    let rounds =
        std::env::var("RACE_ROUNDS").map_or(100, |text| text.parse().expect("RACE_ROUNDS is a number"));
    race(&[StoreKind::SapSample, StoreKind::Sqlite], rounds, 3, Duration::from_secs(25));
}
