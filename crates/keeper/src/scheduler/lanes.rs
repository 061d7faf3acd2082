//! A lane for each authorization server: who waits for it, and how many may fly at a time. That number begins small, grows
//! with each answer and shrinks with each failure, so that a server that comes back after an outage is not met by all at
//! once (law 12). The breaker goes before it: while it is open, one probe at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// So many fly at a time at first.
const AT_FIRST: usize = 4;

/// So many names are remembered that found no room in their lanes: ten megabytes.
const MOST_OUTSIDE: usize = 100_000;

/// A connection that waits for its flight.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) name: String,
    /// The generation that was seen: another one afterwards means that it was renewed.
    pub(super) generation: u64,
}

/// Where somebody has come to stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// In his lane.
    Inside,
    /// Remembered until there is room.
    Outside(String),
    /// Not even that.
    Nowhere(String),
}

/// How a server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It answered for itself, whatever it said.
    Well,
    /// It failed.
    Failing,
    /// It was not asked.
    Unknown,
}

#[derive(Debug)]
struct Lane {
    /// The most urgent in front.
    waiting: VecDeque<Waiting>,
    /// Those that found no room: the agenda need not offer them again before there is some, so that it offers those of
    /// other servers.
    outside: BTreeSet<String>,
    under_way: usize,
    width: usize,
    /// Nothing is begun before, by the time since boot.
    shut_until: Duration,
}

/// All lanes, by the servers' origins.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: BTreeMap<String, Lane>,
    widest: usize,
    longest: usize,
    waiting: usize,
    outside: usize,
    /// Whose turn it was last.
    last: String,
}

impl Lanes {
    /// So many may fly at a time, and so many wait, for one server.
    pub(super) fn new(widest: usize, longest: usize) -> Self {
        Self { lanes: BTreeMap::new(), widest, longest, waiting: 0, outside: 0, last: String::new() }
    }

    /// How many wait in all.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many of them could fly if others landed: their servers may be asked.
    pub(super) fn waiting_for_others(&self, here: Duration) -> usize {
        let open = self.lanes.values().filter(|lane| lane.shut_until <= here);
        open.map(|lane| lane.waiting.len()).sum()
    }

    /// How many found no room in their lanes.
    pub(super) fn how_many_outside(&self) -> usize {
        self.outside
    }

    /// Those that found no room in their lanes.
    pub(super) fn outside(&self) -> impl Iterator<Item = &String> {
        self.lanes.values().flat_map(|lane| &lane.outside)
    }

