//! What only a person decides: that the backup takes the place of a damaged database, or that an older database is the
//! one to go on from. Both want the store for themselves. Nothing is thrown away (law 5).

use super::backup;
use super::database::Meta;
use super::lock::{LockFile, STORE};
use super::place::Place;
use super::schema::{self, Use};
use crate::store::StoreError;
use crate::unix;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Puts the backup in the database's place. Returns where the damaged one is now; where there was none, the database.
pub(super) fn restore_backup(path: &Path) -> Result<PathBuf, StoreError> {
    let place = Place::find(path)?;
    let lock = alone(&place)?;
    let backup = place.backup();
    if !backup.exists() {
        return Err(StoreError::io("read", backup)(io::ErrorKind::NotFound.into()));
    }
    let copy = place.unfinished(".restored.new");
    let change = prepare(&place, &copy, mark(&lock)?)?;
    let damaged = move_aside(&place)?;
    let io = |error| StoreError::io("write", &place.path)(error);
    unix::take_free_name(&copy, &place.path).and_then(|()| unix::sync_dir(&place.dir)).map_err(io)?;
    lock.begin_anew(change).map_err(StoreError::io("write", lock.path()))?;
    Ok(damaged.unwrap_or(place.path))
}

/// Makes the database that is there the one to go on from, though more was written once.
pub(super) fn accept_older(path: &Path) -> Result<(), StoreError> {
    let place = Place::find(path)?;
    let lock = alone(&place)?;
    place.check_shape()?;
    let change = raise(&place, mark(&lock)?)?;
    lock.begin_anew(change).map_err(StoreError::io("write", lock.path()))
}

fn alone(place: &Place) -> Result<LockFile, StoreError> {
    let path = place.lock();
    let lock = LockFile::open(path.clone()).map_err(StoreError::io("write", &path))?;
    if lock.try_use_alone().map_err(StoreError::io("lock", &path))? {
        return Ok(lock);
    }
    let busy = io::Error::new(io::ErrorKind::ResourceBusy, "another process uses it; end that first");
    Err(StoreError::io("replace", &place.path)(busy))
}

fn mark(lock: &LockFile) -> Result<i64, StoreError> {
    lock.mark(STORE).map_err(StoreError::io("read", lock.path()))
}

/// A copy of the backup that is newer than all that was, durable, under a name of its own.
fn prepare(place: &Place, copy: &Path, mark: i64) -> Result<i64, StoreError> {
    let io = |error| StoreError::io("write", copy)(error);
    let there = Place { path: copy.to_owned(), dir: place.dir.clone() };
    remove(&there);
    drop(unix::create_private(copy).map_err(io)?);
    fs::copy(place.backup(), copy).map_err(io)?;
    let prepared = backup::connect(place, copy)
        .and_then(|sql| backup::integrity_check(place, &sql))
        .and_then(|()| raise(&there, mark))
        .and_then(|change| {
            fs::File::open(copy).and_then(|file| file.sync_all()).map_err(io).map(|()| change)
        });
    // Closed, SQLite has left nothing in its other two files.
    for file in [there.wal(), there.shm()] {
        let _ = fs::remove_file(file);
    }
    if prepared.is_err() {
        remove(&there);
    }
    prepared
}

fn remove(place: &Place) {
    for file in [place.path.clone(), place.wal(), place.shm()] {
        let _ = fs::remove_file(file);
    }
}

/// Makes the database's change the highest.
fn raise(place: &Place, mark: i64) -> Result<i64, StoreError> {
    let at = place.at("write");
    let sql = schema::connect(place, Use::Writing)?;
    schema::check(place, &sql)?;
    let raised = || -> rusqlite::Result<i64> {
        sql.execute_batch("PRAGMA journal_mode = WAL")?;
        sql.execute("UPDATE meta SET changes = max(changes, ?1) + 1", [mark])?;
        Ok(Meta::read(&sql)?.changes)
    };
    let change = raised().map_err(|error| at.failed(error))?;
    sql.close().map_err(|(_, error)| at.failed(error))?;
    Ok(change)
}

/// Moves the database out of the way, its -wal file first: left behind, it would be taken for its successor's. `None`
/// when there is no database.
fn move_aside(place: &Place) -> Result<Option<PathBuf>, StoreError> {
    let named = |number: u32, ending: &str| place.beside(&format!(".damaged-{number}{ending}"));
    let is_free = |number: &u32| !named(*number, "").exists() && !named(*number, "-wal").exists();
    let Some(number) = (1..).find(is_free) else { return Ok(None) };
    let aside = named(number, "");
    // The -shm file is an index of the -wal file, which SQLite makes anew.
    let _ = fs::remove_file(place.shm());
    move_if_there(&place.wal(), &named(number, "-wal"))?;
    let moved = move_if_there(&place.path, &aside)?;
    unix::sync_dir(&place.dir).map_err(StoreError::io("write", &place.dir))?;
    Ok(moved.then_some(aside))
}

fn move_if_there(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("move", from)(error)),
    }
}
