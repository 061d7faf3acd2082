//! The world: everything that is true, behind one lock. Processes see it through the engine's own traits (store, shelf,
//! token endpoint, clock); each call is a step, and at every step a process may die.

use crate::clocks::{Host, Moment};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::laws::{Laws, Violation};
use crate::network::Weather;
use crate::process::{self, Make, Process};
use crate::run;
use crate::server::Server;
use crate::shelf::Files;
use crate::store::Rows;
use crate::story::Story;
use crate::tally::Tally;
use perennial::Keeper;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The world, for all who live in it.
pub(crate) type Shared = Arc<World>;

/// A process in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) process: usize,
    pub(crate) host: usize,
    pub(crate) life: u32,
}

/// Every step of a process that touches the world: the store, a shelf, the network. It may die at each.
pub(crate) const STEPS: [&str; 24] = [
    "read",
    "app",
    "claim",
    "claimed",
    "look again",
    "intend",
    "intend, unsynced",
    "intended",
    "commit",
    "commit, unsynced",
    "committed",
    "prepare the shelf",
    "read the shelf",
    "rescue",
    "rescue, unsynced",
    "rescued",
    "forget",
    "forget, unsynced",
    "forgotten",
    "connect",
    "connected",
    "send",
    "sent",
    "answered",
];

/// What unwinds a process that dies in the middle of a step. The kernel has taken its locks back by then.
pub(crate) struct Crash;

pub(crate) struct World {
    began: Instant,
    make: Make,
    state: Mutex<State>,
    /// Told when a law is broken: nothing more needs to be simulated.
    pub(crate) broken: Notify,
}

/// All that is true.
pub(crate) struct State {
    pub(crate) now: Moment,
    pub(crate) seed: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) processes: Vec<Process>,
    pub(crate) server: Server,
    pub(crate) weather: Weather,
    pub(crate) rows: Rows,
    /// One for each host.
    pub(crate) shelves: Vec<Files>,
    /// The store's, then one for each host's rescue directory.
    pub(crate) disks: Vec<Disk>,
    pub(crate) laws: Laws,
    pub(crate) story: Story,
    pub(crate) tally: Tally,
    pub(crate) answer_within: Duration,
    /// Keepers of dead processes: nothing of them may be dropped while the world is looked at.
    pub(crate) graveyard: Vec<Arc<Keeper>>,
}

/// The store's disk among [`State::disks`].
pub(crate) const STORE_DISK: usize = 0;

/// A host's disk for rescue files.
pub(crate) fn shelf_disk(host: usize) -> usize {
    1 + host
}

impl World {
    pub(crate) fn new(make: Make, state: State) -> Shared {
        Arc::new(Self { began: Instant::now(), make, state: Mutex::new(state), broken: Notify::new() })
    }

    pub(crate) fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// The one way to see and to change what is true.
    pub(crate) fn look<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.now();
        let result = with(&mut state);
        if state.laws.broken.is_some() {
            self.broken.notify_one();
        }
        result
    }

    /// One step of a process. It may be its last.
    pub(crate) fn step(self: &Arc<Self>, who: Who, name: &'static str) {
        match self.look(|state| state.fate_at(who, name)) {
            StepFate::LivesOn => return,
            StepFate::Dies { back_after, takes_power: true } => run::lose_power(self, who.host, back_after),
            StepFate::Dies { back_after, .. } => self.start_again(who.process, self.now() + back_after),
            StepFate::IsDead => {}
        }
        std::panic::panic_any(Crash);
    }

    /// Starts a process at that moment.
    pub(crate) fn start_again(self: &Arc<Self>, process: usize, at: Moment) {
        let world = self.clone();
        tokio::spawn(async move {
            world.until(at).await;
            process::start(&world, &world.make, process);
        });
    }

    /// Waits until the process may run: its host is awake. For ever when it is dead.
    pub(crate) async fn awake(&self, who: Who) {
        loop {
            match self.look(|state| state.hindrance(who)) {
                None => return,
                Some(Hindrance::Asleep(until)) => tokio::time::sleep_until(self.began + until).await,
                Some(Hindrance::Dead) => std::future::pending().await,
            }
        }
    }

    /// A timer of a process: it counts the time in which its host was awake.
    pub(crate) async fn rest(&self, who: Who, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            self.awake(who).await;
            let from = self.now();
            tokio::time::sleep(left).await;
            let until = self.now();
            let asleep = self.look(|state| state.hosts[who.host].asleep_between(from, until));
            left = left.saturating_sub((until - from).saturating_sub(asleep));
        }
        self.awake(who).await;
    }

    /// Until that moment, for who is part of no process.
    pub(crate) async fn until(&self, moment: Moment) {
        tokio::time::sleep_until(self.began + moment).await;
    }
}

enum StepFate {
    LivesOn,
    Dies { back_after: Duration, takes_power: bool },
    IsDead,
}

/// What keeps a process from running.
pub(crate) enum Hindrance {
    Asleep(Moment),
    Dead,
}

impl State {
    fn hindrance(&self, who: Who) -> Option<Hindrance> {
        if !self.is_alive(who) {
            return Some(Hindrance::Dead);
        }
        self.hosts[who.host].asleep_until(self.now).map(Hindrance::Asleep)
    }

    pub(crate) fn is_alive(&self, who: Who) -> bool {
        let process = &self.processes[who.process];
        process.is_running && process.who.life == who.life
    }

    fn fate_at(&mut self, who: Who, name: &'static str) -> StepFate {
        if !self.is_alive(who) {
            return StepFate::IsDead; // What is left of a dead process unwinds at its next step.
        }
        let process = &mut self.processes[who.process];
        process.steps += 1;
        self.tally.steps += 1;
        let (back_after, takes_power) = (process.back_after, process.takes_power);
        let Some(left) = &mut process.dies_in else { return StepFate::LivesOn };
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return StepFate::LivesOn;
        }
        self.tally.crashed_at(name);
        self.tell(Some(who), || format!("dies at step \"{name}\""));
        self.kill(who.process);
        StepFate::Dies { back_after, takes_power }
    }

    /// Chance at this moment, for this process: it does not depend on what happened to others, so that a story can be
    /// shortened elsewhere without changing here.
    pub(crate) fn chance(&self, what: &str, process: usize) -> Dice {
        Dice::new(self.seed, &format!("{what} {process} {}", self.now.as_nanos()))
    }

    /// A line of the story.
    pub(crate) fn tell(&mut self, who: Option<Who>, line: impl FnOnce() -> String) {
        if self.story.is_told {
            self.story.tell(self.now, who, line());
        }
    }

    /// A law is broken. The first time counts.
    pub(crate) fn breaks(&mut self, law: u8, what: impl Into<String>) {
        if self.laws.broken.is_none() {
            let what = what.into();
            self.tell(None, || format!("LAW {law} IS BROKEN: {what}"));
            self.laws.broken = Some(Violation { law, what, at: self.now });
        }
    }
}
