//! Making an outcome durable whatever happens (law 1): in the store, else in the rescue file, else held here and tried
//! again for as long as the process lives.

use crate::error::Error;
use crate::hand_out::{HandOut, Warning};
use crate::kit::{Kit, Order, blocking};
use crate::seal::SealError;
use crate::seal::rescue::Rescued;
use crate::store::{Claim, WriteError, document};
use perennial_core::connection::{Answered, Aside, Decision, Version};
use perennial_core::{Connection, TokenResponse};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an answer that nothing will take is held between two tries.
const HOLD: Duration = Duration::from_secs(2);

/// A store that refused is looked at again after this long, then after twice as long …
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// … and at last this often.
const LAST_LOOK: Duration = Duration::from_secs(5 * 60);

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
    let mut from = from.clone();
    let kept = loop {
        let store_error = match kit.commit(claim, &from, next) {
            Ok(()) => break Kept::InStore,
            // What overtook it is itself: a write that seemed to fail. It may not be durable, so it is written again.
            Err(WriteError::Moved(current))
                if is_same_answer(&current, next) && current.version() != from =>
            {
                from = current.version();
                continue;
            }
            Err(WriteError::Moved(current)) => break Kept::Overtaken(current),
            Err(WriteError::Store(error)) => error,
        };
        tracing::error!(error = %store_error, "the store does not take the new tokens");
        match blocking(|| kit.rescue.keep(&kit.random.id(), &from, next, kit.now())) {
            Ok(path) => break Kept::InRescueFile(path),
            Err(error) => {
                tracing::error!(%error, "nor can a rescue file be written; the new tokens are held in memory")
            }
        }
        kit.hold_in_memory(&next.name, true);
        kit.clock.sleep(HOLD).await;
    };
    kit.hold_in_memory(&next.name, false);
    kept
}

/// True when both hold what one answer brought.
fn is_same_answer(one: &Connection, other: &Connection) -> bool {
    one.held.is_some() && one.held == other.held && one.candidates == other.candidates
}

/// Goes on taking what waits into the store, for as long as the process lives: other hosts see the store only, and would
/// present what has been replaced (law 2). One at a time.
pub(crate) async fn drain_until_done(kit: Arc<Kit>) {
    if kit.is_draining.swap(true, Ordering::SeqCst) {
        return;
    }
    let mut pause = FIRST_LOOK;
    while kit.rescue.is_needed() {
        kit.clock.sleep(pause).await;
        blocking(|| drain(&kit));
        pause = pause.saturating_mul(2).min(LAST_LOOK);
    }
    kit.is_draining.store(false, Ordering::SeqCst);
}

/// Takes what the rescue files hold into the store. What does not work stays where it is.
pub(crate) fn drain(kit: &Kit) {
    for rescued in kit.rescue.waiting(None).into_iter().filter_map(told) {
        // Somebody else who holds the claim takes it in before anything else.
        let claim = name_of(kit, &rescued).and_then(|name| kit.store.try_claim(&name).ok().flatten());
        let Some(mut claim) = claim else { continue };
        if let Err(error) = take_in(kit, claim.as_mut(), &rescued) {
            tracing::warn!(%error, "tokens in a rescue file still wait for the store");
        }
    }
}

/// The same for one connection, by who holds its claim. A flight that waited for it may find that the one before could
/// not write: what stands in the store has been replaced, and must not be presented any more (law 3). Nor must it be
/// where the file does not open: newer tokens are in it.
pub(crate) fn take_in_all(kit: &Kit, claim: &mut dyn Claim) -> Result<(), Error> {
    let id = claim.read()?.id;
    for waiting in kit.rescue.waiting(Some(&id)) {
        match waiting {
            Ok(rescued) => take_in(kit, claim, &rescued)?,
            Err((path, why)) => return Err(Error::RescueClosed { path, why: why.to_string() }),
        }
    }
    Ok(())
}

