//! What runs on the thread: reads, and transactions that may be run again.
//!
//! A write whose outcome nobody knows (the connection was cut in the middle of COMMIT, the server failed over) is never
//! guessed at. Every transaction draws a number of its own, and writes it into the row that it changes; the next attempt
//! locks the row, which waits until the one before has ended either way, and looks whether its number stands there.

use super::PostgresOptions;
use super::failure::{ServerFailure, Stop};
use super::link::{Link, Pool};
use super::place::Place;
use super::schema::{self, Form, VERSION};
use crate::seal::{MasterKey, SealError};
use crate::store::sealed::Unsealed;
use crate::store::sealed::keys::{Keys, Wrapped};
use crate::store::sealed::{self, Closed};
use crate::store::{StoreError, WriteError};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often a read is tried on a fresh connection: one that lay idle may have been cut long ago.
const READS: u32 = 3;

/// The database, on its thread.
pub(super) struct Server {
    pub(super) options: PostgresOptions,
    pub(super) place: Arc<Place>,
    pool: Pool,
    /// The store's id, once its tables were found good.
    store: RefCell<Option<String>>,
    ring: RefCell<Option<Arc<Keys>>>,
    /// True when a connection was cut since one was made: those that lie idle may be gone too.
    doubtful: Cell<bool>,
}

/// One transaction.
pub(super) struct Work<'a> {
    pub(super) link: &'a Link<'a>,
    pub(super) keys: &'a Keys,
    pub(super) tenant: &'a str,
    /// The schema, as it stands in SQL.
    pub(super) s: &'a str,
    /// Where the store was handed over to: no intent is taken then.
    pub(super) closed: Option<String>,
    /// The number that this transaction writes into the row that it changes.
    pub(super) change: i64,
    /// Those of earlier attempts whose outcome nobody knows.
    pub(super) earlier: &'a [i64],
}

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Where no connection comes about, that is told at once.
    Plain,
    /// The outcome of a presentation: a server that comes back within some seconds is waited for.
    Outcome,
}

impl Server {
    pub(super) fn new(place: Arc<Place>, options: PostgresOptions) -> Self {
        let pool = Pool::new(Arc::clone(&place));
        Self {
            options,
            place,
            pool,
            store: RefCell::default(),
            ring: RefCell::default(),
            doubtful: Cell::default(),
        }
    }

