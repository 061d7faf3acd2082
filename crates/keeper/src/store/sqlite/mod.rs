//! SQLite: many connections in one file, sealed from its first byte. `sqlite:PATH`.
//!
//! | file | what lives there | law |
//! |---|---|---|
//! | `mod.rs` | the door | |
//! | `place` | where the files lie, and whether they may; `mount`: no network file systems | 2 |
//! | `database` | making and opening one; readers; the thread that writes | |
//! | `schema` | the tables, and how each connection to them is set | |
//! | `writer`, `batch` | group commit, room for what an intent will bring; one write in it, the journal | 1, 4 |
//! | `claim` | the exclusive right to present, and its writes | 2, 4, 8 |
//! | `lock` | the lock file: claims, and the mark of the last change | 2 |
//! | `agenda`, `changes` | what is due, most urgent first; what has changed since | 5, 11 |
//! | `add` | a new connection, and what a person gives with one | |
//! | `row`, `apps` | a connection and an app in their tables | 5, 10 |
//! | `keys` | the data keys in their table | 10 |
//! | `rekey` | replacing keys while others use it | 5, 10 |
//! | `upgrade` | databases of earlier versions | 5 |
//! | `backup` | the newest good copy | 5 |
//! | `copy` | a copy to keep elsewhere, made while others write | 5 |
//! | `home` | where it is in use: a copy is known by it | 2, 7 |
//! | `examine`, `restore` | what `perennial doctor` finds, and what it does when told to | 5 |
//! | `failure` | what SQLite says, in our words | |

mod add;
mod agenda;
mod apps;
mod backup;
mod batch;
mod changes;
mod claim;
mod copy;
mod database;
mod examine;
mod failure;
mod home;
mod keys;
mod lock;
mod mount;
mod place;
mod rekey;
mod restore;
mod row;
mod schema;
mod upgrade;
mod writer;

use super::agenda::{BROUGHT_BACK, PUT_AWAY, counted, noted, renamed};
use super::{
    App, Changes, Claim, Ends, Parcel, Recorded, Standing, Store, StoreError, WriteError, check_name,
};
use crate::seal::MasterKey;
use crate::store::rekey::Rekey;
use crate::store::sealed::app::Secret;
use crate::store::sealed::row::Row;
use crate::unix;
use add::{adding, check_free, put_given};
use batch::{Batch, now};
use claim::Held;
pub use copy::Copied;
use database::{Answered, Database, View};
pub use examine::Finding;
use home::Home;
use perennial_core::journal::Entry;
use perennial_core::{Connection, UnixTime};
use place::Place;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use writer::Job;

/// What a person may choose.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The master key. A file that it comes from lies outside the database's directory.
    pub master_key: MasterKey,
    /// Whose connections these are: tenants of one database do not see each other's.
    pub tenant: String,
}

impl SqliteOptions {
    /// The tenant `default`.
    #[must_use]
    pub fn new(master_key: impl Into<MasterKey>) -> Self {
        Self { master_key: master_key.into(), tenant: "default".to_owned() }
    }

    /// Another master key.
    #[must_use]
    pub fn with_key(self, master_key: impl Into<MasterKey>) -> Self {
        Self { master_key: master_key.into(), ..self }
    }

    /// Another tenant.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), ..self }
    }
}

/// A store in one SQLite file.
pub struct Sqlite {
    place: Place,
    options: SqliteOptions,
    database: Mutex<Option<Arc<Database>>>,
    /// The number of the connection that was discarded last.
    discarded: Arc<Mutex<Option<i64>>>,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.place.path).field("options", &self.options).finish()
    }
}

impl Sqlite {
    /// Opens the database that is there, and writes nothing. Where there is none, the first write makes one, and until
    /// then it holds no connection.
    ///
    /// # Errors
    /// When it lies where it must not, is damaged, does not open, or was written by a newer version.
    pub fn open(path: impl Into<PathBuf>, options: SqliteOptions) -> Result<Self, StoreError> {
        check_name(&options.tenant)?;
        let place = Place::find(&path.into())?;
        place.check_key(options.master_key.source())?;
        let database = Mutex::new(Database::open(&place, &options)?);
        Ok(Self { place, options, database, discarded: Arc::default() })
    }

