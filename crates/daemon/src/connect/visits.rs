//! Who is here, in memory alone: half an hour each, and a bounded number, so that no crowd fills the memory. After a
//! restart the person presses Connect once more.
//!
//! A *visit* is one browser's; an *attempt* is one request token's, and all visits with that token share it: whatever is
//! reloaded, clicked twice or opened in two tabs, a token is exchanged once.

use super::redirect::Redirect;
use super::trouble::Trouble;
use crate::access::{From, network};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perennial::core::UnixTime;
use perennial::core::grant::Principal;
use perennial::core::secret::RequestToken;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Seconds from the redirect to the end of a visit.
pub(super) const LIFE: i64 = 30 * 60;
/// A visit takes some two kilobytes.
const MOST: usize = 10_000;
/// Of one address (or one IPv6 /64): an office may stand behind it, but no more than that.
const MOST_OF_ONE: usize = 50;
/// A request token is good for five uses [tmc-overview].
const MOST_TRIES: u32 = 5;

/// Who is here.
#[derive(Default)]
pub(super) struct Visits(Mutex<VecDeque<Arc<Visit>>>);

/// One browser that SAP has sent here.
pub(super) struct Visit {
    pub(super) id: String,
    pub(super) app: String,
    /// In the browser's cookie: whoever has it is who SAP has sent.
    session: String,
    /// In the page's form: whoever has it has read the page.
    csrf: String,
    /// What goes to the partner's page and comes back.
    pub(super) state: String,
    pub(super) attempt: Arc<Attempt>,
    /// It was sent to the partner's page once: from then on it goes there when the person says so.
    pub(super) handed_over: AtomicBool,
    /// Who the partner says the person is; none before the partner has said so.
    pub(super) subject: OnceLock<String>,
    from: Option<IpAddr>,
    until: UnixTime,
}

/// One request token, on its way to become a grant.
pub(super) struct Attempt {
    app: String,
    pub(super) company: Principal,
    pub(super) request_token: RequestToken,
    pub(super) user: Option<String>,
    /// Names it in the log, and on pages where SAP has named nothing.
    pub(super) reference: String,
    stage: watch::Sender<Stage>,
    tries: AtomicU32,
}

/// How far an attempt is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// The person has not said yes.
    Waiting,
    /// The exchange is under way.
    Running,
    /// There is a grant.
    Connected,
    /// There is none.
    Failed { trouble: Trouble, correlation_id: String },
}

impl Visits {
    /// Takes a redirect in; says whether that is a new visit. None when the system gives no randomness.
    pub(super) fn enter(
        &self,
        app: &str,
        redirect: Redirect,
        shown: Option<&str>,
        from: &From,
        now: UnixTime,
    ) -> Option<(Arc<Visit>, bool)> {
        let mut visits = self.locked(now);
        let attempt = visits.iter().map(|visit| &visit.attempt).find(|attempt| attempt.is_of(app, &redirect));
        let attempt = attempt.cloned();
        let own = shown.filter(|session| visits.iter().any(|visit| same(&visit.session, session)));
        if let (Some(attempt), Some(session)) = (&attempt, own) {
            let is_it =
                |visit: &&Arc<Visit>| Arc::ptr_eq(&visit.attempt, attempt) && same(&visit.session, session);
            if let Some(visit) = visits.iter().find(is_it) {
                return Some((Arc::clone(visit), false));
            }
        }
        let from = match from {
            From::Tcp(address) => Some(network(*address)),
            From::Unix { .. } => None,
        };
        make_room(&mut visits, from);
        let visit = Arc::new(Visit {
            id: random()?,
            app: app.to_owned(),
            session: own.map(str::to_owned).or_else(random)?,
            csrf: random()?,
            state: random()?,
            attempt: attempt.unwrap_or_else(|| Arc::new(Attempt::new(app, redirect))),
            handed_over: AtomicBool::new(false),
            subject: OnceLock::new(),
            from,
            until: now.plus(LIFE),
        });
        visits.push_back(Arc::clone(&visit));
        Some((visit, true))
    }

    /// The visit of this id, for the browser that has begun it.
    pub(super) fn find(&self, id: &str, session: &str, now: UnixTime) -> Option<Arc<Visit>> {
        let visits = self.locked(now);
        visits.iter().find(|visit| visit.id == id && same(&visit.session, session)).cloned()
    }

    /// The visit that the partner's page was told of by this, for the browser that has begun it.
    pub(super) fn returning(&self, state: &str, session: &str, now: UnixTime) -> Option<Arc<Visit>> {
        let visits = self.locked(now);
        visits.iter().find(|visit| same(&visit.state, state) && same(&visit.session, session)).cloned()
    }

    /// All but those whose time is over: they came in the order of their ends, unless a clock was set.
    fn locked(&self, now: UnixTime) -> MutexGuard<'_, VecDeque<Arc<Visit>>> {
        let mut visits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while visits.front().is_some_and(|visit| visit.until <= now) {
            visits.pop_front();
        }
        visits
    }
}

