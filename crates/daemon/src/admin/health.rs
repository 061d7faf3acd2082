//! What is wrong with the daemon, if anything is: with its store, as it was found last, and with its own duties.

use perennial::tally::Tally;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinHandle};

/// The scheduler goes round within half a minute, whatever happens; one that has not done so for this long has died.
const STILL: Duration = Duration::from_secs(120);

/// How the daemon is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// The store can be read.
    pub(crate) store: AtomicBool,
    /// It is about to end.
    pub(crate) draining: AtomicBool,
    duties: Mutex<Vec<(&'static str, AbortHandle)>>,
    pulse: Mutex<Option<Pulse>>,
    writes: Mutex<Writes>,
}

/// When the scheduler was last seen to have gone round.
#[derive(Debug)]
struct Pulse {
    rounds: u64,
    moved_at: Instant,
}

/// What became of writes.
#[derive(Debug, Default)]
struct Writes {
    kept: u64,
    refused: u64,
    is_refusing: bool,
}

impl Health {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.store.load(Ordering::Relaxed)
    }

    /// From here on this must not end before the daemon does.
    pub(crate) fn relies_on<T>(&self, name: &'static str, duty: &JoinHandle<T>) {
        let mut duties = self.duties.lock().unwrap_or_else(PoisonError::into_inner);
        duties.push((name, duty.abort_handle()));
    }

    /// From here on the scheduler must go round.
    pub(crate) fn has_a_pulse(&self) {
        let mut pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        *pulse = Some(Pulse { rounds: 0, moved_at: Instant::now() });
    }

    /// Which duties have ended though the daemon has not been asked to; none as long as all is well.
    pub(crate) fn ended(&self, rounds: u64) -> Vec<String> {
        if self.is_draining() {
            return Vec::new();
        }
        let duties = self.duties.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = duties.iter().filter(|(_, duty)| duty.is_finished());
        let mut reasons: Vec<_> = ended.map(|(name, _)| format!("{name} has ended: start anew")).collect();
        drop(duties);
        let mut pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        if pulse.as_mut().is_some_and(|pulse| !pulse.beats(rounds, Instant::now())) {
            reasons.push(format!("the scheduler stands still since {} s: start anew", STILL.as_secs()));
        }
        reasons
    }

    /// True as long as nothing speaks against it: tokens that it would not take, or a refusal behind which no write was
    /// kept.
    pub(crate) fn is_writable(&self, tally: &Tally) -> bool {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.look(count(tally, "ok"), count(tally, "store"));
        !writes.is_refusing && !tally.rescue_waits && tally.held_in_memory == 0
    }

    /// A write was kept that no tally tells of.
    pub(crate) fn has_written(&self) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).is_refusing = false;
    }
}

impl Pulse {
    fn beats(&mut self, rounds: u64, at: Instant) -> bool {
        if rounds != self.rounds {
            (self.rounds, self.moved_at) = (rounds, at);
        }
        at.saturating_duration_since(self.moved_at) < STILL
    }
}

impl Writes {
    /// Where both have come since the last look, nobody knows which was later: the refusal counts, and is looked into.
    fn look(&mut self, kept: u64, refused: u64) {
        if refused > self.refused {
            self.is_refusing = true;
        } else if kept > self.kept {
            self.is_refusing = false;
        }
        (self.kept, self.refused) = (kept, refused);
    }
}

fn count(tally: &Tally, outcome: &str) -> u64 {
    tally.refreshes.iter().find(|(name, _)| *name == outcome).map_or(0, |(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_duty_that_ends_is_missed_unless_all_end() {
        let health = Health::default();
        let duty = tokio::spawn(std::future::pending::<()>());
        health.relies_on("the follower", &duty);
        assert!(health.ended(0).is_empty());
        duty.abort();
        assert!(duty.await.is_err());
        assert_eq!(health.ended(0), ["the follower has ended: start anew"]);
        health.draining.store(true, Ordering::Relaxed);
        assert!(health.ended(0).is_empty(), "they are meant to");
    }

    #[test]
    fn a_scheduler_that_goes_round_no_more_has_died() {
        let begun = Instant::now();
        let mut pulse = Pulse { rounds: 0, moved_at: begun };
        assert!(pulse.beats(1, begun + STILL * 2), "it has moved since");
        assert!(pulse.beats(1, begun + STILL * 2 + Duration::from_secs(31)));
        assert!(!pulse.beats(1, begun + STILL * 3));
        assert!(pulse.beats(2, begun + STILL * 3), "and goes on");
    }

    #[test]
    fn law_4_a_store_that_refuses_counts_as_not_writable_until_it_takes_something() {
        let mut writes = Writes::default();
        for (kept, refused, is_refusing) in
            [(0, 0, false), (5, 0, false), (5, 1, true), (5, 1, true), (6, 1, false), (7, 2, true)]
        {
            writes.look(kept, refused);
            assert_eq!(writes.is_refusing, is_refusing, "{kept} kept, {refused} refused");
        }
    }
}
