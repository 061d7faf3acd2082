//! What every request works with.

use crate::access::Doorman;
use crate::admin::health::Health;
use crate::admin::survey::Survey;
use crate::api::SignIns;
use crate::config::Config;
use crate::connect::{Connecting, Couriers};
use crate::hot::{Entry, Hot, Look};
use crate::problem::{Advise, Problem};
use crate::proxy::Proxy;
use crate::tally::Tally;
use perennial::core::UnixTime;
use perennial::http::{self, Http};
use perennial::scheduler::Scheduler;
use perennial::store::StoreError;
use perennial::{Error, HandOut, Keeper};
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, Semaphore};

/// So many look into the store at a time; who comes next waits without a thread.
const READERS: usize = 16;

/// So long a store is waited for by who has a token at hand.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// The caller's own patience ends before this.
const LONGEST: Duration = Duration::from_secs(3600);

/// What every request works with.
pub(crate) struct Shared {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) hot: Hot,
    pub(crate) doorman: Doorman,
    pub(crate) proxy: Proxy,
    /// For what is asked before there is a connection: who an authorization server is.
    pub(crate) http: Http,
    pub(crate) sign_ins: SignIns,
    pub(crate) connect: Connecting,
    pub(crate) tally: Tally,
    pub(crate) health: Health,
    pub(crate) survey: Survey,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) started: UnixTime,
    readers: Semaphore,
    /// Read by whatever is seen through though its caller may have left; written by who waits for all of it.
    begun: Arc<tokio::sync::RwLock<()>>,
    config: RwLock<Arc<Config>>,
    advise: Box<Advise>,
}

impl Shared {
    pub(crate) fn new(
        keeper: Arc<Keeper>,
        scheduler: Arc<Scheduler>,
        config: Config,
        doorman: Doorman,
        advise: Box<Advise>,
        http: http::Options,
        couriers: Couriers,
    ) -> Self {
        Self {
            http: Http::new(http.clone()),
            sign_ins: SignIns::default(),
            connect: Connecting::new(&config, couriers),
            proxy: Proxy::new(http, config.proxy.idle_connections, config.limits.resident),
            started: keeper.now(),
            keeper,
            scheduler,
            survey: Survey::default(),
            hot: Hot::new(config.limits.resident),
            doorman,
            tally: Tally::default(),
            health: Health::default(),
            readers: Semaphore::new(READERS),
            begun: Arc::default(),
            config: RwLock::new(Arc::new(config)),
            advise,
        }
    }

