//! What one write does within a transaction that it may share with others: rows, sealed anew, and entries of the
//! journal.

use super::place::Place;
use super::row;
use crate::store::sealed::Unsealed;
use crate::store::sealed::keys::Keys;
use crate::store::sealed::row::Row;
use crate::store::{StoreError, agenda, record};
use perennial_core::Connection;
use perennial_core::connection::Version;
use perennial_core::journal::Entry;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// Entries of the journal are kept for this many seconds: 400 days, which is more than a year.
const JOURNAL_KEPT: i64 = 400 * 86_400;

/// A transaction, as one job sees it.
pub(super) struct Batch<'a> {
    pub(super) sql: &'a rusqlite::Connection,
    pub(super) place: &'a Place,
    pub(super) tenant: &'a str,
    pub(super) keys: &'a Keys,
    /// The number of this change of the database.
    pub(super) change: i64,
    /// Connections that were written.
    pub(super) touched: Vec<i64>,
    /// True when a person would miss it in an older backup.
    pub(super) worth_a_copy: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        sql: &'a rusqlite::Connection,
        place: &'a Place,
        tenant: &'a str,
        keys: &'a Keys,
        change: i64,
    ) -> Self {
        Self { sql, place, tenant, keys, change, touched: Vec::new(), worth_a_copy: false }
    }

    pub(super) fn failed(&self, error: rusqlite::Error) -> StoreError {
        self.place.at("write").failed(error)
    }

    pub(super) fn unsealed(&self, error: impl Into<Unsealed>) -> StoreError {
        self.place.unsealed(error.into())
    }

    /// Seals a row and writes it, as a person wants it.
    pub(super) fn write(&mut self, row: Row) -> Result<(), StoreError> {
        self.worth_a_copy = true;
        self.seal_and_write(row)
    }

    /// Writes a new connection.
    pub(super) fn add(&mut self, mut row: Row, connection: &Connection) -> Result<(), StoreError> {
        row.put(self.keys, connection).map_err(|error| self.unsealed(error))?;
        self.write(row)
    }

    /// Writes a connection into its row.
    pub(super) fn put(
        &mut self,
        mut row: Row,
        before: &Version,
        next: &Connection,
    ) -> Result<(), StoreError> {
        let after = next.version();
        self.worth_a_copy |= (&before.grant_id, &before.refresh) != (&after.grant_id, &after.refresh);
        row.put(self.keys, next).map_err(|error| self.unsealed(error))?;
        self.seal_and_write(row)
    }

    /// Seals a row under the newest data key. Nobody misses that in an older backup.
    pub(super) fn reseal(&mut self, row: Row) -> Result<(), StoreError> {
        self.seal_and_write(row)
    }

    fn seal_and_write(&mut self, mut row: Row) -> Result<(), StoreError> {
        row.changed = self.change;
        row.seal(self.keys).map_err(|error| self.unsealed(error))?;
        row::write(self.sql, &row).map_err(|error| self.failed(error))?;
        self.touched.push(row.number);
        Ok(())
    }

    /// Puts a connection away, or brings it back. One that was altered stays as it is under its seal, so that this
    /// makes nothing good that was not.
    pub(super) fn put_away(&mut self, row: Row, removed_at: Option<i64>) -> Result<(), StoreError> {
        if row.is_sealed(self.keys) {
            return self.write(Row { removed_at, ..row });
        }
        let update = "UPDATE connections SET removed_at = ?2 WHERE number = ?1";
        self.sql.execute(update, (row.number, removed_at)).map(drop).map_err(|error| self.failed(error))
    }

    /// Forgets a connection that was put away, with its history, unless something is held of it (law 5).
    pub(super) fn forget(&self, number: i64) -> Result<(), StoreError> {
        let removed = "tenant = ?1 AND number = ?2 AND removed_at IS NOT NULL";
        let row = row::find(self.sql, removed, (self.tenant, number)).map_err(|error| self.failed(error))?;
        let Some(row) = row else { return Ok(()) };
        if row.open(self.keys).map_or(true, |connection| agenda::holds_anything(&connection)) {
            return Ok(());
        }
        for forget in
            ["DELETE FROM journal WHERE connection = ?1", "DELETE FROM connections WHERE number = ?1"]
        {
            self.sql.execute(forget, [number]).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Puts entries down, and lets go of those that are too old by both clocks: neither alone is trusted (law 11).
    pub(super) fn note(&self, number: i64, entries: &[Entry]) -> Result<(), StoreError> {
        let insert = "INSERT INTO journal (connection, at, entry) VALUES (?1, ?2, ?3)";
        let prune = "DELETE FROM journal WHERE number < \
                     (SELECT number FROM journal WHERE at >= ?1 ORDER BY number LIMIT 1)";
        let note = |entry: &Entry| -> rusqlite::Result<()> {
            let text = Value::Object(record::write(entry)).to_string();
            self.sql.prepare_cached(insert)?.execute((number, entry.at.0, text))?;
            let oldest = entry.at.0.min(now()).saturating_sub(JOURNAL_KEPT);
            self.sql.prepare_cached(prune)?.execute([oldest])?;
            Ok(())
        };
        entries.iter().try_for_each(note).map_err(|error| self.failed(error))
    }
}

/// This host's time, in Unix seconds.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