    pub(super) async fn link(&self) -> Result<Link<'_>, Stop> {
        self.pool.take(self.doubtful.replace(false)).await
    }

    /// Reads; `None` where there are no tables yet.
    pub(super) async fn read<T>(
        &self,
        look: impl AsyncFn(&Link<'_>) -> Result<T, Stop>,
    ) -> Result<Option<T>, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.look(&look).await {
                Err(Stop::Cut(why)) if tries < READS => self.cut(&why),
                Ok(seen) => return Ok(seen),
                Err(stop) => return Err(self.as_error(stop)),
            }
        }
    }

    async fn look<T>(&self, look: &impl AsyncFn(&Link<'_>) -> Result<T, Stop>) -> Result<Option<T>, Stop> {
        let link = self.link().await?;
        if !self.is_there(&link).await? {
            return Ok(None);
        }
        look(&link).await.map(Some)
    }

    /// Writes, in a transaction that is run again until its outcome is known: a failover takes some seconds. It is given
    /// up after as long as a single statement may take; then tokens go into the rescue file (law 1). The tables are made
    /// if need be.
    pub(super) async fn write<T>(
        &self,
        effort: Effort,
        work: impl AsyncFn(Work<'_>) -> Result<T, Stop>,
    ) -> Result<T, WriteError> {
        let (began, mut pause, mut earlier) = (Instant::now(), PAUSE, Vec::new());
        loop {
            let stop = match self.attempt(&mut earlier, &work).await {
                Ok(done) => return Ok(done),
                Err(stop) => stop,
            };
            let may_wait = effort == Effort::Outcome || !earlier.is_empty();
            let again = match &stop {
                Stop::Cut(_) | Stop::Again(_) => true,
                Stop::NoConnection(_) => may_wait,
                Stop::Refused(_) | Stop::Moved(_) => false,
            };
            if !again || began.elapsed() >= self.place.statement_timeout {
                return Err(match stop {
                    Stop::Moved(there) => WriteError::Moved(there),
                    stop if earlier.is_empty() => self.as_error(stop).into(),
                    stop => self.unknown(stop).into(),
                });
            }
            if let Stop::Cut(why) = &stop {
                self.cut(why);
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt<T>(
        &self,
        earlier: &mut Vec<i64>,
        work: &impl AsyncFn(Work<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let link = self.link().await?;
        let done = self.transact(&link, earlier, work).await;
        if done.is_err() {
            link.roll_back().await;
        }
        done
    }

    async fn transact<T>(
        &self,
        link: &Link<'_>,
        earlier: &mut Vec<i64>,
        work: &impl AsyncFn(Work<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if !self.is_there(link).await? {
            schema::bring_up(self, link, true).await?;
            self.is_there(link).await?;
        }
        link.begin().await?;
        let s = &self.place.schema;
        let begin = format!(
            "SELECT nextval('{s}.changes'), (SELECT max(number) FROM {s}.data_keys), version, closed FROM {s}.meta"
        );
        let row = link.row(&begin, &[]).await?.ok_or_else(|| self.place.damaged("it counts no changes"))?;
        let odd = |_| self.place.damaged("its tables are not those that Perennial made");
        schema::check(link, row.try_get(2).map_err(odd)?)?;
        let (change, newest): (i64, Option<i64>) =
            (row.try_get(0).map_err(odd)?, row.try_get(1).map_err(odd)?);
        let closed = row.try_get(3).map_err(odd)?;
        let keys = self.keys(link, newest).await?;
        let tenant = &self.options.tenant;
        let done = work(Work { link, keys: &keys, tenant, s, closed, change, earlier }).await?;
        earlier.push(change);
        let committed = link.commit().await;
        if !matches!(committed, Err(Stop::Cut(_))) {
            // It was taken, or refused with a word.
            earlier.pop();
        }
        committed.map(|()| done)
    }

    /// True when the tables are there, with keys; a former form is brought up to this one.
    pub(super) async fn is_there(&self, link: &Link<'_>) -> Result<bool, Stop> {
        if self.store.borrow().is_some() {
            return Ok(true);
        }
        let mut form = schema::form(link).await?;
        if let Form::Tables(version, _) = form {
            schema::check(link, version)?;
            if version < VERSION {
                schema::bring_up(self, link, false).await?;
                form = schema::form(link).await?;
            }
        }
        let Form::Tables(_, Some(store)) = form else { return Ok(false) };
        *self.store.borrow_mut() = Some(store);
        Ok(true)
    }

    /// The data keys, where `newest` is the newest one that the database knows.
    pub(super) async fn keys(&self, link: &Link<'_>, newest: Option<i64>) -> Result<Arc<Keys>, Stop> {
        let known = self.ring.borrow().clone();
        if let Some(known) = known.filter(|known| newest == Some(known.current())) {
            return Ok(known);
        }
        let store = self.store.borrow().clone().ok_or_else(|| self.place.damaged("it has no id"))?;
        let all = format!("SELECT number, wrapped FROM {}.data_keys ORDER BY number", self.place.schema);
        let odd = |_| self.place.damaged("its data keys are not those that Perennial made");
        let mut wrapped = Vec::new();
        for row in link.rows(&all, &[]).await? {
            wrapped.push(Wrapped { number: row.try_get(0).map_err(odd)?, key: row.try_get(1).map_err(odd)? });
        }
        let master = &self.options.master_key;
        let keys = Keys::open(master, &store, &wrapped).map_err(|error| self.place.closed(master, error))?;
        let keys = Arc::new(keys);
        *self.ring.borrow_mut() = Some(Arc::clone(&keys));
        Ok(keys)
    }

    fn cut(&self, why: &str) {
        tracing::debug!(why, "the connection to the database was cut");
        self.doubtful.set(true);
    }

    pub(super) fn as_error(&self, stop: Stop) -> StoreError {
        match stop {
            Stop::Cut(why) => self.place.server(ServerFailure::Unreachable(why)),
            Stop::NoConnection(error) | Stop::Again(error) | Stop::Refused(error) => error,
            Stop::Moved(_) => self.place.damaged("a write that compares nothing was refused"),
        }
    }

    fn unknown(&self, stop: Stop) -> StoreError {
        let why = match stop {
            Stop::Cut(why) => why,
            Stop::NoConnection(StoreError::Server { failure, .. }) => failure.to_string(),
            stop => self.as_error(stop).to_string(),
        };
        self.place.server(ServerFailure::Unknown(why))
    }
}

impl Place {
    pub(super) fn unsealed(&self, error: impl Into<Unsealed>) -> StoreError {
        match error.into() {
            altered @ Unsealed::Altered(_) => self.damaged(altered.to_string()),
            Unsealed::Seal(error) => StoreError::Closed {
                path: self.address.clone().into(),
                reason: error.to_string(),
                remedy: "look into the master key: perennial key check".to_owned(),
            },
        }
    }

    /// Why the database does not open with this master key.
    pub(super) fn closed(&self, master: &MasterKey, error: SealError) -> StoreError {
        match sealed::closed(master, error) {
            Closed::Key { reason, remedy } => {
                StoreError::Closed { path: self.address.clone().into(), reason, remedy }
            }
            Closed::Damage(reason) => self.damaged(reason),
        }
    }
}
