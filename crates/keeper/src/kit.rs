//! What every flight needs, and the steps that lead up to a presentation.

use crate::client_assertion;
use crate::clock::{Clock, Watch};
use crate::error::Error;
use crate::hand_out::{HandOut, Warning};
use crate::http::{Errand, Line, TokenEndpoint};
use crate::identity::{self, KeySets};
use crate::random::Random;
use crate::refusal;
use crate::rescue;
use crate::seal::rescue::Rescue;
use crate::store::{App, Claim, Store, WriteError};
use crate::tally::Counters;
use perennial_core::breaker::{Breaker, Passage};
use perennial_core::connection::{Blocked, Cause, Decision, Version, Way};
use perennial_core::grant::{Client, Proof};
use perennial_core::journal::{Entry, Event};
use perennial_core::profile::{Purpose, ReplayRule, concur};
use perennial_core::time::{HostClock, Skew};
use perennial_core::token_endpoint::Reply;
use perennial_core::{Connection, Fingerprint, Grant, Origin, State, UnixTime};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};

/// A suspended machine and a jump of the clock are noticed within this time (law 11).
const NOTICED_WITHIN: Duration = Duration::from_secs(37);

/// How often a sender elsewhere is looked after while its deadline is waited out.
const SIBLING_PAUSE: Duration = Duration::from_millis(500);

/// A line that has waited longer than this for its claim is connected anew: servers close idle ones, and a request on a
/// closed line has an unknown outcome.
const LINE_KEEPS: Duration = Duration::from_secs(5);

/// What every flight needs.
pub(crate) struct Kit {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) endpoint: Arc<dyn TokenEndpoint>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rescue: Rescue,
    pub(crate) base: Option<Origin>,
    pub(crate) answer_within: Duration,
    pub(crate) random: Random,
    pub(crate) watch: Watch,
    /// How the authorization servers are doing, as far as this keeper has seen (law 12).
    pub(crate) breakers: Mutex<BTreeMap<String, Breaker>>,
    /// True while something goes on taking rescue files into the store.
    pub(crate) is_draining: AtomicBool,
    /// The connections whose newest answer is nowhere but in memory, though a write that failed may show it (law 1).
    pub(crate) held_in_memory: Mutex<BTreeSet<String>>,
    /// How many presentations are between their intent and their commit; [`GROUNDED`] when there may be none any more.
    pub(crate) in_the_air: AtomicUsize,
    /// What was done so far.
    pub(crate) tally: Counters,
    /// The keys that id_tokens are checked with.
    pub(crate) keys: KeySets,
}

/// What waits for a disk must not hold up a runtime's other tasks; on a runtime of one thread nobody else could go on
/// anyway.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The process is about to end: what was presented now would be lost with it.
pub(crate) const GROUNDED: usize = usize::MAX;

/// Counts one presentation for as long as it lives.
pub(crate) struct InTheAir<'a>(&'a AtomicUsize);

impl Drop for InTheAir<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a flight is for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) cause: Cause,
}

/// The refresh token that a person wants to be tried; every other cause means the one in force.
fn named_by(cause: &Cause) -> Option<&Fingerprint> {
    match cause {
        Cause::Tried(print) => Some(print),
        _ => None,
    }
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("store", &self.store.address()).finish_non_exhaustive()
    }
}

impl Kit {
    /// This host's time: steady, see [`Watch`].
    pub(crate) fn now(&self) -> UnixTime {
        self.watch.now(self.clock.as_ref())
    }

    /// The clock that [`Self::now`] reads.
    pub(crate) fn host(&self) -> HostClock {
        self.watch.host(self.clock.as_ref())
    }

    /// A connection that was read, as this host sees it.
    pub(crate) fn seen(&self, connection: Connection) -> Connection {
        connection.seen_on(&Watch::reading(self.clock.as_ref())).told_by(&self.host())
    }