/// An access token that waits in a rescue file, if it is good for this order: it is durable there, so it is handed out
/// while the store refuses it (laws 1 and 9).
pub(crate) fn peek(kit: &Kit, order: &Order, looked: &Connection) -> Option<HandOut> {
    let from = looked.version();
    let mut waiting = kit.rescue.waiting(Some(&looked.id)).into_iter().filter_map(told);
    let rescued = waiting.find(|rescued| rescued.from.same_tokens(&from))?;
    let unsaved = read(kit, &rescued, looked);
    let decision = unsaved.decide(&order.cause, kit.now());
    let good = matches!(decision, Decision::HandOut | Decision::HandOutAndRenew);
    let hand_out = HandOut::of(&unsaved, kit.now()).filter(|_| good)?;
    Some(hand_out.with(Warning::Unsaved(rescued.path.clone())))
}

fn told(waiting: Result<Rescued, (PathBuf, SealError)>) -> Option<Rescued> {
    let tell = |(path, error): (PathBuf, SealError)| {
        tracing::warn!(path = %path.display(), %error, "a rescue file does not open");
    };
    waiting.map_err(tell).ok()
}

/// What the connection is called now: it may have been renamed while its tokens waited.
fn name_of(kit: &Kit, rescued: &Rescued) -> Option<String> {
    let is_it = |name: &String| kit.store.read(name).is_ok_and(|connection| connection.id == rescued.id);
    let names = std::iter::once(rescued.name.clone()).chain(kit.store.names().unwrap_or_default());
    names.into_iter().find(is_it)
}

fn read(kit: &Kit, rescued: &Rescued, seen: &Connection) -> Connection {
    let fresh = Connection::new(seen.id.clone(), seen.name.clone(), seen.profile);
    let read = document::read(&rescued.document, fresh).connection;
    kit.seen(Connection { policy: seen.policy.clone(), ..read })
}

fn take_in(kit: &Kit, claim: &mut dyn Claim, rescued: &Rescued) -> Result<(), Error> {
    if !kit.rescue.still_waits(rescued) {
        return Ok(()); // Somebody else was quicker.
    }
    let seen = kit.look(claim)?;
    let next = read(kit, rescued, &seen);
    let written = if seen.version().same_intent(&rescued.from) {
        kit.commit(claim, &rescued.from, &next)
    } else if next.version().same_tokens(&seen.version()) {
        // The write that seemed to fail can be read; whether it is durable nobody knows, so it is made once more.
        kit.commit(claim, &seen.version(), &seen)
    } else {
        kit.commit(claim, &seen.version(), &set_aside(kit, &seen, &next, rescued))
    };
    written.map_err(|error| match error {
        WriteError::Store(error) => Error::from(error),
        WriteError::Moved(_) => Error::Busy,
    })?;
    match kit.rescue.done(rescued) {
        Ok(()) => {
            tracing::info!(connection = %rescued.name, "tokens from a rescue file are in the store now")
        }
        Err(error) => {
            tracing::warn!(path = %rescued.path.display(), %error, "it is in the store and may be removed")
        }
    }
    Ok(())
}

/// Law 8: the tokens have been replaced since. What waited is kept beside them, and so is what it had kept aside.
fn set_aside(kit: &Kit, seen: &Connection, next: &Connection, rescued: &Rescued) -> Connection {
    let mut aside = seen.clone();
    aside.candidates.extend(next.candidates.iter().filter(|kept| !seen.candidates.contains(kept)).cloned());
    let response = TokenResponse::from_members(&rescued.document).filter(|response| {
        let known = seen.candidates.iter().any(|kept| kept.response == *response);
        !known && !next.version().same_tokens(&rescued.from)
    });
    if let (Some(held), Some(response)) = (&next.held, response) {
        let at = held.refreshed_at.map_or_else(|| kit.now(), |at| next.skew.host_time(at));
        let answered =
            Answered { base: held.base.clone(), sent_at: at, received_at: at, date: None, host: kit.host() };
        // A grant that was obtained is of its own kind: a refresh of the former one proves nothing against it.
        let from = Version { grant_id: next.version().grant_id, ..rescued.from.clone() };
        aside = aside.set_aside(&from, &response, &answered, Aside::Late);
    }
    aside
}
