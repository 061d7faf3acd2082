//! Disks: what is written is first only in the page cache, and gone with the host's power until it is synced. They fill
//! up, fail, and lie about it.

use crate::clocks::Moment;
use crate::world::Who;
use std::io;
use std::time::Duration;

/// The kernel writes its page cache back by itself after this long.
pub(crate) const WRITEBACK: Duration = Duration::from_secs(30);

/// What a disk does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No room for anything new.
    Full,
    /// Every write fails.
    ReadOnly,
    /// Nothing can be read or listed either.
    Gone,
}

/// How one write goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Nothing of it happened.
    Refused,
    /// It can be read, the sync failed: it vanishes with the power.
    Unsynced,
    /// It is durable all the same.
    Durable,
}

/// A disk's health.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    trouble: Option<(Trouble, Moment)>,
    /// After so many good writes one goes wrong in this way.
    spoils: Vec<(u32, Spoil)>,
    /// How many writes were asked for.
    pub(crate) writes: u32,
    /// When something last went wrong.
    pub(crate) last_trouble: Option<Moment>,
}

impl Disk {
    pub(crate) fn trouble(&mut self, trouble: Trouble, until: Moment) {
        self.trouble = Some((trouble, until));
    }

    pub(crate) fn spoil(&mut self, after: u32, spoil: Spoil) {
        self.spoils.push((after, spoil));
    }

    pub(crate) fn heal(&mut self) {
        self.trouble = None;
        self.spoils.clear();
    }

    fn in_trouble(&mut self, now: Moment) -> Option<Trouble> {
        let (trouble, _) = self.trouble.filter(|(_, until)| *until > now)?;
        self.last_trouble = Some(now);
        Some(trouble)
    }

    /// True when it did all that was asked of it since then.
    pub(crate) fn was_well_since(&mut self, then: Moment, now: Moment) -> bool {
        self.in_trouble(now).is_none() && self.last_trouble.is_none_or(|last| last < then)
    }

    /// How the next write goes.
    pub(crate) fn fate_of_write(&mut self, now: Moment) -> Option<Spoil> {
        self.writes += 1;
        if self.in_trouble(now).is_some() {
            return Some(Spoil::Refused);
        }
        for (left, _) in &mut self.spoils {
            *left = left.saturating_sub(1);
        }
        let due = self.spoils.iter().position(|(left, _)| *left == 0)?;
        self.last_trouble = Some(now);
        Some(self.spoils.remove(due).1)
    }

    pub(crate) fn can_read(&mut self, now: Moment) -> bool {
        self.in_trouble(now) != Some(Trouble::Gone)
    }
}

/// Something that is kept on a disk.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    /// What everybody reads.
    pub(crate) seen: T,
    /// What would be there after a loss of power.
    pub(crate) synced: T,
    /// Since when both differ, who wrote that, and whether he was told that it had failed.
    pub(crate) unsynced: Option<(Moment, Who, bool)>,
}

impl<T: Clone> Kept<T> {
    pub(crate) fn new(what: T) -> Self {
        Self { seen: what.clone(), synced: what, unsynced: None }
    }

    pub(crate) fn write(&mut self, what: T, now: Moment, who: Who) {
        self.seen = what;
        self.unsynced = Some((now, who, false));
    }

    /// What this process may take for durable: it cannot know that another one's sync has failed.
    pub(crate) fn good_for(&self, who: Who) -> impl Iterator<Item = &T> {
        let may_be_trusted = self.unsynced.is_some_and(|(_, by, failed)| !failed || by != who);
        std::iter::once(&self.synced).chain(may_be_trusted.then_some(&self.seen))
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.seen.clone();
        self.unsynced = None;
    }

    /// His sync failed.
    pub(crate) fn sync_failed(&mut self) {
        if let Some((_, _, failed)) = &mut self.unsynced {
            *failed = true;
        }
    }

    /// Pages whose sync has failed count as clean: the kernel does not try again.
    pub(crate) fn write_back(&mut self, now: Moment) -> bool {
        let is_due =
            |(since, _, failed): (Moment, Who, bool)| !failed && now.saturating_sub(since) >= WRITEBACK;
        let is_due = self.unsynced.is_some_and(is_due);
        if is_due {
            self.sync();
        }
        is_due
    }

    pub(crate) fn lose_power(&mut self) {
        self.seen = self.synced.clone();
        self.unsynced = None;
    }
}

/// What a program is told.
pub(crate) fn error(trouble: Option<Spoil>) -> io::Error {
    match trouble {
        Some(Spoil::Refused) => io::Error::from(io::ErrorKind::StorageFull),
        _ => io::Error::other("input/output error"),
    }
}
