//! The background duty: renews what is due, over the same flights as everybody who asks (law 2), the most urgent first
//! (law 5), and with restraint (law 12).
//!
//! | file | what it tells |
//! |---|---|
//! | `mod.rs` | the round: what is fetched, looked at, begun, and waited for |
//! | `lanes` | a lane for each authorization server: who waits for it, and how many may fly at a time |
//! | `rests` | what is not to be looked at again before some time has passed |
//! | `outcome` | what a look, or a flight, means for what comes next |
//!
//! It never sleeps longer than half a minute, and looks at the clock each time, so that a clock that was set, or a
//! machine that was suspended, is noticed within 37 s (law 11).

mod lanes;
mod outcome;
mod rests;

use crate::hand_out::HandOut;
use crate::http::BoxFuture;
use crate::keeper::Keeper;
use crate::{Error, store::StoreError};
use lanes::{Lanes, Placed, Waiting};
use outcome::{Look, Next};
use perennial_core::UnixTime;
use perennial_core::connection::Cause;
use rests::Rests;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet, spawn_blocking};

/// The longest sleep there may be: with what a wake-up takes it stays below the 37 s of law 11.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// So many connections are read in one go, off the threads that others wait on.
const LOOKED_AT_ONCE: usize = 128;

/// Looking at the whole agenda may take a hundredth of the time, where nothing comes of it …
const SHARE: u32 = 100;
/// … but is done this often at least: other processes make connections due, and put them right.
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(10 * 60);

/// So many times in a row the store must refuse before all others are spared the same …
const STORE_REFUSALS: u32 = 5;
/// … for this long at first, and twice as long each time, up to [`LONGEST_SLEEP`].
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What more waits for one server than may be remembered is left to the agenda for this long.
const CROWDED_OUT: Duration = Duration::from_secs(60);

/// Below this no timer is set: whole seconds of two clocks may disagree on whether a moment has come.
const SHORTEST_SLEEP: Duration = Duration::from_millis(50);

/// What an administrator may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// So many flights at a time to one authorization server; 32.
    pub per_server: usize,
    /// So many flights at a time in all; 256.
    pub in_all: usize,
    /// So many names are taken from the agenda in one go, and twice as many are held at most; 10,000.
    pub batch: usize,
    /// Nothing is slept through for longer; 30 s, which is also the most.
    pub longest_sleep: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { per_server: 32, in_all: 256, batch: 10_000, longest_sleep: LONGEST_SLEEP }
    }
}

/// What a scheduler has in hand, when it last went to sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections that are due and wait for their flight; there may be more on the agenda
    /// ([`Store::backlog`](crate::Store::backlog)).
    pub waiting: usize,
    /// Connections that are due and cannot be renewed now.
    pub resting: usize,
    /// Flights that it waits for.
    pub under_way: usize,
    /// True while the store is being read.
    pub is_reading: bool,
    /// How often it has gone to sleep, each time after a look at the clock: one that does no more has died.
    pub rounds: u64,
}

/// Renews what is due for as long as it runs. Several of them may share a store, in one process or in many.
#[derive(Debug)]
pub struct Scheduler {
    keeper: Arc<Keeper>,
    options: Options,
    load: Mutex<Load>,
}

impl Scheduler {
    /// A scheduler that has not begun.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, options: Options) -> Self {
        let least = |number: usize| number.max(1);
        let options = Options {
            per_server: least(options.per_server),
            in_all: least(options.in_all),
            batch: least(options.batch),
            longest_sleep: options.longest_sleep.clamp(Duration::from_millis(100), LONGEST_SLEEP),
        };
        Self { keeper, options, load: Mutex::default() }
    }

    /// What it has in hand.
    #[must_use]
    pub fn load(&self) -> Load {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until `stop`. From then on nothing is begun any more; what is under way goes on, and is awaited by
    /// [`Keeper::landed`].
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut round = Round::new(&self.keeper, &self.options);
        let tell = |load: Load| *self.load.lock().unwrap_or_else(PoisonError::into_inner) = load;
        tokio::pin!(stop);
        loop {
            round.begin_flights();
            round.begin_work();
            let sleep = round.sleep();
            tell(round.load());
            tokio::select! {
                biased;
                () = &mut stop => return,
                done = working(&mut round.work) => round.done(done),
                Some(landed) = round.flights.join_next_with_id() => round.landed(landed),
                () = sleep => {}
            }
        }
    }
}

/// What is read off the threads that others wait on, one thing at a time.
enum Work {
    /// Names from the agenda.
    Fetched(Result<Fetched, StoreError>),
    /// What is to become of those that were looked at; of fewer where the store seems to be gone.
    Looked(Vec<Look>),
}

struct Fetched {
    /// The most urgent first.
    names: Vec<String>,
    /// How many had been asked for.
    asked: usize,
    /// When the next one is due.
    next: Option<UnixTime>,
    /// How long that took.
    took: Duration,
}

