//! What every flight needs, and the steps that lead up to a presentation.

use crate::clock::Clock;
use crate::error::Error;
use crate::hand_out::{HandOut, Warning};
use crate::http::{Line, TokenEndpoint};
use crate::rescue;
use crate::seal::rescue::Rescue;
use crate::store::{App, Claim, Store};
use perennial_core::connection::{Cause, Decision};
use perennial_core::profile::{Purpose, concur};
use perennial_core::{Connection, Grant, Origin};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::block_in_place;

/// How often a claim that somebody else holds is tried again. A kernel lock tells nobody that it is free.
const CLAIM_PAUSE: Duration = Duration::from_millis(15);

/// A suspended machine and a jump of the clock are noticed within this time (law 11).
const NOTICED_WITHIN: Duration = Duration::from_secs(37);

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
    pub(crate) kernel: String,
    /// How many presentations are between their intent and their commit; [`GROUNDED`] when there may be none any more.
    pub(crate) in_the_air: AtomicUsize,
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

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("store", &self.store.address()).finish_non_exhaustive()
    }
}

impl Kit {
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
        let fault = seen.last_fault.clone().map(Box::new);
        match decision {
            Decision::Stop(blocked) => Err(Error::Blocked { blocked: blocked.clone(), fault }),
            Decision::HandOutAnyway(blocked) => {
                let why = Error::Blocked { blocked: blocked.clone(), fault }.to_string();
                HandOut::of(seen, self.clock.now()).map(|h| h.with(Warning::ShortLived(why))).ok_or_else(none)
            }
            _ => HandOut::of(seen, self.clock.now()).ok_or_else(none),
        }
    }

    pub(crate) fn base_for(&self, seen: &Connection, purpose: Purpose) -> Result<Origin, Error> {
        let default =
            || Origin::parse(concur::DEFAULT_BASE).map_err(|error| Error::Internal(error.to_string()));
        let held = seen.held.as_ref().map(|held| held.base.clone());
        // A grant is obtained anew where the one before it lived, unless a person names another place.
        let base = match purpose {
            Purpose::Refresh => held,
            Purpose::Obtain => self.base.clone().or(held),
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
        self.endpoint.connect(base).await.map_err(|why| Error::Unreachable { base: base.clone(), why })
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
            if let Some(claim) = block_in_place(|| self.store.try_claim(name))? {
                return Ok(claim);
            }
            if self.clock.since_boot() >= until {
                return Err(Error::Busy);
            }
            tokio::time::sleep(CLAIM_PAUSE).await;
        }
    }

    /// Reads under the claim. An open intent of another kernel may belong to a sender that is still alive, whatever
    /// the lock says: its deadline is waited out (law 2).
    pub(crate) async fn look_again(&self, name: &str, claim: &mut dyn Claim) -> Result<Connection, Error> {
        let mut look = || {
            block_in_place(|| {
                rescue::take_in_all(self, name, claim)?;
                Ok::<_, Error>(claim.read()?)
            })
        };
        let seen = look()?;
        let Some(intent) = seen.intent.as_ref().filter(|intent| intent.kernel != self.kernel) else {
            return Ok(seen);
        };
        let left = intent.deadline.since(seen.skew.server_time(self.clock.now()));
        // However wrong a clock is: the sender gives up this long after it wrote the intent, which is past.
        let longest = intent.deadline.since(intent.written_at);
        let wait = Duration::from_secs(u64::try_from(left.min(longest)).unwrap_or(0));
        if !wait.is_zero() {
            tracing::info!(seconds = wait.as_secs(), "waiting out another host's deadline");
            tokio::time::sleep(wait).await;
        }
        look()
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
            tokio::time::sleep(left.saturating_add(Duration::from_secs(1)).min(NOTICED_WITHIN)).await;
        }
    }

    /// What is presented, if it may be: nothing is sent for another company than the one held (law 13), nor a request
    /// token more often than it is good for.
    pub(crate) fn grant(&self, seen: &Connection, app: &App, purpose: Purpose) -> Result<Grant, Error> {
        if purpose == Purpose::Refresh {
            let refresh = seen.held.as_ref().and_then(|held| held.refresh.clone());
            let refresh_token = refresh.ok_or_else(|| Error::Internal("no refresh token".to_owned()))?;
            return Ok(Grant::Refresh { refresh_token });
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
}
