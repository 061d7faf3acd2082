//! What has changed since: whatever changes a connection leaves an entry in the journal with the same write. Entries draw
//! their numbers before they become visible, so that one may appear behind others that were drawn later. But no number is
//! left out when they are drawn: a gap is one that is still to come, or was rolled back. Gaps are looked after for a while.

use super::failure::Stop;
use super::link::Link;
use super::row::get;
use super::server::Server;
use crate::store::{Changes, StoreError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;

/// A number that has not appeared after this long was rolled back: no transaction of ours takes as long.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);
/// So many gaps are looked after; one that is given up early makes everybody look at each connection.
const MOST_GAPS: usize = 10_000;
/// So far back gaps are looked for at first: what was drawn then and is not visible yet.
const LOOKED_BACK: i64 = 1_000;
/// So many entries are looked at in one go.
const AT_ONCE: i64 = 2_000;
/// So many changes are remembered; whoever was away for longer looks at each connection.
const REMEMBERED: usize = 50_000;

/// An entry that has become visible, and the connection that it tells of: none of another tenant's.
pub(super) type Seen = (i64, Option<String>);

/// What was read.
#[derive(Default)]
pub(super) struct Found {
    pub(super) seen: Vec<Seen>,
    /// The largest number that there is; 0 where there is none.
    pub(super) newest: i64,
}

/// What this store object has seen becoming visible, in the order in which it saw it. A mark counts that.
#[derive(Default)]
pub(super) struct Feed {
    /// The largest number that was seen.
    highest: Option<i64>,
    /// Smaller numbers that were not, and since when they are looked after.
    gaps: BTreeMap<i64, Instant>,
    /// Names, the newest last.
    log: VecDeque<String>,
    /// How many have gone from the front of it.
    forgotten: u64,
}

/// What is asked for.
pub(super) struct Reader {
    highest: Option<i64>,
    gaps: Vec<i64>,
}

impl Reader {
    pub(super) async fn read(&self, server: &Server, link: &Link<'_>) -> Result<Found, Stop> {
        let s = &server.place.schema;
        let columns = "j.number, CASE WHEN c.tenant = $1 THEN c.name END";
        let joined = format!("{s}.journal j JOIN {s}.connections c ON c.number = j.connection");
        let tenant = &server.options.tenant;
        let rows = match self.highest {
            None => {
                let query = format!("SELECT {columns} FROM {joined} ORDER BY j.number DESC LIMIT $2");
                link.rows(&query, &[(tenant, Type::TEXT), (&LOOKED_BACK, Type::INT8)]).await?
            }
            Some(highest) => {
                let query = format!(
                    "(SELECT {columns} FROM {joined} WHERE j.number > $2 ORDER BY j.number LIMIT $3)
                     UNION ALL (SELECT {columns} FROM {joined} WHERE j.number = ANY($4))"
                );
                let values = [
                    (tenant as _, Type::TEXT),
                    (&highest as _, Type::INT8),
                    (&AT_ONCE as _, Type::INT8),
                    (&self.gaps as _, Type::INT8_ARRAY),
                ];
                link.rows(&query, &values).await?
            }
        };
        let seen = |row| -> Result<Seen, StoreError> {
            Ok((get(&server.place, row, 0)?, get(&server.place, row, 1)?))
        };
        let seen = rows.iter().map(seen).collect::<Result<_, _>>()?;
        let newest = link.row(&format!("SELECT max(number) FROM {s}.journal"), &[]).await?;
        let newest = newest.map(|row| get::<Option<i64>>(&server.place, &row, 0)).transpose()?.flatten();
        Ok(Found { seen, newest: newest.unwrap_or(0) })
    }
}

impl Feed {
    pub(super) fn reader(&self) -> Reader {
        Reader { highest: self.highest, gaps: self.gaps.keys().copied().collect() }
    }

    /// Takes in what was read, and answers who has heard of everything up to `since`.
    pub(super) fn take(&mut self, found: Found, since: Option<u64>) -> Changes {
        let Found { seen: mut found, newest } = found;
        if self.highest.is_some_and(|highest| newest < highest) {
            // A server that had not heard of everything took over: what was seen may never have been, and numbers come
            // again.
            self.forget();
            return Changes::Unknown;
        }
        let more = found.iter().filter(|(number, _)| Some(*number) > self.highest).count() as i64 >= AT_ONCE;
        let begins = self.highest.is_none();
        found.sort_unstable();
        for (number, name) in found {
            self.sees(number);
            self.log.extend(name.filter(|_| !begins));
        }
        // A journal that is empty has begun too.
        self.highest.get_or_insert(0);
        self.give_up_gaps();
        while self.log.len() > REMEMBERED {
            self.log.pop_front();
            self.forgotten += 1;
        }
        let mark = self.forgotten + self.log.len() as u64;
        let since = since.unwrap_or(mark);
        match since.checked_sub(self.forgotten).map(usize::try_from) {
            Some(Ok(seen)) if seen <= self.log.len() => {
                let names: BTreeSet<&String> = self.log.range(seen..).collect();
                Changes::Named { names: names.into_iter().cloned().collect(), mark, more: more && !begins }
            }
            _ => Changes::Unknown,
        }
    }

    fn sees(&mut self, number: i64) {
        let Some(highest) = self.highest else {
            self.highest = Some(number);
            return;
        };
        self.gaps.remove(&number);
        // A sequence that was set ahead leaves more than anybody looks after.
        let first = (highest + 1).max(number - MOST_GAPS as i64);
        self.gaps.extend((first..number).map(|gap| (gap, Instant::now())));
        self.highest = Some(highest.max(number));
    }

    fn give_up_gaps(&mut self) {
        self.gaps.retain(|_, since| since.elapsed() < GIVEN_UP_AFTER);
        if self.gaps.len() > MOST_GAPS {
            self.forget();
        }
    }

    /// Everybody's mark is too old from here on, and the journal is begun anew.
    fn forget(&mut self) {
        let forgotten = self.forgotten + self.log.len() as u64 + 1;
        *self = Self { forgotten, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(numbers: &[i64]) -> Found {
        let seen = numbers.iter().map(|number| (*number, Some(format!("name-{number}")))).collect();
        Found { seen, newest: i64::MAX }
    }

    fn named(changes: Changes) -> (Vec<String>, u64) {
        match changes {
            Changes::Named { names, mark, .. } => (names, mark),
            Changes::Unknown => panic!("it is known"),
        }
    }

    #[test]
    fn a_number_that_becomes_visible_late_is_not_missed() {
        let mut feed = Feed::default();
        let (none, mark) = named(feed.take(seen(&[3, 5]), None));
        assert_eq!((none.len(), feed.reader().gaps), (0, vec![4]));
        let (names, mark) = named(feed.take(seen(&[6, 9]), Some(mark)));
        assert_eq!((names, feed.reader().gaps), (vec!["name-6".into(), "name-9".into()], vec![4, 7, 8]));
        let (names, mark) = named(feed.take(seen(&[4, 8]), Some(mark)));
        assert_eq!(names, ["name-4", "name-8"]);
        assert_eq!(named(feed.take(seen(&[]), Some(mark))).0, [""; 0]);
        assert_eq!(feed.reader().highest, Some(9));
    }

    #[test]
    fn two_who_ask_at_different_times_both_hear_all() {
        let mut feed = Feed::default();
        let (_, mark) = named(feed.take(seen(&[1]), None));
        let (first, later) = named(feed.take(seen(&[2]), Some(mark)));
        assert_eq!(first, ["name-2"]);
        assert_eq!(named(feed.take(seen(&[3]), Some(mark))).0, ["name-2", "name-3"]);
        assert_eq!(named(feed.take(seen(&[]), Some(later))).0, ["name-3"]);
    }

    #[test]
    fn who_was_away_too_long_is_told_so() {
        let mut feed = Feed::default();
        let (_, mark) = named(feed.take(seen(&[1]), None));
        let many: Vec<i64> = (2..60_000).collect();
        assert_eq!(feed.take(seen(&many), Some(mark)), Changes::Unknown);
        assert_eq!(feed.take(seen(&[]), Some(u64::MAX)), Changes::Unknown, "a mark of another one");
        let (_, mark) = named(feed.take(seen(&[]), None));
        let beyond = 60_000 + 2 * MOST_GAPS as i64;
        let (names, _) = named(feed.take(seen(&[beyond]), Some(mark)));
        assert_eq!(names, [format!("name-{beyond}")]);
        assert!(feed.reader().gaps.len() <= MOST_GAPS);
    }

    #[test]
    fn a_server_that_has_lost_entries_is_noticed() {
        let mut feed = Feed::default();
        let (_, mark) = named(feed.take(seen(&[7]), None));
        assert_eq!(feed.take(Found { seen: vec![], newest: 6 }, Some(mark)), Changes::Unknown);
        let (_, mark) = named(feed.take(seen(&[6]), None));
        assert_eq!(named(feed.take(seen(&[7]), Some(mark))).0, ["name-7"]);
    }
}