    /// Reads a connection without a claim.
    pub(crate) fn read(&self, name: &str) -> Result<Connection, Error> {
        Ok(self.seen(self.tally.read.time(|| self.store.read(name))?))
    }

    /// Reads it under its claim.
    pub(crate) fn look(&self, claim: &dyn Claim) -> Result<Connection, Error> {
        Ok(self.seen(blocking(|| claim.read())?))
    }

    /// Writes an outcome. Where somebody has only kept a late answer aside meanwhile, that goes along (law 8).
    pub(crate) fn commit(
        &self,
        claim: &mut dyn Claim,
        from: &Version,
        next: &Connection,
    ) -> Result<(), WriteError> {
        let (mut from, mut next) = (from.clone(), next.clone());
        loop {
            match blocking(|| self.tally.commit.time(|| claim.commit(&from, &next))) {
                Err(WriteError::Moved(current)) if current.version().same_intent(&from) => {
                    next = next.with_latecomers(&from, &current);
                    from = current.version();
                }
                Err(WriteError::Moved(current)) => {
                    return Err(WriteError::Moved(Box::new(self.seen(*current))));
                }
                other => return other,
            }
        }
    }

    /// Puts an entry down that belongs to no write; nobody fails for that.
    pub(crate) fn note(&self, seen: &Connection, event: Event) {
        let entry = Entry { at: seen.skew.server_time(self.now()), event, correlation_id: None };
        if let Err(error) = blocking(|| self.store.note(&seen.name, &entry)) {
            tracing::warn!(%error, "the journal could not be written");
        }
    }

    /// What to do, as the connection decides; but a grant that was refused is obtained anew where that needs no person,
    /// also by who comes after a process that died before it could. A request token that was refused in its turn is
    /// not presented again (law 12).
    pub(crate) fn decide(&self, seen: &Connection, cause: &Cause) -> Decision {
        let decision = seen.decide(cause, self.now());
        let a_person = Decision::Stop(Blocked::PersonNeeded(State::NeedsReauthorization));
        let untried = seen.last_fault.as_ref().is_some_and(|fault| fault.purpose == Purpose::Refresh);
        if decision != a_person || !untried {
            return decision;
        }
        match blocking(|| self.store.app(&seen.name)) {
            Ok(app) if self.may_reobtain(seen, &app) => Decision::Fly(Purpose::Obtain),
            _ => decision,
        }
    }

    /// Notes, or forgets, that a connection's newest answer is nowhere but in memory.
    pub(crate) fn hold_in_memory(&self, name: &str, is_held: bool) {
        let mut held = self.held_in_memory.lock().unwrap_or_else(PoisonError::into_inner);
        if is_held {
            held.insert(name.to_owned());
        } else {
            held.remove(name);
        }
    }

    /// True while what the store shows of this connection may not be durable, as far as this process knows.
    pub(crate) fn is_held_in_memory(&self, name: &str) -> bool {
        self.held_in_memory.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// From here on, whoever ends the process leaves an open intent behind.
    pub(crate) fn take_off(&self) -> Result<InTheAir<'_>, Error> {
        let one_more = |count: usize| (count != GROUNDED).then_some(count + 1);
        let counted = self.in_the_air.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        counted.map(|_| InTheAir(&self.in_the_air)).map_err(|_| Error::Deadline)
    }

    /// True when nothing is in the air, and from here on nothing will be.
    pub(crate) fn ground(&self) -> bool {
        let grounded = self.in_the_air.compare_exchange(0, GROUNDED, Ordering::SeqCst, Ordering::SeqCst);
        matches!(grounded, Ok(_) | Err(GROUNDED))
    }

    /// What comes of an order for which no flight is needed, or none is possible.
    pub(crate) fn grounded(&self, seen: &Connection, decision: &Decision) -> Result<HandOut, Error> {
        let none = || Error::Internal("no access token lives".to_owned());
        match decision {
            Decision::Stop(blocked) => Err(Self::blocked(seen, blocked.clone())),
            Decision::HandOutAnyway(blocked) => {
                let why = Self::blocked(seen, blocked.clone()).to_string();
                HandOut::of(seen, self.now()).map(|h| h.with(Warning::ShortLived(why))).ok_or_else(none)
            }
            _ => HandOut::of(seen, self.now()).ok_or_else(none),
        }
    }

