//! Tells people and programs what they must act on: a refresh token that ends, a connection that needs somebody, an
//! authorization server that fails for all, a store that takes no writes, a clock that is wrong; and when it is over.
//!
//! | module | what lives there | law of docs/design.md |
//! |---|---|---|
//! | `mod.rs` | the one door: [`Alerts`] | |
//! | [`rules`] | pure: from what is seen to what is told; `machine` for the daemon itself | 11 |
//! | `condition` | one condition over time: told once, and damped | |
//! | `wanted` | what is told, and of whom, as the configuration says | |
//! | [`seen`] | what is looked at; no token is in it | 10 |
//! | [`alert`] | an alert, and the message that tells it | 10 |
//! | `hint` | the exact next command | |
//! | `digest` | many alerts of one kind become few messages | |
//! | `recall` | what has been told, durably | |
//! | `outbox` | what has not been delivered yet, durably | |
//! | `deliver` | one worker a sink, which tries again | |
//! | `courier` | one sink with an outbox of its own, for what is no alert | |
//! | [`sink`] | webhook, chat, program | 10 |
//! | `over_keeper` | a keeper, as alerts look at it | 11 |
//! | `watching`, `pages` | changes, the daemon itself, the passing of time | |

pub mod alert;
mod condition;
mod courier;
mod deliver;
mod digest;
mod files;
mod hint;
mod machine;
mod outbox;
mod over_keeper;
mod pages;
mod recall;
pub mod rules;
pub mod seen;
pub mod sink;
mod tally;
mod wanted;
mod watching;

pub use alert::{Alert, Message};
pub(crate) use courier::{Courier, connected};
pub use hint::Place;
pub use over_keeper::OverKeeper;
pub use rules::{Observation, Rules};
pub use seen::{Seen, Server, Vitals};
pub use sink::{Failure, Outcome, Sink};
pub use tally::Tally;

use crate::config;
use deliver::Worker;
use digest::Digests;
use outbox::Outbox;
use perennial::clock::Clock;
use perennial::http::Http;
use recall::Recall;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use watching::{Mind, Watcher};

/// What alerts look at. Methods may block for a while: they are called where that harms nobody.
pub trait Watched: Send + Sync + 'static {
    /// The names of connections behind `after`, in the order of their bytes, at most `limit`.
    ///
    /// # Errors
    /// In words, when the store cannot be read.
    fn names_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, String>;

    /// One connection as it is now; `None` when there is none of that name.
    ///
    /// # Errors
    /// In words, when it cannot be read.
    fn connection(&self, name: &str) -> Result<Option<Seen>, String>;

    /// How the daemon itself is; asked every few seconds.
    fn vitals(&self) -> Vitals;
}

/// What alerts work with.
pub struct Parts {
    /// What they look at.
    pub watched: Arc<dyn Watched>,
    /// How they reach webhooks: the daemon's own trust, names and proxies.
    pub http: Arc<Http>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The directory of the outbox.
    pub outbox: PathBuf,
    /// What hints name.
    pub place: Place,
}

/// Why alerts cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the outbox of alerts, {}, cannot be used: {why}", dir.display())]
pub struct OutboxError {
    /// Its directory.
    pub dir: PathBuf,
    /// What stands in the way.
    pub why: std::io::Error,
}

/// Alerts that are told for as long as this lives.
pub struct Alerts {
    watcher: Arc<Watcher>,
    worker: WorkerParts,
    workers: Mutex<HashMap<String, (config::Sink, JoinHandle<()>)>>,
    watching: Vec<JoinHandle<()>>,
    stage: watch::Sender<Stage>,
    runtime: Handle,
}

/// What workers are made of.
struct WorkerParts {
    outbox: Arc<Outbox>,
    http: Arc<Http>,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Nothing new is looked for.
    Ending,
    /// What waits is tried once more, and that is all.
    Draining,
}

