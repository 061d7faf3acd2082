//! What is not to be looked at again before some time has passed: the agenda goes on offering it, for nothing that stands
//! in the store says that it cannot be renewed now. Bounded: what does not fit is looked at again early.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many are remembered: ten megabytes.
const MOST: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Rests {
    until: BTreeMap<String, Duration>,
    in_turn: BTreeSet<(Duration, String)>,
}

impl Rests {
    /// Lets one rest until then, by the time since boot.
    pub(super) fn rest(&mut self, name: String, until: Duration) {
        if let Some(before) = self.until.insert(name.clone(), until) {
            self.in_turn.remove(&(before, name.clone()));
        }
        self.in_turn.insert((until, name));
        if self.in_turn.len() > MOST
            && let Some((_, name)) = self.in_turn.pop_first()
        {
            self.until.remove(&name);
        }
    }

    /// Forgets those that have rested.
    pub(super) fn wake(&mut self, here: Duration) {
        while self.in_turn.first().is_some_and(|(until, _)| *until <= here) {
            if let Some((_, name)) = self.in_turn.pop_first() {
                self.until.remove(&name);
            }
        }
    }

    /// True when none is remembered any more but in place of another.
    pub(super) fn is_full(&self) -> bool {
        self.in_turn.len() >= MOST
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &String> {
        self.until.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn each_rests_as_long_as_was_said_last() {
        let mut rests = Rests::default();
        for (name, until) in [("a", 5), ("b", 9), ("a", 20)] {
            rests.rest(name.to_owned(), seconds(until));
        }
        rests.wake(seconds(8));
        assert_eq!(rests.names().collect::<Vec<_>>(), ["a", "b"]);
        rests.wake(seconds(9));
        assert_eq!(rests.names().collect::<Vec<_>>(), ["a"]);
        rests.wake(seconds(20));
        assert_eq!(rests.names().count(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut rests = Rests::default();
        (0..MOST as u64 + 10).for_each(|number| rests.rest(number.to_string(), seconds(number)));
        assert!(rests.is_full());
        assert_eq!((rests.names().count(), rests.in_turn.len()), (MOST, MOST));
        assert!(rests.names().all(|name| name != "0"), "who would have woken first");
    }
}
