//! A token is asked for: hand it out, start a flight, or stop? The answer is the same before a claim and after it
//! (law 3: look again), because it depends on nothing but what is kept and what time it is.

use super::{Condition, Connection, Intent, State, Version};
use crate::grant::Grant;
use crate::profile::{Purpose, ReplayRule};
use crate::secret::Fingerprint;
use crate::time::{Expiry, Skew, UnixTime};
use std::time::Duration;

/// A repetition must arrive within the time that the server allows: this many seconds before its end none is sent any
/// more. The line is connected by then, so one way takes far less.
const ON_THE_WAY: i64 = 5;

/// Why a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A program wants an access token that lives at least `min_ttl` yet.
    Wanted {
        /// The least remaining life.
        min_ttl: Duration,
    },
    /// The API rejected this access token (401 or 403).
    Rejected(Fingerprint),
    /// Housekeeping: renew what is due.
    Due,
    /// The access token is in use and nears its end: replace it behind the callers' backs.
    Ahead,
    /// A person says: now.
    Asked,
    /// A person tries to bring the grant back, with this refresh token: the one in force, or one that was replaced.
    Tried(Fingerprint),
    /// A person has authorized anew: exchange the request token.
    Authorized {
        /// What stood there when that was decided: where it has moved, somebody else has done it (law 3).
        instead_of: Version,
    },
    /// A person has given what is good once and is not kept: a code, a password, another token. Exchange it.
    Given {
        /// The id of the connection that it is for: another one may have taken the name meanwhile.
        connection: String,
        /// What stood there when it was given. A refresh since then is no reason to let it lie: only another grant is.
        instead_of: Version,
        /// What was given.
        grant: Box<Grant>,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Hand out the access token that is there; nothing more to do.
    HandOut,
    /// Hand out the access token that is there; the refresh token is due for renewal, and trying that harms nothing.
    HandOutAndRenew,
    /// Hand out the access token that is there though it has less life left than wished: nothing better can be had
    /// now, for this reason (law 9).
    HandOutAnyway(Blocked),
    /// Nothing is due.
    NotDue,
    /// Start a flight.
    Fly(Purpose),
    /// No token can be had now.
    Stop(Blocked),
}

/// Why no flight may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// There are no tokens yet.
    NoGrant,
    /// The server issued no refresh token.
    NoRefreshToken,
    /// Not before this time (the server's clock): a failure is being waited out.
    Until(UnixTime),
    /// A person must act first.
    PersonNeeded(State),
    /// An older refresh token may not be presented: it is not kept, or the one in force has not been refused and a
    /// repetition may revoke the grant (law 7).
    OutOfTurn,
    /// The API rejected the token again within five minutes of a refresh that a rejection had forced (law 12).
    RejectedAgain {
        /// When a rejection may force a refresh again, by the server's clock.
        until: UnixTime,
    },
}

impl Connection {
    /// Decides; `now` is this host's time.
    #[must_use]
    pub fn decide(&self, cause: &Cause, now: UnixTime) -> Decision {
        match cause {
            Cause::Authorized { instead_of } if self.version().same_tokens(instead_of) => {
                Decision::Fly(Purpose::Obtain)
            }
            Cause::Given { instead_of, .. } if self.version().grant_id == instead_of.grant_id => {
                Decision::Fly(Purpose::Obtain)
            }
            Cause::Authorized { .. } | Cause::Given { .. } => self.decide_wanted(Duration::ZERO, cause, now),
            Cause::Tried(print) if !self.may_present(print) => Decision::Stop(Blocked::OutOfTurn),
            Cause::Asked | Cause::Tried(_) => self.fly_or(cause, now, Decision::Stop),
            Cause::Due if self.is_renewal_due(now) => self.fly_or(cause, now, Decision::Stop),
            Cause::Ahead if self.is_past_refresh_at(now) => self.fly_or(cause, now, Decision::Stop),
            Cause::Due | Cause::Ahead => Decision::NotDue,
            Cause::Rejected(rejected) => self.decide_rejected(rejected, cause, now),
            Cause::Wanted { min_ttl } => self.decide_wanted(*min_ttl, cause, now),
        }
    }

    fn decide_wanted(&self, min_ttl: Duration, cause: &Cause, now: UnixTime) -> Decision {
        let wanted = i64::try_from(min_ttl.as_secs()).unwrap_or(i64::MAX);
        match self.living_access(now) {
            Some((_, left)) if left >= wanted => match self.fly_or(cause, now, Decision::Stop) {
                Decision::Fly(_) if self.is_renewal_due(now) => Decision::HandOutAndRenew,
                _ => Decision::HandOut,
            },
            Some(_) => self.fly_or(cause, now, Decision::HandOutAnyway),
            None => self.fly_or(cause, now, Decision::Stop),
        }
    }

    fn decide_rejected(&self, rejected: &Fingerprint, cause: &Cause, now: UnixTime) -> Decision {
        // Somebody has refreshed since: the rejected token is not the one in force any more.
        if self.living_access(now).is_some_and(|(access, _)| access.token.fingerprint() != *rejected) {
            return Decision::HandOut;
        }
        // While the forced refresh is still under way there is something to wait for: its claim. When its sender has given
        // up it is not.
        let is_under_way = self.intent.as_ref().is_some_and(|intent| intent.forced)
            && !matches!(self.condition, Condition::Uncertain { .. });
        if let Some(until) = self.forced_at.map(|at| at.after(self.policy.rejection_pause))
            && self.is_still_to_come(until, self.policy.rejection_pause, now)
            && !is_under_way
        {
            return Decision::Stop(Blocked::RejectedAgain { until });
        }
        self.fly_or(cause, now, Decision::Stop)
    }

