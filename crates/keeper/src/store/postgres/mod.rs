//! PostgreSQL: many connections in a database that many machines share, sealed before they leave this one.
//! `postgres://USER@HOST/DATABASE`.
//!
//! | file | what lives there | law |
//! |---|---|---|
//! | `mod.rs` | the door | |
//! | `place`, `password`, `tls` | what an address says; where the password is; who listens | 10 |
//! | `thread`, `link` | the thread that talks to the server; its connections | |
//! | `server` | reads, and writes whose outcome is found out and never guessed | 1, 8 |
//! | `schema` | the tables, and how they come to be | |
//! | `claim` | the exclusive right to present, and its writes | 2, 4, 8 |
//! | `row`, `apps` | a connection and an app in their tables | 5, 10 |
//! | `rekey` | replacing keys while others use it | 5, 10 |
//! | `journal`, `agenda` | what happened; what is due | |
//! | `changes` | what has changed since |  |
//! | `add`, `many` | a new connection, and what a person gives with one; many at once | |
//! | `home` | where it is in use: a copy is known by it | 2, 7 |
//! | `examine` | what `perennial doctor` finds | |
//! | `failure` | what PostgreSQL says, in our words | |
//!
//! What a pool in between would break is not used: no named statement, no setting and no lock that outlives a
//! transaction, no LISTEN. No transaction is open while an authorization server is asked.

mod add;
mod agenda;
mod apps;
mod changes;
mod claim;
mod examine;
mod failure;
mod home;
mod journal;
mod link;
mod many;
mod password;
mod place;
mod rekey;
mod row;
mod schema;
mod server;
mod thread;
mod tls;

use super::agenda::{BROUGHT_BACK, PUT_AWAY, counted, noted, renamed};
use super::rekey::Rekey;
use super::sqlite::Finding;
use super::{
    App, Changes, Claim, Ends, Parcel, Recorded, Standing, Store, StoreError, WriteError, check_name,
};
use crate::seal::MasterKey;
use crate::store::sealed::app::Secret;
use crate::store::sealed::keys::Keys;
use crate::store::sealed::row::Row;
use add::{add, check_free, put_given, taken_meanwhile};
use changes::Feed;
use claim::Held;
pub use failure::ServerFailure;
use failure::Stop;
use perennial_core::grant::Principal;
use perennial_core::journal::Entry;
use perennial_core::{Connection, UnixTime};
use place::Place;
use row::{NAMED, NUMBERED, REMOVED};
use server::{Effort, Server, Work};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thread::Thread;
use tokio_postgres::types::Type;

/// How many new connections share a transaction.
const AT_ONCE: usize = 250;

/// What a person may choose beside the address.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where the master key comes from. The database never sees it; every machine of a fleet needs the same one.
    pub master_key: MasterKey,
    /// Whose connections these are: tenants of one database do not see each other's.
    pub tenant: String,
    /// Certificates to trust beside those of this machine, as a PEM file.
    pub ca_cert: Option<PathBuf>,
}

impl PostgresOptions {
    /// The tenant `default`.
    #[must_use]
    pub fn new(master_key: impl Into<MasterKey>) -> Self {
        Self { master_key: master_key.into(), tenant: "default".to_owned(), ca_cert: None }
    }

    /// Another tenant.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), ..self }
    }

    /// Certificates to trust beside those of this machine.
    #[must_use]
    pub fn ca_cert(self, ca_cert: Option<PathBuf>) -> Self {
        Self { ca_cert, ..self }
    }
}

/// A store in a PostgreSQL database.
pub struct Postgres {
    door: Arc<Door>,
    /// What the thread opens it with, too.
    master_key: MasterKey,
    /// What has changed lately.
    feed: Mutex<Feed>,
    /// The number of the connection that was discarded last.
    discarded: Arc<Mutex<Option<i64>>>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("address", &self.door.place.address).finish_non_exhaustive()
    }
}

