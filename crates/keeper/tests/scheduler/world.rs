//! A fleet in a real database, kept by real schedulers against the sandbox.

use crate::hands::Hands;
use crate::postgres_server;
use perennial::core::connection::Version;
use perennial::core::grant::{Client, Principal};
use perennial::core::journal::Event;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::token_endpoint::{NoAnswer, Reply, Unreachable};
use perennial::core::{Connection, Expiry, Origin};
use perennial::http::{self, BoxFuture, Http, Line, Question, TokenEndpoint};
use perennial::scheduler::{Load, Options, Scheduler};
use perennial::seal::KeySource;
use perennial::store::{App, Store};
use perennial::{Keeper, Parts, Postgres, PostgresOptions, Sqlite, SqliteOptions};
use perennial_sandbox::{Config, Sandbox};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

pub(crate) const DAY: i64 = 86_400;

/// The way to the sandbox, with a gate before each request.
#[derive(Clone)]
pub(crate) struct Gated {
    http: Arc<Http>,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) at_the_gate: Arc<AtomicUsize>,
}

struct GatedLine {
    line: Box<dyn Line>,
    way: Gated,
}

impl TokenEndpoint for Gated {
    fn connect<'a>(&'a self, base: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        Box::pin(async move {
            let line = self.http.connect(base).await?;
            Ok(Box::new(GatedLine { line, way: self.clone() }) as Box<dyn Line>)
        })
    }
}

impl Line for GatedLine {
    fn ask(
        self: Box<Self>,
        question: Question,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        Box::pin(async move {
            let Self { line, way } = *self;
            way.at_the_gate.fetch_add(1, Ordering::SeqCst);
            let _open = way.gate.acquire().await.unwrap();
            line.ask(question, patience).await
        })
    }
}

pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Hands,
    pub(crate) way: Gated,
    pub(crate) keeper: Arc<Keeper>,
    open: Opened,
    /// In PostgreSQL.
    schema: Option<String>,
    dir: TempDir,
}

/// Opens the store as another process would.
type Opened = Box<dyn Fn() -> Arc<dyn Store> + Send + Sync>;

/// A scheduler that runs.
pub(crate) struct Running {
    pub(crate) scheduler: Arc<Scheduler>,
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl World {
    /// So many connections that hold a grant each, none of which is due; the gate is open.
    pub(crate) async fn of(size: usize, config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, path) = (key(&dir), dir.path().join("data/perennial.db"));
        let open = move || -> Arc<dyn Store> {
            Arc::new(Sqlite::open(&path, SqliteOptions::new(key.clone())).unwrap())
        };
        Self::with(dir, Box::new(open), size, config).await
    }

    /// The same in a database that machines share; none where PostgreSQL is not installed.
    pub(crate) async fn in_postgres(size: usize, config: Config) -> Option<Self> {
        let server = postgres_server::server()?;
        let dir = tempfile::tempdir().unwrap();
        let schema = server.new_schema();
        let (key, url) = (key(&dir), server.url(&schema));
        let open = move || -> Arc<dyn Store> {
            Arc::new(Postgres::open(&url, PostgresOptions::new(key.clone())).unwrap())
        };
        let world = Self::with(dir, Box::new(open), size, config).await;
        Some(Self { schema: Some(schema), ..world })
    }

    async fn with(dir: TempDir, open: Opened, size: usize, config: Config) -> Self {
        let sandbox = Sandbox::start(Config { tls: false, ..config }).unwrap();
        let clock = Hands::new();
        let http = Arc::new(Http::new(http::Options { direct: true, ..http::Options::default() }));
        let way = Gated { http, gate: Arc::new(Semaphore::new(1_000)), at_the_gate: Arc::default() };
        let keeper = keeper(&sandbox, open(), &clock, &way);
        let world = Self { sandbox, clock, way, keeper, open, schema: None, dir };
        for number in 0..size {
            world.obtain(&format!("number-{number:03}")).await;
        }
        world
    }

    /// Another process that keeps the same store.
    pub(crate) fn another_keeper(&self) -> Arc<Keeper> {
        keeper(&self.sandbox, (self.open)(), &self.clock, &self.way)
    }

    pub(crate) async fn obtain(&self, name: &str) {
        let ready = self.sandbox.ready();
        let client =
            Client { id: ready.app_id.clone(), secret: ClientSecret::new(ready.client_secret.clone()) };
        let request_token = RequestToken::new(self.sandbox.mint_request_token());
        let app = App::new(client, Some(Principal::new(&ready.company_uuid)), Some(request_token));
        let connection = Connection::new(format!("id-of-{name}"), name, &CONCUR);
        self.store().add(&connection, &app).unwrap();
        self.keeper.obtain(&connection).await.unwrap();
    }

