//! What may be tried once more within one flight after a refusal, each at most once: another base, a newer client
//! secret, each late answer, a new grant by a young request token. Each try is a new intent and a new connection.

use super::Flight;
use super::present::Refused;
use crate::error::Error;
use crate::hand_out::HandOut;
use crate::kit::blocking;
use crate::store::WriteError;
use perennial_core::Connection;
use perennial_core::connection::Cause;
use perennial_core::journal::Event;
use perennial_core::profile::{Purpose, ReplayRule};
use perennial_core::verdict::{Spent, Verdict};
use std::mem;
use std::ops::ControlFlow;

/// Which chances have been taken.
#[derive(Default)]
pub(super) struct Chances {
    relocated: bool,
    client_reread: bool,
    reobtained: bool,
}

/// What may follow a refusal.
enum Chance {
    /// One more presentation; the flight is ready for it.
    Again,
    /// Other tokens stand in the store.
    Afresh,
    /// Nothing.
    None,
}

impl Flight<'_> {
    /// Goes on behind a refusal, if there is a chance left; else it is written down and told.
    pub(super) async fn second_chance(
        mut self,
        refused: Refused,
    ) -> Result<ControlFlow<HandOut, Self>, Error> {
        // A chance that cannot be taken is none: what the server said goes before that.
        match self.chance(&refused).unwrap_or(Chance::None) {
            Chance::Again => {
                self.settled = refused.judgement.spent == Spent::No && self.seen.version() == refused.from;
                self.refused = Some(refused.failed);
                Ok(ControlFlow::Continue(self))
            }
            Chance::Afresh => self.begin_anew().await,
            Chance::None => {
                let error = self.give_up(&refused.from, &refused.failed);
                // Who is sent where no secret may go is told so: a person may permit it.
                let elsewhere = refused.judgement.base.filter(|base| !self.kit.permits(&self.seen, base));
                let purpose = self.purpose;
                Err(elsewhere.map_or(error, |origin| Error::NotPermitted { origin, purpose }))
            }
        }
    }

    fn chance(&mut self, refused: &Refused) -> Result<Chance, Error> {
        let kit = self.kit;
        let kept = kit.look(self.claim.as_ref())?;
        if !kept.version().same_tokens(&refused.from) {
            // Law 6: re-read first. Whatever was said of the former tokens, these are newer.
            let generation = kept.version().generation;
            kit.note(&kept, Event::AdoptedFromSibling { generation });
            return Ok(Chance::Afresh);
        }
        if !kept.version().same_intent(&refused.from) {
            return Ok(Chance::None); // Somebody else presents the same tokens: the claim is lost.
        }
        // The refusal had a date, too (law 11).
        let failed = refused.failed.as_ref();
        let kept = Connection { skew: failed.skew, clock: failed.clock.clone(), ..kept };
        // Law 7: the answer to an earlier presentation of this token may have come meanwhile.
        if self.purpose == Purpose::Refresh
            && let Some(adopted) = kept.adopt_late_answer()
            && self.commit_adopted(&kept, &adopted)
        {
            return Ok(Chance::Afresh);
        }
        // What may have been spent is not sent again at once, unless it may be at any time (law 7).
        let may_repeat = refused.judgement.spent == Spent::No || kept.policy.replay == ReplayRule::Always;
        match (refused.judgement.verdict, &refused.judgement.base) {
            (Verdict::Relocate, Some(base)) if may_repeat && kit.permits(&self.seen, base) => {
                if mem::replace(&mut self.chances.relocated, true) {
                    return Ok(Chance::None);
                }
                (self.seen, self.base) = (kept, base.clone());
                Ok(Chance::Again)
            }
            // Law 6: on invalid_client the app is read again; a newer secret gets one more try.
            (Verdict::FixClient, _) if may_repeat => {
                let app = blocking(|| kit.store.app(&self.order.name))?;
                if mem::replace(&mut self.chances.client_reread, true) || app.client == self.app.client {
                    return Ok(Chance::None);
                }
                (self.seen, self.app) = (kept, app);
                Ok(Chance::Again)
            }
            // Who tries one token after the other wants to hear of each.
            (Verdict::GrantGone, _) if matches!(self.order.cause, Cause::Tried(_)) => Ok(Chance::None),
            // A request token that is no good says nothing about the refresh token that is held.
            (Verdict::GrantGone, _) if self.purpose == Purpose::Refresh => {
                if self.adopt(&kept) {
                    Ok(Chance::Afresh)
                } else {
                    self.reobtain(refused)
                }
            }
            _ => Ok(Chance::None),
        }
    }

    /// Law 6: adopt before despair: a late answer takes the place of what was refused. Each is used up by that, so that
    /// all of them may have their turn.
    fn adopt(&mut self, kept: &Connection) -> bool {
        kept.adopt().is_some_and(|adopted| self.commit_adopted(kept, &adopted))
    }

    fn commit_adopted(&mut self, kept: &Connection, adopted: &Connection) -> bool {
        let written = self.kit.commit(self.claim.as_mut(), &kept.version(), adopted);
        if let Err(error) = &written {
            tracing::warn!(%error, "a late answer could not be adopted");
        }
        written.is_ok()
    }

    /// The grant is gone, and the request token is young: the keeper obtains a new grant by itself. What is gone is
    /// written down first; it is kept beside the new one (law 5).
    fn reobtain(&mut self, refused: &Refused) -> Result<Chance, Error> {
        let failed = refused.failed.as_ref();
        if mem::replace(&mut self.chances.reobtained, true) || !self.kit.may_reobtain(failed, &self.app) {
            return Ok(Chance::None);
        }
        blocking(|| self.claim.commit(&refused.from, failed)).map_err(of_write)?;
        let cause = Cause::Authorized { instead_of: failed.version() };
        self.base = self.kit.base_for(failed, Purpose::Obtain, &cause)?;
        (self.seen, self.purpose) = (failed.clone(), Purpose::Obtain);
        Ok(Chance::Again)
    }
}

pub(super) fn of_write(error: WriteError) -> Error {
    match error {
        WriteError::Store(error) => error.into(),
        WriteError::Moved(_) => Error::Busy,
    }
}
