//! Connections to the server: a list of those that are free, and a number that is never exceeded. One that was cut, or
//! on which something was left undone, is not lent again.
//!
//! Every query goes as an unnamed statement with its types beside it, so that a pool in between (PgBouncer in
//! transaction mode) may hand each transaction to another backend.

use super::failure::{ServerFailure, Stop};
use super::place::Place;
use super::tls::{Connector, Tls};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};

/// What the network may take beyond the server's own timeout of a statement, before a connection counts as cut.
const NETWORK: Duration = Duration::from_secs(5);

/// A value with its type.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// The connections of this process.
pub(super) struct Pool {
    place: Arc<Place>,
    free: RefCell<Vec<Client>>,
    permits: Semaphore,
}

impl Pool {
    pub(super) fn new(place: Arc<Place>) -> Self {
        let permits = Semaphore::new(place.pool);
        Self { place, free: RefCell::default(), permits }
    }

    /// A connection for a while. `fresh`: none of those that were there before, because one of them was just cut.
    pub(super) async fn take(&self, fresh: bool) -> Result<Link<'_>, Stop> {
        let busy = || {
            let why = format!("all {} of this process are in use", self.place.pool);
            Stop::NoConnection(self.place.server(ServerFailure::TooManyConnections(why)))
        };
        let patience = self.place.statement_timeout.saturating_add(NETWORK);
        let permit = timeout(patience, self.permits.acquire()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        if fresh {
            self.free.borrow_mut().clear();
        }
        let client = self.free();
        let client = match client {
            Some(client) => client,
            None => self.connect().await?,
        };
        let state = Cell::new(State::Clean);
        Ok(Link { pool: self, client: Some(client), state, _permit: permit })
    }

    fn free(&self) -> Option<Client> {
        let mut free = self.free.borrow_mut();
        while let Some(client) = free.pop() {
            if !client.is_closed() {
                return Some(client);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Client, Stop> {
        let mut config = self.place.config.clone();
        if let Some(password) = self.place.passwords.find(&config)? {
            config.password(password.as_slice());
        }
        let servers = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        let patience = self.place.connect_timeout.saturating_mul(u32::try_from(servers).unwrap_or(u32::MAX));
        let unreachable =
            |why: String| Stop::NoConnection(self.place.server(ServerFailure::Unreachable(why)));
        let connected = timeout(patience, connect(&self.place, &mut config)).await;
        connected.map_err(|_| unreachable(format!("no connection within {} s", patience.as_secs())))?
    }
}

async fn connect(place: &Place, config: &mut Config) -> Result<Client, Stop> {
    let failed = |error: tokio_postgres::Error| place.not_connected(&error);
    match &place.tls {
        Tls::Off => {
            let (client, connection) =
                config.ssl_mode(SslMode::Disable).connect(NoTls).await.map_err(failed)?;
            drive(connection);
            Ok(client)
        }
        Tls::Verified { root, ca_cert } => {
            let connector = Connector::new(root.as_ref(), ca_cert.as_ref())
                .map_err(|why| place.server(ServerFailure::Untrusted(why)))?;
            let (client, connection) =
                config.ssl_mode(SslMode::Require).connect(connector).await.map_err(failed)?;
            drive(connection);
            Ok(client)
        }
    }
}

/// Its end is told to whoever waits for an answer over it.
fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + 'static) {
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be lent again.
    Clean,
    /// A transaction is open on it.
    Open,
    /// It was cut.
    Cut,
}

/// A connection that is ours for a while.
pub(super) struct Link<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    state: Cell<State>,
    _permit: SemaphorePermit<'a>,
}

impl Link<'_> {
    pub(super) fn place(&self) -> &Place {
        &self.pool.place
    }

    /// Asks, and waits for all rows.
    pub(super) async fn rows(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Stop> {
        let client = self.client()?;
        self.watched(client.query_typed(sql, values)).await
    }

    /// The first row, if there is one.
    pub(super) async fn row(&self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>, Stop> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Statements without values, one after the other.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Stop> {
        let client = self.client()?;
        self.watched(client.batch_execute(sql)).await
    }

    /// Begins a transaction. What must hold in it is set for it alone: nothing of a session outlives it.
    pub(super) async fn begin(&self) -> Result<(), Stop> {
        self.state.set(State::Open);
        let limit = self.place().statement_timeout.as_millis();
        self.batch(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; \
             SET LOCAL statement_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit}"
        ))
        .await
    }

    /// Makes it durable.
    pub(super) async fn commit(&self) -> Result<(), Stop> {
        let committed = self.batch("COMMIT").await;
        self.ended(committed.is_ok());
        committed
    }

    /// Undoes it.
    pub(super) async fn roll_back(&self) {
        if self.state.get() == State::Open {
            let undone = self.batch("ROLLBACK").await.is_ok();
            self.ended(undone);
        }
    }

    fn ended(&self, well: bool) {
        if well && self.state.get() == State::Open {
            self.state.set(State::Clean);
        }
    }

    fn client(&self) -> Result<&Client, Stop> {
        self.client.as_ref().ok_or_else(|| Stop::Cut("the connection is gone".to_owned()))
    }

    async fn watched<T>(
        &self,
        asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Stop> {
        let patience = self.place().statement_timeout.saturating_add(NETWORK);
        let answered = match timeout(patience, asked).await {
            Ok(answered) => answered.map_err(|error| self.place().failed(&error)),
            Err(_) => Err(Stop::Cut(format!("no answer within {} s", patience.as_secs()))),
        };
        if matches!(answered, Err(Stop::Cut(_))) {
            self.state.set(State::Cut);
        }
        answered
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed())
            && self.state.get() == State::Clean
        {
            self.pool.free.borrow_mut().push(client);
        }
    }
}
