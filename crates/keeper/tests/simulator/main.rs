//! The engine, proved by simulation: real keepers (one to five processes on one to three hosts) over one simulated store,
//! network, clocks and disks, against an authorization server that knows the truth. Everything comes from a seed, one
//! thread runs it, and half a year takes a moment. After every step the laws of docs/design.md are checked.
//!
//! ```console
//! $ cargo test -p perennial --test simulator                       # what CI runs
//! $ SIMULATE_SEED=123 cargo test -p perennial --test simulator     # one seed, with its story
//! $ SIMULATE_SEEDS=1000000 SIMULATE_FROM=0 cargo test …            # more of them; see `just simulate`
//! $ SIMULATE_BRIEF=1 cargo test …                                  # without shrinking: for the mutation check
//! ```
//!
//! | module | what it simulates |
//! |---|---|
//! | `world` | all that is true, behind one lock; steps, and death between two of them |
//! | `process` | processes and their callers |
//! | `clocks` | wall clocks, clocks since boot, suspend |
//! | `disk`, `store`, `shelf` | what is durable and what only seems so; claims |
//! | `network`, `answers` | the way to the server and back |
//! | `server` | the authorization server |
//! | `scenario`, `generate`, `run`, `peace` | what happens, made from a seed, and run; fair weather at the end |
//! | `laws/` | what must hold |
//! | `story`, `shrink`, `tally` | what is told of it |
//! | `sweep` | every fault at every step |

mod answers;
mod clocks;
mod dice;
mod disk;
mod generate;
mod laws;
mod network;
mod peace;
mod process;
mod run;
mod scenario;
mod server;
mod shelf;
mod shrink;
mod store;
mod story;
mod sweep;
mod tally;
mod world;

use scenario::Scenario;
use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tally::Tally;

/// How many seeds CI runs.
const SEEDS: u64 = 3_000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..60 {
        let scenario = generate::scenario(seed);
        let (once, twice) = (run::run(&scenario, true), run::run(&scenario, true));
        assert_eq!(once.story, twice.story, "seed {seed}");
        assert!(once.story.len() > 20, "seed {seed}: something happens");
    }
}

#[test]
fn no_seed_breaks_a_law() {
    if let Some(seed) = number("SIMULATE_SEED") {
        let scenario = generate::scenario(seed);
        let outcome = run::run(&scenario, true);
        println!("{scenario}\n{}\n\n{}", outcome.story.join("\n"), outcome.tally);
        return assert_unbroken(&scenario, &again(seed));
    }
    let from = number("SIMULATE_FROM").unwrap_or(0);
    let seeds = number("SIMULATE_SEEDS").unwrap_or(SEEDS);
    let (tally, broken) = simulate(seeds, |seed| generate::scenario(from + seed));
    eprintln!("{tally}");
    if let Some(seed) = broken {
        assert_unbroken(&generate::scenario(from + seed), &again(from + seed));
    }
}

#[test]
fn no_fault_at_any_step_breaks_a_law() {
    let all = sweep::all();
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (tally, broken) = simulate(all.len() as u64, |number| all[place(number)].clone());
    eprintln!("{tally}");
    if let Some(number) = broken {
        assert_unbroken(&all[place(number)], "cargo test -p perennial --test simulator no_fault");
    }
    assert_eq!(sweep::left_out(&tally), Vec::<String>::new(), "{tally}");
}

fn again(seed: u64) -> String {
    format!("SIMULATE_SEED={seed} cargo test -p perennial --test simulator no_seed")
}

/// Runs it; where a law breaks, tells the shortest story that breaks it.
fn assert_unbroken(scenario: &Scenario, again: &str) {
    let Some(violation) = run::run(scenario, false).violation else { return };
    assert!(env::var_os("SIMULATE_BRIEF").is_none(), "a law is broken, and its story is not asked for");
    let short = shrink::shrink(scenario, violation.law);
    let story = run::run(&short, true).story.join("\n");
    let (law, what) = (violation.law, violation.what);
    panic!("law {law} is broken: {what}\n\n{short}\n{story}\n\nagain: {again}");
}

/// Runs scenarios on all cores, each on one thread. Returns the first that was found to break a law.
fn simulate(count: u64, scenario: impl Fn(u64) -> Scenario + Sync) -> (Tally, Option<u64>) {
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let (broken, sum, told) = (Mutex::new(None), Mutex::new(Tally::default()), Mutex::new(began));
    let is_broken = AtomicBool::new(false);
    let work = || {
        let mut own = Tally::default();
        while !is_broken.load(Ordering::SeqCst) {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                break;
            }
            let outcome = run::run(&scenario(number), false);
            own.add(&outcome.tally);
            if let Some(violation) = outcome.violation {
                tell(&format!("run {number} breaks law {}: {}", violation.law, violation.what));
                is_broken.store(true, Ordering::SeqCst);
                let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
                let least = broken.get_or_insert(number);
                *least = number.min(*least);
            }
            tell_progress(&told, || format!("{number} of {count} runs, {} s", began.elapsed().as_secs()));
        }
        sum.lock().unwrap_or_else(PoisonError::into_inner).add(&own);
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let tally = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    (tally, broken.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn tell_progress(told: &Mutex<Instant>, words: impl FnOnce() -> String) {
    let Ok(mut told) = told.try_lock() else { return };
    if told.elapsed() > Duration::from_secs(5) {
        *told = Instant::now();
        tell(&words());
    }
}

#[expect(clippy::print_stderr, reason = "a long run is watched")]
fn tell(words: &str) {
    eprintln!("{words}");
}