/// Waits for it; for ever where there is none.
async fn working(work: &mut Option<JoinHandle<Work>>) -> Result<Work, JoinError> {
    match work {
        Some(handle) => {
            let done = handle.await;
            *work = None;
            done
        }
        None => std::future::pending().await,
    }
}

/// A flight that was begun here.
struct Begun {
    name: String,
    base: String,
    generation: u64,
}

struct Round<'a> {
    keeper: &'a Arc<Keeper>,
    options: &'a Options,
    /// Fetched and not yet looked at.
    names: VecDeque<String>,
    /// Being looked at.
    looking: Vec<String>,
    /// Looked at, and worth a flight.
    lanes: Lanes,
    /// All that is held here or under way: what the agenda need not offer again.
    at_work: BTreeSet<String>,
    rests: Rests,
    flights: JoinSet<Result<HandOut, Error>>,
    begun: HashMap<Id, Begun>,
    work: Option<JoinHandle<Work>>,
    /// When the agenda is worth another look, by the time since boot.
    fetch_at: Duration,
    /// True when it had more than was asked for.
    has_more: bool,
    /// How often the store has refused in a row, and until when nothing is begun for that.
    refusals: u32,
    spared_until: Duration,
    rounds: u64,
}

impl<'a> Round<'a> {
    fn new(keeper: &'a Arc<Keeper>, options: &'a Options) -> Self {
        Self {
            keeper,
            options,
            names: VecDeque::new(),
            looking: Vec::new(),
            lanes: Lanes::new(options.per_server, options.batch + options.batch / 2),
            at_work: BTreeSet::new(),
            rests: Rests::default(),
            flights: JoinSet::new(),
            begun: HashMap::new(),
            work: None,
            fetch_at: Duration::ZERO,
            has_more: false,
            refusals: 0,
            spared_until: Duration::ZERO,
            rounds: 0,
        }
    }

    fn here(&self) -> Duration {
        self.keeper.kit().clock.since_boot()
    }

    /// Begins as many flights as may be.
    fn begin_flights(&mut self) {
        let here = self.here();
        while here >= self.spared_until && self.flights.len() < self.options.in_all {
            let Some((base, Waiting { name, generation })) = self.lanes.next(here) else { return };
            let (keeper, ordered) = (Arc::clone(self.keeper), name.clone());
            let task = self.flights.spawn(async move { keeper.join(&ordered, Cause::Due).await });
            self.begun.insert(task.id(), Begun { name, base, generation });
        }
    }

    /// Looks at what was fetched, or fetches more, if nothing is being read yet.
    fn begin_work(&mut self) {
        if self.work.is_some() {
            return;
        }
        let keeper = Arc::clone(self.keeper);
        if !self.names.is_empty() {
            let some = self.names.len().min(LOOKED_AT_ONCE);
            self.looking = self.names.drain(..some).collect();
            let names = self.looking.clone();
            self.work = Some(spawn_blocking(move || Work::Looked(outcome::look_at(&keeper, &names))));
            return;
        }
        let here = self.here();
        self.has_more |= self.lanes.let_in();
        let is_low = self.has_more && self.lanes.waiting_for_others(here) <= self.options.batch / 4;
        if here < self.spared_until || self.room() == 0 || !(is_low || here >= self.fetch_at) {
            return;
        }
        self.rests.wake(here);
        let asked = self.room();
        let known = self.at_work.iter().chain(self.rests.names()).chain(self.lanes.outside());
        let but: BTreeSet<String> = known.cloned().collect();
        self.work = Some(spawn_blocking(move || fetch(&keeper, asked, &but)));
    }

    /// How many more names may be held.
    fn room(&self) -> usize {
        (2 * self.options.batch).saturating_sub(self.at_work.len()).min(self.options.batch)
    }

    fn done(&mut self, done: Result<Work, JoinError>) {
        match done {
            Ok(Work::Fetched(Ok(fetched))) => self.fetched(fetched),
            Ok(Work::Fetched(Err(error))) => {
                tracing::warn!(%error, "the agenda could not be read");
                self.refusals = self.refusals.max(STORE_REFUSALS);
                self.store_refused();
            }
            Ok(Work::Looked(looks)) => self.looked_at(looks),
            Err(error) => {
                tracing::error!(%error, "the agenda could not be looked at");
                self.fetch_at = self.here().saturating_add(self.options.longest_sleep);
                self.looked_at(Vec::new());
            }
        }
    }

    /// Those that were not looked at go back to the agenda, with all others that were to be: the store is gone.
    fn looked_at(&mut self, looks: Vec<Look>) {
        let mut looked = std::mem::take(&mut self.looking);
        let not_looked_at = looked.split_off(looks.len().min(looked.len()));
        looked.into_iter().zip(looks).for_each(|(name, look)| self.looked(name, look));
        if !not_looked_at.is_empty() {
            let given_back = not_looked_at.into_iter().chain(self.names.drain(..));
            for name in given_back {
                self.at_work.remove(&name);
            }
            self.has_more = true;
            self.refusals = self.refusals.max(STORE_REFUSALS);
            self.store_refused();
        }
    }

