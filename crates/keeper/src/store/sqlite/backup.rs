//! `NAME.backup`: a copy of the database from a time when it was good. It is checked before it takes the place of the
//! one before, so that damage does not travel; not having one harms nothing but the day of need, so that failing to
//! make one only warns.

use super::keys::Ring;
use super::lock::LockFile;
use super::place::Place;
use super::{apps, row};
use crate::store::StoreError;
use crate::unix;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Up to this size a copy is made whenever something is there that would be missed: it takes some milliseconds.
const SMALL: u64 = 4 * 1024 * 1024;
/// Else a copy is at least this old before the next is made …
const PAUSE: Duration = Duration::from_secs(3600);
/// … up to this size, some ten thousand connections. To copy and check more takes seconds, for which writers would wait:
/// a person has that done when it suits (`perennial backup`).
pub(super) const LARGE: u64 = 64 * 1024 * 1024;
/// The thread that writes spends one part in this many on copies at most: a fleet may have new tokens all the time.
const SHARE: u32 = 10;

/// Another process's copy takes some milliseconds: it is waited for so often …
const LOOKS: u32 = 100;
/// … and so long each time: half a second in all.
const LOOK: Duration = Duration::from_millis(5);

/// When the next copy is to be made.
#[derive(Debug, Default)]
pub(super) struct Copies {
    at: Option<Instant>,
    /// There was one a moment ago; before this, none is made.
    rests_until: Option<Instant>,
}

impl Copies {
    /// When the next one is due; `None` when nothing is worth one.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Something was written.
    pub(super) fn after_a_write(&mut self, place: &Place, worth_a_copy: bool) {
        if self.at.is_none() && is_due(place, worth_a_copy) {
            self.at = Some(self.rests_until.unwrap_or_else(Instant::now));
        }
    }

    /// Makes one. Nobody fails for that.
    pub(super) fn make(&mut self, place: &Place, ring: &Ring, sql: &Connection) {
        let begun = Instant::now();
        if let Err(error) = make(place, ring, sql) {
            tracing::warn!(path = %place.backup().display(), %error, "no backup of the database could be made");
        }
        self.at = None;
        self.rests_until = Some(Instant::now() + begun.elapsed() * SHARE);
    }
}

fn is_due(place: &Place, worth_a_copy: bool) -> bool {
    let Ok(size) = fs::metadata(&place.path).map(|metadata| metadata.len()) else { return false };
    if size > LARGE {
        return false;
    }
    let age = fs::metadata(place.backup()).and_then(|backup| backup.modified()).map(|at| at.elapsed());
    // A copy from the future is none to rely on: some clock stood wrong (law 11).
    let old = !age.is_ok_and(|age| age.is_ok_and(|age| age < PAUSE));
    old || (size < SMALL && worth_a_copy)
}

pub(super) fn make(place: &Place, ring: &Ring, sql: &Connection) -> Result<(), StoreError> {
    let copy = place.unfinished(".backup.new");
    let io = |error| StoreError::io("write", &copy)(error);
    let _turn = turn(place).map_err(io)?;
    let _ = fs::remove_file(&copy);
    drop(unix::create_private(&copy).map_err(io)?);
    let made = fill(place, sql, &copy)
        .and_then(|()| check(place, ring, &copy))
        .and_then(|_| fs::File::open(&copy).and_then(|file| file.sync_all()).map_err(io))
        .and_then(|()| {
            fs::rename(&copy, place.backup()).and_then(|()| unix::sync_dir(&place.dir)).map_err(io)
        });
    if made.is_err() {
        let _ = fs::remove_file(&copy);
    }
    made
}

/// Two that write under one name would spoil each other's copy.
fn turn(place: &Place) -> io::Result<LockFile> {
    let lock = LockFile::open(place.lock())?;
    for _ in 0..LOOKS {
        if lock.try_copy()? {
            return Ok(lock);
        }
        #[expect(clippy::disallowed_methods, reason = "a lock of the kernel tells nobody that it is free")]
        std::thread::sleep(LOOK);
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is making one all the time"))
}

fn fill(place: &Place, sql: &Connection, copy: &Path) -> Result<(), StoreError> {
    // Whatever characters its name is made of.
    let name = ToSqlOutput::Borrowed(ValueRef::Text(copy.as_os_str().as_bytes()));
    let filled = sql.execute("VACUUM INTO ?1", [name]);
    filled.map(drop).map_err(|error| place.at("copy").failed(error))
}

/// Whole, and every secret in it opens. Says how many connections there are.
pub(super) fn check(place: &Place, ring: &Ring, copy: &Path) -> Result<u64, StoreError> {
    let sql = connect(place, copy)?;
    integrity_check(place, &sql)?;
    let keys = ring.keys(&sql)?;
    let (mut count, mut apps) = (0, HashSet::new());
    row::each(&sql, place, |row| {
        row.open(&keys).and_then(|_| row.request_token(&keys)).map_err(|error| place.unsealed(error))?;
        count += 1;
        // Many connections share an app.
        if apps.insert(row.app) { apps::client(&sql, &keys, place, row.app).map(drop) } else { Ok(()) }
    })?;
    Ok(count)
}

/// Opens a copy to look at it.
pub(super) fn connect(place: &Place, copy: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(copy, flags).map_err(|error| place.at("copy").failed(error))
}

/// Has SQLite look through all pages, and whether indexes and tables agree: a name is found by its index.
pub(super) fn integrity_check(place: &Place, sql: &Connection) -> Result<(), StoreError> {
    let said = sql.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match said.map_err(|error| place.at("read").failed(error))? {
        said if said == "ok" => Ok(()),
        // A line about which database it is, and one about what is wrong with it.
        said => Err(place.damaged(said.lines().last().unwrap_or_default())),
    }
}
