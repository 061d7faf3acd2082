//! A keeper, as alerts look at it.

use super::seen::{Seen, Server, Vitals};
use super::{Watched, lock};
use perennial::clock::Clock;
use perennial::core::{Connection, UnixTime};
use perennial::store::StoreError;
use perennial::{Error, Keeper};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A skew says something about the clock of now if it was measured no longer ago, in seconds.
const RECENT: i64 = 3600;
/// Of so many servers the clock is remembered.
const MOST_SERVERS: usize = 16;

/// A keeper, and what else is known of its store.
pub struct OverKeeper {
    keeper: Arc<Keeper>,
    clock: Arc<dyn Clock>,
    /// What became of the last look at it.
    could_not_read: Mutex<Option<String>>,
    /// So many seconds each server's clock was ahead of ours, when it was asked last.
    skews: Mutex<BTreeMap<String, i64>>,
}

impl OverKeeper {
    /// Looks at what this keeper keeps, by the wall clock of this machine.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, clock: Arc<dyn Clock>) -> Self {
        let (could_not_read, skews) = (Mutex::default(), Mutex::default());
        Self { keeper, clock, could_not_read, skews }
    }

    fn readable<T>(&self, read: Result<T, String>) -> Result<T, String> {
        lock(&self.could_not_read).clone_from(&read.as_ref().err().cloned());
        read
    }

    /// What was measured lately of a server's clock; one odd reading alone is believed by nobody (law 11).
    fn note_skew(&self, connection: &Connection, now: UnixTime) {
        let Some(held) = connection.held.as_ref() else { return };
        let skew = connection.skew;
        let is_recent = held.refreshed_at.is_some_and(|at| skew.server_time(now).since(at).abs() <= RECENT);
        let mut skews = lock(&self.skews);
        let origin = held.base.to_string();
        if is_recent
            && connection.clock.is_some()
            && (skews.len() < MOST_SERVERS || skews.contains_key(&origin))
        {
            skews.insert(origin, skew.seconds);
        }
    }

    /// How far the wall clock is ahead of the servers': of the one in the middle, as a single server may be wrong itself.
    /// What it was set back by is in no skew, because the keeper goes on by a clock that nobody sets.
    fn clock_ahead(&self) -> i64 {
        let mut skews: Vec<_> = lock(&self.skews).values().copied().collect();
        skews.sort_by_key(|skew| skew.abs());
        let skew = skews.get(skews.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        self.clock.now().since(self.keeper.now()).saturating_sub(skew)
    }
}

impl Watched for OverKeeper {
    fn names_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, String> {
        self.readable(self.keeper.store().names_after(after, limit).map_err(|error| error.to_string()))
    }

    fn connection(&self, name: &str) -> Result<Option<Seen>, String> {
        let connection = match self.keeper.connection(name) {
            Ok(connection) => connection,
            Err(Error::Store(error)) if matches!(*error, StoreError::NoSuchConnection { .. }) => {
                return self.readable(Ok(None));
            }
            Err(error) => return self.readable(Err(error.to_string())),
        };
        self.note_skew(&connection, self.keeper.now());
        // Tokens that wait in a rescue file are told with the store: the keeper knows of them, and not whose they are.
        let state = connection.state(self.keeper.now());
        self.readable(Ok(Some(Seen::of(&connection, state))))
    }

    fn vitals(&self) -> Vitals {
        let fails = |state: &str| matches!(state, "open" | "half_open");
        let servers = self.keeper.servers();
        let rescued = self
            .keeper
            .tally()
            .rescue_waits
            .then(|| "new tokens wait in a rescue file until it takes them".to_owned());
        Vitals {
            servers: servers
                .into_iter()
                .map(|(origin, state)| Server { origin: origin.to_string(), fails: fails(state) })
                .collect(),
            store_fault: rescued
                .or_else(|| self.keeper.store_refusal())
                .or_else(|| lock(&self.could_not_read).clone()),
            clock_ahead: self.clock_ahead(),
        }
    }
}
