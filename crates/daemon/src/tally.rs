//! What the daemon counts, for its metrics. Plain numbers that are read when somebody asks for them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number of things that are there now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    /// One more, for as long as what is returned lives.
    pub(crate) fn enter(self: &std::sync::Arc<Self>) -> Entered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(std::sync::Arc::clone(self))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of the things that are there.
#[derive(Debug)]
pub(crate) struct Entered(std::sync::Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the daemon counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tokens handed out of memory.
    pub(crate) fresh: Count,
    /// Tokens handed out of memory past the moment when they are renewed ahead.
    pub(crate) stale: Count,
    /// Tokens handed out of the store, or after a refresh.
    pub(crate) fetched: Count,
    /// Tokens handed out of memory because nothing newer could be had (law 9).
    pub(crate) in_need: Count,
    /// Requests for a token that got none.
    pub(crate) refused: Count,
    /// Requests by the class of their answer's status: 1xx to 5xx.
    pub(crate) answers: [Count; 5],
    /// Forwarded requests by the class of their answer's status: 1xx to 5xx.
    pub(crate) forwarded: [Count; 5],
    /// Forwarded requests that were sent once more, with another token.
    pub(crate) sent_again: Count,
    /// Forwarded requests that the API rejected, and that were not sent once more.
    pub(crate) not_sent_again: Count,
    /// Requests that showed no good key.
    pub(crate) strangers: Count,
    /// Sockets that are open.
    pub(crate) sockets: std::sync::Arc<Gauge>,
    /// Sockets that were closed at once, because there were too many.
    pub(crate) turned_away: Count,
    /// Connections that could not be accepted: no file descriptors.
    pub(crate) not_accepted: Count,
}

impl Tally {
    pub(crate) fn forwarded(&self, status: u16) {
        if let Some(count) = self.forwarded.get(usize::from(status / 100).wrapping_sub(1)) {
            count.add();
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            count.add();
        }
    }
}
