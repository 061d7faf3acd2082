//! What only a person decides: that a backup takes the place of a damaged database, or that an older database is the
//! one to go on from. Both want the store for themselves. Nothing is thrown away (law 5).

use super::backup;
use super::copy::Copied;
use super::database::Meta;
use super::keys::Ring;
use super::lock::{LockFile, STORE};
use super::place::Place;
use super::schema::{self, Use};
use super::upgrade;
use crate::seal::MasterKey;
use crate::store::StoreError;
use crate::unix;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Puts the backup in the database's place. Returns where the damaged one is now; where there was none, the database.
pub(super) fn restore_backup(path: &Path) -> Result<PathBuf, StoreError> {
    let place = Place::find(path)?;
    let lock = alone(&place)?;
    let whole = |there: &Place| {
        backup::connect(there, &there.path).and_then(|sql| backup::integrity_check(&place, &sql))
    };
    let (aside, ()) = replace(&place, &lock, &place.backup(), "damaged", whole)?;
    Ok(aside.unwrap_or(place.path))
}

/// Puts a copy from elsewhere in the database's place, once every secret in it has been opened. Returns what is in it,
/// and where the database is now that was there.
pub(super) fn restore_from(
    place: &Place,
    from: &Path,
    master: &MasterKey,
) -> Result<(Copied, Option<PathBuf>), StoreError> {
    unix::make_private_dir(&place.dir).map_err(StoreError::io("make", &place.dir))?;
    let lock = alone(place)?;
    let opens = |there: &Place| {
        let of_copy = |error| said_of(from, error);
        let sql = schema::connect(there, Use::Writing).map_err(of_copy)?;
        schema::check(there, &sql).and_then(|()| upgrade::upgrade(there, &sql)).map_err(of_copy)?;
        let store = Meta::read(&sql).map_err(|error| of_copy(there.at("read").failed(error)))?.store;
        let ring = Ring::open(there, master, store, &sql).map_err(of_copy)?;
        drop(sql);
        let connections = backup::check(there, &ring, &there.path).map_err(of_copy)?;
        let bytes = fs::metadata(&there.path).map_err(StoreError::io("read", &there.path))?.len();
        Ok(Copied { connections, bytes })
    };
    let (aside, copied) = replace(place, &lock, from, "replaced", opens)?;
    Ok((copied, aside))
}

/// What is wrong is wrong with the copy, whose name a person knows.
fn said_of(from: &Path, error: StoreError) -> StoreError {
    let path = from.to_owned();
    match error {
        StoreError::Damaged { reason, .. } => StoreError::Damaged { path, reason, backup: None },
        StoreError::Closed { reason, remedy, .. } => StoreError::Closed { path, reason, remedy },
        StoreError::Unsafe { reason, remedy, .. } => StoreError::Unsafe { path, reason, remedy },
        other => other,
    }
}

/// Prepares a copy, has it looked at, and puts it into the database's place.
fn replace<T>(
    place: &Place,
    lock: &LockFile,
    from: &Path,
    aside: &str,
    look: impl FnOnce(&Place) -> Result<T, StoreError>,
) -> Result<(Option<PathBuf>, T), StoreError> {
    if !from.exists() {
        return Err(StoreError::io("read", from)(io::ErrorKind::NotFound.into()));
    }
    let copy = place.unfinished(".restored.new");
    let (change, seen) = prepare(place, from, &copy, mark(lock)?, look)?;
    let aside = move_aside(place, aside)?;
    let io = |error| StoreError::io("write", &place.path)(error);
    unix::take_free_name(&copy, &place.path).and_then(|()| unix::sync_dir(&place.dir)).map_err(io)?;
    lock.begin_anew(change).map_err(StoreError::io("write", lock.path()))?;
    Ok((aside, seen))
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

/// A copy that is newer than all that was, durable, under a name of its own.
fn prepare<T>(
    place: &Place,
    from: &Path,
    copy: &Path,
    mark: i64,
    look: impl FnOnce(&Place) -> Result<T, StoreError>,
) -> Result<(i64, T), StoreError> {
    let io = |error| StoreError::io("write", copy)(error);
    let there = Place { path: copy.to_owned(), dir: place.dir.clone() };
    remove(&there);
    drop(unix::create_private(copy).map_err(io)?);
    fs::copy(from, copy).map_err(io)?;
    // What is copied has its own rights, and its owner may have given it to all.
    unix::make_private(copy).map_err(io)?;
    let prepared = look(&there).and_then(|seen| {
        let change = raise(&there, mark)?;
        fs::File::open(copy).and_then(|file| file.sync_all()).map_err(io)?;
        Ok((change, seen))
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
fn move_aside(place: &Place, why: &str) -> Result<Option<PathBuf>, StoreError> {
    let named = |number: u32, ending: &str| place.beside(&format!(".{why}-{number}{ending}"));
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
