//! What happened so far, in numbers.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts since the sandbox started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests at the token endpoint that were fully received, those that met a fault included.
    pub requests: u64,
    /// The same by `grant_type`; `(none)` where it was missing, `(unknown)` for a word that is no grant.
    pub by_grant: BTreeMap<String, u64>,
    /// Refresh grants that succeeded at the server, whether or not the answer arrived.
    pub refreshes: u64,
    /// Refreshes that brought a new refresh token.
    pub rotations: u64,
    /// Refresh tokens presented after their successor had taken their place.
    pub reuse_detected: u64,
    /// The most token requests that were ever under way at one time.
    pub most_in_flight: u64,
    /// Connections that are open now, the asker's own included.
    pub connections: u64,
    /// Calls to what wants a bearer: users, revocation, echo.
    pub api_calls: u64,
    /// Token requests refused by the rules, and API calls without a good bearer. Faults are not counted.
    pub refused: u64,
    /// Revocations that succeeded.
    pub revocations: u64,
    /// Company grants that were given for a request token.
    pub request_token_uses: u64,
}

#[derive(Default)]
struct Tally {
    stats: Stats,
    in_flight: u64,
}

/// The counters that all connections share.
#[derive(Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<Tally>>);

/// One token request under way; it ends when this is dropped.
pub(crate) struct InFlight(Counters);

impl Counters {
    pub(crate) fn snapshot(&self) -> Stats {
        self.with(|tally| tally.stats.clone())
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        self.with(|tally| change(&mut tally.stats));
    }

    /// A connection has been accepted.
    pub(crate) fn connect(&self) -> Connected {
        self.count(|stats| stats.connections += 1);
        Connected(self.clone())
    }

    /// A token request has been received.
    pub(crate) fn enter(&self, grant: &str) -> InFlight {
        self.with(|tally| {
            tally.in_flight += 1;
            tally.stats.requests += 1;
            tally.stats.most_in_flight = tally.stats.most_in_flight.max(tally.in_flight);
            *tally.stats.by_grant.entry(grant.to_owned()).or_default() += 1;
        });
        InFlight(self.clone())
    }

    fn with<T>(&self, action: impl FnOnce(&mut Tally) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.with(|tally| tally.in_flight -= 1);
    }
}

/// One connection that is open; it ends when this is dropped.
pub(crate) struct Connected(Counters);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.count(|stats| stats.connections -= 1);
    }
}
