//! Law 12: a server that fails for all is asked by one probe at a time. One breaker stands for one authorization
//! server; what opens it are failures of the server (no connection, no answer, 5xx), never a refusal of one grant.

use crate::schedule::{self, Jitter};
use crate::time::UnixTime;
use std::time::Duration;

/// This many failures in a row, of any connections, open the breaker.
pub const OPENS_AFTER: u32 = 5;

/// The span of the first pause; it doubles each time a probe fails, up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// The longest pause between two probes.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// How a server is doing, as far as this process knows. Times are those of a clock that nobody sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breaker {
    /// Requests go out.
    #[default]
    Closed,
    /// It has failed this often in a row; requests still go out.
    Shaky {
        /// Failures in a row.
        failures: u32,
    },
    /// Nothing goes out before `until`.
    Open {
        /// When a probe may be made.
        until: UnixTime,
        /// How many probes have failed.
        probes: u32,
    },
    /// One probe is under way; all others wait for what it finds.
    HalfOpen {
        /// When another one may be made, if this one is never heard of again.
        until: UnixTime,
        /// How many probes have failed before.
        probes: u32,
    },
}

/// Whether a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Yes.
    Free,
    /// Yes, as the one probe.
    Probe,
    /// Not before this time.
    Shut(UnixTime),
}

impl Breaker {
    /// Asks for passage. A probe takes `patience` at most.
    #[must_use]
    pub fn ask(self, now: UnixTime, patience: Duration) -> (Self, Passage) {
        match self {
            Self::Closed | Self::Shaky { .. } => (self, Passage::Free),
            Self::Open { until, .. } | Self::HalfOpen { until, .. } if until > now => {
                (self, Passage::Shut(until))
            }
            Self::Open { probes, .. } | Self::HalfOpen { probes, .. } => {
                (Self::HalfOpen { until: now.after(patience), probes }, Passage::Probe)
            }
        }
    }

    /// The server answered in words of its own, whatever it said.
    #[must_use]
    pub fn answered(self) -> Self {
        Self::Closed
    }

    /// The server failed.
    #[must_use]
    pub fn failed(self, now: UnixTime, jitter: Jitter) -> Self {
        let open = |probes: u32| {
            let pause = schedule::spread(FIRST_PAUSE, LONGEST_PAUSE, probes, jitter);
            Self::Open { until: now.after(pause), probes }
        };
        match self {
            Self::Closed => Self::Shaky { failures: 1 },
            Self::Shaky { failures } if failures.saturating_add(1) < OPENS_AFTER => {
                Self::Shaky { failures: failures + 1 }
            }
            Self::Shaky { .. } => open(1),
            Self::HalfOpen { probes, .. } => open(probes.saturating_add(1)),
            // A request that went out before it opened.
            Self::Open { .. } => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn opened() -> Breaker {
        (0..OPENS_AFTER).fold(Breaker::Closed, |breaker, _| breaker.failed(NOW, Jitter::LEAST))
    }

    #[test]
    fn law_12_a_server_that_fails_for_all_is_asked_by_one_probe_at_a_time() {
        let Breaker::Open { until, .. } = opened() else { panic!("it is open") };
        assert_eq!(opened().ask(NOW, PATIENCE).1, Passage::Shut(until));
        let (probing, passage) = opened().ask(until, PATIENCE);
        assert_eq!(passage, Passage::Probe);
        assert_eq!(probing.ask(until, PATIENCE).1, Passage::Shut(until.after(PATIENCE)), "one at a time");
        assert_eq!(probing.answered(), Breaker::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_and_one_that_is_lost_does_not_shut_it_for_ever() {
        let most = Jitter::new(1.0);
        let (mut breaker, mut now, mut longest) = (opened(), NOW, 0);
        for _ in 0..12 {
            let Breaker::Open { until, .. } = breaker else { panic!("{breaker:?}") };
            longest = until.since(now).max(longest);
            now = until;
            breaker = breaker.ask(now, PATIENCE).0.failed(now, most);
        }
        assert!(longest > 200 && longest <= 302, "{longest}");
        let (probing, _) = breaker.ask(now.plus(1000), PATIENCE);
        assert_eq!(probing.ask(now.plus(1060), PATIENCE).1, Passage::Probe);
    }

    #[test]
    fn one_answer_is_enough_to_forget_failures() {
        let shaky = Breaker::Closed.failed(NOW, Jitter::LEAST).failed(NOW, Jitter::LEAST);
        assert_eq!(shaky.answered(), Breaker::Closed);
        assert_eq!(shaky.ask(NOW, PATIENCE).1, Passage::Free);
    }
}