    /// A copy of a store presents with restraint, and one that was handed over presents nothing (laws 2 and 7).
    pub(crate) fn check_standing(&self, seen: &Connection, purpose: Purpose) -> Result<(), Error> {
        let standing = blocking(|| self.store.standing())?;
        Ok(standing.check(&self.store.address(), seen, purpose)?)
    }

    /// What a person gave for one connection lands in no other that has taken its name meanwhile (law 13).
    pub(crate) fn check_meant(&self, seen: &Connection, cause: &Cause) -> Result<(), Error> {
        match cause {
            Cause::Given { connection, .. } if *connection != seen.id => Err(Error::OtherConnection),
            _ => Ok(()),
        }
    }

    /// Why nothing may be tried, with what went wrong last.
    pub(crate) fn blocked(seen: &Connection, blocked: Blocked) -> Error {
        Error::Blocked { blocked, fault: seen.last_fault.clone().map(Box::new) }
    }

    pub(crate) fn base_for(
        &self,
        seen: &Connection,
        purpose: Purpose,
        cause: &Cause,
    ) -> Result<Origin, Error> {
        let default =
            || Origin::parse(concur::DEFAULT_BASE).map_err(|error| Error::Internal(error.to_string()));
        if let Some(own) = seen.token_origin() {
            return Ok(own.clone());
        }
        let held = seen.presentable(named_by(cause)).map(|(_, base)| base.clone());
        let held = held.or_else(|| seen.held.as_ref().map(|held| held.base.clone()));
        // A grant is obtained anew where the one before it lived, unless a person names another place; the first one where
        // it was to live when the connection was added.
        let base = match purpose {
            Purpose::Refresh => held,
            Purpose::Obtain => self.base.clone().or(held).or_else(|| seen.permitted.first().cloned()),
        };
        base.map_or_else(default, Ok)
    }

    /// Law 10: where a connection's secrets may go. What a person names on the command line is permitted.
    pub(crate) fn permits(&self, seen: &Connection, base: &Origin) -> bool {
        seen.permits(base) || self.base.as_ref() == Some(base)
    }

    /// Law 10 holds before a connection is even made.
    pub(crate) async fn connect(
        &self,
        seen: &Connection,
        base: &Origin,
        purpose: Purpose,
    ) -> Result<Box<dyn Line>, Error> {
        if !self.permits(seen, base) {
            return Err(Error::NotPermitted { origin: base.clone(), purpose });
        }
        tracing::debug!(%base, "connecting");
        self.endpoint.connect(base).await.map_err(|why| {
            self.server(base, false);
            Error::Unreachable { base: base.clone(), why }
        })
    }

    /// Law 12: a server that fails for all is asked by one probe at a time, with a connection that can afford it: one
    /// whose answer may get lost without harm now. A person may always ask.
    pub(crate) fn passage(&self, seen: &Connection, base: &Origin, cause: &Cause) -> Result<(), Error> {
        let (now, here) = (self.now(), self.time_since_boot());
        let can_afford = seen.policy.replay == ReplayRule::Always || seen.living_access(now).is_none();
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = breakers.entry(base.to_string()).or_default();
        let (next, passage) = breaker.ask(here, self.answer_within);
        match passage {
            _ if matches!(
                cause,
                Cause::Asked | Cause::Tried(_) | Cause::Authorized { .. } | Cause::Given { .. }
            ) =>
            {
                Ok(())
            }
            Passage::Free => Ok(()),
            Passage::Probe if can_afford => {
                *breaker = next;
                Ok(())
            }
            Passage::Probe => Err(Error::ServerFails { base: base.clone(), until: now }),
            Passage::Shut(until) => {
                Err(Error::ServerFails { base: base.clone(), until: now.plus(until.since(here)) })
            }
        }
    }

