//! What a look at a connection, or its flight, means for what comes next.

use super::lanes::Health;
use crate::error::Error;
use crate::hand_out::{HandOut, Warning};
use crate::keeper::Keeper;
use crate::store::StoreError;
use perennial_core::connection::{Blocked, Cause, Decision, Fault};
use perennial_core::{Connection, UnixTime};
use std::time::Duration;

/// What waits for a person, or for nobody knows what, is looked at again after this long.
const UNTIL_SOMEBODY_ACTS: Duration = Duration::from_secs(10 * 60);
/// What somebody else is at work on, or what can do nothing for others now.
const A_WHILE: Duration = Duration::from_secs(60);
/// What the store would not read or write.
const UNTIL_THE_STORE_IS_WELL: Duration = Duration::from_secs(5 * 60);
/// Nothing rests for longer: other processes put connections right.
const LONGEST: Duration = Duration::from_secs(3600);

/// A store that fails so often in a row is taken to be gone; one row that is damaged fails once.
const GONE_AFTER: u32 = 5;

/// What is to become of a connection that the agenda offered.
#[derive(Debug)]
pub(super) enum Look {
    /// Its flight, to this server.
    Fly { base: String, generation: u64 },
    /// Nothing, before this long; zero where the agenda knows better by now.
    Rest(Duration),
}

/// What comes after a flight.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, before this long; zero where it was renewed.
    Rest(Duration, Health),
    /// The same again, when the breaker lets somebody through.
    Shut(Duration),
}

/// Reads each, and decides. Ends early where the store seems to be gone: each try may take as long as the store waits for
/// its server.
pub(super) fn look_at(keeper: &Keeper, names: &[String]) -> Vec<Look> {
    let (mut looks, mut failed_in_a_row) = (Vec::with_capacity(names.len()), 0);
    for name in names {
        let looked = look(keeper, name);
        failed_in_a_row = if looked.is_err() { failed_in_a_row + 1 } else { 0 };
        looks.push(looked.unwrap_or_else(|error| {
            tracing::warn!(connection = %name, %error, "a connection that is due could not be looked at");
            Look::Rest(UNTIL_THE_STORE_IS_WELL)
        }));
        if failed_in_a_row == GONE_AFTER {
            break;
        }
    }
    looks
}

fn look(keeper: &Keeper, name: &str) -> Result<Look, Error> {
    let kit = keeper.kit();
    let seen = match kit.read(name) {
        // It was renamed, or put away.
        Err(Error::Store(error)) if matches!(*error, StoreError::NoSuchConnection { .. }) => {
            return Ok(Look::Rest(Duration::ZERO));
        }
        seen => seen?,
    };
    let now = kit.now();
    match kit.decide(&seen, &Cause::Due) {
        Decision::Fly(purpose) => {
            let base = kit.base_for(&seen, purpose, &Cause::Due)?.to_string();
            Ok(Look::Fly { base, generation: seen.version().generation })
        }
        Decision::Stop(Blocked::Until(until)) => Ok(Look::Rest(from(now, seen.skew.host_time(until)))),
        Decision::Stop(_) => Ok(Look::Rest(UNTIL_SOMEBODY_ACTS)),
        _ => Ok(Look::Rest(until_renewal(&seen, now))),
    }
}

/// Not due by this host's clock, or by the server's: it is before long.
fn until_renewal(seen: &Connection, now: UnixTime) -> Duration {
    seen.renew_at().map_or(A_WHILE, |at| from(now, seen.skew.host_time(at)))
}

/// From now until then, a second at least.
pub(super) fn from(now: UnixTime, until: UnixTime) -> Duration {
    let seconds = u64::try_from(until.since(now)).unwrap_or(0).max(1);
    Duration::from_secs(seconds).min(LONGEST)
}

/// What comes after a flight of a connection whose `generation` was seen before.
pub(super) fn of_flight(result: &Result<HandOut, Error>, generation: u64, now: UnixTime) -> Next {
    match result {
        // Renewed, and it stands in the store; else somebody else has an eye on it.
        Ok(hand_out) if hand_out.generation != generation && !is_unsaved(hand_out) => {
            Next::Rest(Duration::ZERO, Health::Well)
        }
        Ok(_) => Next::Rest(A_WHILE, Health::Unknown),
        Err(Error::ServerFails { until, .. }) if *until > now => Next::Shut(from(now, *until)),
        // Its turn to probe, and it cannot afford that: another one can.
        Err(Error::ServerFails { .. }) => Next::Rest(A_WHILE, Health::Unknown),
        Err(Error::Unreachable { .. }) => Next::Rest(A_WHILE, Health::Failing),
        Err(Error::Failed { fault, retry_at, .. }) => {
            // The server's clock: the record says it better, and the agenda goes by that.
            let time = retry_at.map_or(UNTIL_SOMEBODY_ACTS, |at| from(now, at));
            Next::Rest(time, health(fault))
        }
        Err(Error::Blocked { blocked: Blocked::Until(until), .. }) => {
            Next::Rest(from(now, *until), Health::Unknown)
        }
        Err(Error::Store(_)) => Next::Rest(UNTIL_THE_STORE_IS_WELL, Health::Unknown),
        Err(Error::Busy | Error::Deadline) => Next::Rest(A_WHILE, Health::Unknown),
        Err(_) => Next::Rest(UNTIL_SOMEBODY_ACTS, Health::Unknown),
    }
}

fn is_unsaved(hand_out: &HandOut) -> bool {
    hand_out.warnings.iter().any(|warning| matches!(warning, Warning::Unsaved(_)))
}

/// As the breaker sees it: no answer, a 5xx and a 429 are the server's own trouble.
fn health(fault: &Fault) -> Health {
    match fault.status {
        Some(status) if status < 500 && status != 429 => Health::Well,
        _ => Health::Failing,
    }
}
