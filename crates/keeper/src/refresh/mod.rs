//! One flight, from its first look at the store to the moment when its tokens may be handed out:
//! connect → claim → look again → intent → send → commit → publish.
//!
//! | file | what it tells |
//! |---|---|
//! | `mod.rs` | the flight, step by step |
//! | `present` | one presentation: intent → send → commit |
//! | `chances` | what may be tried once more after a refusal |

mod chances;
mod present;

use crate::error::Error;
use crate::failpoint;
use crate::hand_out::HandOut;
use crate::http::Line;
use crate::kit::{Kit, Order, blocking};
use crate::rescue;
use crate::store::{App, Claim};
use chances::{Chances, of_write};
use perennial_core::connection::{Blocked, Cause, Condition, Decision, Version};
use perennial_core::profile::Purpose;
use perennial_core::{Connection, Grant, Origin, State};
use present::{Outcome, Presentation};
use std::ops::ControlFlow;
use std::time::Duration;

/// Flies.
pub(crate) async fn fly(kit: &Kit, order: &Order) -> Result<HandOut, Error> {
    blocking(|| rescue::drain(kit));
    let seen = blocking(|| kit.read(&order.name))?;
    if let Some(hand_out) = blocking(|| rescue::peek(kit, order, &seen)) {
        return Ok(hand_out);
    }
    kit.check_meant(&seen, &order.cause)?;
    let (purpose, is_awaited) = match kit.decide(&seen, &order.cause) {
        Decision::Fly(purpose) => (purpose, false),
        // Where a token may not be presented twice, one that is being presented at this moment blocks everybody else. What
        // comes of that is worth waiting for, behind his claim; whoever has died leaves the claim at once.
        Decision::Stop(Blocked::Until(_)) | Decision::HandOutAnyway(Blocked::Until(_))
            if seen.state(kit.now()) == State::Refreshing =>
        {
            (Purpose::Refresh, true)
        }
        other => return kit.grounded(&seen, &other),
    };
    failpoint::pass("looked");
    kit.check_standing(&seen, purpose)?;
    let app = blocking(|| kit.store.app(&order.name))?;
    kit.grant(&seen, &app, purpose, &order.cause)?;
    let base = kit.base_for(&seen, purpose, &order.cause)?;
    let connected = match is_awaited {
        false => Some(Connected::to(kit, order, &seen, purpose).await?), // connect
        true => None,
    };
    failpoint::pass("connected");
    let claim = kit.claim(&order.name).await?; // claim
    failpoint::pass("claimed");
    let chances = Chances::default();
    let flight =
        Flight { kit, order, claim, seen, app, base, purpose, chances, refused: None, settled: false };
    let mut flight = match flight.look_again().await? {
        ControlFlow::Continue(flight) => flight, // look again
        ControlFlow::Break(hand_out) => return Ok(hand_out),
    };
    let connected = match connected {
        Some(connected) => connected,
        None => Connected::to(kit, order, &flight.seen, flight.purpose).await?,
    };
    let mut line = flight.keep(connected)?;
    let _in_the_air = kit.take_off()?;
    loop {
        let grant = flight.grant()?;
        let line = flight.line(line.take()).await?;
        let next = match flight.present(grant, line).await? {
            Outcome::Landed(hand_out) => {
                failpoint::pass("landed");
                return Ok(hand_out); // publish
            }
            Outcome::Overtaken => flight.begin_anew().await?,
            Outcome::Refused(refused) => flight.second_chance(refused).await?,
        };
        flight = match next {
            ControlFlow::Continue(flight) => flight,
            ControlFlow::Break(hand_out) => return Ok(hand_out),
        };
    }
}

/// A line that was connected before the claim, or why there is none.
struct Connected {
    base: Origin,
    since: Duration,
    line: Result<Box<dyn Line>, Error>,
}

impl Connected {
    async fn to(kit: &Kit, order: &Order, seen: &Connection, purpose: Purpose) -> Result<Self, Error> {
        let base = kit.base_for(seen, purpose, &order.cause)?;
        kit.passage(seen, &base, &order.cause)?;
        kit.prepare_keys(seen, &base, purpose).await;
        let line = kit.connect(seen, &base, purpose).await;
        match line {
            // A person stands before it, and there is nothing to keep: a failure leaves no trace.
            Err(error) if purpose == Purpose::Obtain && !seen.obtains_itself() => Err(error),
            line => Ok(Self { base, since: kit.clock.since_boot(), line }),
        }
    }
}

/// A flight that holds its claim.
struct Flight<'a> {
    kit: &'a Kit,
    order: &'a Order,
    claim: Box<dyn Claim>,
    /// What the next write is derived from.
    seen: Connection,
    app: App,
    base: Origin,
    purpose: Purpose,
    chances: Chances,
    /// What the last refusal made of the connection: it is written down when nothing more can be tried.
    refused: Option<Box<Connection>>,
    /// The open intent is this flight's own, and was refused without anything being spent.
    settled: bool,
}

