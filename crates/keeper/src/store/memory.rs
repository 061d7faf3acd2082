//! Nothing but memory. What is kept here is gone with the process: it serves tests, and programs that have a place of
//! their own for a refresh token and only want to be handed access tokens.

use super::{App, Changes, Claim, Recorded, Store, StoreError, WriteError, agenda, check_name};
use crate::random;
use perennial_core::Connection;
use perennial_core::connection::Version;
use perennial_core::journal::{self, Entry};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A store in memory. Its clones are the same store.
#[derive(Clone, Debug)]
pub struct Memory {
    id: String,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    rows: BTreeMap<String, Row>,
    removed: Vec<(String, Row)>,
    /// By connection id, so that a renamed connection keeps its history.
    journal: Vec<(String, Entry)>,
    /// The id of the connection that was discarded last.
    discarded: Option<String>,
}

#[derive(Clone, Debug)]
struct Row {
    connection: Connection,
    app: App,
    is_claimed: bool,
}

impl Kept {
    fn note(&mut self, id: &str, what: impl Into<String>) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.journal.extend(agenda::noted(at, what).map(|entry| (id.to_owned(), entry)));
    }

    /// By its id, also when it was put away.
    fn by_id(&mut self, id: &str) -> Option<&mut Row> {
        let removed = self.removed.iter_mut().map(|(_, row)| row);
        self.rows.values_mut().chain(removed).find(|row| row.connection.id == id)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { id: random::id(), kept: Arc::default() }
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn none(&self, name: &str) -> StoreError {
        StoreError::NoSuchConnection { name: name.to_owned(), store: self.address() }
    }

    fn row(&self, name: &str) -> Result<Row, StoreError> {
        self.kept().rows.get(name).cloned().ok_or_else(|| self.none(name))
    }

    fn free(&self, kept: &Kept, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        if kept.rows.contains_key(name) {
            return Err(StoreError::NameTaken { name: name.to_owned(), store: self.address() });
        }
        Ok(())
    }
}

impl Store for Memory {
    fn address(&self) -> String {
        format!("memory:{}", self.id)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.kept().rows.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Connection, StoreError> {
        Ok(self.row(name)?.connection)
    }

    fn app(&self, name: &str) -> Result<App, StoreError> {
        Ok(self.row(name)?.app)
    }

    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError> {
        let mut kept = self.kept();
        let row = kept.rows.get_mut(name).ok_or_else(|| self.none(name))?;
        if std::mem::replace(&mut row.is_claimed, true) {
            return Ok(None);
        }
        let (store, id) = (self.clone(), row.connection.id.clone());
        Ok(Some(Box::new(Held { lock: self.address(), store, id, name: name.to_owned() })))
    }

    fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let kept = self.kept();
        let names: BTreeMap<_, _> =
            kept.rows.values().map(|row| (&row.connection.id, &row.connection.name)).collect();
        let wanted = (1..).zip(&kept.journal).filter_map(|(number, (id, entry))| {
            let connection = names.get(id).map(|name| (*name).clone())?;
            let wanted = name.is_none_or(|name| name == connection);
            wanted.then(|| Recorded { number, connection, entry: entry.clone() })
        });
        let mut entries: Vec<_> =
            wanted.filter(|recorded| after.is_none_or(|after| recorded.number > after)).collect();
        match after {
            Some(_) => entries.truncate(limit),
            None => drop(entries.drain(..entries.len().saturating_sub(limit))),
        }
        Ok(entries)
    }

    fn changes(&self, since: Option<u64>) -> Result<Changes, StoreError> {
        let kept = self.kept();
        let mark = kept.journal.len() as u64;
        let seen = usize::try_from(since.unwrap_or(mark)).unwrap_or(usize::MAX);
        let Some(new) = kept.journal.get(seen..) else { return Ok(Changes::Unknown) };
        let ids: BTreeSet<&str> = new.iter().map(|(id, _)| id.as_str()).collect();
        let all =
            kept.rows.values().chain(kept.removed.iter().map(|(_, row)| row)).map(|row| &row.connection);
        let names = all.filter(|connection| ids.contains(connection.id.as_str()));
        let names = names.map(|connection| connection.name.clone()).collect();
        Ok(Changes::Named { names, mark, more: false })
    }

