//! `NAME.backup`: a copy of the database from a time when it was good. It is checked before it takes the place of the
//! one before, so that damage does not travel; not having one harms nothing but the day of need, so that failing to
//! make one only warns.

use super::failure::At;
use super::keys::Keys;
use super::place::Place;
use super::row::Row;
use crate::store::StoreError;
use crate::unix;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Up to this size a copy is made with every new token: it takes some milliseconds.
const SMALL: u64 = 4 * 1024 * 1024;
/// Else a copy is at least this old before the next is made.
const PAUSE: Duration = Duration::from_secs(3600);

/// Makes a copy if one is due.
pub(super) fn after_a_write(place: &Place, keys: &Keys, sql: &Connection, new_tokens: bool) {
    if !is_due(place, new_tokens) {
        return;
    }
    if let Err(error) = make(place, keys, sql) {
        tracing::warn!(path = %place.backup().display(), %error, "no backup of the database could be made");
    }
}

fn is_due(place: &Place, new_tokens: bool) -> bool {
    let small = fs::metadata(&place.path).is_ok_and(|metadata| metadata.len() < SMALL);
    let age = fs::metadata(place.backup()).and_then(|backup| backup.modified()).map(|at| at.elapsed());
    // A copy from the future is none to rely on: some clock stood wrong (law 11).
    let old = !age.is_ok_and(|age| age.is_ok_and(|age| age < PAUSE));
    old || (small && new_tokens)
}

fn make(place: &Place, keys: &Keys, sql: &Connection) -> Result<(), StoreError> {
    let copy = place.unfinished(".backup.new");
    let io = |error| StoreError::io("write", &copy)(error);
    let _ = fs::remove_file(&copy);
    drop(unix::create_private(&copy).map_err(io)?);
    let made = fill(place, sql, &copy)
        .and_then(|()| check(place, keys, &copy))
        .and_then(|()| fs::File::open(&copy).and_then(|file| file.sync_all()).map_err(io))
        .and_then(|()| {
            fs::rename(&copy, place.backup()).and_then(|()| unix::sync_dir(&place.dir)).map_err(io)
        });
    if made.is_err() {
        let _ = fs::remove_file(&copy);
    }
    made
}

fn fill(place: &Place, sql: &Connection, copy: &Path) -> Result<(), StoreError> {
    let filled = sql.execute("VACUUM INTO ?1", [copy.to_string_lossy()]);
    filled.map(drop).map_err(|error| At { place, action: "copy" }.failed(error))
}

/// Whole, and every connection in it opens.
pub(super) fn check(place: &Place, keys: &Keys, copy: &Path) -> Result<(), StoreError> {
    let sql = connect(place, copy)?;
    quick_check(place, &sql)?;
    let rows = Row::all(&sql).map_err(|error| At { place, action: "copy" }.failed(error))?;
    rows.iter().try_for_each(|row| row.open(keys, place).map(drop))
}

/// Opens a copy to look at it.
pub(super) fn connect(place: &Place, copy: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(copy, flags).map_err(|error| At { place, action: "copy" }.failed(error))
}

/// Has SQLite look through all pages.
pub(super) fn quick_check(place: &Place, sql: &Connection) -> Result<(), StoreError> {
    let said = sql.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match said.map_err(|error| At { place, action: "read" }.failed(error))? {
        said if said == "ok" => Ok(()),
        said => Err(place.damaged(said)),
    }
}