    /// What this SQL gives, in PostgreSQL; `{s}` is the schema.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let sql = sql.replace("{s}", self.schema.as_deref().unwrap());
        postgres_server::server().unwrap().sql(&sql)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("data/perennial.db")
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        self.keeper.store()
    }

    /// Changes what is held of a connection, as if that had been so all the time.
    pub(crate) fn alter(&self, name: &str, change: impl FnOnce(&mut Connection)) {
        let mut claim = self.store().try_claim(name).unwrap().unwrap();
        let mut connection = claim.read().unwrap();
        let from: Version = connection.version();
        change(&mut connection);
        claim.commit(&from, &connection).unwrap();
    }

    /// Its tokens have been held for eight days, and the refresh token ends in so many.
    pub(crate) fn make_due(&self, name: &str, ends_in_days: i64) {
        let now = self.keeper.now();
        self.alter(name, |connection| {
            let held = connection.held.as_mut().unwrap();
            held.refreshed_at = Some(now.plus(-8 * DAY));
            held.refresh_expiry = Some(Expiry::Stated(now.plus(ends_in_days * DAY)));
        });
    }

    /// All of them, the last one the most urgent.
    pub(crate) fn make_all_due(&self) {
        for (number, name) in self.store().names().unwrap().iter().enumerate() {
            self.make_due(name, 150 - i64::try_from(number).unwrap());
        }
    }

    /// The names of those that were refreshed, in the order in which that was written down.
    pub(crate) fn refreshed(&self) -> Vec<String> {
        let all = self.store().journal(None, None, 10_000).unwrap();
        let refreshed = all.into_iter().filter(|line| matches!(line.entry.event, Event::Refreshed { .. }));
        refreshed.map(|line| line.connection).collect()
    }

    /// How many refresh requests the sandbox has received.
    pub(crate) fn asked(&self) -> u64 {
        self.sandbox.stats().by_grant.get("refresh_token").copied().unwrap_or(0)
    }

    /// How many are due, whatever stands in their way.
    pub(crate) fn backlog(&self) -> u64 {
        self.store().backlog(self.keeper.now()).unwrap()
    }

    pub(crate) fn run(&self, options: Options) -> Running {
        Running::begin(Arc::clone(&self.keeper), options)
    }

    /// Time passes, in steps in which nobody sleeps longer than a scheduler may, until `done`.
    pub(crate) async fn pass_until(&self, running: &Running, done: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if done() {
                return;
            }
            self.passed(running).await;
        }
        panic!("it does not come about: {:?}, {} are due", running.scheduler.load(), self.backlog());
    }

    /// Half a minute passes, for which no scheduler sleeps.
    pub(crate) async fn passed(&self, running: &Running) -> Load {
        self.pass(running, Duration::from_secs(30)).await
    }

    /// Time passes, and all that comes of it is over.
    pub(crate) async fn pass(&self, running: &Running, time: Duration) -> Load {
        let before = running.scheduler.load().rounds;
        self.clock.pass(time);
        running.settled(before).await
    }
}

fn key(dir: &TempDir) -> KeySource {
    KeySource::File(dir.path().join("keys/master.key"))
}

fn keeper(sandbox: &Sandbox, store: Arc<dyn Store>, clock: &Hands, way: &Gated) -> Arc<Keeper> {
    let parts = Parts {
        store,
        endpoint: Arc::new(way.clone()),
        clock: Arc::new(clock.clone()),
        seed: None,
        threads: None,
    };
    let base = Some(Origin::parse(sandbox.base_uri()).unwrap());
    Arc::new(Keeper::with_parts(parts, perennial::Options { base, ..perennial::Options::default() }))
}

impl Running {
    pub(crate) fn begin(keeper: Arc<Keeper>, options: Options) -> Self {
        let scheduler = Arc::new(Scheduler::new(keeper, options));
        let (own, stop) = (Arc::clone(&scheduler), Arc::new(Notify::new()));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move { own.run(stopped.notified()).await });
        Self { scheduler, stop, task }
    }

    /// Waits until it has gone to sleep with nothing under way: only the clock can wake it then.
    pub(crate) async fn settled(&self, before: u64) -> Load {
        loop {
            let load = self.scheduler.load();
            if load.rounds > before && load.under_way == 0 && !load.is_reading {
                return load;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Stops it, and waits until it has returned.
    pub(crate) async fn stop(self) {
        self.stop.notify_one();
        self.task.await.unwrap();
    }
}

/// Waits until something has come about that others do.
pub(crate) async fn until(come: impl Fn() -> bool) {
    while !come() {
        tokio::task::yield_now().await;
    }
}
