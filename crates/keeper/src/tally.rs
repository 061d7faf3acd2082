//! What a keeper has done so far, in numbers, for a page of metrics. Whoever does something counts it, with one atomic
//! addition; whoever wants to know asks ([`Keeper::tally`]). No number names a connection (law 10).

use crate::error::Error;
use crate::keeper::Keeper;
use crate::store::StoreError;
use perennial_core::Origin;
use perennial_core::breaker::Breaker;
use perennial_core::connection::Cause;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Why a flight was begun, as [`Tally::begun`] names it.
pub const CAUSES: [&str; 7] = ["wanted", "rejected", "due", "ahead", "asked", "tried", "authorized"];

/// What came of a token request, as [`Tally::refreshes`] names it: the tokens are durable; the verdicts; no request was
/// sent, because the store refused, or no connection came about; the tokens were for somebody else (law 13).
pub const OUTCOMES: [&str; 12] = [
    "ok",
    "retry",
    "relocate",
    "fix_client",
    "fix_scope",
    "grant_gone",
    "ask_support",
    "our_bug",
    "unknown",
    "store",
    "unreachable",
    "other_principal",
];

/// Upper bounds of a histogram's buckets; what took longer is in none.
pub const BUCKETS: [Duration; 10] = [
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// What a keeper has done since it was opened, and how it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Flights begun, for each of [`CAUSES`]; who joined a flight that was under way is not counted.
    pub begun: [(&'static str, u64); CAUSES.len()],
    /// What came of token requests, for each of [`OUTCOMES`]; a flight may make more than one.
    pub refreshes: [(&'static str, u64); OUTCOMES.len()],
    /// Flights that are under way now.
    pub under_way: usize,
    /// How long the store took to read a connection.
    pub read: Latency,
    /// How long it took to make an intent durable (law 4).
    pub intend: Latency,
    /// How long it took to make an outcome durable (law 1).
    pub commit: Latency,
    /// Connections whose newest tokens are nowhere but in memory: neither the store nor a rescue file takes them.
    pub held_in_memory: usize,
    /// True while tokens wait in a rescue file for the store.
    pub rescue_waits: bool,
}

/// A sum and a histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How often.
    pub count: u64,
    /// How long in all.
    pub sum: Duration,
    /// How often it took no longer than each of [`BUCKETS`]: cumulative.
    pub buckets: [u64; BUCKETS.len()],
}

impl Keeper {
    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let (kit, counters) = (self.kit(), &self.kit().tally);
        Tally {
            begun: named(&CAUSES, &counters.begun),
            refreshes: named(&OUTCOMES, &counters.refreshes),
            under_way: self.under_way(),
            read: counters.read.latency(),
            intend: counters.intend.latency(),
            commit: counters.commit.latency(),
            held_in_memory: kit.held_in_memory.lock().unwrap_or_else(PoisonError::into_inner).len(),
            rescue_waits: kit.rescue.is_needed(),
        }
    }

    /// Why the disk or the database refused the last refresh that came to nothing for that; `None` once another one has
    /// landed. Nothing was spent by it (law 4).
    #[must_use]
    pub fn store_refusal(&self) -> Option<String> {
        self.kit().tally.refused().clone()
    }

    /// The authorization servers that were asked since the keeper was opened, and how their breakers stand (law 12):
    /// `closed`, `shaky`, `open` or `half_open`.
    #[must_use]
    pub fn servers(&self) -> Vec<(Origin, &'static str)> {
        let breakers = self.kit().breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |breaker: &Breaker| match breaker {
            Breaker::Closed => "closed",
            Breaker::Shaky { .. } => "shaky",
            Breaker::Open { .. } => "open",
            Breaker::HalfOpen { .. } => "half_open",
        };
        breakers
            .iter()
            .filter_map(|(base, breaker)| Some((Origin::parse(base).ok()?, state(breaker))))
            .collect()
    }
}

fn named<const N: usize>(names: &[&'static str; N], counts: &[AtomicU64; N]) -> [(&'static str, u64); N] {
    std::array::from_fn(|at| (names[at], counts[at].load(Ordering::Relaxed)))
}

/// What is counted, where it happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    begun: [AtomicU64; CAUSES.len()],
    refreshes: [AtomicU64; OUTCOMES.len()],
    /// Why the store refused the last flight that it ended; nothing once another one has landed.
    refused: Mutex<Option<String>>,
    pub(crate) read: Stopwatch,
    pub(crate) intend: Stopwatch,
    pub(crate) commit: Stopwatch,
}

impl Counters {
    pub(crate) fn begins(&self, cause: &Cause) {
        count(&CAUSES, &self.begun, name_of(cause));
    }

    /// A token request has come to its end; `ok`, or the verdict's name.
    pub(crate) fn came_of_it(&self, outcome: &'static str) {
        count(&OUTCOMES, &self.refreshes, outcome);
        if outcome == "ok" {
            *self.refused() = None;
        }
    }

    fn refused(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flight has ended without one.
    pub(crate) fn ended(&self, error: &Error) {
        match error {
            // About one connection, or about what somebody asked for: it says nothing of the store.
            Error::Store(why)
                if matches!(
                    **why,
                    StoreError::NoSuchConnection { .. }
                        | StoreError::NoCredentials { .. }
                        | StoreError::Incomplete { .. }
                        | StoreError::IsCopy { .. }
                ) => {}
            Error::Store(why) => {
                self.came_of_it("store");
                if matches!(**why, StoreError::Io { .. } | StoreError::Server { .. }) {
                    *self.refused() = Some(why.to_string());
                }
            }
            Error::Unreachable { .. } => self.came_of_it("unreachable"),
            _ => {}
        }
    }
}

fn count(names: &[&str], counts: &[AtomicU64], name: &str) {
    let found = names.iter().position(|known| *known == name).and_then(|at| counts.get(at));
    if let Some(count) = found {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn name_of(cause: &Cause) -> &'static str {
    match cause {
        Cause::Wanted { .. } => "wanted",
        Cause::Rejected(_) => "rejected",
        Cause::Due => "due",
        Cause::Ahead => "ahead",
        Cause::Asked => "asked",
        Cause::Tried(_) => "tried",
        Cause::Authorized { .. } | Cause::Given { .. } => "authorized",
    }
}

/// Measures how long something takes.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// One more than there are bounds: what took longer than all.
    within: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Stopwatch {
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.took(begun.elapsed());
        done
    }

    fn took(&self, time: Duration) {
        let bucket = BUCKETS.iter().position(|bound| time <= *bound).unwrap_or(BUCKETS.len());
        self.within[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn latency(&self) -> Latency {
        let mut count = 0;
        let mut next = |at: usize| {
            count += self.within[at].load(Ordering::Relaxed);
            count
        };
        let buckets = std::array::from_fn(&mut next);
        let count = next(BUCKETS.len());
        Latency { count, sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)), buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::verdict::Verdict;

    #[test]
    fn each_verdict_has_its_number() {
        for name in &OUTCOMES[1..9] {
            assert_eq!(Verdict::parse(name).map(Verdict::as_str), Some(*name));
        }
        let counters = Counters::default();
        counters.came_of_it("ok");
        counters.came_of_it("grant_gone");
        counters.ended(&Error::Busy);
        let told = named(&OUTCOMES, &counters.refreshes);
        assert_eq!(told.iter().filter(|(_, count)| *count > 0).count(), 2);
    }

    #[test]
    fn what_the_disk_refused_stands_until_something_lands() {
        let counters = Counters::default();
        let of = |error: StoreError| Error::from(error);
        counters.ended(&of(StoreError::NoSuchConnection { name: "typo".into(), store: "x".into() }));
        assert_eq!(*counters.refused(), None, "that is about what somebody asked for");
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        counters.ended(&of(StoreError::Io { action: "write", path: "x".into(), source: full }));
        counters.came_of_it("grant_gone");
        assert!(counters.refused().is_some());
        counters.came_of_it("ok");
        assert_eq!(*counters.refused(), None);
    }

    #[test]
    fn a_histogram_is_cumulative_and_loses_nothing() {
        let watch = Stopwatch::default();
        for milliseconds in [1, 7, 20_000] {
            watch.took(Duration::from_millis(milliseconds));
        }
        let latency = watch.latency();
        assert_eq!((latency.count, latency.sum), (3, Duration::from_millis(20_008)));
        assert_eq!(latency.buckets, [0, 0, 1, 1, 2, 2, 2, 2, 2, 2]);
    }
}
