//! Who has failed to say who they are too often: turned away for the rest of the minute, whatever they show. It bounds
//! the work and the log that guessing costs; the keys themselves are too long to be guessed.

use super::From;
use perennial::core::UnixTime;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many addresses are remembered at a time; more of them in a minute, and the oldest minute is forgotten.
const MOST: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Failures {
    allowed: AtomicU32,
    /// Which minute, and how often in it.
    by_address: Mutex<HashMap<IpAddr, (i64, u32)>>,
}

impl Failures {
    pub(crate) fn new(allowed: u32) -> Self {
        Self { allowed: AtomicU32::new(allowed), by_address: Mutex::default() }
    }

    pub(crate) fn allow(&self, allowed: u32) {
        self.allowed.store(allowed, Ordering::Relaxed);
    }

    /// How long it is turned away yet.
    pub(crate) fn turned_away(&self, from: &From, now: UnixTime) -> Option<Duration> {
        let From::Tcp(address) = from else { return None };
        let by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let (minute, failures) = by_address.get(&network(*address))?;
        let is_over = *minute == now.0.div_euclid(60) && *failures >= self.allowed.load(Ordering::Relaxed);
        is_over.then(|| Duration::from_secs(60 - now.0.rem_euclid(60).unsigned_abs()))
    }

    pub(crate) fn note(&self, from: &From, now: UnixTime) {
        let From::Tcp(address) = from else { return };
        let minute = now.0.div_euclid(60);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if by_address.len() >= MOST {
            by_address.retain(|_, (then, _)| *then == minute);
        }
        if by_address.len() >= MOST {
            by_address.clear();
        }
        let entry = by_address.entry(network(*address)).or_insert((minute, 0));
        *entry = if entry.0 == minute { (minute, entry.1.saturating_add(1)) } else { (minute, 1) };
    }
}

/// Whoever has one IPv6 address has the whole /64 as a rule.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_is_turned_away_for_the_rest_of_the_minute() {
        let failures = Failures::new(3);
        let from = |text: &str| From::Tcp(text.parse().unwrap());
        let now = UnixTime(1_800_000_015);
        for _ in 0..3 {
            assert_eq!(failures.turned_away(&from("2001:db8::1"), now), None);
            failures.note(&from("2001:db8::1"), now);
        }
        assert_eq!(
            failures.turned_away(&from("2001:db8::2"), now),
            Some(Duration::from_secs(45)),
            "the same network"
        );
        assert_eq!(failures.turned_away(&from("2001:db8:0:1::2"), now), None, "another one");
        assert_eq!(failures.turned_away(&from("2001:db8::1"), now.plus(45)), None, "the next minute");
    }

    #[test]
    fn no_crowd_of_addresses_fills_the_memory() {
        let failures = Failures::new(3);
        for number in 0..u32::try_from(MOST).unwrap() * 2 {
            failures.note(&From::Tcp(IpAddr::V4(number.into())), UnixTime(0));
        }
        assert!(failures.by_address.lock().unwrap().len() <= MOST);
    }
}
