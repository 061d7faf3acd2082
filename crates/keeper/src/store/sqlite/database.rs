//! An opened database: its keys, some connections to read with, and one thread that writes, started with the first
//! write. Made complete under another name first, so that a file in its place that is not whole is always damage.

use super::SqliteOptions;
use super::backup::Copies;
use super::batch::now;
use super::failure::At;
use super::keys::{self, Ring};
use super::lock::{LockFile, STORE};
use super::place::Place;
use super::schema::{self, Reader};
use super::upgrade;
use super::writer::{Job, Writer};
use crate::random;
use crate::store::sealed::Unsealed;
use crate::store::sealed::keys::Keys;
use crate::store::sealed::row::Row;
use crate::store::{Recorded, StoreError, WriteError, record};
use crate::unix;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Params};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Where the outcome of a job comes.
pub(super) type Answered = mpsc::Receiver<Result<(), WriteError>>;

/// A database that is there, and opens.
pub(super) struct Database {
    pub(super) place: Place,
    pub(super) tenant: String,
    /// The store's id.
    pub(super) store: String,
    pub(super) ring: Arc<Ring>,
    /// Which file it is: another one may be put in its place.
    pub(super) identity: unix::Identity,
    readers: Mutex<Vec<Reader>>,
    writer: OnceLock<Result<Writer, String>>,
    /// Held as long as this is open, so that nobody replaces the file meanwhile.
    _in_use: Option<LockFile>,
}

impl Database {
    /// Opens what is there; `None` where there is nothing and never was.
    pub(super) fn open(place: &Place, options: &SqliteOptions) -> Result<Option<Arc<Self>>, StoreError> {
        let lock = LockFile::look(place.lock());
        if let Some(lock) = &lock
            && !lock.try_use().map_err(StoreError::io("lock", lock.path()))?
        {
            return Err(in_restoration(place));
        }
        // The mark first: what is read after it cannot be older than it.
        let mark = lock
            .as_ref()
            .map_or(Ok(0), |lock| lock.mark(STORE))
            .map_err(StoreError::io("read", place.lock()))?;
        let Some(identity) = place.identity()? else {
            return if mark == 0 { Ok(None) } else { Err(place.damaged("it is not there any more")) };
        };
        place.check_shape()?;
        let reader = schema::connect_to_read(place)?;
        schema::check(place, &reader.sql)?;
        let upgraded = upgrade::upgrade(place, &reader.sql)?;
        let meta = Meta::read(&reader.sql).map_err(|error| place.at("read").failed(error))?;
        meta.is_not_older_than(place, mark)?;
        let ring = Ring::open(place, &options.master_key, meta.store.clone(), &reader.sql)?;
        if let Some(sql) = upgraded {
            // The copy beside it is of the old form.
            Copies::default().make(place, &ring, &sql);
        }
        Ok(Some(Arc::new(Self {
            place: place.clone(),
            tenant: options.tenant.clone(),
            store: meta.store,
            ring: Arc::new(ring),
            identity,
            readers: Mutex::new(vec![reader]),
            writer: OnceLock::new(),
            _in_use: lock,
        })))
    }

