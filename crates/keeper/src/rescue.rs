//! Making an outcome durable whatever happens (law 1): in the store, else in the rescue file, else held here and tried
//! again for as long as the process lives.

use crate::kit::Kit;
use crate::seal::rescue::Rescued;
use crate::store::{Claim, WriteError, document};
use perennial_core::connection::{Answered, Aside, Version};
use perennial_core::{Connection, TokenResponse};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::block_in_place;

/// How long an answer that nothing will take is held between two tries.
const HOLD: Duration = Duration::from_secs(2);

/// Where an outcome stands now.
pub(crate) enum Kept {
    InStore,
    InRescueFile(PathBuf),
    /// Not kept: somebody else has replaced the tokens, and this is what stands there.
    Overtaken(Box<Connection>),
}

pub(crate) async fn make_durable(
    kit: &Kit,
    claim: &mut dyn Claim,
    from: &Version,
    next: &Connection,
) -> Kept {
    loop {
        let store_error = match block_in_place(|| claim.commit(from, next)) {
            Ok(()) => return Kept::InStore,
            Err(WriteError::Moved(current)) => return Kept::Overtaken(current),
            Err(WriteError::Store(error)) => error,
        };
        tracing::error!(error = %store_error, "the store does not take the new tokens");
        match block_in_place(|| kit.rescue.keep(from, next, kit.clock.now())) {
            Ok(path) => return Kept::InRescueFile(path),
            Err(error) => {
                tracing::error!(%error, "nor can a rescue file be written; the new tokens are held in memory")
            }
        }
        tokio::time::sleep(HOLD).await;
    }
}

/// Takes what the rescue files hold into the store. What does not work stays where it is.
pub(crate) fn drain(kit: &Kit) {
    for waiting in kit.rescue.waiting() {
        match waiting {
            Ok(rescued) => take_in(kit, &rescued),
            Err((path, error)) => {
                tracing::warn!(path = %path.display(), %error, "a rescue file does not open")
            }
        }
    }
}

fn take_in(kit: &Kit, rescued: &Rescued) {
    // Somebody else who holds the claim will drain too, or the next start will.
    let Ok(Some(mut claim)) = kit.store.try_claim(&rescued.name) else { return };
    let Ok(seen) = claim.read() else { return };
    let fresh = Connection::new(seen.id.clone(), seen.name.clone(), seen.profile);
    let next = document::read(&rescued.document, fresh, &kit.kernel).connection;
    let taken = if seen.version() == rescued.from {
        claim.commit(&rescued.from, &next)
    } else if next.version() == seen.version() {
        Ok(())
    } else {
        let Some(response) = TokenResponse::from_members(&rescued.document) else { return };
        let Some(held) = &next.held else { return };
        let at = held.refreshed_at.map_or_else(|| kit.clock.now(), |at| next.skew.host_time(at));
        let answered = Answered { base: held.base.clone(), sent_at: at, received_at: at, date: None };
        claim.commit(&seen.version(), &seen.set_aside(&response, &answered, Aside::Late))
    };
    match taken
        .map_err(|error| error.to_string())
        .and_then(|()| kit.rescue.done(rescued).map_err(|e| e.to_string()))
    {
        Ok(()) => {
            tracing::info!(connection = %rescued.name, "tokens from a rescue file were taken into the store")
        }
        Err(error) => tracing::warn!(%error, "tokens in a rescue file still wait for the store"),
    }
}
