//! One condition over time: when it is told that it began, grew worse, ended. What flaps is told ever more rarely.

use perennial::core::UnixTime;
use serde::{Deserialize, Serialize};

/// What ended is told after it has stayed away for this long, so that a blip is one message or none.
const SETTLE: i64 = 120;
/// The longest such wait: it doubles with each time that the condition came back.
const LONGEST_SETTLE: i64 = 6 * 3600;
/// A condition that stayed away for so long is forgotten. More than a day: ids are unique within a day and condition.
const FORGET: i64 = 2 * 24 * 3600;

/// How bad it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Level {
    /// The greater the worse.
    pub(super) rank: u32,
    /// In a word: the state, the days.
    pub(super) label: String,
}

/// How such a condition is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// It is told only after it lasted so many seconds.
    pub(super) grace: i64,
    /// Its end is told at once, and what is less bad is not told: it cannot flap.
    pub(super) steady: bool,
}

/// What to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    /// It began, or is another one now.
    Began,
    Recovered,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condition {
    /// The connection's name, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// What has been told and not been taken back.
    pub(super) told: Option<Level>,
    /// How it was seen last.
    #[serde(skip)]
    pub(super) seen: Option<Level>,
    /// Since when it is seen like that.
    pub(super) since: i64,
    /// How often it was told.
    pub(super) times: u32,
    /// For a refresh token: the end that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<i64>,
    /// How long it must last before it is told; to know when to look again.
    #[serde(skip)]
    pub(super) grace: i64,
}

impl Condition {
    /// Takes in how it is now.
    pub(super) fn step(&mut self, level: Option<Level>, manner: Manner, now: UnixTime) -> Tell {
        let rank = |level: &Option<Level>| level.as_ref().map(|level| level.rank);
        // A clock that was set back does not make anything last for ever.
        if rank(&self.seen) != rank(&level) || self.since > now.0 {
            self.since = now.0;
        }
        self.seen = level;
        self.grace = manner.grace;
        let lasted = now.0 - self.since;
        let settled = manner.steady || lasted >= self.settle();
        match (&self.told, &self.seen) {
            (None, Some(_)) if lasted >= manner.grace => self.tell(),
            (Some(told), Some(seen)) if seen.rank > told.rank && lasted >= manner.grace => self.tell(),
            (Some(told), Some(seen)) if seen.rank < told.rank && manner.steady => {
                self.told = Some(seen.clone());
                Tell::Nothing
            }
            (Some(told), Some(seen)) if seen.rank < told.rank && settled && lasted >= manner.grace => {
                self.tell()
            }
            (Some(_), None) if settled => {
                self.told = None;
                Tell::Recovered
            }
            _ => Tell::Nothing,
        }
    }

    fn tell(&mut self) -> Tell {
        self.told.clone_from(&self.seen);
        self.times = self.times.saturating_add(1);
        Tell::Began
    }

    fn settle(&self) -> i64 {
        let doubled = self.times.saturating_sub(1).min(16);
        (SETTLE << doubled).min(LONGEST_SETTLE)
    }

    /// Time decides something about it, so that it must be looked at again.
    pub(super) fn wants_a_look(&self, now: UnixTime) -> bool {
        let lasted = now.0 - self.since;
        match (&self.told, &self.seen) {
            (None, Some(_)) => lasted >= self.grace,
            (Some(_), None) => lasted >= self.settle(),
            (Some(told), Some(seen)) if told.rank != seen.rank => lasted >= self.grace.max(self.settle()),
            _ => false,
        }
    }

    /// It is known to be as it was told, though nothing can be said of it now.
    pub(super) fn stays_as_told(&mut self) {
        self.seen.clone_from(&self.told);
    }

    /// It has been away for so long that nothing need be known of it.
    pub(super) fn is_over(&self, now: UnixTime) -> bool {
        self.told.is_none() && self.seen.is_none() && (self.times == 0 || now.0 - self.since >= FORGET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn run(story: &[(i64, Option<u32>)], manner: Manner) -> Vec<(i64, Tell)> {
        let mut condition = Condition::default();
        let mut told = Vec::new();
        for (at, rank) in story {
            let level = rank.map(|rank| Level { rank, label: rank.to_string() });
            let tell = condition.step(level, manner, NOW.plus(*at));
            if tell != Tell::Nothing {
                told.push((*at, tell));
            }
        }
        told
    }

    #[test]
    fn each_story_is_told_as_it_should_be() {
        use Tell::{Began, Recovered};
        let at_once = Manner { grace: 0, steady: false };
        let patient = Manner { grace: 60, steady: false };
        let steady = Manner { grace: 0, steady: true };
        for (what, story, manner, told) in [
            ("told once", vec![(0, Some(1)), (5, Some(1)), (9_999, Some(1))], at_once, vec![(0, Began)]),
            (
                "a blip",
                vec![(0, Some(1)), (30, None), (31, Some(1)), (95, Some(1))],
                patient,
                vec![(95, Began)],
            ),
            ("worse", vec![(0, Some(1)), (5, Some(2)), (6, Some(2))], at_once, vec![(0, Began), (5, Began)]),
            (
                "better, told late",
                vec![(0, Some(2)), (5, Some(1)), (124, Some(1)), (125, Some(1))],
                at_once,
                vec![(0, Began), (125, Began)],
            ),
            (
                "over",
                vec![(0, Some(1)), (10, None), (129, None), (130, None), (999, None)],
                at_once,
                vec![(0, Began), (130, Recovered)],
            ),
            (
                "back before it was over",
                vec![(0, Some(1)), (10, None), (100, Some(1)), (110, None), (229, None)],
                at_once,
                vec![(0, Began)],
            ),
            (
                "steady ends at once",
                vec![(0, Some(1)), (10, None)],
                steady,
                vec![(0, Began), (10, Recovered)],
            ),
            (
                "steady and less bad is not told",
                vec![(0, Some(3)), (10, Some(1)), (20, Some(2))],
                steady,
                vec![(0, Began), (20, Began)],
            ),
            (
                "the clock goes back",
                vec![(0, Some(1)), (-86_400, Some(1)), (-86_330, Some(1))],
                patient,
                vec![(-86_330, Began)],
            ),
        ] {
            assert_eq!(run(&story, manner), told, "{what}");
        }
    }

    #[test]
    fn what_flaps_for_a_day_is_told_a_few_times() {
        let story: Vec<_> =
            (0..24 * 60).map(|minute| (minute * 60, (minute / 10 % 2 == 0).then_some(1))).collect();
        let told = run(&story, Manner { grace: 0, steady: false });
        assert!(told.len() <= 8, "{told:?}");
    }
}