impl Postgres {
    /// A store at this address. Nothing is connected yet: the first question does that, and the first write makes the
    /// tables where there are none.
    ///
    /// # Errors
    /// When the address cannot be used, or carries a password.
    pub fn open(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        check_name(&options.tenant)?;
        let place = Arc::new(Place::read(url, &options.tenant, options.ca_cert.as_deref())?);
        let (of_the_thread, master_key) = (Arc::clone(&place), options.master_key.clone());
        let thread = Thread::start(move || Server::new(of_the_thread, options));
        let thread = thread.map_err(StoreError::io("start a thread for", &place.address))?;
        Ok(Self {
            door: Arc::new(Door { place, thread }),
            master_key,
            feed: Mutex::default(),
            discarded: Arc::default(),
        })
    }

    /// Refuses an address that cannot be used. Nothing is opened.
    ///
    /// # Errors
    /// When it is none, or carries a password.
    pub fn check_address(url: &str) -> Result<(), StoreError> {
        Place::read(url, "default", None).map(drop)
    }

    /// What makes the tables, for an administrator to run where the role of the keepers may not; with that role's name,
    /// also what gives it its rights.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn schema(url: &str, role: Option<&str>) -> Result<String, StoreError> {
        Ok(schema::script(&Place::read(url, "default", None)?.schema, role))
    }

    /// Looks at everything that can be looked at without changing it, for `perennial doctor`.
    #[must_use]
    pub fn examine(url: &str, options: &PostgresOptions) -> Vec<Finding> {
        examine::examine(url, options)
    }

    /// Looks at a connection's row; `None` where there is none.
    fn look<T: Send + 'static>(
        &self,
        name: &str,
        look: impl AsyncFn(&Server, &link::Link<'_>, &Keys, Row) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, StoreError> {
        let name = name.to_owned();
        let none = none_named(&name, &self.door.place.address);
        let seen = self.door.run(async move |server| {
            server
                .read(async |link| {
                    let found = row::look(server, link, NAMED, (&name, Type::TEXT)).await?;
                    let Some((row, newest)) = found else { return Ok(None) };
                    let keys = server.keys(link, newest).await?;
                    look(server, link, &keys, row).await.map(Some)
                })
                .await
        })?;
        seen.flatten().ok_or(none)
    }

    /// Changes a connection's row, found by `condition` and a name. `None` of the change: it was done before, by an
    /// attempt whose outcome nobody knew.
    fn change(
        &self,
        condition: &'static str,
        name: &str,
        change: impl AsyncFn(&Work<'_>, Row) -> Result<(), Stop> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (name, address) = (name.to_owned(), self.door.place.address.clone());
        self.write(async move |server| {
            // Once it was found it is known by its number: the change may be one of its name.
            let known = Cell::new(None);
            server
                .write(Effort::Plain, async |work| {
                    let row = match known.get() {
                        Some(number) => work.lock(NUMBERED, (&number, Type::INT8)).await?,
                        None => work.lock(condition, (&name, Type::TEXT)).await?,
                    };
                    let row = row.ok_or_else(|| none_named(&name, &address))?;
                    known.set(Some(row.number));
                    if work.was_mine(&row) {
                        work.seal_and_write(row).await
                    } else {
                        change(&work, row).await
                    }
                })
                .await
        })
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Server) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.door.run(work).map_err(|error| match error {
            WriteError::Store(error) => error,
            WriteError::Moved(_) => self.door.place.damaged("a write that compares nothing was refused"),
        })
    }

    /// Reads a list; an empty one where there are no tables.
    fn list<T: Send + 'static>(
        &self,
        look: impl AsyncFn(&Server, &link::Link<'_>) -> Result<Vec<T>, Stop> + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        let seen =
            self.door.run(async move |server| server.read(async |link| look(server, link).await).await)?;
        Ok(seen.unwrap_or_default())
    }
}

/// The thread, and what stands on its door.
struct Door {
    place: Arc<Place>,
    thread: Thread,
}