    /// There is more: it comes when these are nearly done; or at the next look, when they wait for a server that has
    /// enough to do, so that those of other servers get their turn.
    fn fetched(&mut self, fetched: Fetched) {
        let Fetched { names, asked, next, took } = fetched;
        let (here, now) = (self.here(), self.keeper.now());
        // Half of what was asked for: another keeper may just have been offered some.
        self.has_more = !names.is_empty() && names.len() >= asked / 2 && !self.rests.is_full();
        let pause = self.options.longest_sleep.max(took.saturating_mul(SHARE)).min(LONGEST_BETWEEN_LOOKS);
        let bell = next.map(|next| outcome::from(now, next)).unwrap_or(pause);
        self.fetch_at = here.saturating_add(pause.min(bell));
        for name in names {
            if self.at_work.insert(name.clone()) {
                self.names.push_back(name);
            }
        }
    }

    fn looked(&mut self, name: String, look: Look) {
        match look {
            Look::Fly { base, generation } => {
                // The least urgent of a server that has more than enough to do make room for those of others.
                match self.lanes.push(base, Waiting { name, generation }) {
                    Placed::Inside => {}
                    Placed::Outside(name) => drop(self.at_work.remove(&name)),
                    Placed::Nowhere(name) => self.rest(name, CROWDED_OUT),
                }
            }
            Look::Rest(time) => self.rest(name, time),
        }
    }

    fn rest(&mut self, name: String, time: Duration) {
        self.at_work.remove(&name);
        if !time.is_zero() {
            self.rests.rest(name, self.here().saturating_add(time));
        }
    }

    fn landed(&mut self, landed: Result<(Id, Result<HandOut, Error>), JoinError>) {
        let (id, result) = match landed {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let without_a_word = Error::Internal(format!("a caller ended without a word: {error}"));
                (error.id(), Err(without_a_word))
            }
        };
        let Some(Begun { name, base, generation }) = self.begun.remove(&id) else { return };
        let (here, now) = (self.here(), self.keeper.now());
        match &result {
            Err(Error::Store(_)) => self.store_refused(),
            Err(error) => tracing::debug!(connection = %name, %error, "a renewal did not come about"),
            Ok(_) => (self.refusals, self.spared_until) = (0, Duration::ZERO),
        }
        match outcome::of_flight(&result, generation, now) {
            Next::Shut(time) => {
                self.lanes.shut(&base, here.saturating_add(time), Waiting { name, generation });
            }
            Next::Rest(time, health) => {
                self.lanes.landed(&base, health);
                self.rest(name, time);
            }
        }
    }

    /// Law 4: a store that cannot write spends no token. When it refuses again and again it is left alone for a while.
    fn store_refused(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
        if let Some(more) = self.refusals.checked_sub(STORE_REFUSALS) {
            let pause = STORE_PAUSE.saturating_mul(1 << more.min(8)).min(self.options.longest_sleep);
            self.spared_until = self.here().saturating_add(pause);
        }
    }

    fn load(&mut self) -> Load {
        self.rounds += 1;
        Load {
            waiting: self.names.len() + self.lanes.waiting(),
            resting: self.rests.names().len() + self.lanes.how_many_outside(),
            under_way: self.flights.len(),
            is_reading: self.work.is_some(),
            rounds: self.rounds,
        }
    }

    /// Until something may be begun; a look at the clock goes with it (law 11).
    fn sleep(&self) -> BoxFuture<'static, ()> {
        let kit = self.keeper.kit();
        let _ = kit.now();
        let here = self.here();
        let lanes = self.lanes.opens_at(here);
        let is_idle = self.work.is_none() && self.names.is_empty() && self.room() > 0;
        let next = lanes.into_iter().chain(is_idle.then_some(self.fetch_at)).min();
        let next = next.map(|next| next.max(self.spared_until).saturating_sub(here));
        let time = next.map_or(self.options.longest_sleep, |next| next.min(self.options.longest_sleep));
        kit.clock.sleep(time.max(SHORTEST_SLEEP))
    }
}

fn fetch(keeper: &Keeper, asked: usize, but: &BTreeSet<String>) -> Work {
    let (store, clock, now) = (keeper.store(), &keeper.kit().clock, keeper.now());
    let begun = clock.since_boot();
    let fetched = store.due_batch(now, asked, but).and_then(|names| {
        let took = clock.since_boot().saturating_sub(begun);
        Ok(Fetched { names, asked, next: store.next_due(now)?, took })
    });
    Work::Fetched(fetched)
}
