//! Bringing a grant back, by a person's wish: what is kept is tried, one remedy after the other, in the order that
//! [`Connection::remedies`] permits. Each try is a flight like any other: claim, intent, one request, commit. So no law
//! is bent here: one presenter (2), the intent first (4), nothing is deleted (5), an open intent is waited out (7).

use crate::error::Error;
use crate::hand_out::HandOut;
use crate::keeper::Keeper;
use crate::kit::blocking;
use crate::store::WriteError;
use perennial_core::connection::{Blocked, Cause, Remedy, Tried};
use perennial_core::{Connection, Fingerprint, Verdict};

/// One connection's recovery, from its first remedy to the last.
#[derive(Debug)]
pub struct Recovery<'a> {
    keeper: &'a Keeper,
    name: String,
    tried: Tried,
}

/// What came of one remedy.
#[derive(Debug)]
pub enum Outcome {
    /// The grant is back.
    Recovered(HandOut),
    /// The server said no, or there was nothing to present any more: the next remedy may be tried.
    Refused(Error),
}

impl Keeper {
    /// Begins the recovery of a connection; nothing is sent yet.
    #[must_use]
    pub fn recovery(&self, name: impl Into<String>) -> Recovery<'_> {
        Recovery { keeper: self, name: name.into(), tried: Tried::default() }
    }
}

impl Recovery<'_> {
    /// What is left to be tried, in its order; read anew, for somebody else may have recovered it by now (law 3).
    /// Nothing where nothing stands in the way.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn remedies(&self) -> Result<Vec<Remedy>, Error> {
        self.keeper.drain();
        let kit = self.keeper.kit();
        let seen = kit.read(&self.name)?;
        // Where the app cannot be read, what is held can be shown all the same.
        let may_obtain =
            blocking(|| kit.store.app(&self.name)).is_ok_and(|app| kit.may_reobtain(&seen, &app));
        Ok(seen.remedies(&self.tried, may_obtain))
    }

    /// Tries one remedy.
    ///
    /// # Errors
    /// When it is not known whether it would have worked: the server could not be reached, has failed, or refused for
    /// another reason than the token. Then the next one is not tried either.
    pub async fn try_remedy(&mut self, remedy: &Remedy) -> Result<Outcome, Error> {
        let result = match remedy {
            Remedy::Adopt(print) => self.adopt_and_present(print).await,
            Remedy::Current(print) | Remedy::Previous(print) => self.present(print).await,
            Remedy::Obtain => self.keeper.obtain(&self.keeper.connection(&self.name)?).await,
        };
        self.tried.add(remedy);
        match result {
            Ok(hand_out) => Ok(Outcome::Recovered(hand_out)),
            Err(error) if is_about_the_token(&error) => Ok(Outcome::Refused(error)),
            Err(error) => Err(error),
        }
    }

    async fn present(&self, print: &Fingerprint) -> Result<HandOut, Error> {
        self.keeper.join(&self.name, Cause::Tried(print.clone())).await
    }

    /// Law 6. The answer is put in force under the claim, and then its refresh token has to prove itself.
    async fn adopt_and_present(&self, print: &Fingerprint) -> Result<HandOut, Error> {
        let kit = self.keeper.kit();
        let mut claim = kit.claim(&self.name).await?;
        let seen = kit.look_again(claim.as_mut()).await?;
        if let Some(adopted) = seen.adopt().filter(|adopted| holds(adopted, print)) {
            kit.commit(claim.as_mut(), &seen.version(), &adopted).map_err(|error| match error {
                WriteError::Store(error) => Error::from(error),
                WriteError::Moved(_) => Error::Busy,
            })?;
        }
        drop(claim);
        self.present(print).await
    }
}

fn holds(connection: &Connection, print: &Fingerprint) -> bool {
    let held = connection.held.as_ref().and_then(|held| held.refresh.as_ref());
    held.is_some_and(|held| held.fingerprint() == *print)
}

/// The server has spoken about this token, or it is not there: that says nothing about the others.
fn is_about_the_token(error: &Error) -> bool {
    match error {
        Error::Failed { fault, .. } => fault.verdict == Verdict::GrantGone,
        Error::Blocked { blocked, .. } => *blocked == Blocked::OutOfTurn,
        _ => false,
    }
}
