//! The agenda: whether what is due may be tried, and how urgent it is, told of a connection. Databases say the same in
//! SQL, over the members of its record that are legible. It is a filter: who gets a connection decides again.

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