    /// Makes a database and puts it into its place, unless somebody else is quicker.
    pub(super) fn create(place: &Place, options: &SqliteOptions) -> Result<(), StoreError> {
        unix::make_private_dir(&place.dir).map_err(StoreError::io("make", &place.dir))?;
        // The lock file first: whoever opens the database says by it that it is in use.
        LockFile::open(place.lock()).map_err(StoreError::io("write", place.lock()))?;
        let made = place.unfinished(&format!(".new-{}", random::id()));
        let taken = build(place, options, &made).and_then(|()| put_in_place(place, &made));
        // Half a database is of no use; SQLite's own files beside it are none without it.
        for ending in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(with_ending(&made, ending));
        }
        match taken {
            Err(_) if place.path.exists() => Ok(()),
            Ok(()) => {
                forget_unfinished(place);
                Ok(())
            }
            refused => refused,
        }
    }

    /// Reads, in one look at one state of the database.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(View<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = self.readers().pop();
        let mut reader = reader.map_or_else(|| schema::connect_to_read(&self.place), Ok)?;
        let looking = reader.sql.transaction().map_err(|error| self.place.at("read").failed(error));
        let read =
            looking.and_then(|looking| look(View { sql: &looking, place: &self.place, ring: &self.ring }));
        if !reader.is_fixed {
            self.readers().push(reader);
        }
        read
    }

    /// The keys.
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that a query gives.
    pub(super) fn list(&self, query: &str, values: impl Params) -> Result<Vec<String>, StoreError> {
        self.read(|view| {
            let names = || -> rusqlite::Result<Vec<String>> {
                view.sql.prepare_cached(query)?.query_map(values, |row| row.get(0))?.collect()
            };
            names().map_err(|error| view.failed(error))
        })
    }

    /// The one value that a query gives.
    pub(super) fn one<T: FromSql>(&self, query: &str, values: impl Params) -> Result<T, StoreError> {
        self.read(|view| {
            let look = || view.sql.prepare_cached(query)?.query_row(values, |row| row.get(0));
            look().map_err(|error: rusqlite::Error| view.failed(error))
        })
    }

    /// The first value that a query gives, if it gives any.
    pub(super) fn first<T: FromSql>(
        &self,
        query: &str,
        values: impl Params,
    ) -> Result<Option<T>, StoreError> {
        self.read(|view| {
            let look = || view.sql.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional();
            look().map_err(|error: rusqlite::Error| view.failed(error))
        })
    }

    /// The one row of numbers that a query gives.
    pub(super) fn numbers(&self, query: &str, values: impl Params) -> Result<Vec<i64>, StoreError> {
        self.read(|view| {
            let look = || -> rusqlite::Result<Vec<i64>> {
                let mut statement = view.sql.prepare_cached(query)?;
                let columns = statement.column_count();
                statement.query_row(values, |row| (0..columns).map(|at| row.get(at)).collect())
            };
            look().map_err(|error| view.failed(error))
        })
    }

    /// Entries of the journal, oldest first: those behind `after`, or the newest. What was put away is not shown.
    pub(super) fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let query = journal_query(name.is_some(), after.is_some());
        let newest_first = after.is_none();
        let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = self.read(|view| {
            let entries = || -> rusqlite::Result<Vec<Option<Recorded>>> {
                let mut statement = view.sql.prepare_cached(&query)?;
                statement.query_map((&self.tenant, name, after, limit), recorded)?.collect()
            };
            entries().map_err(|error| view.failed(error))
        })?;
        if newest_first {
            found.reverse();
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Has the writing thread do this, together with what else waits, and returns once it is durable.
    pub(super) fn write(&self, job: Job) -> Result<(), WriteError> {
        self.end(&self.begin(job)?)
    }

    /// The first half of [`Self::write`], for who has several to hand over.
    pub(super) fn begin(&self, job: Job) -> Result<Answered, WriteError> {
        let start = || Writer::start(self.place.clone(), self.tenant.clone(), Arc::clone(&self.ring));
        let writer = self.writer.get_or_init(|| start().map_err(|error| error.to_string()));
        let writer = writer.as_ref().map_err(|error| self.lost(error))?;
        let (answer, answered) = mpsc::sync_channel(1);
        writer.hand_over(job, answer).map_err(|()| self.lost("the writing thread has ended"))?;
        Ok(answered)
    }

    /// The second half: waits until it is durable.
    pub(super) fn end(&self, answered: &Answered) -> Result<(), WriteError> {
        answered.recv().map_err(|_| self.lost("the writing thread has ended"))?
    }

    fn lost(&self, why: &str) -> StoreError {
        StoreError::io("write", &self.place.path)(io::Error::other(why.to_owned()))
    }

    /// Before a claim: is this still what was written last?
    pub(super) fn check_marks(&self, lock: &LockFile, number: i64) -> Result<(), StoreError> {
        let mark = |slot| lock.mark(slot).map_err(StoreError::io("read", lock.path()));
        let (of_store, of_connection) = (mark(STORE)?, mark(number)?);
        let (meta, changed) = self.read(|view| {
            let changed = "SELECT changed FROM connections WHERE number = ?1";
            let changed = view.sql.query_row(changed, [number], |row| row.get::<_, i64>(0));
            let both = Meta::read(view.sql).and_then(|meta| Ok((meta, changed?)));
            both.map_err(|error| view.failed(error))
        })?;
        meta.is_not_older_than(&self.place, of_store)?;
        if changed < of_connection { Err(older(&self.place)) } else { Ok(()) }
    }
}

/// One look at one state of a database.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) sql: &'a Connection,
    place: &'a Place,
    ring: &'a Ring,
}

