//! How alerts learn of things: names that have changed, how the daemon is, and the passing of time.

use super::digest::Digests;
use super::outbox::Outbox;
use super::pages::{PAGE, Pages};
use super::recall::Recall;
use super::rules::{Observation, Rules};
use super::{Alert, Seen, Stage, Watched, lock};
use perennial::clock::Clock;
use perennial::core::UnixTime;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How often the daemon itself is looked at.
const TICK: Duration = Duration::from_secs(5);
/// How often all pages are gone through for what is due.
const SWEEP: Duration = Duration::from_secs(3600);
/// So many connections are read in one go.
const BATCH: usize = 50;
/// The pace of a sweep, in connections a second. To look at one in a sealed SQLite file takes some 85 µs of a processor:
/// under 1 % of it, and a million take three hours, where what is looked for is told in days.
const PACE: u32 = 100;
/// So many are read without a pause: a small store is known at once.
const UNPACED: usize = 1000;
/// So many names are kept that wait to be looked at; more than that are found by a sweep.
const MOST_NAMES: usize = 100_000;

/// What the watching tasks share.
pub(super) struct Watcher {
    pub(super) watched: Arc<dyn Watched>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) mind: Mutex<Mind>,
    names: Mutex<Names>,
    pages: Mutex<Pages>,
    news: Notify,
    all: Notify,
    /// There is somebody to tell.
    pub(super) is_on: AtomicBool,
}

/// What is remembered and decided.
pub(super) struct Mind {
    pub(super) rules: Rules,
    pub(super) digests: Digests,
    pub(super) recall: Recall,
}

/// Names to look at.
#[derive(Default)]
struct Names {
    now: BTreeSet<String>,
    /// The store could not be read: at the next tick.
    again: BTreeSet<String>,
}

impl Watcher {
    pub(super) fn new(
        watched: Arc<dyn Watched>,
        clock: Arc<dyn Clock>,
        outbox: Arc<Outbox>,
        mind: Mind,
        is_on: bool,
    ) -> Self {
        Self {
            watched,
            clock,
            outbox,
            mind: Mutex::new(mind),
            names: Mutex::default(),
            pages: Mutex::default(),
            news: Notify::new(),
            all: Notify::new(),
            is_on: AtomicBool::new(is_on),
        }
    }