    /// A server has answered for itself, or has failed.
    pub(crate) fn server(&self, base: &Origin, answered: bool) {
        let here = self.time_since_boot();
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let breaker = breakers.entry(base.to_string()).or_default();
        *breaker = if answered { breaker.answered() } else { breaker.failed(here, self.random.jitter()) };
    }

    /// What breakers count by: it outlives no process, so that a clock which nobody sets will do (law 11).
    fn time_since_boot(&self) -> UnixTime {
        UnixTime(i64::try_from(self.clock.since_boot().as_secs()).unwrap_or(i64::MAX))
    }

    /// How the client proves who it is, in the next request.
    pub(crate) fn proof(&self, seen: &Connection, client: &Client) -> Result<Proof, Error> {
        client_assertion::proof(seen, client, self.now())
    }

    /// A request beside the token grants, to where this connection's secrets may go (law 10).
    pub(crate) async fn errand(&self, seen: &Connection, errand: Errand) -> Result<Reply, Error> {
        let (to, id) = (errand.to.clone(), errand.correlation_id.clone());
        if !self.permits(seen, to.origin()) {
            return Err(Error::NotPermitted { origin: to.origin().clone(), purpose: Purpose::Obtain });
        }
        self.endpoint.run(errand).await.map_err(|failure| refusal::none(&to, failure, id))
    }

    /// The keys that an id_token will be checked with are fetched before anything is presented.
    pub(crate) async fn prepare_keys(&self, seen: &Connection, base: &Origin, purpose: Purpose) {
        if purpose == Purpose::Obtain
            && !seen.obtains_itself()
            && let Some(from) = identity::keys_of(seen, base)
        {
            self.keys.prepare(self.endpoint.as_ref(), &from, self.clock.since_boot()).await;
        }
    }

    /// True while a line that was connected at `since` may be trusted to be open.
    pub(crate) fn line_keeps(&self, since: Duration) -> bool {
        self.clock.since_boot().saturating_sub(since) <= LINE_KEEPS
    }

    pub(crate) async fn claim(&self, name: &str) -> Result<Box<dyn Claim>, Error> {
        // Whoever holds it gives it back within its own deadline, or dies and the kernel gives it back.
        let longest = self.answer_within.saturating_mul(2).saturating_add(Duration::from_secs(30));
        let until = self.clock.since_boot().saturating_add(longest);
        loop {
            if let Some(claim) = blocking(|| self.store.try_claim(name))? {
                return Ok(claim);
            }
            if self.clock.since_boot() >= until {
                return Err(Error::Busy);
            }
            self.clock.sleep(self.store.claim_pause()).await;
        }
    }

    /// Reads under the claim. The sender of an open intent that was written under another lock may still be alive: its
    /// deadline is waited out (law 2), counted on this host's own clock from when the intent was first seen here, since
    /// no wall clock is trusted that far. Meanwhile the answer may come.
    pub(crate) async fn look_again(&self, claim: &mut dyn Claim) -> Result<Connection, Error> {
        let mut first_seen: Option<(String, Duration)> = None;
        loop {
            blocking(|| rescue::take_in_all(self, claim))?;
            let seen = self.look(claim)?;
            let Some(intent) = seen.intent.as_ref().filter(|intent| intent.kernel != claim.lock()) else {
                return Ok(seen);
            };
            let now = self.clock.since_boot();
            let since = match &first_seen {
                Some((id, since)) if *id == intent.correlation_id => *since,
                _ => {
                    tracing::info!(process = intent.process, "waiting out the deadline of another sender");
                    first_seen = Some((intent.correlation_id.clone(), now));
                    now
                }
            };
            // A second more: both clocks may be read in the middle of one.
            let patience = intent.patience().saturating_add(Duration::from_secs(1));
            let left = patience.saturating_sub(now.saturating_sub(since));
            if left.is_zero() {
                return Ok(seen);
            }
            self.clock.sleep(left.min(SIBLING_PAUSE)).await;
        }
    }