    fn note(&self, name: &str, entry: &Entry) -> Result<(), StoreError> {
        let id = self.row(name)?.connection.id;
        self.kept().journal.push((id, entry.clone()));
        Ok(())
    }

    fn add(&self, connection: &Connection, app: &App) -> Result<(), StoreError> {
        let mut kept = self.kept();
        self.free(&kept, &connection.name)?;
        let row = Row { connection: connection.clone(), app: app.clone(), is_claimed: false };
        kept.rows.insert(connection.name.clone(), row);
        Ok(())
    }

    fn put_app(&self, name: &str, app: &App) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.rows.get_mut(name).ok_or_else(|| self.none(name))?.app = app.clone();
        Ok(())
    }

    fn rename(&self, name: &str, to: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        self.free(&kept, to)?;
        let mut row = kept.rows.remove(name).ok_or_else(|| self.none(name))?;
        row.connection.name = to.to_owned();
        kept.note(&row.connection.id, agenda::renamed(name));
        kept.rows.insert(to.to_owned(), row);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let row = kept.rows.remove(name).ok_or_else(|| self.none(name))?;
        kept.note(&row.connection.id, agenda::PUT_AWAY);
        kept.removed.push((name.to_owned(), row));
        Ok(())
    }

    fn discard(&self, name: &str) -> Result<(), StoreError> {
        let id = self.kept().rows.get(name).ok_or_else(|| self.none(name))?.connection.id.clone();
        self.remove(name)?;
        let mut kept = self.kept();
        let before = kept.discarded.replace(id);
        let is_it = |row: &Row| before.as_ref() == Some(&row.connection.id);
        kept.removed.retain(|(_, row)| !is_it(row) || agenda::holds_anything(&row.connection));
        Ok(())
    }

    fn restore(&self, name: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        self.free(&kept, name)?;
        let found = kept.removed.iter().rposition(|(removed, _)| removed == name);
        let (_, row) = kept.removed.remove(found.ok_or_else(|| self.none(name))?);
        kept.note(&row.connection.id, agenda::BROUGHT_BACK);
        kept.rows.insert(name.to_owned(), row);
        Ok(())
    }
}

/// The claim of one connection, by its id: it may be renamed meanwhile.
struct Held {
    store: Memory,
    lock: String,
    id: String,
    name: String,
}

impl Held {
    /// An outcome is taken in also when a person has put the connection away since: what comes back with it later are
    /// the newest tokens (law 1).
    fn write(&self, from: &Version, next: &Connection, intended: bool) -> Result<(), WriteError> {
        if intended {
            self.read()?;
        }
        let mut kept = self.store.kept();
        let row = kept.by_id(&self.id).ok_or_else(|| self.store.none(&self.name))?;
        if row.connection.version() != *from {
            return Err(WriteError::Moved(Box::new(row.connection.clone())));
        }
        let entries = journal::between(&row.connection, next);
        row.connection = Connection { name: row.connection.name.clone(), ..next.clone() };
        kept.journal.extend(entries.into_iter().map(|entry| (self.id.clone(), entry)));
        Ok(())
    }
}

impl Claim for Held {
    fn lock(&self) -> &str {
        &self.lock
    }

    fn read(&self) -> Result<Connection, StoreError> {
        let kept = self.store.kept();
        let row = kept.rows.values().find(|row| row.connection.id == self.id);
        row.map(|row| row.connection.clone()).ok_or_else(|| self.store.none(&self.name))
    }

    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(from, next, true)
    }

    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(from, next, false)
    }

    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        Ok(None)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut kept = self.store.kept();
        if let Some(row) = kept.by_id(&self.id) {
            row.is_claimed = false;
        }
    }
}