    /// These may have changed.
    pub(super) fn changed(&self, names: impl IntoIterator<Item = String>) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = lock(&self.names);
        kept.now.extend(names);
        let too_many = kept.now.len() > MOST_NAMES;
        if too_many {
            kept.now.clear();
        }
        drop(kept);
        if too_many {
            self.look_at_all();
        }
        self.news.notify_one();
    }

    /// Everything is looked at anew, at the pace of a sweep.
    pub(super) fn look_at_all(&self) {
        *lock(&self.pages) = Pages::default();
        self.all.notify_one();
    }

    /// Looks at what changed, and each few seconds at the daemon itself; at the end once more at what changed.
    pub(super) async fn follow(self: Arc<Self>, mut stage: watch::Receiver<Stage>) {
        let (mut ticked, mut ticks) = (None, 0_u64);
        loop {
            let ends = *stage.borrow_and_update() != Stage::Running;
            let since_boot = self.clock.since_boot();
            let is_tick = ticked.is_none_or(|then: Duration| since_boot.saturating_sub(then) >= TICK);
            if is_tick && !ends && self.is_on.load(Ordering::Relaxed) {
                self.clone().blocking(move |watcher| watcher.tick(ticks)).await;
                (ticked, ticks) = (Some(since_boot), ticks + 1);
            }
            let names = self.take_names();
            if !names.is_empty() {
                self.clone().blocking(move |watcher| watcher.look_at_changed(names)).await;
                continue;
            }
            if ends {
                return;
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = self.clock.sleep(TICK) => {}
                changed = stage.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Goes through all connections for bells, slowly, once an hour.
    pub(super) async fn sweep(self: Arc<Self>, mut stage: watch::Receiver<Stage>) {
        while *stage.borrow_and_update() == Stage::Running {
            if self.is_on.load(Ordering::Relaxed) {
                self.sweep_once(&stage).await;
            }
            tokio::select! {
                () = self.all.notified() => {}
                () = self.clock.sleep(SWEEP) => {}
                changed = stage.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn sweep_once(self: &Arc<Self>, stage: &watch::Receiver<Stage>) {
        let (mut from, mut read) = (0, 0);
        loop {
            let due = lock(&self.pages).due(from, self.clock.now());
            let Some(due) = due else { return };
            let after = due.after.clone();
            let names = self
                .clone()
                .blocking(move |watcher| watcher.watched.names_after(after.as_deref(), PAGE))
                .await;
            let names = match names {
                Some(Ok(names)) => lock(&self.pages).cut(&due, names),
                Some(Err(error)) => {
                    tracing::debug!(error, "the names could not be read; the next sweep tries again");
                    return;
                }
                None => return,
            };
            let mut bell = None;
            for batch in names.chunks(BATCH) {
                if read >= UNPACED {
                    self.clock
                        .sleep(Duration::from_secs(1) * u32::try_from(batch.len()).unwrap_or(1) / PACE)
                        .await;
                }
                if *stage.borrow() != Stage::Running {
                    return;
                }
                read += batch.len();
                let batch = batch.to_vec();
                let next = self.clone().blocking(move |watcher| watcher.look(&batch).0).await.flatten();
                bell = bell.into_iter().chain(next).min();
            }
            from = lock(&self.pages).looked(&due, bell, self.clock.now());
        }
    }

    async fn blocking<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        tokio::task::spawn_blocking(move || work(&self)).await.ok()
    }

    fn take_names(&self) -> Vec<String> {
        let mut names = lock(&self.names);
        let mut taken = std::mem::take(&mut names.now);
        if let Some(rest) = taken.iter().nth(PAGE).cloned() {
            names.now = taken.split_off(&rest);
        }
        taken.into_iter().collect()
    }

    /// Looks at the daemon itself, and does what is done once in a while.
    fn tick(&self, ticks: u64) {
        let (vitals, now) = (self.watched.vitals(), self.clock.now());
        let mut mind = lock(&self.mind);
        let alerts = mind.rules.observe(Observation::Vitals(&vitals), now);
        // Once a minute is enough for what lasts minutes.
        let again = if ticks.is_multiple_of(6) { mind.rules.to_look_at(now) } else { BTreeSet::new() };
        if ticks.is_multiple_of(720) {
            mind.rules.tidy(now);
        }
        mind.tell(alerts, &self.outbox, now);
        drop(mind);
        self.outbox.write_what_is_owed();
        let mut names = lock(&self.names);
        let failed = std::mem::take(&mut names.again);
        names.now.extend(again.into_iter().chain(failed));
    }

    fn look_at_changed(&self, names: Vec<String>) {
        let mut pages = Vec::new();
        let (_, failed) = self.look_each(&names, &mut |name, bell| pages.push((name.to_owned(), bell)));
        let mut kept = lock(&self.pages);
        for (name, bell) in pages {
            kept.rings_at(&name, bell);
        }
        drop(kept);
        let mut names = lock(&self.names);
        if names.again.len() < MOST_NAMES {
            names.again.extend(failed);
        }
    }

    /// Looks at these connections; returns when the next bell of any of them can ring, and which could not be read.
    fn look(&self, names: &[String]) -> (Option<UnixTime>, Vec<String>) {
        self.look_each(names, &mut |_, _| {})
    }

    fn look_each(
        &self,
        names: &[String],
        rings: &mut dyn FnMut(&str, UnixTime),
    ) -> (Option<UnixTime>, Vec<String>) {
        let (mut failed, mut next) = (Vec::new(), None);
        let read = |name: &String| match self.watched.connection(name) {
            Ok(seen) => Some((name.clone(), seen)),
            Err(error) => {
                tracing::debug!(
                    connection = name,
                    error,
                    "it could not be looked at; the next look tries again"
                );
                failed.push(name.clone());
                None
            }
        };
        let seen: Vec<(String, Option<Seen>)> = names.iter().filter_map(read).collect();
        let now = self.clock.now();
        let (mut mind, mut alerts) = (lock(&self.mind), Vec::new());
        for (name, seen) in &seen {
            let Some(seen) = seen else {
                alerts.extend(mind.rules.observe(Observation::Gone(name), now));
                continue;
            };
            alerts.extend(mind.rules.observe(Observation::Connection(seen), now));
            if let Some(bell) = mind.rules.next_bell(seen, now) {
                rings(name, bell);
                next = next.into_iter().chain([bell]).min();
            }
        }
        mind.tell(alerts, &self.outbox, now);
        (next, failed)
    }
}

impl Mind {
    /// First the messages, durably; then that they were told.
    fn tell(&mut self, alerts: Vec<Alert>, outbox: &Outbox, now: UnixTime) {
        let messages = self.digests.pack(alerts, now);
        outbox.put(&messages, now);
        outbox.release(&self.digests.closed(now));
        let changes = self.rules.take_changes();
        self.recall.note(changes);
    }
}
