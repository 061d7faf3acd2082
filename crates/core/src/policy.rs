//! Every number of how the keeper waits, renews and tries again, in one place, each with its reason. The defaults come
//! from the profile; a connection may override each by name (`perennial policy NAME renew_after=3d`).

use crate::profile::{Profile, ReplayRule};
use crate::time::{parse_duration, write_duration};
use std::time::Duration;

/// The numbers that one connection is kept by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A refresh token is renewed at the latest after this long, or after half of its life if that is shorter: six
    /// months are seven days twenty-six times over, so that a fleet that is down for weeks loses nothing.
    pub renew_after: Duration,
    /// A rejection by the API (401, 403) forces at most one refresh in this time: a missing scope answers 403 for ever
    /// (law 12).
    pub rejection_pause: Duration,
    /// What the provider asks a client to wait after a timeout, a 5xx or announced maintenance.
    pub pause: Duration,
    /// The span of the first wait after a passing failure that asks for none of its own; it doubles each time.
    pub backoff_base: Duration,
    /// The longest such span: an outage of a day ends within a quarter of an hour for everyone.
    pub backoff_cap: Duration,
    /// The longest Retry-After that is honoured; a server that says more is asked again after this long.
    pub retry_after_cap: Duration,
    /// How often a code that the provider does not document is tried before the connection is suspended.
    pub unknown_code_tries: u32,
    /// What may be done with a refresh token whose last presentation had an unknown outcome (law 7).
    pub replay: ReplayRule,
}

/// One number: its name, what it means, and how it is read and written.
pub struct Number {
    /// The name, as a person writes it.
    pub name: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
    write: fn(&Policy) -> String,
    read: fn(&mut Policy, &str) -> Result<(), String>,
}

/// A number that is a duration.
macro_rules! duration {
    ($name:ident, $meaning:literal) => {
        Number {
            name: stringify!($name),
            meaning: $meaning,
            write: |policy| write_duration(policy.$name),
            read: |policy, text| {
                policy.$name = parse_duration(text)?;
                if policy.$name.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(()) }
            },
        }
    };
}

/// All numbers, in the order in which they are shown.
pub static NUMBERS: &[Number] = &[
    duration!(renew_after, "the refresh token is renewed after this long at the latest"),
    duration!(rejection_pause, "a rejection by the API forces at most one refresh in this time"),
    duration!(pause, "waited after a timeout, a 5xx, announced maintenance"),
    duration!(backoff_base, "span of the first wait after another passing failure; it doubles each time"),
    duration!(backoff_cap, "the longest such span"),
    duration!(retry_after_cap, "the longest Retry-After that is honoured"),
    Number {
        name: "unknown_code_tries",
        meaning: "how often an undocumented code is tried before the connection is suspended",
        write: |policy| policy.unknown_code_tries.to_string(),
        read: |policy, text| {
            let wrong = |_| format!("\"{text}\" is no number of tries; write it as 3");
            policy.unknown_code_tries = text.trim().parse().map_err(wrong)?;
            Ok(())
        },
    },
    Number {
        name: "replay",
        meaning: "may a refresh token be presented again after a lost answer: always, never, within:30s",
        write: |policy| policy.replay.to_string(),
        read: |policy, text| {
            policy.replay = text.parse()?;
            Ok(())
        },
    },
];

impl Policy {
    /// The numbers of a profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self {
            renew_after: Duration::from_secs(7 * 24 * 3600),
            rejection_pause: Duration::from_secs(5 * 60),
            pause: profile.pause,
            backoff_base: Duration::from_secs(5),
            backoff_cap: Duration::from_secs(15 * 60),
            retry_after_cap: Duration::from_secs(24 * 3600),
            unknown_code_tries: 3,
            replay: profile.replay,
        }
    }

    /// Sets a number by its name.
    ///
    /// # Errors
    /// In words for a person: there is no such number, or the text is no value of it.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let number = NUMBERS.iter().find(|number| number.name == name).ok_or_else(|| {
            let names: Vec<_> = NUMBERS.iter().map(|number| number.name).collect();
            format!("there is no number \"{name}\"; there are: {}", names.join(", "))
        })?;
        let mut changed = self.clone();
        (number.read)(&mut changed, text).map_err(|problem| format!("{name}: {problem}"))?;
        *self = changed;
        Ok(())
    }

    /// Every number by name, as it would be read again.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static Number, String)> + '_ {
        NUMBERS.iter().map(|number| (number, (number.write)(self)))
    }

    /// The numbers that are not the profile's own: what a store keeps.
    pub fn overrides<'a>(
        &'a self,
        profile: &Profile,
    ) -> impl Iterator<Item = (&'static str, String)> + use<'a> {
        let default = Self::of(profile);
        self.numbers()
            .zip(default.numbers().map(|(_, text)| text).collect::<Vec<_>>())
            .filter_map(|((number, text), default)| (text != default).then_some((number.name, text)))
    }

    /// No pause that this policy makes is longer: one that claims to be was written while a clock stood wrong.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        let longest = self.retry_after_cap.max(self.backoff_cap).max(self.pause);
        // Jitter adds up to a tenth, and a second.
        longest.saturating_add(longest / 10).saturating_add(Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::concur::CONCUR;

    #[test]
    fn what_is_written_is_read_back() {
        let mut policy = Policy::of(&CONCUR);
        for (name, text) in [("renew_after", "3d"), ("replay", "within:30s"), ("unknown_code_tries", "9")] {
            policy.set(name, text).unwrap();
        }
        let overrides: Vec<_> = policy.overrides(&CONCUR).collect();
        assert_eq!(overrides.len(), 3);
        let mut again = Policy::of(&CONCUR);
        for (name, text) in &overrides {
            again.set(name, text).unwrap();
        }
        assert_eq!(again, policy);
    }

    #[test]
    fn a_wrong_number_is_named_and_changes_nothing() {
        let mut policy = Policy::of(&CONCUR);
        for (name, text, says) in [
            ("renew_often", "3d", "there are: renew_after"),
            ("renew_after", "soon", "renew_after: \"soon\" is no duration"),
            ("pause", "0s", "longer than nothing"),
            ("replay", "perhaps", "always, never, within:30s"),
            ("unknown_code_tries", "-1", "is no number of tries"),
        ] {
            let problem = policy.set(name, text).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
        assert_eq!(policy, Policy::of(&CONCUR));
    }
}