/// The oldest of this address goes first, then the oldest of all.
fn make_room(visits: &mut VecDeque<Arc<Visit>>, from: Option<IpAddr>) {
    let is_theirs = |visit: &Arc<Visit>| from.is_some() && visit.from == from;
    if visits.iter().filter(|visit| is_theirs(visit)).count() >= MOST_OF_ONE
        && let Some(oldest) = visits.iter().position(is_theirs)
    {
        visits.remove(oldest);
    }
    while visits.len() >= MOST {
        visits.pop_front();
    }
}

impl Visit {
    /// Its page: an address without any secret, which is of no use without the cookie.
    pub(super) fn path(&self) -> String {
        format!("/connect/{}/{}", self.app, self.id)
    }

    pub(super) fn session(&self) -> &str {
        &self.session
    }

    pub(super) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// True when this stood in the form of our own page.
    pub(super) fn has_read_the_page(&self, csrf: &str) -> bool {
        same(&self.csrf, csrf)
    }
}

impl Attempt {
    fn new(app: &str, redirect: Redirect) -> Self {
        let Redirect { company, request_token, user } = redirect;
        Self {
            app: app.to_owned(),
            company,
            request_token,
            user,
            reference: perennial::request_id(),
            stage: watch::Sender::new(Stage::Waiting),
            tries: AtomicU32::new(0),
        }
    }

    fn is_of(&self, app: &str, redirect: &Redirect) -> bool {
        self.app == app && self.company.is(&redirect.company) && self.request_token == redirect.request_token
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    /// True for the one who is to exchange the token now: nobody has, or it failed for a reason that passes.
    pub(super) fn begin(&self) -> bool {
        self.stage.send_if_modified(|stage| {
            let may = match stage {
                Stage::Waiting => true,
                Stage::Failed { trouble, .. } => trouble.passes(),
                Stage::Running | Stage::Connected => false,
            };
            let may = may && self.tries.fetch_add(1, Ordering::Relaxed) < MOST_TRIES;
            if may {
                *stage = Stage::Running;
            }
            may
        })
    }

    /// True while another try is of use.
    pub(super) fn may_try_again(&self) -> bool {
        self.tries.load(Ordering::Relaxed) < MOST_TRIES
    }

    pub(super) fn end(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Waits until the exchange has ended, but not for ever.
    pub(super) async fn ended(&self, patience: Duration) {
        let mut stage = self.stage.subscribe();
        let ended = stage.wait_for(|stage| !matches!(stage, Stage::Running));
        let _ = tokio::time::timeout(patience, ended).await;
    }
}

/// 192 bits that nobody guesses.
fn random() -> Option<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

fn same(one: &str, other: &str) -> bool {
    bool::from(subtle::ConstantTimeEq::ct_eq(one.as_bytes(), other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn redirect(token: &str) -> Redirect {
        let query = format!("id=6ba7b810-9dad-11d1-80b4-00c04fd430c8&requestToken={token}");
        Redirect::read(&query).unwrap()
    }

    fn from(number: u32) -> From {
        From::Tcp(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_reload_leads_to_the_same_visit_and_another_browser_to_the_same_attempt() {
        let visits = Visits::default();
        let (first, is_new) = visits.enter("a", redirect("t"), None, &from(1), NOW).unwrap();
        assert!(is_new);
        let (again, is_new) = visits.enter("a", redirect("t"), Some(first.session()), &from(1), NOW).unwrap();
        assert!(!is_new && again.id == first.id);
        let (other, _) = visits.enter("a", redirect("t"), Some("forged"), &from(2), NOW).unwrap();
        assert!(other.session() != "forged" && other.id != first.id, "nobody chooses a session");
        assert!(first.attempt.begin() && !other.attempt.begin(), "one token, one exchange");
        let (tab, _) = visits.enter("a", redirect("u"), Some(first.session()), &from(1), NOW).unwrap();
        assert!(tab.session() == first.session() && tab.attempt.begin(), "two tabs, two tokens");
    }

    #[test]
    fn a_visit_is_the_browsers_own_and_ends_in_time() {
        let visits = Visits::default();
        let (visit, _) = visits.enter("a", redirect("t"), None, &from(1), NOW).unwrap();
        assert!(visits.find(&visit.id, visit.session(), NOW).is_some());
        assert!(visits.find(&visit.id, "another", NOW).is_none());
        assert!(visits.returning(&visit.state, "another", NOW).is_none());
        assert!(visits.find(&visit.id, visit.session(), NOW.plus(LIFE)).is_none());
    }

    #[test]
    fn no_crowd_fills_the_memory_or_drives_others_out_from_one_address() {
        let visits = Visits::default();
        let (person, _) = visits.enter("a", redirect("t"), None, &from(1), NOW).unwrap();
        for number in 0..200 {
            visits.enter("a", redirect(&number.to_string()), None, &from(2), NOW);
        }
        assert_eq!(visits.0.lock().unwrap().len(), 1 + MOST_OF_ONE);
        assert!(visits.find(&person.id, person.session(), NOW).is_some());
        for number in 3..u32::try_from(MOST).unwrap() + 100 {
            visits.enter("a", redirect("x"), None, &from(number), NOW);
        }
        assert_eq!(visits.0.lock().unwrap().len(), MOST);
    }
}