impl Alerts {
    /// Starts telling, within the runtime that this is called in. What waited when the last process ended is delivered,
    /// and what it told is not told again.
    ///
    /// # Errors
    /// When the outbox cannot be used.
    pub fn start(config: &config::Alerts, parts: Parts) -> Result<Self, OutboxError> {
        let Parts { watched, http, clock, outbox: dir, place } = parts;
        let tally = Arc::new(Tally::default());
        let opened =
            Outbox::open(&dir, Arc::clone(&tally)).and_then(|outbox| Ok((outbox, Recall::open(&dir)?)));
        let (outbox, (recall, told)) = opened.map_err(|why| OutboxError { dir, why })?;
        let outbox = Arc::new(outbox);
        let mut rules = Rules::new(config, place, recall.origin.clone());
        rules.remember(told);
        rules.configure(config);
        let mind = Mind { rules, digests: Digests::default(), recall };
        let is_on = !config.to.is_empty();
        let watcher = Watcher::new(watched, Arc::clone(&clock), Arc::clone(&outbox), mind, is_on);
        let (watcher, stage) = (Arc::new(watcher), watch::Sender::new(Stage::Running));
        let runtime = Handle::current();
        let watching = vec![
            runtime.spawn(Arc::clone(&watcher).follow(stage.subscribe())),
            runtime.spawn(Arc::clone(&watcher).sweep(stage.subscribe())),
        ];
        let worker = WorkerParts { outbox, http, clock, tally };
        let alerts = Self { watcher, worker, workers: Mutex::default(), watching, stage, runtime };
        alerts.serve(config);
        Ok(alerts)
    }

    /// The same under another configuration; the outbox stays where it is.
    pub fn reload(&self, config: &config::Alerts) {
        lock(&self.watcher.mind).rules.configure(config);
        self.serve(config);
        self.watcher.is_on.store(!config.to.is_empty(), Ordering::Relaxed);
        self.watcher.look_at_all();
    }

    /// These connections may have changed: their state, their tokens, their names, or that they are there at all.
    pub fn changed(&self, names: impl IntoIterator<Item = String>) {
        self.watcher.changed(names);
    }

    /// What became of alerts so far.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.worker.tally)
    }

    /// Looks at what changed last, tries each message that waits once more, and ends; at the latest after `deadline`.
    /// What has not been delivered by then is delivered by the next start.
    pub async fn stop(mut self, deadline: Duration) {
        let started = Instant::now();
        self.stage.send_replace(Stage::Ending);
        for task in &mut self.watching {
            if tokio::time::timeout(deadline.saturating_sub(started.elapsed()), &mut *task).await.is_err() {
                task.abort();
            }
        }
        self.stage.send_replace(Stage::Draining);
        let workers = std::mem::take(&mut *self.workers());
        for (_, (_, mut worker)) in workers {
            if tokio::time::timeout(deadline.saturating_sub(started.elapsed()), &mut worker).await.is_err() {
                worker.abort();
                // Behind this nothing of it writes into the outbox any more.
                let _ = worker.await;
            }
        }
    }

    /// One worker for each sink of the configuration, and no others. One that is ended in the middle of a message sends
    /// it again later, under the same id.
    fn serve(&self, config: &config::Alerts) {
        let sinks = Sink::all(config);
        self.worker.outbox.serve(sinks.iter().map(|sink| (sink.key.clone(), sink.most_waiting())).collect());
        let mut workers = self.workers();
        workers.retain(|key, (known, worker)| {
            let stays = sinks.iter().any(|sink| sink.key == *key && sink.config == *known);
            if !stays {
                worker.abort();
            }
            stays
        });
        for sink in sinks {
            let WorkerParts { outbox, http, clock, tally } = &self.worker;
            workers.entry(sink.key.clone()).or_insert_with(|| {
                let config = sink.config.clone();
                let worker = Worker {
                    sink,
                    outbox: Arc::clone(outbox),
                    http: Arc::clone(http),
                    clock: Arc::clone(clock),
                    tally: Arc::clone(tally),
                    stage: self.stage.subscribe(),
                };
                (config, self.runtime.spawn(worker.run()))
            });
        }
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<String, (config::Sink, JoinHandle<()>)>> {
        lock(&self.workers)
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        let workers = std::mem::take(&mut *self.workers());
        for task in self.watching.iter().chain(workers.values().map(|(_, worker)| worker)) {
            task.abort();
        }
    }
}

/// What came of a test message.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What the sink is called.
    pub sink: String,
    /// What it is: `webhook`, `slack`, `command`.
    pub kind: &'static str,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// Sends one test message to each sink, one after the other, once, past the outbox: for `perennial alert test`.
pub async fn test(config: &config::Alerts, http: &Http) -> Vec<Tested> {
    let now = perennial::clock::SystemClock.now();
    let message = Message::test(now);
    let mut tested = Vec::new();
    for sink in Sink::all(config) {
        let started = Instant::now();
        let outcome = sink.send(&message, http, now).await;
        tested.push(Tested { kind: sink.kind(), sink: sink.name, outcome, took: started.elapsed() });
    }
    tested
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