    /// A flight if one may start, else what `blocked` makes of the reason.
    fn fly_or(&self, cause: &Cause, now: UnixTime, blocked: fn(Blocked) -> Decision) -> Decision {
        match self.what_blocks(cause, now) {
            None if self.obtains_instead() => Decision::Fly(Purpose::Obtain),
            None => Decision::Fly(Purpose::Refresh),
            Some(reason) => blocked(reason),
        }
    }

    fn what_blocks(&self, cause: &Cause, now: UnixTime) -> Option<Blocked> {
        if self.has_late_answer() {
            return None; // It is adopted under the claim, and nothing is presented.
        }
        let person_asks = matches!(cause, Cause::Asked | Cause::Tried(_));
        match self.condition {
            Condition::BackingOff { until, .. } | Condition::Uncertain { until, .. }
                if !person_asks && self.is_still_to_come(until, self.policy.longest_pause(), now) =>
            {
                return Some(Blocked::Until(until));
            }
            Condition::Suspended | Condition::NeedsReauthorization | Condition::Revoked if !person_asks => {
                return Some(Blocked::PersonNeeded(self.state(now)));
            }
            _ => {}
        }
        if self.obtains_instead() {
            return None; // It needs no grant, and there is no token that could be spent twice.
        }
        if self.held.is_none() {
            return Some(Blocked::NoGrant);
        }
        let named = match cause {
            Cause::Tried(print) => Some(print),
            _ => None,
        };
        if self.presentable(named).is_none() {
            return Some(Blocked::NoRefreshToken);
        }
        self.forbids_presenting(now).map(Blocked::Until)
    }

    /// Until when the refresh token may not be presented, because its last presentation has an unknown outcome (law 7).
    #[must_use]
    pub fn forbids_presenting(&self, now: UnixTime) -> Option<UnixTime> {
        let from = self.replay_from(self.unsettled()?, now);
        (from > self.skew.server_time(now)).then_some(from)
    }

    /// From when on the token of an open intent may be presented again (law 7). Where a repetition may revoke the
    /// grant, it is the last resort: the sender's deadline has passed, and no access token lives any more.
    fn replay_from(&self, intent: &Intent, now: UnixTime) -> UnixTime {
        let server_now = self.skew.server_time(now);
        match self.policy.replay {
            ReplayRule::Always => server_now,
            ReplayRule::Within(time) => {
                // One that was presented in the future was presented by another clock: nobody knows how long ago.
                let since = server_now.since(intent.first_presented_at);
                let time = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
                let arrives_in_time = (0..time).contains(&since.saturating_add(ON_THE_WAY)) && since >= 0;
                if arrives_in_time { server_now } else { self.last_resort(intent, now) }
            }
            ReplayRule::Never => self.last_resort(intent, now),
        }
    }

    /// What lies further ahead than it can was written while a clock stood wrong (law 11), and is not waited for. (The
    /// shell waits out a living sender's deadline on a clock of its own.)
    fn last_resort(&self, intent: &Intent, now: UnixTime) -> UnixTime {
        let access_ends = self.living_access(now).map(|(access, _)| access.expiry.at());
        let deadline = Some(intent.deadline).filter(|at| self.is_still_to_come(*at, intent.patience(), now));
        access_ends.max(deadline).unwrap_or_else(|| self.skew.server_time(now))
    }

    /// True while a pause lasts. One that would last longer than any pause can was written while a clock stood wrong
    /// (law 11), and is over; unless by so little that the clock was only measured anew since.
    pub(super) fn is_still_to_come(&self, until: UnixTime, longest: Duration, now: UnixTime) -> bool {
        let left = until.since(self.skew.server_time(now));
        let longest = i64::try_from(longest.as_secs()).unwrap_or(i64::MAX).saturating_add(Skew::AGREEMENT);
        (1..=longest).contains(&left)
    }

    /// Law 12: not before. A sibling's refresh has moved it on (law 3).
    fn is_past_refresh_at(&self, now: UnixTime) -> bool {
        self.refresh_at().is_some_and(|at| at <= self.skew.server_time(now))
    }

    fn is_renewal_due(&self, now: UnixTime) -> bool {
        let server_now = self.skew.server_time(now);
        // Tokens from the future were issued while a clock stood wrong: nobody knows how long they have been held.
        let refreshed_at = self.held.as_ref().and_then(|held| held.refreshed_at);
        let is_odd = refreshed_at.is_some_and(|at| at.since(server_now) > Skew::AGREEMENT);
        self.renew_at().is_some_and(|at| at <= server_now || is_odd)
    }

    /// True when the refresh token is past its date. It is tried all the same: the clock may be wrong.
    #[must_use]
    pub fn refresh_token_looks_expired(&self, now: UnixTime) -> bool {
        let expiry = self.held.as_ref().and_then(|held| held.refresh_expiry).map(Expiry::at);
        expiry.is_some_and(|at| at <= self.skew.server_time(now))
    }
}
