//! Which connections must be looked at because time passes: a million names are not kept for that, and not read each
//! hour. The names are cut into pages of some five hundred, in their order; of a page is kept where it ends, when the
//! next bell of any connection in it can ring, and when it was looked at last.

use perennial::core::UnixTime;

/// So many names are one page.
pub(super) const PAGE: usize = 500;
/// Few connections are all looked at once an hour, whatever nobody told us of.
const FEW_PAGES: usize = 20;
/// Each page is looked at once in so many seconds, though no bell is due: a change may have been missed.
const LOOK_ANYWAY: i64 = 24 * 3600;
/// The same where there are few.
const LOOK_ANYWAY_AT_FEW: i64 = 3600;

/// The pages, in the order of their names' bytes.
#[derive(Debug)]
pub(super) struct Pages(Vec<Page>);

#[derive(Debug)]
struct Page {
    /// Its last name; none for the last page, which has no end.
    last: Option<String>,
    /// When the next bell in it can ring.
    bell: i64,
    looked: i64,
}

/// A page that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    index: usize,
    /// Its names come behind this one.
    pub(super) after: Option<String>,
}

impl Default for Pages {
    fn default() -> Self {
        Self(vec![Page { last: None, bell: i64::MIN, looked: i64::MIN }])
    }
}

impl Pages {
    /// The next page that is due, from this one on.
    pub(super) fn due(&self, from: usize, now: UnixTime) -> Option<Due> {
        let anyway = if self.0.len() <= FEW_PAGES { LOOK_ANYWAY_AT_FEW } else { LOOK_ANYWAY };
        let is_due = |page: &Page| {
            // Looked at in the future: the clock was set back.
            page.bell <= now.0 || page.looked > now.0 || now.0.saturating_sub(page.looked) >= anyway
        };
        let index = (from..self.0.len()).find(|index| self.0.get(*index).is_some_and(is_due))?;
        let after = index.checked_sub(1).and_then(|before| self.0.get(before)?.last.clone());
        Some(Due { index, after })
    }

    /// Of the names that the store gave for it, those that belong to it. A page that has grown too large is cut: its
    /// rest is due still.
    pub(super) fn cut(&mut self, due: &Due, mut names: Vec<String>) -> Vec<String> {
        let Some(page) = self.0.get(due.index) else { return Vec::new() };
        let is_full = names.len() >= PAGE;
        if let Some(last) = &page.last {
            names.retain(|name| name <= last);
        }
        let has_more = is_full && names.len() >= PAGE && names.last() != page.last.as_ref();
        if let Some(last) = names.last().filter(|_| has_more) {
            let last = Some(last.clone());
            self.0.insert(due.index, Page { last, bell: i64::MIN, looked: i64::MIN });
        }
        names
    }

    /// It was looked at; returns where to go on.
    pub(super) fn looked(&mut self, due: &Due, bell: Option<UnixTime>, now: UnixTime) -> usize {
        if let Some(page) = self.0.get_mut(due.index) {
            page.bell = bell.map_or(i64::MAX, |bell| bell.0);
            page.looked = now.0;
        }
        due.index + 1
    }

    /// A connection was looked at by itself, and its next bell is this.
    pub(super) fn rings_at(&mut self, name: &str, bell: UnixTime) {
        let index = self.0.partition_point(|page| page.last.as_deref().is_some_and(|last| last < name));
        if let Some(page) = self.0.get_mut(index) {
            page.bell = page.bell.min(bell.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// Looks at what is due among `names`, and counts how many names were read.
    fn sweep(
        pages: &mut Pages,
        names: &[String],
        bell: impl Fn(&str) -> Option<i64>,
        now: UnixTime,
    ) -> usize {
        let (mut from, mut read) = (0, 0);
        while let Some(due) = pages.due(from, now) {
            let behind = |name: &&String| due.after.as_ref().is_none_or(|after| *name > after);
            let given: Vec<_> = names.iter().filter(behind).take(PAGE).cloned().collect();
            let cut = pages.cut(&due, given);
            read += cut.len();
            let bell = cut.iter().filter_map(|name| bell(name)).filter(|bell| *bell > now.0).min();
            from = pages.looked(&due, bell.map(UnixTime), now);
        }
        read
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("c{number:07}")).collect()
    }

    #[test]
    fn many_are_read_once_and_then_only_where_a_bell_rings() {
        let (names, mut pages) = (names(50_000), Pages::default());
        let bells = |name: &str| (name == "c0030000").then_some(NOW.0 + 7200);
        assert_eq!(sweep(&mut pages, &names, bells, NOW), 50_000);
        assert_eq!(sweep(&mut pages, &names, bells, NOW.plus(3600)), 0, "no bell is due");
        assert_eq!(sweep(&mut pages, &names, bells, NOW.plus(7200)), PAGE, "the page with the bell");
        pages.rings_at("c0000001", NOW.plus(8000));
        assert_eq!(sweep(&mut pages, &names, bells, NOW.plus(8000)), PAGE, "a change brought a bell");
        assert_eq!(
            sweep(&mut pages, &names, bells, NOW.plus(86_400)),
            50_000 - 2 * PAGE,
            "a day later all others"
        );
    }

    #[test]
    fn few_are_all_read_each_hour() {
        let (names, mut pages) = (names(700), Pages::default());
        assert_eq!(sweep(&mut pages, &names, |_| None, NOW), 700);
        assert_eq!(sweep(&mut pages, &names, |_| None, NOW.plus(3600)), 700);
    }

    #[test]
    fn names_that_come_and_go_are_found() {
        let (mut all, mut pages) = (names(5000), Pages::default());
        sweep(&mut pages, &all, |_| None, NOW);
        all.extend((0..2000).map(|number| format!("c0001000-{number:04}")));
        all.retain(|name| name != "c0000499");
        all.sort();
        assert_eq!(sweep(&mut pages, &all, |_| None, NOW.plus(3600)), 6999);
        assert_eq!(sweep(&mut pages, &all, |_| None, NOW.plus(7200)), 6999, "each once");
    }
}