    /// The configuration that is in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn put_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Goes on when the caller has hung up; a daemon that ends waits for it.
    pub(crate) async fn seen_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let begun = self.begin().await;
        let task = tokio::spawn(async move {
            let outcome = work.await;
            drop(begun);
            outcome
        });
        task.await.unwrap_or_else(|_| Err(Problem::ended()))
    }

    /// For what is seen through by a task of its own: held to its end. A daemon that ends waits for it.
    pub(crate) async fn begin(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.begun).read_owned().await
    }

    /// Returns when all of that has ended.
    pub(crate) async fn all_seen_through(&self) {
        drop(self.begun.write().await);
    }

    /// What the keeper said of a connection, for whoever asked.
    pub(crate) fn problem(&self, error: &Error, connection: &str) -> Problem {
        Problem::of_keeper(error, connection, &*self.advise)
    }

    /// A token out of memory, if one is there that lives long enough. Nothing waits, nothing is read.
    pub(crate) fn at_hand(self: &Arc<Self>, name: &str, min_ttl: i64, now: UnixTime) -> Option<Arc<Entry>> {
        let entry = self.hot.get(name)?;
        match entry.look(min_ttl, now) {
            Look::Fresh => self.tally.fresh.add(),
            Look::Stale => {
                self.tally.stale.add();
                self.renew_ahead(name);
            }
            // It is known already that the store cannot be read: nobody waits to find that out once more (law 9).
            Look::Old if !self.health.is_readable() => {
                entry.keep(now);
                self.tally.in_need.add();
            }
            Look::Old | Look::Spent => return None,
        }
        self.hot.note_asked(&entry);
        Some(entry)
    }

    /// A token that lives at least `min_ttl` yet: out of memory, out of the store, or by a refresh, which goes on when
    /// `patience` is over.
    pub(crate) async fn token(
        self: &Arc<Self>,
        name: &str,
        min_ttl: Duration,
        patience: Duration,
    ) -> Result<Arc<Entry>, Problem> {
        let wanted = i64::try_from(min_ttl.as_secs()).unwrap_or(i64::MAX);
        let now = self.keeper.now();
        if let Some(entry) = self.at_hand(name, wanted, now) {
            return Ok(entry);
        }
        // What is known not to live long enough needs a refresh, or what a sibling's has brought: either is a flight's.
        let is_spent = self.hot.get(name).is_some_and(|entry| entry.left(now) < wanted.max(1));
        let outcome = tokio::time::timeout(patience, async {
            if !is_spent && let Some(hand_out) = self.look_into_the_store(name, min_ttl).await? {
                return Ok(hand_out);
            }
            self.keeper.fetch(name, min_ttl).await
        });
        let fetched = outcome.await.unwrap_or(Err(Error::Deadline));
        let now = self.keeper.now();
        match fetched {
            Ok(hand_out) => {
                self.tally.fetched.add();
                let entry = self.hot.put(hand_out, now);
                self.hot.note_asked(&entry);
                Ok(entry)
            }
            Err(error) => self.in_need(name, &error, now),
        }
    }

    /// What the store holds, if it lives long enough: a flight that is under way is not waited for (law 9). Where a token
    /// is at hand that only was to be looked after, a store that takes its time is not waited for either.
    async fn look_into_the_store(
        self: &Arc<Self>,
        name: &str,
        min_ttl: Duration,
    ) -> Result<Option<HandOut>, Error> {
        let (shared, own) = (Arc::clone(self), name.to_owned());
        let looking = tokio::spawn(async move {
            let _place = shared.readers.acquire().await;
            let reading = Arc::clone(&shared);
            let looked = tokio::task::spawn_blocking(move || reading.keeper.peek(&own, min_ttl)).await;
            let looked =
                looked.unwrap_or_else(|_| Err(Error::Internal("a look into the store ended".to_owned())));
            if let Ok(Some(hand_out)) = &looked {
                shared.hot.put(hand_out.clone(), shared.keeper.now());
            }
            looked
        });
        let patience = if self.hot.get(name).is_some() { STORE_PATIENCE } else { LONGEST };
        match tokio::time::timeout(patience, looking).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) => Err(Error::Internal("a look into the store ended".to_owned())),
            Err(_) => Err(Error::Deadline),
        }
    }

    /// Law 9: what lives is handed out while the store is away, or a refresh takes its time.
    fn in_need(&self, name: &str, error: &Error, now: UnixTime) -> Result<Arc<Entry>, Problem> {
        let passes = match error {
            Error::Store(error) if matches!(**error, StoreError::NoSuchConnection { .. }) => {
                self.hot.forget(name);
                false
            }
            Error::Store(_) => true,
            Error::Deadline | Error::Busy => true,
            _ => false,
        };
        if passes && let Some(entry) = self.hot.get(name).filter(|entry| entry.left(now) > 0) {
            entry.keep(now);
            self.tally.in_need.add();
            return Ok(entry);
        }
        self.tally.refused.add();
        Err(match error {
            Error::Deadline => Problem::no_token_in_time(name),
            error => self.problem(error, name),
        })
    }

    /// Replaces an access token that is in use before it ends; nobody waits for it.
    pub(crate) fn renew_ahead(self: &Arc<Self>, name: &str) {
        if !self.config().keep_alive.ahead || self.health.is_draining() {
            return;
        }
        let (shared, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            match shared.keeper.refresh_ahead(&name).await {
                Ok(Some(hand_out)) => drop(shared.hot.put(hand_out, shared.keeper.now())),
                Ok(None) => {}
                Err(error) => tracing::info!(connection = %name, %error, "not renewed ahead of its end"),
            }
        });
    }
}
