//! The one store that all keepers share. A row is written whole, by compare-and-swap on its whole version; it is seen
//! before it is synced, and what was not synced is gone with the power. A claim is a kernel's lock: it excludes the
//! processes of its own host only, and death frees it at once (law 2).

use crate::disk::{self, Kept, Spoil};
use crate::world::{STORE_DISK, Shared, State, Who};
use perennial::core::Connection;
use perennial::core::connection::Version;
use perennial::core::journal::Entry;
use perennial::store::{App, Claim, Recorded, Store, StoreError, WriteError};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What every process calls it.
pub(crate) const ADDRESS: &str = "simulated";

/// The table of connections, and the locks of all hosts.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) rows: BTreeMap<String, Row>,
    locks: BTreeMap<(usize, String), (Who, u64)>,
    claims: u64,
}

pub(crate) struct Row {
    pub(crate) connection: Kept<Connection>,
    pub(crate) app: App,
}

/// `c1`, `c2` …
pub(crate) fn name_of(connection: usize) -> String {
    format!("c{}", connection + 1)
}

impl Rows {
    pub(crate) fn row(&self, connection: usize) -> &Row {
        &self.rows[&name_of(connection)]
    }

    /// What a reader sees.
    pub(crate) fn seen(&self, connection: usize) -> &Connection {
        &self.row(connection).connection.seen
    }

    /// What would be there after a loss of power.
    pub(crate) fn synced(&self, connection: usize) -> &Connection {
        &self.row(connection).connection.synced
    }

    pub(crate) fn number(&self, name: &str) -> usize {
        self.rows.keys().position(|other| other == name).unwrap_or(0)
    }

    /// The kernel takes a dead process's locks back.
    pub(crate) fn free_locks(&mut self, process: usize) {
        self.locks.retain(|_, (holder, _)| holder.process != process);
    }

    pub(crate) fn lose_power(&mut self) {
        self.rows.values_mut().for_each(|row| row.connection.lose_power());
    }
}

/// The store as one process sees it.
pub(crate) struct SimStore {
    pub(crate) world: Shared,
    pub(crate) who: Who,
}

fn no_such(name: &str) -> StoreError {
    StoreError::NoSuchConnection { name: name.to_owned(), store: ADDRESS.to_owned() }
}

fn failed(action: &'static str, spoil: Option<Spoil>) -> StoreError {
    StoreError::Io { action, path: PathBuf::from(ADDRESS), source: disk::error(spoil) }
}

const FIXED: StoreError = StoreError::Fixed { store: String::new(), cannot: "is simulated", instead: "" };

impl SimStore {
    fn readable<T>(&self, name: &str, read: impl FnOnce(&mut State, &str) -> T) -> Result<T, StoreError> {
        self.world.look(|state| {
            if !state.disks[STORE_DISK].can_read(state.now) {
                return Err(failed("read", None));
            }
            if !state.rows.rows.contains_key(name) {
                return Err(no_such(name));
            }
            state.write_back();
            Ok(read(state, name))
        })
    }
}

impl State {
    /// What the kernel has written back by now.
    fn write_back(&mut self) {
        let now = self.now;
        let rows = self.rows.rows.values_mut().map(|row| row.connection.write_back(now));
        let written: Vec<usize> =
            (0..).zip(rows).filter_map(|(number, written)| written.then_some(number)).collect();
        written.into_iter().for_each(|number| self.became_durable(number));
    }
}