    /// Puts one at the end of its lane, or outside, where that is too long. Too many outside come back.
    pub(super) fn push(&mut self, base: String, waiting: Waiting) -> Placed {
        let lane = self.lanes.entry(base).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            outside: BTreeSet::new(),
            under_way: 0,
            width: AT_FIRST.min(self.widest),
            shut_until: Duration::ZERO,
        });
        if lane.waiting.len() < self.longest {
            lane.waiting.push_back(waiting);
            self.waiting += 1;
            return Placed::Inside;
        }
        if self.outside >= MOST_OUTSIDE {
            return Placed::Nowhere(waiting.name);
        }
        self.outside += usize::from(lane.outside.insert(waiting.name.clone()));
        Placed::Outside(waiting.name)
    }

    /// Forgets those outside where their lane is half empty by now; true where there were any: the agenda offers them
    /// again.
    pub(super) fn let_in(&mut self) -> bool {
        let half = self.longest / 2;
        let with_room =
            self.lanes.values_mut().filter(|lane| lane.waiting.len() <= half && !lane.outside.is_empty());
        let came: usize = with_room.map(|lane| std::mem::take(&mut lane.outside).len()).sum();
        self.outside -= came;
        came > 0
    }

    /// The next one that may fly, and to whom; servers take turns.
    pub(super) fn next(&mut self, here: Duration) -> Option<(String, Waiting)> {
        let may = |(_, lane): &(&String, &mut Lane)| lane.may_begin() && lane.shut_until <= here;
        let behind = (std::ops::Bound::Excluded(self.last.clone()), std::ops::Bound::Unbounded);
        let found = self.lanes.range_mut(behind).find(may).map(|(base, _)| base.clone());
        let base = found.or_else(|| self.lanes.iter_mut().find(may).map(|(base, _)| base.clone()))?;
        let lane = self.lanes.get_mut(&base)?;
        let waiting = lane.waiting.pop_front()?;
        lane.under_way += 1;
        self.waiting -= 1;
        self.last.clone_from(&base);
        Some((base, waiting))
    }

    /// A flight to this server is over.
    pub(super) fn landed(&mut self, base: &str, health: Health) {
        let Some(lane) = self.lanes.get_mut(base) else { return };
        lane.under_way = lane.under_way.saturating_sub(1);
        match health {
            Health::Well => lane.width = (lane.width + 1).min(self.widest),
            Health::Failing => lane.width = (lane.width / 2).max(1),
            Health::Unknown => {}
        }
    }

    /// The breaker let nobody through until then: the one that asked waits on, in front of all others, and is alone with
    /// the server when it may be asked again.
    pub(super) fn shut(&mut self, base: &str, until: Duration, waiting: Waiting) {
        let Some(lane) = self.lanes.get_mut(base) else { return };
        lane.under_way = lane.under_way.saturating_sub(1);
        lane.shut_until = lane.shut_until.max(until);
        lane.width = 1;
        lane.waiting.push_front(waiting);
        self.waiting += 1;
    }

    /// When the next lane opens in which somebody could begin.
    pub(super) fn opens_at(&self, here: Duration) -> Option<Duration> {
        let shut = self.lanes.values().filter(|lane| lane.may_begin() && lane.shut_until > here);
        shut.map(|lane| lane.shut_until).min()
    }
}

impl Lane {
    fn may_begin(&self) -> bool {
        self.under_way < self.width && !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn one(name: &str) -> Waiting {
        Waiting { name: name.to_owned(), generation: 1 }
    }

    fn begun(lanes: &mut Lanes) -> Vec<String> {
        std::iter::from_fn(|| lanes.next(NOW).map(|(_, waiting)| waiting.name)).collect()
    }

    #[test]
    fn law_12_a_server_is_asked_by_more_and_more_and_by_one_where_it_fails() {
        let mut lanes = Lanes::new(6, 100);
        (0..40).for_each(|number| drop(lanes.push("a".into(), one(&number.to_string()))));
        assert_eq!(begun(&mut lanes), ["0", "1", "2", "3"], "the most urgent first");
        (0..4).for_each(|_| lanes.landed("a", Health::Well));
        assert_eq!(begun(&mut lanes).len(), 6, "no more than an administrator allows");
        (0..6).for_each(|_| lanes.landed("a", Health::Failing));
        assert_eq!(begun(&mut lanes), ["10"]);
        lanes.shut("a", NOW + Duration::from_secs(5), one("10"));
        assert_eq!((begun(&mut lanes).len(), lanes.opens_at(NOW)), (0, Some(NOW + Duration::from_secs(5))));
        assert_eq!(
            lanes.next(NOW + Duration::from_secs(5)),
            Some(("a".into(), one("10"))),
            "it is its turn still"
        );
        assert_eq!(lanes.next(NOW + Duration::from_secs(5)), None, "one probe");
        assert_eq!(lanes.waiting(), 29);
    }

    #[test]
    fn one_server_keeps_nobody_from_another() {
        let mut lanes = Lanes::new(4, 8);
        (0..8).for_each(|number| drop(lanes.push("a".into(), one(&number.to_string()))));
        assert_eq!(lanes.push("a".into(), one("too many")), Placed::Outside("too many".into()));
        ["x", "y"].into_iter().for_each(|name| drop(lanes.push("b".into(), one(name))));
        assert!(!lanes.let_in(), "there is no room yet");
        assert_eq!(begun(&mut lanes), ["0", "x", "1", "y", "2", "3"]);
        assert_eq!(lanes.outside().collect::<Vec<_>>(), ["too many"]);
        assert!(lanes.let_in() && !lanes.let_in());
        assert_eq!((lanes.outside().count(), lanes.waiting_for_others(NOW)), (0, 4));
    }
}
