//! What is told, and of whom: the part of the configuration that the rules need.

use super::alert::DAY;
use super::condition::Level;
use crate::config::{self, AlertEvent, Glob};

/// The days before a refresh token ends, where nobody names others.
const DAYS: [u32; 4] = [90, 30, 7, 1];

/// What is told, and of whom.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Falling.
    pub(super) days: Vec<u32>,
    events: Option<Vec<AlertEvent>>,
    connections: Option<Vec<Glob>>,
}

impl Wanted {
    pub(super) fn of(config: &config::Alerts) -> Self {
        let mut days = config.dies_in_days.clone().unwrap_or_else(|| DAYS.to_vec());
        days.sort_unstable_by(|one, other| other.cmp(one));
        days.dedup();
        Self { days, events: config.events.clone(), connections: config.connections.clone() }
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.connections.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(name)))
    }

    pub(super) fn event(&self, event: AlertEvent) -> bool {
        self.events.as_ref().is_none_or(|events| events.contains(&event))
    }

    /// The bell that has rung when so many seconds are left. One that is further from the end than the token's whole
    /// life would ring with every renewal, and says nothing.
    pub(super) fn bell(&self, left: i64, life: Option<i64>) -> Option<Level> {
        let seconds = |days: u32| i64::from(days) * DAY;
        let rung = self.days.iter().filter(|days| left <= seconds(**days));
        let days = rung.filter(|days| life.is_none_or(|life| seconds(**days) < life)).min()?;
        Some(Level { rank: u32::MAX - days, label: days.to_string() })
    }
}