impl Store for SimStore {
    fn address(&self) -> String {
        ADDRESS.to_owned()
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.world.look(|state| Ok(state.rows.rows.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> Result<Connection, StoreError> {
        self.world.step(self.who, "read");
        self.world.look(|state| state.looks(self.who, name));
        self.readable(name, |state, name| state.rows.rows[name].connection.seen.clone())
    }

    fn app(&self, name: &str) -> Result<App, StoreError> {
        self.world.step(self.who, "app");
        self.readable(name, |state, name| state.rows.rows[name].app.clone())
    }

    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError> {
        self.world.step(self.who, "claim");
        let lock = self.readable(name, |state, name| {
            let rows = &mut state.rows;
            let key = (self.who.host, name.to_owned());
            if rows.locks.contains_key(&key) {
                return None;
            }
            rows.claims += 1;
            rows.locks.insert(key, (self.who, rows.claims));
            Some((state.hosts[self.who.host].kernel(), state.rows.claims))
        })?;
        let Some((lock, number)) = lock else { return Ok(None) };
        let claim =
            SimClaim { world: self.world.clone(), who: self.who, name: name.to_owned(), lock, number };
        self.world.step(self.who, "claimed");
        Ok(Some(Box::new(claim)))
    }

    fn journal(&self, _: Option<&str>, _: Option<u64>, _: usize) -> Result<Vec<Recorded>, StoreError> {
        Ok(Vec::new())
    }

    fn note(&self, _: &str, _: &Entry) -> Result<(), StoreError> {
        self.world.step(self.who, "note");
        Ok(())
    }

    fn add(&self, _: &Connection, _: &App) -> Result<(), StoreError> {
        Err(FIXED)
    }

    fn put_app(&self, name: &str, app: &App) -> Result<(), StoreError> {
        self.world.look(|state| {
            state.rows.rows.get_mut(name).ok_or_else(|| no_such(name))?.app = app.clone();
            Ok(())
        })
    }

    fn rename(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Err(FIXED)
    }

    fn remove(&self, _: &str) -> Result<(), StoreError> {
        Err(FIXED)
    }

    fn restore(&self, _: &str) -> Result<(), StoreError> {
        Err(FIXED)
    }
}

struct SimClaim {
    world: Shared,
    who: Who,
    name: String,
    lock: String,
    number: u64,
}

/// The steps of one write.
struct Steps {
    before: &'static str,
    unsynced: &'static str,
    after: &'static str,
}

const INTEND: Steps = Steps { before: "intend", unsynced: "intend, unsynced", after: "intended" };
const COMMIT: Steps = Steps { before: "commit", unsynced: "commit, unsynced", after: "committed" };

impl SimClaim {
    fn write(&self, steps: &Steps, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.world.step(self.who, steps.before);
        let spoil = self.world.look(|state| self.swap(state, steps, from, next))?;
        self.world.step(self.who, steps.unsynced);
        let noted = if steps.after == COMMIT.after { from.intent.as_deref() } else { None };
        self.world.look(|state| self.sync(state, spoil, noted))?;
        self.world.step(self.who, steps.after);
        Ok(())
    }

    /// The compare-and-swap. What it returns is how the sync will go.
    fn swap(
        &self,
        state: &mut State,
        steps: &Steps,
        from: &Version,
        next: &Connection,
    ) -> Result<Option<Spoil>, WriteError> {
        let spoil = state.disks[STORE_DISK].fate_of_write(state.now);
        if spoil == Some(Spoil::Refused) {
            state.tally.spoiled_writes += 1;
            state.tell(Some(self.who), || format!("{} {}: the store refuses", steps.before, self.name));
            return Err(failed("write", spoil).into());
        }
        let row = state.rows.rows.get_mut(&self.name).ok_or_else(|| no_such(&self.name))?;
        let before = row.connection.seen.clone();
        if before.version() != *from {
            state.tell(Some(self.who), || format!("{} {}: overtaken", steps.before, self.name));
            return Err(WriteError::Moved(Box::new(before)));
        }
        row.connection.write(next.clone(), state.now, self.who);
        let number = state.rows.number(&self.name);
        state.tell(Some(self.who), || format!("{} {}", steps.before, crate::story::row(next)));
        state.wrote(self.who, number, &before, from, next);
        Ok(spoil)
    }

    /// `noted` is the intent whose outcome stands in the row now.
    fn sync(&self, state: &mut State, spoil: Option<Spoil>, noted: Option<&str>) -> Result<(), WriteError> {
        let number = state.rows.number(&self.name);
        let row = state.rows.rows.get_mut(&self.name).ok_or_else(|| no_such(&self.name))?;
        if spoil == Some(Spoil::Unsynced) {
            row.connection.sync_failed();
        } else {
            row.connection.sync();
            state.became_durable(number);
            state.noted(self.who, number, noted);
        }
        match spoil {
            None => Ok(()),
            Some(spoil) => {
                state.tally.spoiled_writes += 1;
                state.tell(Some(self.who), || format!("writing {} fails: {spoil:?}", self.name));
                Err(failed("sync", Some(spoil)).into())
            }
        }
    }
}

impl Claim for SimClaim {
    fn lock(&self) -> &str {
        &self.lock
    }

    fn read(&self) -> Result<Connection, StoreError> {
        self.world.step(self.who, "look again");
        let store = SimStore { world: self.world.clone(), who: self.who };
        store.readable(&self.name, |state, name| state.rows.rows[name].connection.seen.clone())
    }

    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(&INTEND, from, next)
    }

    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(&COMMIT, from, next)
    }

    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        Ok(None)
    }
}

impl Drop for SimClaim {
    fn drop(&mut self) {
        let key = (self.who.host, self.name.clone());
        self.world.look(|state| {
            if state.rows.locks.get(&key) == Some(&(self.who, self.number)) {
                state.rows.locks.remove(&key);
            }
        });
    }
}