    /// What a tenant's store in this file is called ([`Store::address`]); the path is the file's own, without links in it.
    #[must_use]
    pub fn address_of(path: &Path, tenant: &str) -> String {
        match tenant {
            "default" => format!("sqlite:{}", path.display()),
            // Rescue files name a connection by its store's address.
            tenant => format!("sqlite:{}?tenant={tenant}", path.display()),
        }
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// What a person should know about the files though nothing is wrong yet.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let files = [self.place.path.clone(), self.place.wal(), self.place.backup()];
        let readable =
            |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| unix::is_readable_by_others(&metadata));
        let notice = |path: PathBuf| {
            format!("{0} can be read by others; take that right away: chmod 600 {0}", path.display())
        };
        files.into_iter().filter(readable).map(notice).collect()
    }

    /// Looks at everything that can be looked at without changing it, for `perennial doctor`.
    #[must_use]
    pub fn examine(path: impl AsRef<Path>, options: &SqliteOptions) -> Vec<Finding> {
        examine::examine(path.as_ref(), options)
    }

    /// Writes a copy of the database to `to`, as it is now, while others go on writing; `progress` hears how many of how
    /// many pages are done. It is there, durable, only once every secret in it has been opened.
    ///
    /// # Errors
    /// When there is no database, `to` is there already or cannot be written, or the copy is not good.
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Copied, StoreError> {
        let database = self.database()?.ok_or_else(|| self.no_database())?;
        copy::write(&self.place, &database, to.as_ref(), progress)
    }

    /// Puts a copy that [`Self::backup`] wrote into the database's place, once every secret in it has been opened.
    /// Returns where the database that was there is kept now, where there was one. What is in place then is a copy
    /// ([`Standing::Copy`]).
    ///
    /// # Errors
    /// When the copy is not good, does not open with this master key, or another process uses the database.
    pub fn restore_from(
        path: impl Into<PathBuf>,
        from: impl AsRef<Path>,
        options: &SqliteOptions,
    ) -> Result<(Copied, Option<PathBuf>), StoreError> {
        let place = Place::find(&path.into())?;
        place.check_key(options.master_key.source())?;
        restore::restore_from(&place, from.as_ref(), &options.master_key)
    }

    /// Puts the backup in the database's place, and returns where the damaged one is kept now.
    ///
    /// # Errors
    /// When there is no good backup, or another process uses the database.
    pub fn restore_backup(path: impl AsRef<Path>) -> Result<PathBuf, StoreError> {
        restore::restore_backup(path.as_ref())
    }

    /// Makes a database that is older than what was written last the one to go on from.
    ///
    /// # Errors
    /// When it is no whole database, or another process uses it.
    pub fn accept_older(path: impl AsRef<Path>) -> Result<(), StoreError> {
        restore::accept_older(path.as_ref())
    }

    /// The database as it is now: a file that was put in the place of the one that we knew is opened anew.
    fn database(&self) -> Result<Option<Arc<Database>>, StoreError> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.place.identity()?;
        if database.as_ref().map(|database| database.identity) != there || there.is_none() {
            *database = None;
            *database = Database::open(&self.place, &self.options)?;
        }
        Ok(database.clone())
    }

    fn database_or_new(&self) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.database()? {
            return Ok(database);
        }
        Database::create(&self.place, &self.options)?;
        self.database()?.ok_or_else(|| self.place.damaged("it went away while it was being made"))
    }

    fn no_database(&self) -> StoreError {
        StoreError::io("read", &self.place.path)(std::io::ErrorKind::NotFound.into())
    }

    fn none(&self, name: &str) -> StoreError {
        StoreError::NoSuchConnection { name: name.to_owned(), store: self.address() }
    }

    /// Reads what hangs on the row of a connection.
    fn look<T>(
        &self,
        name: &str,
        look: impl FnOnce(View<'_>, Row) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let database = self.database()?.ok_or_else(|| self.none(name))?;
        database.read(|view| {
            let row = row::named(view.sql, &database.tenant, name).map_err(|error| view.failed(error))?;
            look(view, row.ok_or_else(|| self.none(name))?)
        })
    }

    /// Changes the row of a connection; where there is none, nothing is made.
    fn change(
        &self,
        name: &str,
        mut change: impl FnMut(&mut Batch<'_>, Row) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let database = self.database()?.ok_or_else(|| self.none(name))?;
        let (name, address) = (name.to_owned(), self.address());
        write(&database, move |batch| {
            let row = row::named(batch.sql, batch.tenant, &name).map_err(|error| batch.failed(error))?;
            let none = || StoreError::NoSuchConnection { name: name.clone(), store: address.clone() };
            change(batch, row.ok_or_else(none)?)
        })
    }
}

fn write(
    database: &Database,
    mut work: impl FnMut(&mut Batch<'_>) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), StoreError> {
    database.write(Job::new(move |batch| Ok(work(batch)?))).map_err(|error| of_write(&database.place, error))
}

/// What a write says that compares nothing.
fn of_write(place: &Place, error: WriteError) -> StoreError {
    match error {
        WriteError::Store(error) => error,
        WriteError::Moved(_) => place.damaged("a write that compares nothing was refused"),
    }
}

const NAMES: &str = "SELECT name FROM connections WHERE tenant = ?1 AND removed_at IS NULL ORDER BY name";
const NAMES_AFTER: &str = "SELECT name FROM connections WHERE tenant = ?1 AND removed_at IS NULL AND name > ?2 \
                           ORDER BY name LIMIT ?3";

impl Store for Sqlite {
    fn address(&self) -> String {
        Self::address_of(&self.place.path, &self.options.tenant)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let Some(database) = self.database()? else { return Ok(Vec::new()) };
        database.list(NAMES, [&database.tenant])
    }

    fn names_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let Some(database) = self.database()? else { return Ok(Vec::new()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        database.list(NAMES_AFTER, (&database.tenant, after.unwrap_or_default(), limit))
    }

    fn read(&self, name: &str) -> Result<Connection, StoreError> {
        self.look(name, |view, row| view.open(&row))
    }

    fn app(&self, name: &str) -> Result<App, StoreError> {
        self.look(name, |view, row| {
            let keys = view.keys()?;
            row.check(&keys).map_err(|error| view.unsealed(error))?;
            let client = apps::client(view.sql, &keys, &self.place, row.app)?;
            let company = row.company.as_deref().and_then(perennial_core::grant::Principal::named);
            let request_token = row.request_token(&keys).map_err(|error| view.unsealed(error))?;
            Ok(App { known_since: row.known_since(), ..App::new(client, company, request_token) })
        })
    }

    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError> {
        let path = &self.place.path;
        if fs::metadata(path).is_ok_and(|metadata| unix::is_read_only(&metadata)) {
            let reason = "is read-only, so new tokens could not be stored";
            let remedy = format!("allow it: chmod u+w {}", path.display());
            return Err(StoreError::Unsafe { path: path.clone(), reason, remedy });
        }
        let database = self.database()?.ok_or_else(|| self.none(name))?;
        let row = database
            .read(|view| row::named(view.sql, &database.tenant, name).map_err(|error| view.failed(error)))?;
        let number = row.ok_or_else(|| self.none(name))?.number;
        let held = Held::try_claim(database, number, name, self.address())?;
        Ok(held.map(|held| Box::new(held) as Box<dyn Claim>))
    }

    fn rekey(&self) -> Option<&dyn Rekey> {
        Some(self)
    }

    fn due(&self, at: UnixTime) -> Result<Vec<String>, StoreError> {
        let Some(database) = self.database()? else { return Ok(Vec::new()) };
        database.list(agenda::DUE, (&database.tenant, at.0))
    }

    fn due_batch(
        &self,
        at: UnixTime,
        limit: usize,
        but: &BTreeSet<String>,
    ) -> Result<Vec<String>, StoreError> {
        let Some(database) = self.database()? else { return Ok(Vec::new()) };
        agenda::batch(&database, at, limit, but)
    }

    fn backlog(&self, at: UnixTime) -> Result<u64, StoreError> {
        let Some(database) = self.database()? else { return Ok(0) };
        agenda::backlog(&database, at)
    }

    fn next_due(&self, after: UnixTime) -> Result<Option<UnixTime>, StoreError> {
        let Some(database) = self.database()? else { return Ok(None) };
        agenda::next(&database, after)
    }

    fn longest_due(&self, at: UnixTime) -> Result<Option<UnixTime>, StoreError> {
        let Some(database) = self.database()? else { return Ok(None) };
        agenda::longest(&database, at)
    }

    fn ends(
        &self,
        at: UnixTime,
        bounds: &[i64],
        after: Option<u64>,
    ) -> Result<(Ends, Option<u64>), StoreError> {
        let Some(database) = self.database()? else { return Ok(counted(&[], bounds.len())) };
        agenda::ends(&database, at, bounds, after)
    }

    fn changes(&self, since: Option<u64>) -> Result<Changes, StoreError> {
        let Some(database) = self.database()? else {
            return Ok(Changes::Named { names: Vec::new(), mark: since.unwrap_or(0), more: false });
        };
        changes::since(&database, since)
    }

    fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let Some(database) = self.database()? else { return Ok(Vec::new()) };
        database.journal(name, after, limit)
    }

    fn note(&self, name: &str, entry: &Entry) -> Result<(), StoreError> {
        let entry = entry.clone();
        self.change(name, move |batch, row| batch.note(row.number, std::slice::from_ref(&entry)))
    }

    fn add(&self, connection: &Connection, app: &App) -> Result<(), StoreError> {
        check_name(&connection.name)?;
        let parcel = Parcel { connection: connection.clone(), app: app.clone(), history: Vec::new() };
        let job = adding(parcel, self.address(), Secret::Replaced);
        self.database_or_new()?.write(job).map_err(|error| of_write(&self.place, error))
    }

    /// As jobs that wait for nobody: they share transactions, and with them an fsync.
    fn add_all(&self, parcels: &[Parcel]) -> Vec<Result<(), StoreError>> {
        let address = self.address();
        let hand_over = |parcel: &Parcel| {
            check_name(&parcel.connection.name)?;
            let database = self.database_or_new()?;
            let answer = database.begin(adding(parcel.clone(), address.clone(), Secret::Kept));
            Ok((database, answer.map_err(|error| of_write(&self.place, error))?))
        };
        let waiting: Vec<Result<(Arc<Database>, Answered), StoreError>> =
            parcels.iter().map(hand_over).collect();
        let answered = |waiting: Result<(Arc<Database>, Answered), StoreError>| {
            let (database, answer) = waiting?;
            database.end(&answer).map_err(|error| of_write(&self.place, error))
        };
        waiting.into_iter().map(answered).collect()
    }

    fn standing(&self) -> Result<Standing, StoreError> {
        let Some(database) = self.database()? else { return Ok(Standing::InUse) };
        let (home, closed) =
            database.read(|view| home::kept(view.sql).map_err(|error| view.failed(error)))?;
        if let Some(to) = closed {
            return Ok(Standing::Moved { to });
        }
        let here = Home::here(&self.place.path, &database.store);
        let differs = home.as_deref().and_then(Home::read).zip(here);
        let origin = differs.and_then(|(home, here)| home.differs(&here));
        Ok(origin.map_or(Standing::InUse, Standing::Copy))
    }

    fn adopt(&self) -> Result<Standing, StoreError> {
        let database = self.database()?.ok_or_else(|| self.no_database())?;
        let here = Home::here(&self.place.path, &database.store).map(|here| here.write());
        write(&database, move |batch| {
            let update = "UPDATE meta SET home = ?1, closed = NULL";
            batch.sql.execute(update, [&here]).map(drop).map_err(|error| batch.failed(error))
        })?;
        self.standing()
    }

    fn close(&self, to: &str) -> Result<(), StoreError> {
        let database = self.database()?.ok_or_else(|| self.no_database())?;
        let to = to.to_owned();
        write(&database, move |batch| {
            let update = "UPDATE meta SET closed = ?1";
            batch.sql.execute(update, [&to]).map(drop).map_err(|error| batch.failed(error))
        })
    }

    fn put_app(&self, name: &str, app: &App) -> Result<(), StoreError> {
        let app = app.clone();
        self.change(name, move |batch, mut row| {
            let realm = row.open(batch.keys).map_err(|error| batch.unsealed(error))?.realm();
            put_given(batch, &mut row, &realm, &app)?;
            batch.write(row)
        })
    }

    fn rename(&self, name: &str, to: &str) -> Result<(), StoreError> {
        check_name(to)?;
        let (to, address) = (to.to_owned(), self.address());
        self.change(name, move |batch, row| {
            row.check(batch.keys).map_err(|error| batch.unsealed(error))?;
            check_free(batch, &to, &address)?;
            let (number, noted) = (row.number, noted(now(), renamed(&row.name)));
            batch.write(Row { name: to.clone(), ..row })?;
            batch.note(number, &noted)
        })
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.change(name, move |batch, row| {
            let number = row.number;
            batch.put_away(row, Some(now()))?;
            batch.note(number, &noted(now(), PUT_AWAY))
        })
    }

    fn discard(&self, name: &str) -> Result<(), StoreError> {
        let discarded = Arc::clone(&self.discarded);
        self.change(name, move |batch, row| {
            let number = row.number;
            batch.put_away(row, Some(now()))?;
            batch.note(number, &noted(now(), PUT_AWAY))?;
            let mut discarded = discarded.lock().unwrap_or_else(PoisonError::into_inner);
            match discarded.replace(number) {
                Some(before) if before != number => batch.forget(before),
                _ => Ok(()),
            }
        })
    }

    fn restore(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        let database = self.database()?.ok_or_else(|| self.none(name))?;
        let (name, address) = (name.to_owned(), self.address());
        write(&database, move |batch| {
            check_free(batch, &name, &address)?;
            let removed =
                "tenant = ?1 AND name = ?2 AND removed_at IS NOT NULL ORDER BY removed_at DESC, changed DESC";
            let row =
                row::find(batch.sql, removed, (batch.tenant, &name)).map_err(|error| batch.failed(error))?;
            let none = || StoreError::NoSuchConnection { name: name.clone(), store: address.clone() };
            let row = row.ok_or_else(none)?;
            let number = row.number;
            batch.put_away(row, None)?;
            batch.note(number, &noted(now(), BROUGHT_BACK))
        })
    }
}
