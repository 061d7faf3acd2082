//! The one door: ask for a token, say that one was rejected, have a grant renewed or obtained.

use crate::clock::{Clock, SystemClock, Watch};
use crate::error::Error;
use crate::flight::{Flights, Joined, Recent};
use crate::hand_out::{HandOut, Warning};
use crate::http::{self, Http, TokenEndpoint};
use crate::identity::KeySets;
use crate::kit::{Kit, Order};
use crate::random::Random;
use crate::rescue;
use crate::seal::rescue::{Places, Rescue};
use crate::store::Store;
use crate::tally::Counters;
use perennial_core::connection::{Cause, Decision, Intent};
use perennial_core::profile::Purpose;
use perennial_core::{AccessToken, Connection, Grant, Origin, State, UnixTime};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// How long one token request may take before its outcome counts as unknown: SAP's answers come within 60 s
/// [http-status-codes].
pub const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What a person may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where a grant is obtained; the global landing zone when nobody says otherwise.
    pub base: Option<Origin>,
    /// Certificates, names.
    pub http: http::Options,
    /// Where tokens go when the store will not take them.
    pub places: Option<Places>,
    /// How long one token request may take, at most a quarter of an hour: the intent's hard deadline.
    pub answer_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { base: None, http: http::Options::default(), places: None, answer_within: ANSWER_WITHIN }
    }
}

/// What a keeper is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where connections are kept.
    pub store: Arc<dyn Store>,
    /// Where tokens come from.
    pub endpoint: Arc<dyn TokenEndpoint>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and jitter the same in every run: for simulations. Keys are never made from it.
    pub seed: Option<u64>,
    /// Where flights run; on threads of the keeper's own where none is given.
    pub threads: Option<Handle>,
}

/// Keeps the grants of one store.
///
/// Flights (obtaining, refreshing) run on threads of the keeper's own: a caller may come from any runtime, or none,
/// and may stop waiting whenever it likes; the flight goes on (law 2). A process that ends takes them down with it;
/// [`Keeper::landed`] waits for them.
#[derive(Debug)]
pub struct Keeper {
    kit: Arc<Kit>,
    flights: Arc<Flights>,
    /// What was fetched ahead lately.
    recent: Recent,
    threads: Option<Handle>,
    runtime: OnceLock<Result<Runtime, String>>,
}

impl Keeper {
    /// Opens a store, with the real network and the clocks of this machine. Nothing is started yet.
    #[must_use]
    pub fn open(store: impl Store, options: Options) -> Self {
        Self::open_shared(Arc::new(store), options)
    }

    /// The same for a store that the caller goes on using.
    #[must_use]
    pub fn open_shared(store: Arc<dyn Store>, options: Options) -> Self {
        let endpoint = Arc::new(Http::new(options.http.clone()));
        Self::with_parts(
            Parts { store, endpoint, clock: Arc::new(SystemClock), seed: None, threads: None },
            options,
        )
    }

    /// Opens a store with parts of the caller's choice.
    #[must_use]
    pub fn with_parts(parts: Parts, options: Options) -> Self {
        let Parts { store, endpoint, clock, seed, threads } = parts;
        let kit = Kit {
            rescue: Rescue::new(options.places, store.address()),
            store,
            endpoint,
            clock,
            base: options.base,
            // A successor waits no longer for a sender.
            answer_within: options.answer_within.min(Intent::LONGEST_PATIENCE),
            random: seed.map_or_else(Random::default, Random::seeded),
            watch: Watch::default(),
            breakers: Mutex::default(),
            is_draining: AtomicBool::new(false),
            held_in_memory: Mutex::default(),
            in_the_air: AtomicUsize::new(0),
            tally: Counters::default(),
            keys: KeySets::default(),
        };
        Self {
            kit: Arc::new(kit),
            flights: Arc::default(),
            recent: Recent::default(),
            threads,
            runtime: OnceLock::new(),
        }
    }