impl View<'_> {
    /// The keys that open what is seen.
    pub(super) fn keys(&self) -> Result<Arc<Keys>, StoreError> {
        self.ring.keys(self.sql)
    }

    /// Opens a connection's row.
    pub(super) fn open(&self, row: &Row) -> Result<perennial_core::Connection, StoreError> {
        row.open(self.keys()?.as_ref()).map_err(|error| self.unsealed(error))
    }

    pub(super) fn failed(&self, error: rusqlite::Error) -> StoreError {
        self.place.at("read").failed(error)
    }

    pub(super) fn unsealed(&self, error: Unsealed) -> StoreError {
        self.place.unsealed(error)
    }
}

impl Drop for Database {
    /// Readers first: the writer is then the last to go, and moves what is in the -wal file into the database.
    fn drop(&mut self) {
        self.readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Entries of one connection, or of all: behind a number, or the newest. CROSS keeps SQLite from beginning with the
/// connections and sorting all that there is.
pub(super) fn journal_query(of_one: bool, after: bool) -> String {
    let named = "journal.connection = (SELECT number FROM connections WHERE tenant = ?1 AND name = ?2 AND \
                 removed_at IS NULL)";
    let wanted = if of_one {
        named
    } else {
        "connections.tenant = ?1 AND connections.removed_at IS NULL AND ?2 IS NULL"
    };
    let order = if after { "ASC" } else { "DESC" };
    format!(
        "SELECT journal.number, connections.name, journal.entry
         FROM journal CROSS JOIN connections ON connections.number = journal.connection
         WHERE {wanted} AND journal.number > ?3 ORDER BY journal.number {order} LIMIT ?4"
    )
}

/// An entry that nobody can read is left out: it is of no use to anybody.
fn recorded(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Recorded>> {
    let (number, connection, text): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let entry = serde_json::from_str(&text).ok().and_then(|members| record::read(&members));
    Ok(entry.map(|entry| Recorded { number: number.unsigned_abs(), connection, entry }))
}

/// The one row of `meta`.
pub(super) struct Meta {
    pub(super) store: String,
    pub(super) changes: i64,
}

impl Meta {
    pub(super) fn read(sql: &Connection) -> rusqlite::Result<Self> {
        sql.prepare_cached("SELECT store_id, changes FROM meta WHERE one = 1")?
            .query_row([], |row| Ok(Self { store: row.get(0)?, changes: row.get(1)? }))
    }

    pub(super) fn is_not_older_than(&self, place: &Place, mark: i64) -> Result<(), StoreError> {
        if self.changes < mark { Err(older(place)) } else { Ok(()) }
    }
}

pub(super) fn older(place: &Place) -> StoreError {
    place.damaged(
        "it is older than what was written last: its -wal file was deleted, or an older copy was put in its place",
    )
}

fn in_restoration(place: &Place) -> StoreError {
    let busy = io::Error::new(io::ErrorKind::ResourceBusy, "its backup is being restored");
    StoreError::io("open", &place.path)(busy)
}

fn build(place: &Place, options: &SqliteOptions, made: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io("write", made)(error);
    drop(unix::create_private(made).map_err(io)?);
    let master = &options.master_key;
    let new = Keys::make(master).map_err(|error| keys::closed(place, master, error))?;
    let fill = || -> rusqlite::Result<()> {
        let sql = Connection::open(made)?;
        schema::make(&sql)?;
        sql.execute("INSERT INTO meta (one, store_id, changes) VALUES (1, ?1, 0)", [&new.store])?;
        keys::put(&sql, &new.first, now())?;
        sql.execute_batch("COMMIT; PRAGMA journal_mode = WAL")
    };
    let made_place = Place { path: made.to_owned(), dir: place.dir.clone() };
    fill().map_err(|error| At { place: &made_place, action: "write" }.failed(error))?;
    fs::File::open(made).and_then(|file| file.sync_all()).map_err(io)
}

fn put_in_place(place: &Place, made: &Path) -> Result<(), StoreError> {
    let put = unix::take_free_name(made, &place.path).and_then(|()| unix::sync_dir(&place.dir));
    put.map_err(StoreError::io("write", &place.path))
}

/// What processes have left that died while they made a database. Whoever is still at it comes too late anyway.
fn forget_unfinished(place: &Place) {
    let begin = place.unfinished(".new-");
    let Some(begin) = begin.file_name().map(OsStr::as_bytes) else { return };
    for entry in fs::read_dir(&place.dir).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(begin) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn with_ending(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