impl Door {
    fn run<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Server) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let ended =
            || StoreError::io("ask", &self.place.address)(std::io::Error::other("its thread has ended"));
        self.thread.run(work).ok_or_else(ended)?
    }
}

fn none_named(name: &str, address: &str) -> StoreError {
    StoreError::NoSuchConnection { name: name.to_owned(), store: address.to_owned() }
}

/// This host's time, in Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Store for Postgres {
    fn address(&self) -> String {
        self.door.place.address.clone()
    }

    fn rekey(&self) -> Option<&dyn Rekey> {
        Some(self)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.list(async |server, link| agenda::names(server, link).await)
    }

    fn names_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.list(async move |server, link| agenda::names_after(server, link, &after, limit).await)
    }

    fn read(&self, name: &str) -> Result<Connection, StoreError> {
        self.look(name, async |server, _, keys, row| {
            Ok(row.open(keys).map_err(|error| server.place.unsealed(error))?)
        })
    }

    fn app(&self, name: &str) -> Result<App, StoreError> {
        self.look(name, async |server, link, keys, row| {
            let unsealed = |error| server.place.unsealed(error);
            row.check(keys).map_err(unsealed)?;
            let client = apps::client(link, keys, row.app).await?;
            let company = row.company.as_deref().and_then(Principal::named);
            let request_token = row.request_token(keys).map_err(unsealed)?;
            Ok(App { known_since: row.known_since(), ..App::new(client, company, request_token) })
        })
    }

    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError> {
        Ok(Held::try_claim(&self.door, name)?.map(|held| Box::new(held) as Box<dyn Claim>))
    }

    /// Each asking is a round trip, and the server answers everybody.
    fn claim_pause(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn due(&self, at: UnixTime) -> Result<Vec<String>, StoreError> {
        self.list(async move |server, link| agenda::due(server, link, at).await)
    }

    fn due_batch(
        &self,
        at: UnixTime,
        limit: usize,
        but: &BTreeSet<String>,
    ) -> Result<Vec<String>, StoreError> {
        let but: Vec<String> = but.iter().cloned().collect();
        self.list(async move |server, link| agenda::offer(server, link, at, limit, &but).await)
    }

    fn backlog(&self, at: UnixTime) -> Result<u64, StoreError> {
        let count = self.list(async move |server, link| agenda::backlog(server, link, at).await)?;
        Ok(count.first().map_or(0, |count| count.unsigned_abs()))
    }

    fn next_due(&self, after: UnixTime) -> Result<Option<UnixTime>, StoreError> {
        let next = self.list(async move |server, link| agenda::next(server, link, after).await)?;
        Ok(next.into_iter().flatten().map(UnixTime).next())
    }

    fn longest_due(&self, at: UnixTime) -> Result<Option<UnixTime>, StoreError> {
        let longest = self.list(async move |server, link| agenda::longest(server, link, at).await)?;
        Ok(longest.first().copied().map(UnixTime))
    }

    fn ends(
        &self,
        at: UnixTime,
        bounds: &[i64],
        after: Option<u64>,
    ) -> Result<(Ends, Option<u64>), StoreError> {
        let asked = bounds.to_vec();
        let row = self.list(async move |server, link| agenda::ends(server, link, at, &asked, after).await)?;
        Ok(counted(&row, bounds.len()))
    }

    fn changes(&self, since: Option<u64>) -> Result<Changes, StoreError> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = feed.reader();
        let found = self
            .door
            .run(async move |server| server.read(async |link| reader.read(server, link).await).await)?;
        Ok(feed.take(found.unwrap_or_default(), since))
    }

    fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let name = name.map(str::to_owned);
        self.list(async move |server, link| journal::read(server, link, name.as_deref(), after, limit).await)
    }

    fn note(&self, name: &str, entry: &Entry) -> Result<(), StoreError> {
        let (name, entry) = (name.to_owned(), entry.clone());
        let none = none_named(&name, &self.door.place.address);
        self.write(async move |server| {
            let noted = server.write(Effort::Plain, async |work| {
                if !work.earlier.is_empty() {
                    // It may stand there already; nobody fails for that, and twice would be a lie.
                    return Ok(true);
                }
                let Some(row) = work.lock(NAMED, (&name, Type::TEXT)).await? else { return Ok(false) };
                work.note(row.number, std::slice::from_ref(&entry)).await.map(|()| true)
            });
            if noted.await? { Ok(()) } else { Err(none.into()) }
        })
    }

    fn add(&self, connection: &Connection, app: &App) -> Result<(), StoreError> {
        check_name(&connection.name)?;
        let parcel = Parcel { connection: connection.clone(), app: app.clone(), history: Vec::new() };
        self.write(async move |server| {
            server.write(Effort::Plain, async |work| add(&work, &parcel, Secret::Replaced).await).await
        })
    }

    /// Several to a transaction, a savepoint each, so that one which is refused undoes no other.
    fn add_all(&self, parcels: &[Parcel]) -> Vec<Result<(), StoreError>> {
        parcels.chunks(AT_ONCE).flat_map(|some| many::add_some(&self.door, some)).collect()
    }

    fn standing(&self) -> Result<Standing, StoreError> {
        let seen =
            self.door.run(async |server| server.read(async |link| home::standing(link).await).await)?;
        Ok(seen.unwrap_or_default())
    }

    fn adopt(&self) -> Result<Standing, StoreError> {
        self.write(async |server| server.write(Effort::Plain, async |work| home::adopt(&work).await).await)?;
        self.standing()
    }

    fn close(&self, to: &str) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.write(async move |server| {
            server.write(Effort::Plain, async |work| home::close(&work, &to).await).await
        })
    }

    fn put_app(&self, name: &str, app: &App) -> Result<(), StoreError> {
        let app = app.clone();
        self.change(NAMED, name, async move |work, mut row| {
            let realm = work.open(&row)?.realm();
            put_given(work, &mut row, &realm, &app).await?;
            work.seal_and_write(row).await
        })
    }

    fn rename(&self, name: &str, to: &str) -> Result<(), StoreError> {
        check_name(to)?;
        let to = to.to_owned();
        self.change(NAMED, name, async move |work, row| {
            row.check(work.keys).map_err(|error| work.unsealed(error))?;
            check_free(work, &to).await?;
            let (number, noted) = (row.number, noted(now(), renamed(&row.name)));
            let renamed = work.seal_and_write(Row { name: to.clone(), ..row }).await;
            renamed.map_err(|stop| taken_meanwhile(work, &to, stop))?;
            work.note(number, &noted).await
        })
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.change(NAMED, name, async |work, row| {
            let number = row.number;
            work.put_away(row, Some(now())).await?;
            work.note(number, &noted(now(), PUT_AWAY)).await
        })
    }

    fn discard(&self, name: &str) -> Result<(), StoreError> {
        let discarded = Arc::clone(&self.discarded);
        self.change(NAMED, name, async move |work, row| {
            let number = row.number;
            work.put_away(row, Some(now())).await?;
            work.note(number, &noted(now(), PUT_AWAY)).await?;
            let before = discarded.lock().unwrap_or_else(PoisonError::into_inner).replace(number);
            match before {
                Some(before) if before != number => work.forget(before).await,
                _ => Ok(()),
            }
        })
    }

    fn restore(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        let to = name.to_owned();
        let restored = self.change(REMOVED, name, async move |work, row| {
            check_free(work, &to).await?;
            let number = row.number;
            work.put_away(row, None).await.map_err(|stop| taken_meanwhile(work, &to, stop))?;
            work.note(number, &noted(now(), BROUGHT_BACK)).await
        });
        match restored {
            // Nothing was put away under a name that is in use: that is the nearer word.
            Err(StoreError::NoSuchConnection { .. }) if self.read(name).is_ok() => {
                Err(StoreError::NameTaken { name: name.to_owned(), store: self.address() })
            }
            restored => restored,
        }
    }
}
