//! One sink's worker: the oldest message first, until the sink has taken it. What fails is tried again, with full
//! jitter, up to a quarter of an hour apart, for as long as it takes.

use super::Stage;
use super::outbox::{Next, Outbox};
use super::sink::{Failure, Outcome, Sink};
use super::tally::Tally;
use perennial::clock::Clock;
use perennial::http::Http;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The span of the first wait; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest span: an outage of a day ends for everyone within a quarter of an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// A receiver may ask for a longer pause, but not for ever.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// A timer stands still while the machine sleeps, and a clock may be set: no wait is longer than this without a look.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What a worker works with.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) sink: Sink,
    pub(super) outbox: Arc<Outbox>,
    pub(super) http: Arc<Http>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tally: Arc<Tally>,
    pub(super) stage: watch::Receiver<Stage>,
}

/// How the sink itself is.
#[derive(Default)]
struct Health {
    failures: u32,
    rests_until: Duration,
}

impl Worker {
    /// Works until the end is drained.
    pub(super) async fn run(mut self) {
        let (mut health, mut tried) = (Health::default(), BTreeSet::new());
        loop {
            let drains = *self.stage.borrow_and_update() == Stage::Draining;
            let outbox = Arc::clone(&self.outbox);
            let news = outbox.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let now = self.clock.since_boot();
            let rest = health.rests_until.saturating_sub(now);
            let next = match rest.is_zero() || drains {
                true => self.outbox.next(&self.sink.key, now, drains, &tried),
                false => Next::In(rest),
            };
            match next {
                Next::Send(number, message, tries) => {
                    let outcome = self.sink.send(&message, &self.http, self.clock.now()).await;
                    match outcome {
                        Outcome::Delivered { .. } => {
                            self.outbox.done(&self.sink.key, number, &message);
                            self.delivered(&mut health);
                        }
                        Outcome::Failed(failure) => {
                            tried.insert(number);
                            if drains && !failure.is_about_message {
                                return;
                            }
                            self.failed(&mut health, number, tries, &failure);
                        }
                    }
                    if !drains {
                        tried.clear();
                    }
                }
                Next::Nothing if drains => return,
                Next::In(wait) => tokio::select! {
                    () = self.clock.sleep(wait.min(LONGEST_SLEEP)) => {}
                    () = &mut news => {}
                    changed = self.stage.changed() => if changed.is_err() { return },
                },
                Next::Nothing => tokio::select! {
                    () = &mut news => {}
                    changed = self.stage.changed() => if changed.is_err() { return },
                },
            }
        }
    }

    fn delivered(&self, health: &mut Health) {
        self.tally.add_delivered();
        if health.failures > 0 {
            tracing::info!(sink = self.sink.name, failures = health.failures, "alerts are delivered again");
        }
        *health = Health { failures: 0, rests_until: self.clock.since_boot() + self.sink.pause() };
    }

    fn failed(&self, health: &mut Health, number: u64, tries: u32, failure: &Failure) {
        self.tally.add_failed();
        let since_boot = self.clock.since_boot();
        let asked = failure.retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.outbox.later(&self.sink.key, number, since_boot + jittered(tries).max(asked));
        // The first of a row, and then once in a while: a receiver that is away for days fills no log.
        if tries.is_multiple_of(20) {
            tracing::warn!(
                sink = self.sink.name,
                why = failure.what,
                "an alert was not delivered; it is tried again"
            );
        }
        if !failure.is_about_message {
            health.rests_until = since_boot + jittered(health.failures).max(asked);
            health.failures = health.failures.saturating_add(1);
        }
    }
}

/// Full jitter; a second at least.
fn jittered(failures: u32) -> Duration {
    let span = FIRST_WAIT.saturating_mul(1 << failures.min(16)).min(LONGEST_WAIT);
    let mut bytes = [0; 4];
    // Without randomness the whole span is waited.
    let share = match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / 4_294_967_296.0,
        Err(_) => 1.0,
    };
    span.mul_f64(share).max(Duration::from_secs(1))
}