    /// The access token in the store if it lives at least `min_ttl` yet; one synchronous read, no lock, no thread, no
    /// network. `None` when a flight is needed: see [`Keeper::token`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn peek(&self, connection: &str, min_ttl: Duration) -> Result<Option<HandOut>, Error> {
        if self.kit.rescue.is_needed() || self.kit.is_held_in_memory(connection) {
            return Ok(None);
        }
        let (kept, now) = (self.kit.read(connection)?, self.kit.now());
        let decision = kept.decide(&Cause::Wanted { min_ttl }, now);
        Ok(match decision {
            Decision::HandOut => HandOut::of(&kept, now),
            Decision::HandOutAndRenew => {
                HandOut::of(&kept, now).map(|hand_out| HandOut { renewal_due: true, ..hand_out })
            }
            _ => None,
        })
    }

    /// An access token that lives at least `min_ttl` yet: from the store, or by one refresh however many ask. When a
    /// refresh is not possible and the token at hand still lives, that one comes, with a [`Warning`] (law 9).
    ///
    /// A renewal that is due starts behind the caller's back. A program that ends soon after awaits [`Keeper::landed`]
    /// first, or takes that flight down with it.
    ///
    /// # Errors
    /// When there is no token to be had; see [`Error`].
    pub async fn token(&self, connection: &str, min_ttl: Duration) -> Result<HandOut, Error> {
        if let Some(hand_out) = self.peek(connection, min_ttl)? {
            if hand_out.renewal_due
                && let Err(error) = self.start(connection, Cause::Due)
            {
                tracing::warn!(%error, "the renewal that is due could not be started");
            }
            return Ok(HandOut { renewal_due: false, ..hand_out });
        }
        self.fetch(connection, min_ttl).await
    }

    /// The same for who has looked already, or keeps tokens himself: however many ask, the store is read once. Callers
    /// may come from any runtime, and wait for no disk.
    ///
    /// # Errors
    /// When there is no token to be had; see [`Error`].
    pub async fn fetch(&self, connection: &str, min_ttl: Duration) -> Result<HandOut, Error> {
        let hand_out = match self.join(connection, Cause::Wanted { min_ttl }).await {
            Ok(hand_out) => hand_out,
            Err(failed) => return self.still_living(connection, failed),
        };
        let wanted = i64::try_from(min_ttl.as_secs()).unwrap_or(i64::MAX);
        if hand_out.expires_in < wanted && hand_out.warnings.is_empty() {
            return Ok(
                hand_out.with(Warning::ShortLived("the server issues none that live longer".to_owned()))
            );
        }
        Ok(hand_out)
    }

    /// Law 9: whatever failed, a token that still lives is handed out; but none whose own address is no place for it.
    fn still_living(&self, connection: &str, failed: Error) -> Result<HandOut, Error> {
        let kept = match failed {
            Error::NotPermitted { .. } => None,
            _ => self.connection(connection).ok(),
        };
        let hand_out = kept.and_then(|kept| HandOut::of(&kept, self.kit.now()));
        let warning = Warning::ShortLived(failed.to_string());
        hand_out.map(|hand_out| hand_out.with(warning)).ok_or(failed)
    }

    /// The API rejected `token` (401 or 403): the one in force if it is another by now, else one refresh, at most one
    /// in five minutes (law 12).
    ///
    /// # Errors
    /// When there is no other token to be had.
    pub async fn rejected(&self, connection: &str, token: &AccessToken) -> Result<HandOut, Error> {
        self.join(connection, Cause::Rejected(token.fingerprint())).await
    }

    /// Renews now, because a person asks.
    ///
    /// # Errors
    /// When it did not work; nothing is lost by that.
    pub async fn refresh(&self, connection: &str) -> Result<HandOut, Error> {
        self.join(connection, Cause::Asked).await
    }

    /// The access token is in use and its `refresh_at` has come: starts replacing it behind the caller's back, and
    /// returns at once. What is not due any more, or under way already, is left alone, and so is what was tried a few
    /// seconds ago: this may be called at every hand-out.
    pub fn ahead(&self, connection: &str) {
        if !self.recent.admits(connection, self.kit.clock.since_boot()) {
            return;
        }
        if let Err(error) = self.start(connection, Cause::Ahead) {
            tracing::warn!(%error, "the next access token could not be fetched ahead");
        }
    }

    /// The same for who waits: `None` when `refresh_at` has not come, else the token that is in force then.
    ///
    /// # Errors
    /// When it had come and did not work; the token at hand goes on living (law 9).
    pub async fn refresh_ahead(&self, connection: &str) -> Result<Option<HandOut>, Error> {
        match self.connection(connection)?.decide(&Cause::Ahead, self.kit.now()) {
            Decision::NotDue => Ok(None),
            _ => self.join(connection, Cause::Ahead).await.map(Some),
        }
    }

    /// Renews if renewal is due; `None` when it is not.
    ///
    /// # Errors
    /// When it was due and did not work; nothing is lost by that.
    pub async fn refresh_if_due(&self, connection: &str) -> Result<Option<HandOut>, Error> {
        self.drain();
        match self.connection(connection)?.decide(&Cause::Due, self.kit.now()) {
            Decision::NotDue => Ok(None),
            _ => self.join(connection, Cause::Due).await.map(Some),
        }
    }

    /// Exchanges the company request token for a grant, in place of what `seen` holds. Where somebody else has done so
    /// since, theirs is handed out, and no use of the request token is spent (law 3).
    ///
    /// # Errors
    /// When it did not work; uses of the request token are counted, and a grant that is held stays.
    pub async fn obtain(&self, seen: &Connection) -> Result<HandOut, Error> {
        self.join(&seen.name, Cause::Authorized { instead_of: seen.version() }).await
    }

    /// Exchanges what a person has just given, and what is good once, for a grant in place of what the connection holds:
    /// an authorization code, a password, a one-time password, a device code, another token. It is not kept.
    ///
    /// # Errors
    /// When it did not work; a grant that is held stays. [`Error::Pending`] when nobody has approved on the other device
    /// yet: ask again with the same device code.
    pub async fn obtain_with(&self, connection: &str, grant: Grant) -> Result<HandOut, Error> {
        self.obtain_given(&self.connection(connection)?, grant).await
    }

    /// The same for the very connection that was seen, whatever has its name by now, and in place of the grant that it
    /// held then.
    ///
    /// # Errors
    /// As [`Keeper::obtain_with`], and when another connection has the name.
    pub async fn obtain_given(&self, seen: &Connection, grant: Grant) -> Result<HandOut, Error> {
        let (connection, instead_of) = (seen.id.clone(), seen.version());
        self.join(&seen.name, Cause::Given { connection, instead_of, grant: Box::new(grant) }).await
    }

    /// A connection as it is kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn connection(&self, name: &str) -> Result<Connection, Error> {
        self.kit.read(name)
    }

    /// The store, for what goes past the keeping of tokens: adding, renaming, the journal.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.kit.store
    }

    /// The names of the connections whose renewal is due.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn due(&self) -> Result<Vec<String>, Error> {
        Ok(self.kit.store.due(self.kit.now())?)
    }

    /// The names of all connections.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.kit.store.names()?)
    }

    /// A connection's state, with what only the keeper knows: tokens that wait in a rescue file.
    #[must_use]
    pub fn state(&self, connection: &Connection) -> State {
        if self.kit.rescue.is_needed() { State::Unsaved } else { connection.state(self.kit.now()) }
    }

    /// This host's time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.kit.now()
    }

    /// Where a grant in place of what `seen` holds would be obtained.
    ///
    /// # Errors
    /// Never, unless the provider's own address is none.
    pub fn obtaining_base(&self, seen: &Connection) -> Result<Origin, Error> {
        self.kit.base_for(seen, Purpose::Obtain, &Cause::Authorized { instead_of: seen.version() })
    }

    /// Takes tokens that a store had refused earlier into it. Every flight begins with this; a start may do so too.
    pub fn drain(&self) {
        rescue::drain(&self.kit);
    }

    /// Moves what could not be read in the store out of the way, and says where it is now (law 5). Only who is about to
    /// obtain a grant anew does this.
    ///
    /// # Errors
    /// When it could not be moved.
    pub fn set_unreadable_aside(&self, connection: &str) -> Result<Option<PathBuf>, Error> {
        let Some(mut claim) = self.kit.store.try_claim(connection)? else { return Err(Error::Busy) };
        Ok(claim.set_unreadable_aside()?)
    }

    /// Waits until no flight is under way.
    pub async fn landed(&self) {
        self.flights.landed().await;
    }

    /// For who is about to end the process: true when no request is under way, and from here on none will be sent.
    /// False while one is whose answer has not been made durable: who ends the process now leaves an open intent
    /// behind, and the answer is lost.
    #[must_use]
    pub fn ground(&self) -> bool {
        self.kit.ground()
    }

    /// How many flights are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.flights.count()
    }

    pub(crate) fn kit(&self) -> &Kit {
        &self.kit
    }

    pub(crate) async fn join(&self, connection: &str, cause: Cause) -> Result<HandOut, Error> {
        loop {
            match self.start(connection, cause.clone())? {
                Joined::Same(landing) => return landing.result().await,
                Joined::Other(landing) => drop(landing.result().await),
            }
        }
    }

    fn start(&self, connection: &str, cause: Cause) -> Result<Joined, Error> {
        let order = Order { name: connection.to_owned(), cause };
        let threads = match &self.threads {
            Some(threads) => threads,
            None => self.runtime()?.handle(),
        };
        Ok(self.flights.join(&self.kit, threads, order))
    }

    /// Started with the first flight: who only peeks pays for no thread. Made once, also when two ask at once: a second
    /// one could not be dropped within a caller's own runtime.
    fn runtime(&self) -> Result<&Runtime, Error> {
        let build = || {
            let threads =
                Builder::new_multi_thread().worker_threads(2).thread_name("perennial").enable_all().build();
            threads.map_err(|error| format!("no threads to be had: {error}"))
        };
        self.runtime.get_or_init(build).as_ref().map_err(|error| Error::Internal(error.clone()))
    }
}

impl Drop for Keeper {
    /// Flights go on without the keeper; a thread of its own sees them down.
    fn drop(&mut self) {
        let Some(Ok(runtime)) = self.runtime.take() else { return };
        if !self.flights.any() {
            return runtime.shutdown_background();
        }
        let flights = Arc::clone(&self.flights);
        std::thread::spawn(move || runtime.block_on(flights.landed()));
    }
}