impl Flight<'_> {
    /// Law 3. A late answer that is newer than what is held takes its place (laws 6 and 7). Ends the flight where
    /// somebody else has landed meanwhile, or nothing is to be done any more.
    async fn look_again(mut self) -> Result<ControlFlow<HandOut, Self>, Error> {
        let (kit, looked) = (self.kit, self.seen.version());
        self.seen = kit.look_again(self.claim.as_mut()).await?;
        if let Some(adopted) = self.seen.adopt_late_answer() {
            kit.commit(self.claim.as_mut(), &self.seen.version(), &adopted).map_err(of_write)?;
            self.seen = adopted;
        }
        failpoint::pass("looked_again");
        // What is good once is not left lying because a sibling has refreshed; the decision below looks for more.
        let is_given = matches!(self.order.cause, Cause::Given { .. });
        if !is_given
            && !self.seen.version().same_tokens(&looked)
            && let Some(hand_out) = HandOut::of(&self.seen, kit.now())
        {
            return Ok(ControlFlow::Break(hand_out));
        }
        kit.check_meant(&self.seen, &self.order.cause)?;
        match kit.decide(&self.seen, &self.order.cause) {
            Decision::Fly(purpose) => {
                kit.check_standing(&self.seen, purpose)?;
                self.purpose = purpose;
                self.base = kit.base_for(&self.seen, purpose, &self.order.cause)?;
                Ok(ControlFlow::Continue(self))
            }
            other => kit.grounded(&self.seen, &other).map(ControlFlow::Break),
        }
    }

    /// Other tokens stand there, or somebody else presents these, or took our lock away: all over again, behind his
    /// deadline. What was said of the former tokens does not concern these.
    async fn begin_anew(self) -> Result<ControlFlow<HandOut, Self>, Error> {
        drop(self.claim);
        let claim = self.kit.claim(&self.order.name).await?;
        Self { claim, refused: None, settled: false, ..self }.look_again().await
    }

    /// The line that was connected, if it is still good: a sibling's tokens may live elsewhere, and an idle line may
    /// have been closed. That no connection came about is written down, so that who comes next does not knock at once
    /// again (law 12).
    fn keep(&mut self, connected: Connected) -> Result<Option<Box<dyn Line>>, Error> {
        let is_good = connected.base == self.base && self.kit.line_keeps(connected.since);
        match connected.line {
            Ok(line) => Ok(Some(line).filter(|_| is_good)),
            Err(error) => {
                if let Error::Unreachable { why, .. } = &error {
                    let failed = self.seen.unreached(why, self.kit.now(), self.kit.random.jitter());
                    self.give_up(&self.seen.version(), &failed);
                }
                Err(error)
            }
        }
    }

    /// What is presented, if it may be.
    fn grant(&mut self) -> Result<Grant, Error> {
        let grant = self.kit.grant(&self.seen, &self.app, self.purpose, &self.order.cause);
        grant.map_err(|error| match self.refused.take() {
            Some(failed) => self.give_up(&self.seen.version(), &failed),
            None => error,
        })
    }

    /// The line at hand, or a new one.
    async fn line(&mut self, at_hand: Option<Box<dyn Line>>) -> Result<Box<dyn Line>, Error> {
        if let Some(line) = at_hand {
            return Ok(line);
        }
        self.kit.connect(&self.seen, &self.base, self.purpose).await.map_err(|error| match error {
            Error::Unreachable { why, .. } => {
                let before = self.refused.as_deref().unwrap_or(&self.seen);
                let failed = before.unreached(&why, self.kit.now(), self.kit.random.jitter());
                self.give_up(&self.seen.version(), &failed)
            }
            other => other,
        })
    }

    /// Intent, send, commit.
    async fn present(&mut self, grant: Grant, line: Box<dyn Line>) -> Result<Outcome, Error> {
        let Self { kit, order, purpose, settled, .. } = *self;
        if self.refused.is_none()
            && purpose == Purpose::Refresh
            && let Some(until) = self.seen.forbids_presenting(kit.now())
        {
            // It took too long to come here: the window for a repetition has shut meanwhile (law 7).
            return Err(Kit::blocked(&self.seen, Blocked::Until(until)));
        }
        let (seen, app, base) = (&self.seen, &self.app, &self.base);
        let proof = kit.proof(seen, &app.client)?;
        let presentation = Presentation { kit, order, seen, app, grant, proof, purpose, base, settled };
        let outcome = presentation.present(self.claim.as_mut(), line).await;
        if matches!(outcome, Err(Error::Store(_)))
            && let Some(failed) = self.refused.take()
        {
            self.give_up(&self.seen.version(), &failed);
        }
        outcome
    }

    /// A failure is written down and told, in place of what this flight saw or wrote last. If even that cannot be
    /// written, the open intent says enough.
    fn give_up(&mut self, from: &Version, failed: &Connection) -> Error {
        if let Err(error) = self.kit.commit(self.claim.as_mut(), from, failed) {
            tracing::warn!(%error, "the failure could not be written down");
        }
        let retry_at = match failed.condition {
            Condition::BackingOff { until, .. } | Condition::Uncertain { until, .. } => Some(until),
            _ => None,
        };
        match failed.last_fault.clone().map(Box::new) {
            Some(fault) => Error::Failed { base: self.base.clone(), fault, retry_at },
            None => Error::Internal("a failure without a word".to_owned()),
        }
    }
}
