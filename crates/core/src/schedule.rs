//! When to renew, how long to wait after a failure. All numbers of the policy stand here, each with
//! its reason. Jitter is an argument: a number from 0 (inclusive) to 1 (exclusive), so that a fleet does not march in
//! step and a test can say exactly what happens.

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

/// A refresh token is renewed at the latest after this long, whatever its own life: six months are seven days
/// twenty-six times over, so that a fleet that is down for weeks loses nothing.
pub const RENEW_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A rejection by the API (401, 403) forces at most one refresh in this time: a missing scope answers 403 for ever
/// (law 12).
pub const REJECTION_PAUSE: Duration = Duration::from_secs(5 * 60);

/// What SAP asks for after a timeout or a 503: wait five minutes, then retry [http-status-codes].
pub const SAP_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The first wait after a passing failure that asks for none of its own.
pub const BACKOFF_BASE: Duration = Duration::from_secs(5);

/// The longest wait between two tries: an outage of a day ends within a quarter of an hour for everyone.
pub const BACKOFF_CAP: Duration = Duration::from_secs(15 * 60);

/// The longest Retry-After that is honoured; a server that says more is asked again after this long.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(24 * 3600);

/// From when on a refresh token is renewed though nobody asked for an access token: when it has been held for seven
/// days or half of its life, whichever comes first, less up to a tenth of that.
#[must_use]
pub fn renew_at(refreshed: UnixTime, expires: Option<UnixTime>, jitter: Jitter) -> UnixTime {
    let longest = i64::try_from(RENEW_AFTER.as_secs()).unwrap_or(i64::MAX);
    // An end that had passed when it was issued says nothing: a server that never moves it would be asked at each call.
    let half_life =
        expires.map(|expires| expires.since(refreshed) / 2).filter(|half| *half > 0).unwrap_or(longest);
    let held = half_life.min(longest);
    refreshed.plus(held - jitter.between(0, held / 10))
}

/// How long to wait after the `failures`-th passing failure in a row (1 for the first): full jitter over an
/// exponentially growing span, so that those who failed together do not come back together.
///
/// `asked` is what the server (Retry-After) or its documentation asks for; it is never undercut, and spread by up to
/// a tenth so that a whole fleet does not return in one second.
#[must_use]
pub fn backoff(failures: u32, asked: Option<Duration>, jitter: Jitter) -> Duration {
    if let Some(asked) = asked {
        let seconds = i64::try_from(asked.min(RETRY_AFTER_CAP).as_secs()).unwrap_or(i64::MAX / 2);
        return seconds_of(seconds + jitter.between(0, seconds / 10 + 1));
    }
    let doublings = failures.saturating_sub(1).min(16);
    let span = (BACKOFF_BASE.as_secs() << doublings).min(BACKOFF_CAP.as_secs());
    seconds_of(1 + jitter.between(0, i64::try_from(span).unwrap_or(i64::MAX / 2)))
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Jitter = Jitter(1.0 - f64::EPSILON);

    #[test]
    fn renewal_comes_after_seven_days_or_half_the_life() {
        let day = 24 * 3600;
        let six_months = UnixTime(183 * day);
        assert_eq!(renew_at(UnixTime(0), Some(six_months), Jitter::LEAST), UnixTime(7 * day));
        assert_eq!(renew_at(UnixTime(0), Some(UnixTime(2 * day)), Jitter::LEAST), UnixTime(day));
        assert_eq!(renew_at(UnixTime(0), None, Jitter::LEAST), UnixTime(7 * day));
        assert!(renew_at(UnixTime(0), None, MOST) >= UnixTime(6 * day));
    }

    #[test]
    fn law_12_an_end_that_had_passed_when_it_was_issued_is_no_reason_to_ask_at_each_call() {
        assert_eq!(renew_at(UnixTime(100), Some(UnixTime(50)), Jitter::LEAST), UnixTime(100 + 7 * 24 * 3600));
    }

    #[test]
    fn backoff_grows_and_is_capped() {
        assert_eq!(backoff(1, None, Jitter::LEAST), Duration::from_secs(1));
        assert!(backoff(1, None, MOST) <= Duration::from_secs(6));
        assert!(backoff(40, None, MOST) <= BACKOFF_CAP + Duration::from_secs(1));
        assert!(backoff(40, None, MOST) > BACKOFF_CAP / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_never_undercut() {
        let asked = Duration::from_secs(300);
        assert_eq!(backoff(1, Some(asked), Jitter::LEAST), asked);
        assert!(backoff(1, Some(asked), MOST) <= Duration::from_secs(331));
        assert!(backoff(1, Some(Duration::from_secs(u64::MAX)), MOST) <= RETRY_AFTER_CAP * 2);
    }
}
