//! When to renew, how long to wait after a failure; the numbers are those of a [`Policy`]. Jitter is an argument: a
//! number from 0 (inclusive) to 1 (exclusive), so that a fleet does not march in step and a test can say exactly what
//! happens.

use crate::policy::Policy;
use crate::time::UnixTime;
use std::time::Duration;

/// A random number in `[0, 1)`, drawn by the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// The least there is.
    pub const LEAST: Self = Self(0.0);

    /// Takes a number; what is outside `[0, 1)` is brought to its nearer end.
    #[must_use]
    pub fn new(fraction: f64) -> Self {
        Self(if fraction.is_finite() { fraction.clamp(0.0, 1.0 - f64::EPSILON) } else { 0.0 })
    }

    /// A point between `low` and `high`, in seconds.
    fn between(self, low: i64, high: i64) -> i64 {
        let span = (high - low).max(0);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "seconds of a token's life"
        )]
        let offset = (span as f64 * self.0) as i64;
        low + offset
    }
}

/// A token is handed out when it lives at least this long yet, unless the caller says otherwise: a call that SAP
/// answers within its 60 s still arrives with a valid token.
pub const DEFAULT_MIN_TTL: Duration = Duration::from_secs(60);

/// What SAP asks for after a timeout or a 503: wait five minutes, then retry [http-status-codes].
pub const SAP_PAUSE: Duration = Duration::from_secs(5 * 60);

/// From when on a refresh token is renewed though nobody asked for an access token: when it has been held for
/// [`Policy::renew_after`] or half of its life, whichever comes first, less up to a tenth of that.
#[must_use]
pub fn renew_at(refreshed: UnixTime, expires: Option<UnixTime>, policy: &Policy, jitter: Jitter) -> UnixTime {
    let longest = i64::try_from(policy.renew_after.as_secs()).unwrap_or(i64::MAX);
    // An end that had passed when it was issued says nothing: a server that never moves it would be asked at each call.
    let half_life =
        expires.map(|expires| expires.since(refreshed) / 2).filter(|half| *half > 0).unwrap_or(longest);
    let held = half_life.min(longest);
    refreshed.plus(held - jitter.between(0, held / 10))
}

/// From when on the access token of a connection that is asked for is replaced before it ends: when three quarters of its
/// life are over, or up to nine tenths. Callers are served from the old one meanwhile, and none of them waits. `None` where
/// the life is none.
#[must_use]
pub fn refresh_at(issued: UnixTime, expires: UnixTime, jitter: Jitter) -> Option<UnixTime> {
    let life = expires.since(issued);
    (life > 0).then(|| issued.plus(jitter.between(life - life / 4, life - life / 10)))
}

/// How long to wait after the `failures`-th passing failure in a row (1 for the first): full jitter over an
/// exponentially growing span, so that those who failed together do not come back together.
///
/// `asked` is what the server (Retry-After) or its documentation asks for; it is never undercut, and spread by up to
/// a tenth so that a whole fleet does not return in one second.
#[must_use]
pub fn backoff(failures: u32, asked: Option<Duration>, policy: &Policy, jitter: Jitter) -> Duration {
    match asked {
        Some(asked) => {
            let seconds = i64::try_from(asked.min(policy.retry_after_cap).as_secs()).unwrap_or(i64::MAX / 2);
            seconds_of(seconds + jitter.between(0, seconds / 10 + 1))
        }
        None => spread(policy.backoff_base, policy.backoff_cap, failures, jitter),
    }
}

/// A second, and a random part of a span that doubles with each failure: from `base` after the first, up to `cap`.
#[must_use]
pub fn spread(base: Duration, cap: Duration, failures: u32, jitter: Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let span = base.as_secs().saturating_mul(1 << doublings).min(cap.as_secs());
    seconds_of(1 + jitter.between(0, i64::try_from(span).unwrap_or(i64::MAX / 2)))
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::concur::CONCUR;

    const MOST: Jitter = Jitter(1.0 - f64::EPSILON);
    const DAY: i64 = 24 * 3600;

    fn renewed(expires: Option<i64>, jitter: Jitter) -> i64 {
        renew_at(UnixTime(0), expires.map(UnixTime), &Policy::of(&CONCUR), jitter).0
    }

    fn waited(failures: u32, asked: Option<u64>, jitter: Jitter) -> Duration {
        backoff(failures, asked.map(Duration::from_secs), &Policy::of(&CONCUR), jitter)
    }

    #[test]
    fn renewal_comes_after_seven_days_or_half_the_life() {
        assert_eq!(renewed(Some(183 * DAY), Jitter::LEAST), 7 * DAY);
        assert_eq!(renewed(Some(2 * DAY), Jitter::LEAST), DAY);
        assert_eq!(renewed(None, Jitter::LEAST), 7 * DAY);
        assert!(renewed(None, MOST) >= 6 * DAY);
    }

    #[test]
    fn law_12_an_end_that_had_passed_when_it_was_issued_is_no_reason_to_ask_at_each_call() {
        assert_eq!(renewed(Some(-50), Jitter::LEAST), 7 * DAY);
    }

    #[test]
    fn law_12_a_token_is_replaced_in_the_last_quarter_of_its_life_and_before_its_last_tenth() {
        let replaced = |life, jitter| refresh_at(UnixTime(0), UnixTime(life), jitter).map(|at| at.0);
        assert_eq!(replaced(3600, Jitter::LEAST), Some(2700));
        assert!((3230..=3240).contains(&replaced(3600, MOST).unwrap()));
        for nonsense in [0, -1, i64::MIN] {
            assert_eq!(replaced(nonsense, Jitter::LEAST), None);
        }
        assert_eq!(replaced(1, Jitter::LEAST), Some(1), "not before it was issued, nor after it has ended");
        assert!(replaced(i64::MAX, MOST).is_some());
    }

    #[test]
    fn backoff_grows_and_is_capped() {
        let cap = Policy::of(&CONCUR).backoff_cap;
        assert_eq!(waited(1, None, Jitter::LEAST), Duration::from_secs(1));
        assert!(waited(1, None, MOST) <= Duration::from_secs(6));
        assert!(waited(40, None, MOST) <= cap + Duration::from_secs(1));
        assert!(waited(40, None, MOST) > cap / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_never_undercut() {
        assert_eq!(waited(1, Some(300), Jitter::LEAST), Duration::from_secs(300));
        assert!(waited(1, Some(300), MOST) <= Duration::from_secs(331));
        assert!(waited(1, Some(u64::MAX), MOST) <= Policy::of(&CONCUR).longest_pause());
    }
}
