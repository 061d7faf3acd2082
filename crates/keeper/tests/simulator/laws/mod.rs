//! The laws of docs/design.md, checked against the truth at every step. The checks know the engine's traits and the
//! row that it writes, and none of its decisions: what may be sent when is told here once more, in other words.
//!
//! | file | laws |
//! |---|---|
//! | `presenting` | 2, 3, 4, 7, 10: a request goes out |
//! | `restraint` | 12: whether it may, and what was heard before |
//! | `keeping` | 1, 5, 6, 8, 13: something is written, or vanishes |
//! | `serving` | 1, 9, 10, 13: a caller gets an answer |
//! | `time` | 11: what a host may believe of its clock |
//! | `liveness` | what must work again when all is well |

pub(crate) mod keeping;
pub(crate) mod liveness;
mod presenting;
mod restraint;
mod serving;
mod time;

use crate::answers::Heard;
use crate::clocks::Moment;
use crate::process::Kind;
use crate::world::Who;
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::Id;

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its number; 0 is liveness, and what nobody may do (panic).
    pub(crate) law: u8,
    pub(crate) what: String,
    pub(crate) at: Moment,
}

/// What has been seen so far, as far as the laws need it.
#[derive(Default)]
pub(crate) struct Laws {
    pub(crate) broken: Option<Violation>,
    /// How many checks were made, by law.
    pub(crate) checks: [u64; 14],
    pub(crate) presentations: Vec<Presentation>,
    by_token: BTreeMap<String, Vec<usize>>,
    orders: Vec<Order>,
    orders_so_far: u64,
    callers: Vec<Id>,
    flights: Vec<Flight>,
    /// Refresh tokens that stood durably somewhere.
    were_durable: BTreeSet<String>,
    /// For each connection: when its tokens were last replaced, and by whom.
    replaced: BTreeMap<usize, (Moment, Who)>,
    /// For each connection: when a person last asked for something.
    person_at: BTreeMap<usize, Moment>,
    /// For each process and base: how the server does.
    circuits: BTreeMap<(usize, String), restraint::Circuit>,
    readings: BTreeMap<usize, time::Readings>,
    /// The worst that any clock, and any `Date`, has been off.
    worst_clock: i64,
    worst_date: i64,
}

/// A request that went out.
pub(crate) struct Presentation {
    pub(crate) at: Moment,
    pub(crate) who: Who,
    pub(crate) connection: usize,
    kernel: String,
    token: String,
    base: String,
    is_refresh: bool,
    intent: String,
    deadline: Moment,
    flight: Option<Id>,
    kinds: Vec<Kind>,
    /// What the server did with it.
    judged: Option<Judged>,
    /// What its sender knows.
    heard: Option<(Moment, Heard)>,
    /// The `Date` in that.
    reads: Option<time::Reading>,
    /// When that was written down, durably.
    noted: Option<Moment>,
    sender_died: Option<Moment>,
    /// Somebody of its own kernel has presented after it.
    has_successor: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Issued,
    Refused,
}

/// A caller who waits.
struct Order {
    number: u64,
    who: Who,
    connection: usize,
    kind: Kind,
    at: Moment,
    left_at: Option<Moment>,
}

/// A task of a keeper that looked at a connection: a flight.
struct Flight {
    task: Id,
    who: Who,
    connection: usize,
    looked_at: Moment,
    has_connected: bool,
    kinds: Vec<Kind>,
}
