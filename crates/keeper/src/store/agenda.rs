//! The agenda: whether what is due may be tried, and how urgent it is, told of a connection. Databases say the same in
//! SQL, over the members of its record that are legible. It is a filter: who gets a connection decides again.

use crate::store::{Ends, Store, StoreError};
use perennial_core::connection::Condition;
use perennial_core::journal::{Entry, Event};
use perennial_core::{Connection, Expiry, UnixTime};

/// No pause is longer than what a policy makes of a Retry-After of a day. What claims to be was written while a clock
/// stood wrong (law 11), and does not keep a connection off the agenda.
pub(crate) const LONGEST_PAUSE: i64 = 30 * 3600;

/// The end of the refresh token; where nobody knows it, the time when renewal fell due, so that it comes first.
pub(crate) fn urgency(connection: &Connection, renew_at: UnixTime) -> UnixTime {
    let expiry = connection.held.as_ref().and_then(|held| held.refresh_expiry);
    expiry.map_or(renew_at, Expiry::at)
}

/// False for what backs off, or waits for a person. A late answer is adopted whatever the state, and a grant that is gone
/// may be obtained anew by a request token.
pub(crate) fn may_be_tried(connection: &Connection, at: UnixTime) -> bool {
    match connection.condition {
        Condition::BackingOff { until, .. } | Condition::Uncertain { until, .. } => {
            !(1..=LONGEST_PAUSE).contains(&until.since(at))
        }
        Condition::Suspended | Condition::Revoked => !connection.candidates.is_empty(),
        Condition::Sound | Condition::NeedsReauthorization => true,
    }
}

/// So many names are held at a time by whoever goes through all of them.
const PAGE: usize = 1000;

/// Counts refresh tokens by their ends, connection by connection.
pub(crate) fn ends<S: Store + ?Sized>(store: &S, at: UnixTime, bounds: &[i64]) -> Result<Ends, StoreError> {
    let mut ends = Ends::none(bounds.len());
    let mut after: Option<String> = None;
    loop {
        let names = store.names_after(after.as_deref(), PAGE)?;
        for name in &names {
            let connection = match store.read(name) {
                Err(StoreError::NoSuchConnection { .. }) => continue, // It was renamed or put away just now.
                read => read?,
            };
            let Some(held) = connection.held.filter(|held| held.refresh.is_some()) else { continue };
            let Some(end) = held.refresh_expiry else { continue };
            let left = end.at().since(at);
            ends.known += 1;
            ends.seconds = ends.seconds.saturating_add(left.max(0).unsigned_abs());
            for (count, _) in ends.within.iter_mut().zip(bounds).filter(|(_, bound)| left <= **bound) {
                *count += 1;
            }
        }
        match names.last() {
            Some(last) if names.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(ends),
        }
    }
}

/// So many connections are looked at by a database in one go: some ten megabytes of pages.
pub(crate) const ENDS_PAGE: usize = 2500;

/// What a database answers who asks it for the same: the number of the last one that it has looked at, how many, the
/// seconds, and a count for each bound; nothing, where there is no database yet.
pub(crate) fn counted(row: &[i64], bounds: usize) -> (Ends, Option<u64>) {
    let counts: Vec<u64> = row.iter().map(|count| count.max(&0).unsigned_abs()).collect();
    match counts.as_slice() {
        [last, known, seconds, within @ ..] => {
            let ends = Ends { within: within.to_vec(), known: *known, seconds: *seconds };
            (ends, Some(*last).filter(|last| *last > 0))
        }
        _ => (Ends::none(bounds), None),
    }
}

/// The line that a store puts down with a write of its own.
pub(crate) fn noted(at: i64, what: impl Into<String>) -> [Entry; 1] {
    [Entry { at: UnixTime(at), event: Event::Noted { what: what.into() }, correlation_id: None }]
}

/// What the lines say.
pub(crate) fn renamed(from: &str) -> String {
    format!("renamed: it was called {from}")
}

pub(crate) const PUT_AWAY: &str = "put away";
pub(crate) const BROUGHT_BACK: &str = "brought back";
/// True when something of a grant is kept, or may yet come: no such connection is taken out without a trace (law 5).
pub(crate) fn holds_anything(connection: &Connection) -> bool {
    connection.held.is_some()
        || connection.intent.is_some()
        || !connection.previous.is_empty()
        || !connection.candidates.is_empty()
}
