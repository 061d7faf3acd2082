//! Sign-ins that a person has begun and not finished. They stand in memory alone, for some minutes; each belongs to one
//! connection, by its id, and to the caller who began it: nobody else's answer finishes it, and it lands nowhere else.
//! What a browser brings back is good once; what belongs to another sign-in changes nothing (RFC 9700 section 4.7).

use crate::access::Caller;
use crate::hot::rfc3339;
use crate::problem::Problem;
use perennial::core::authorization::RedirectError;
use perennial::core::secret::Credential;
use perennial::core::{Grant, UnixTime};
use perennial::sign_in::SignIn;
use perennial::sign_in::one_time::OneTime;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

/// How long a person has in a browser, or for a password that comes by e-mail.
pub(super) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// And at another device, whatever the server says.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// So many at a time: some 2 KB each.
const MOST: usize = 1000;

/// And so many of one caller, so that none keeps all others from signing in.
const MOST_OF_ONE: usize = 100;

/// So often a one-time password may be mistyped; Concur counts for itself too.
const MOST_TRIES: u32 = 5;

/// Who began a sign-in. A client key may be called what a user of this machine is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    name: String,
    is_here: bool,
}

impl Who {
    pub(super) fn new(caller: &Caller, is_here: bool) -> Self {
        Self { name: caller.name.clone(), is_here }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// How a person signs in.
pub(super) enum Kind {
    /// In a browser.
    Browser(Box<SignIn>),
    /// With a one-time password; so often it was wrong.
    OneTime(OneTime, u32),
    /// On another device: who asks the server, until it is over.
    Device(#[expect(dead_code, reason = "it is kept to end with this")] Asking),
}

/// Ends with what it stands for.
pub(super) struct Asking(pub(super) AbortHandle);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Pending {
    kind: Kind,
    begun_at: UnixTime,
    expires_at: UnixTime,
    /// What became of it, where nobody has to come back for that.
    ended: Option<Result<(), String>>,
}

/// The sign-ins that are under way: one for each connection and caller.
#[derive(Default)]
pub(crate) struct SignIns(Mutex<BTreeMap<(String, Who), Pending>>);

/// A sign-in, as whoever may see the connection sees it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ShownSignIn {
    /// `browser`, `device` or `one_time_password`.
    r#type: &'static str,
    /// `under_way`, `done` or `failed`.
    state: &'static str,
    /// Until when it can be finished (RFC 3339).
    expires_at: String,
    /// Why it failed.
    detail: Option<String>,
}

/// What a person brings back.
pub(super) enum Brought {
    /// The address that the browser ended at.
    Redirect(String),
    /// The one-time password.
    Otp(Credential),
}

impl SignIns {
    /// Refuses one more where there are too many.
    pub(super) fn admit(&self, connection: &str, who: &Who, now: UnixTime) -> Result<(), Problem> {
        let pending = self.living(now);
        if pending.contains_key(&(connection.to_owned(), who.clone())) {
            return Ok(());
        }
        let own = pending.keys().filter(|(_, other)| other == who).count();
        if pending.len() >= MOST || own >= MOST_OF_ONE { Err(Problem::too_many_sign_ins()) } else { Ok(()) }
    }

    /// Takes one in; an earlier one of the same caller for the same connection is over by that.
    pub(super) fn put(&self, connection: &str, who: &Who, kind: Kind, now: UnixTime, patience: Duration) {
        let pending = Pending { kind, begun_at: now, expires_at: now.after(patience), ended: None };
        let _before = self.living(now).insert((connection.to_owned(), who.clone()), pending);
    }

    /// What was brought back is worth a grant if it belongs to this caller's sign-in for this connection. What comes from
    /// a browser is over by that, whatever becomes of it; what belongs to another sign-in is not.
    pub(super) fn grant(
        &self,
        connection: &str,
        who: &Who,
        brought: Brought,
        now: UnixTime,
    ) -> Result<Grant, Problem> {
        let (mut living, key) = (self.living(now), (connection.to_owned(), who.clone()));
        let pending = living.get_mut(&key).ok_or_else(Problem::no_sign_in)?;
        let (outcome, is_over) = match (&mut pending.kind, brought) {
            (Kind::Browser(sign_in), Brought::Redirect(redirected)) => {
                let finished = sign_in.finish(&redirected);
                let is_over = !matches!(
                    finished,
                    Err(RedirectError::OtherSignIn
                        | RedirectError::Elsewhere { .. }
                        | RedirectError::Twice(_))
                );
                (finished.map_err(|error| Problem::not_signed_in(&error, is_over)), is_over)
            }
            (Kind::OneTime(one_time, tries), Brought::Otp(otp)) => {
                *tries += 1;
                (Ok(one_time.grant(otp)), *tries >= MOST_TRIES)
            }
            _ => (Err(Problem::no_sign_in()), false),
        };
        if is_over {
            living.remove(&key);
        }
        outcome
    }

    /// A one-time password was right.
    pub(super) fn forget(&self, connection: &str, who: &Who) {
        self.all().remove(&(connection.to_owned(), who.clone()));
    }

    /// All of them are over: the daemon ends.
    pub(crate) fn end(&self) {
        self.all().clear();
    }

    /// The server has said what became of the sign-in on another device that began then.
    pub(super) fn came_of(
        &self,
        connection: &str,
        who: &Who,
        begun_at: UnixTime,
        outcome: Result<(), String>,
    ) {
        let mut all = self.all();
        let pending = all.get_mut(&(connection.to_owned(), who.clone()));
        if let Some(pending) = pending.filter(|pending| pending.begun_at == begun_at) {
            pending.ended = Some(outcome);
        }
    }

    /// The one of this connection that began last.
    pub(crate) fn shown(&self, connection: &str, now: UnixTime) -> Option<ShownSignIn> {
        let living = self.living(now);
        let own = living.iter().filter(|((of, _), _)| of == connection).map(|(_, pending)| pending);
        own.max_by_key(|pending| pending.begun_at.0).map(Pending::shown)
    }

    /// Those whose time is not over; the others are gone by that.
    fn living(&self, now: UnixTime) -> MutexGuard<'_, BTreeMap<(String, Who), Pending>> {
        let mut all = self.all();
        all.retain(|_, pending| pending.expires_at > now);
        all
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<(String, Who), Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn shown(&self) -> ShownSignIn {
        let r#type = match self.kind {
            Kind::Browser(_) => "browser",
            Kind::OneTime(..) => "one_time_password",
            Kind::Device(_) => "device",
        };
        let (state, detail) = match &self.ended {
            None => ("under_way", None),
            Some(Ok(())) => ("done", None),
            Some(Err(why)) => ("failed", Some(why.clone())),
        };
        ShownSignIn { r#type, state, expires_at: rfc3339(self.expires_at), detail }
    }
}
