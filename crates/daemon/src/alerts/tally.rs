//! What became of alerts, in numbers: for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of alerts since the start.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    /// Messages that a sink has taken.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Attempts that failed; each is made again.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Messages that wait now, for all sinks together.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Messages that were dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn add_delivered(&self) {
        self.delivered.fetch_add(1, Relaxed);
    }

    pub(super) fn add_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn add_dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    pub(super) fn set_waiting(&self, count: u64) {
        self.waiting.store(count, Relaxed);
    }
}