    /// Returns when a sender that began at `started` must have given up: on a clock that runs on while the machine
    /// sleeps, which the timers of a runtime do not. It is looked at often enough to notice a suspend in time (law 11),
    /// and a second late, so that on a machine that is awake the sender's own timer comes first.
    pub(crate) async fn deadline_of(&self, started: Duration) {
        loop {
            let left = self.answer_within.saturating_sub(self.clock.since_boot().saturating_sub(started));
            if left.is_zero() {
                return;
            }
            self.clock.sleep(left.saturating_add(Duration::from_secs(1)).min(NOTICED_WITHIN)).await;
        }
    }

    /// What is presented, if it may be: nothing is sent for another company than the one held (law 13), nor a request
    /// token more often than it is good for.
    pub(crate) fn grant(
        &self,
        seen: &Connection,
        app: &App,
        purpose: Purpose,
        cause: &Cause,
    ) -> Result<Grant, Error> {
        if purpose == Purpose::Refresh {
            let refresh = seen.presentable(named_by(cause)).map(|(refresh, _)| refresh.clone());
            let refresh_token = refresh.ok_or_else(|| Error::Internal("no refresh token".to_owned()))?;
            return Ok(Grant::Refresh { refresh_token });
        }
        if let Cause::Given { grant, .. } = cause {
            return Ok(grant.as_ref().clone());
        }
        match &seen.obtaining.way {
            Way::ClientCredentials => return Ok(Grant::ClientCredentials),
            Way::JwtBearer { issuer, subject } => {
                let (issuer, subject) = (issuer.as_deref(), subject.as_deref());
                let assertion = client_assertion::statement(seen, &app.client, issuer, subject, self.now())?;
                return Ok(Grant::JwtBearer { assertion });
            }
            Way::Person | Way::SignIn | Way::Device => {}
        }
        let by_request_token = app.request_token.is_some() || !seen.obtaining.way.is_sign_in();
        if seen.server.is_some() || !by_request_token {
            return Err(Error::SignInNeeded);
        }
        let (company, request_token) =
            app.company.clone().zip(app.request_token.clone()).ok_or(Error::NoRequestToken)?;
        if let Some(own) = &seen.principal
            && !own.is(&company)
        {
            return Err(Error::OtherCompany { credentials: company.to_string(), held: own.to_string() });
        }
        let used = seen.request_token.as_ref().filter(|used| used.fingerprint == request_token.fingerprint());
        if let Some(used) = used.filter(|used| used.uses >= seen.profile.request_token_uses) {
            return Err(Error::RequestTokenUsedUp { uses: used.uses });
        }
        Ok(Grant::Company { company, request_token })
    }

    /// True when a grant that is gone may be obtained anew without a person: the request token is less than a day old
    /// as far as anybody knows, and has uses left.
    pub(crate) fn may_reobtain(&self, seen: &Connection, app: &App) -> bool {
        if seen.obtains_itself() {
            return true;
        }
        let Some(request_token) = &app.request_token else { return false };
        let used = seen.request_token.as_ref().filter(|used| used.fingerprint == request_token.fingerprint());
        let first_used = used.map(|used| seen.skew.host_time(used.first_used_at));
        let Some(known_since) = [app.known_since, first_used].into_iter().flatten().min() else {
            return false;
        };
        let age = self.now().since(known_since);
        let life = i64::try_from(seen.profile.request_token_lifetime.as_secs()).unwrap_or(i64::MAX);
        let cause = Cause::Authorized { instead_of: seen.version() };
        // Two processes may count the same second differently.
        (-Skew::ROUGHNESS..life).contains(&age) && self.grant(seen, app, Purpose::Obtain, &cause).is_ok()
    }
}
