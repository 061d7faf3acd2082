//! The data keys as the database keeps them. Another process may seal the store anew meanwhile: whoever reads or writes
//! looks first whether the ring is still the one that it knows.

use super::place::Place;
use crate::seal::{MasterKey, SealError};
use crate::store::StoreError;
use crate::store::sealed::keys::{Keys, Wrapped};
use crate::store::sealed::{self, Closed};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};

/// The data keys of an opened database.
pub(super) struct Ring {
    place: Place,
    master: MasterKey,
    store: String,
    known: Mutex<Arc<Keys>>,
}

impl Ring {
    /// Unwraps the keys that are there.
    pub(super) fn open(
        place: &Place,
        master: &MasterKey,
        store: String,
        sql: &Connection,
    ) -> Result<Self, StoreError> {
        let known = unwrap(place, master, &store, sql)?;
        Ok(Self { place: place.clone(), master: master.clone(), store, known: Mutex::new(Arc::new(known)) })
    }

    /// The keys, for what `sql` sees.
    pub(super) fn keys(&self, sql: &Connection) -> Result<Arc<Keys>, StoreError> {
        let newest = "SELECT max(number) FROM data_keys";
        let newest: Option<i64> = sql
            .prepare_cached(newest)
            .and_then(|mut newest| newest.query_row([], |row| row.get(0)))
            .map_err(|error| self.place.at("read").failed(error))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if newest != Some(known.current()) {
            *known = Arc::new(unwrap(&self.place, &self.master, &self.store, sql)?);
        }
        Ok(Arc::clone(&known))
    }
}

/// Puts a data key down.
pub(super) fn put(sql: &Connection, wrapped: &Wrapped, made_at: i64) -> rusqlite::Result<()> {
    let insert = "INSERT INTO data_keys (number, wrapped, master_key, made_at) VALUES (?1, ?2, ?3, ?4)";
    sql.execute(insert, (wrapped.number, &wrapped.key, wrapped.master_key().unwrap_or_default(), made_at))
        .map(drop)
}

/// Puts another wrapping of a key in the place of the one that is there.
pub(super) fn replace(sql: &Connection, wrapped: &Wrapped) -> rusqlite::Result<()> {
    let update = "UPDATE data_keys SET wrapped = ?2, master_key = ?3 WHERE number = ?1";
    sql.execute(update, (wrapped.number, &wrapped.key, wrapped.master_key().unwrap_or_default())).map(drop)
}

/// The first data key from this number on, the newest aside.
pub(super) fn older(sql: &Connection, from: i64) -> rusqlite::Result<Option<i64>> {
    let first = "SELECT min(number) FROM data_keys
                 WHERE number >= ?1 AND number < (SELECT max(number) FROM data_keys)";
    sql.query_row(first, [from], |row| row.get(0))
}

pub(super) fn all(sql: &Connection) -> rusqlite::Result<Vec<Wrapped>> {
    let mut statement = sql.prepare_cached("SELECT number, wrapped FROM data_keys ORDER BY number")?;
    statement.query_map([], |row| Ok(Wrapped { number: row.get(0)?, key: row.get(1)? }))?.collect()
}

fn unwrap(place: &Place, master: &MasterKey, store: &str, sql: &Connection) -> Result<Keys, StoreError> {
    let wrapped = all(sql).map_err(|error| place.at("read").failed(error))?;
    Keys::open(master, store, &wrapped).map_err(|error| closed(place, master, error))
}

/// Why a database does not open with this master key.
pub(super) fn closed(place: &Place, master: &MasterKey, error: SealError) -> StoreError {
    match sealed::closed(master, error) {
        Closed::Key { reason, remedy } => StoreError::Closed { path: place.path.clone(), reason, remedy },
        Closed::Damage(reason) => place.damaged(reason),
    }
}
