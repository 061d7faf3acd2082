//! What a store of many connections costs: one stage a process, so that each one's memory is its own.
//!
//! `cargo bench -p perennial --bench scale -- STORE COUNT…` runs all stages for each count and prints one line of JSON
//! for each stage. STORE is `sqlite:DIR`, a directory for the databases, or `postgres://…`, where each gets a schema.
//! `bench/scale.sh` does both, and draws the curves. `STORE STAGE COUNT` runs one stage; `quiet` and `apart` run by name
//! only: a store with nothing due, which `bench/serve.sh` measures the daemon with, and what a storm is made of.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on should stop there"
)]

mod apart;
mod connections;
mod place;
mod storm;

use connections::{answer, answered, name, now, parcel, plan};
use perennial::Store;
use perennial::core::profile::Purpose;
use perennial::store::Parcel;
use place::Place;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Connections taken in at once.
const AT_ONCE: u64 = 1000;
/// How often something short is done.
const OFTEN: usize = 2000;
/// How often something is done that a disk must confirm.
const SELDOM: usize = 200;
/// Flights that commit at the same time …
const FLIGHTS: u64 = 64;
/// … and so often each.
const ROUNDS: u64 = 15;

type Stage = (&'static str, fn(&Place) -> Value);

const STAGES: [Stage; 7] = [
    ("load", load),
    ("open", open),
    ("token", token),
    ("due", due),
    ("commit", commit),
    ("together", together),
    ("storm", storm::storm),
];

/// These run by name only.
const BY_NAME: [Stage; 2] = [("quiet", quiet), ("apart", apart::apart)];

fn main() {
    // cargo adds its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.as_slice() {
        [store, stage, count] if stage_of(stage).is_some() => {
            let (_, measure) = stage_of(stage).unwrap();
            println!("{}", measure(&Place::new(store, count.parse().unwrap())));
        }
        [store, counts @ ..] if !counts.is_empty() => {
            for count in counts {
                STAGES.iter().for_each(|(stage, _)| in_a_process_of_its_own(store, stage, count));
            }
        }
        _ => println!("usage: scale STORE COUNT…"),
    }
}

fn stage_of(word: &str) -> Option<&'static Stage> {
    STAGES.iter().chain(&BY_NAME).find(|(name, _)| *name == word)
}

fn in_a_process_of_its_own(store: &str, stage: &str, count: &str) {
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).args([store, stage, count]).stderr(Stdio::inherit()).output().unwrap();
    assert!(child.status.success(), "{stage} of {count} failed");
    let measured: Value = serde_json::from_slice(&child.stdout).unwrap();
    let kind = store.split(':').next().unwrap();
    let mut line = json!({"store": kind, "connections": count.parse::<u64>().unwrap(), "stage": stage});
    line.as_object_mut().unwrap().extend(measured.as_object().unwrap().clone());
    println!("{line}");
}

fn load(place: &Place) -> Value {
    filled(place, |number| parcel(number, place.count))
}

/// As many, and none of them due: whoever serves them has nothing to send.
fn quiet(place: &Place) -> Value {
    filled(&place.of_its_own("quiet", u64::MAX), connections::at_rest)
}

fn filled(place: &Place, made: impl Fn(u64) -> Parcel) -> Value {
    let store = place.open();
    let begun = Instant::now();
    for first in (0..place.count).step_by(AT_ONCE as usize) {
        let parcels: Vec<Parcel> = (first..place.count.min(first + AT_ONCE)).map(&made).collect();
        store.add_all(&parcels).into_iter().for_each(|taken| taken.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    drop(store);
    json!({
        "seconds": round(seconds),
        "per_second": round(place.count as f64 / seconds),
        "bytes_per_connection": place.size() / place.count,
        "memory": memory(),
    })
}

fn open(place: &Place) -> Value {
    let name = name(place.count / 2);
    let mut times = Times::default();
    for _ in 0..SELDOM {
        times.take(|| place.keeper().peek(&name, Duration::from_secs(60)).unwrap().unwrap());
    }
    times.told()
}

fn token(place: &Place) -> Value {
    let (keeper, mut times) = (place.keeper(), Times::default());
    for name in place.names(OFTEN) {
        times.take(|| keeper.peek(&name, Duration::from_secs(60)).unwrap().unwrap());
    }
    times.told()
}

fn due(place: &Place) -> Value {
    let (keeper, mut times) = (place.keeper(), Times::default());
    for _ in 0..SELDOM {
        let due = times.take(|| keeper.due().unwrap());
        assert_eq!(due.len() as u64, connections::DUE.min(place.count));
    }
    times.told()
}

fn commit(place: &Place) -> Value {
    let (store, mut times) = (place.open(), Times::default());
    for name in place.names(SELDOM) {
        times.take(|| refresh(store.as_ref(), &name));
    }
    times.told()
}

/// What a flight writes: its intent, and its outcome.
fn refresh(store: &dyn Store, name: &str) {
    let mut claim = store.try_claim(name).unwrap().unwrap();
    let seen = claim.read().unwrap();
    let intended = seen.intend(plan(Purpose::Refresh, &perennial::request_id()));
    claim.intend(&seen.version(), &intended).unwrap();
    let next = intended.accept(&answer(name), &answered(now())).unwrap();
    claim.commit(&intended.version(), &next).unwrap();
}

fn together(place: &Place) -> Value {
    let store = place.open();
    let before = place.syncs();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for flight in 0..FLIGHTS {
            let (store, place) = (&store, &place);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    refresh(store.as_ref(), &name((flight * ROUNDS + round) % place.count));
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (writes, syncs) = (2 * FLIGHTS * ROUNDS, place.syncs() - before);
    json!({
        "refreshes_per_second": round((FLIGHTS * ROUNDS) as f64 / seconds),
        "writes": writes,
        "syncs": syncs,
        "writes_per_sync": round(writes as f64 / syncs as f64),
        "memory": memory(),
    })
}

/// How long something took, each time.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.0.push(begun.elapsed());
        done
    }

    fn told(mut self) -> Value {
        self.0.sort_unstable();
        let at = |percent: usize| round(self.0[(self.0.len() - 1) * percent / 100].as_secs_f64() * 1e6);
        json!({"microseconds": at(50), "quartiles": [at(25), at(75)], "p99": at(99), "memory": memory()})
    }
}

/// The most memory that this process has had, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
