//! The claim of one connection: a lock of the kernel's, and writes that compare before they swap (laws 2, 4, 8).

use super::database::Database;
use super::home;
use super::lock::LockFile;
use super::row;
use super::writer::Job;
use crate::store::{Claim, StoreError, WriteError};
use perennial_core::connection::Version;
use perennial_core::{Connection, journal};
use std::path::PathBuf;
use std::sync::Arc;

/// A connection that only we may present. By its number: it may be renamed meanwhile.
pub(super) struct Held {
    database: Arc<Database>,
    number: i64,
    /// What it was called when it was claimed, and in which store: for messages.
    name: String,
    address: String,
    /// Names the lock.
    lock_name: String,
    /// Held as long as it is open.
    lock: LockFile,
}

impl Held {
    /// Takes the claim if nobody holds it.
    pub(super) fn try_claim(
        database: Arc<Database>,
        number: i64,
        name: &str,
        address: String,
    ) -> Result<Option<Self>, StoreError> {
        let path = database.place.lock();
        let lock = LockFile::open(path.clone()).map_err(StoreError::io("write", &path))?;
        if !lock.try_claim(number).map_err(StoreError::io("lock", &path))? {
            return Ok(None);
        }
        if !lock.is_still_there().map_err(StoreError::io("open", &path))? {
            return Ok(None); // Somebody has deleted it since it was opened: another look finds the next one.
        }
        database.check_marks(&lock, number)?;
        let lock_name = lock.name().map_err(StoreError::io("lock", &path))?;
        Ok(Some(Self { database, number, name: name.to_owned(), address, lock_name, lock }))
    }

    fn none(&self) -> StoreError {
        StoreError::NoSuchConnection { name: self.name.clone(), store: self.address.clone() }
    }

    /// Compares and swaps. `late` is an outcome: it is taken in also when a person has put the connection away since,
    /// so that what `restore` brings back holds the newest tokens (law 1).
    fn write(&self, from: &Version, next: &Connection, late: bool) -> Result<(), WriteError> {
        let (number, none) = (self.number, (self.name.clone(), self.address.clone()));
        let (from, next, none_address) = (from.clone(), next.clone(), self.address.clone());
        let job = Job::new(move |batch| {
            let none = || StoreError::NoSuchConnection { name: none.0.clone(), store: none.1.clone() };
            let row =
                row::numbered(batch.sql, number).map_err(|error| batch.failed(error))?.ok_or_else(none)?;
            if row.removed_at.is_some() && !late {
                return Err(none().into());
            }
            // In this very transaction: whoever hands the store over waits for the intents that stand before.
            if !late && let (_, Some(to)) = home::kept(batch.sql).map_err(|error| batch.failed(error))? {
                return Err(StoreError::HandedOver { store: none_address.clone(), to }.into());
            }
            let now = row.open(batch.keys).map_err(|error| batch.unsealed(error))?;
            if now.version() != from {
                return Err(WriteError::Moved(Box::new(now)));
            }
            let entries = journal::between(&now, &next);
            let next = Connection { id: now.id, name: now.name, ..next.clone() };
            batch.put(row, &from, &next)?;
            Ok(batch.note(number, &entries)?)
        });
        self.database.write(if late { job.with_room() } else { job })
    }
}

impl Claim for Held {
    fn lock(&self) -> &str {
        &self.lock_name
    }

    fn read(&self) -> Result<Connection, StoreError> {
        self.database.read(|view| {
            let row = row::numbered(view.sql, self.number).map_err(|error| view.failed(error))?;
            view.open(&row.filter(|row| row.removed_at.is_none()).ok_or_else(|| self.none())?)
        })
    }

    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        // Somebody may have deleted the lock file, and somebody else may hold another one of its name by now: then ours
        // keeps nobody out, and nothing may be sent under it (law 2).
        if !self.lock.is_still_there().map_err(StoreError::io("open", self.lock.path()))? {
            return Err(WriteError::Moved(Box::new(self.read()?)));
        }
        self.write(from, next, false)
    }

    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(from, next, true)
    }

    /// A row that does not open is damage, which the backup mends; there is no file to move out of the way.
    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        self.read().map(|_| None)
    }
}
