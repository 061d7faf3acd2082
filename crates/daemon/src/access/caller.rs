//! Somebody who asks, and what they may do.

use crate::config::{Glob, Methods, Right};
use crate::problem::Problem;
use perennial::core::UnixTime;
use std::sync::atomic::{AtomicI64, Ordering};

/// Somebody who asks.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The client's name, or `uid 1000`.
    pub(crate) name: String,
    pub(crate) may: Vec<Right>,
    pub(crate) allow: Vec<Glob>,
    /// Which requests may be forwarded; all where there is none.
    pub(crate) forward: Vec<Methods>,
    pub(crate) expires_at: Option<UnixTime>,
    last_used: AtomicI64,
}

impl Caller {
    pub(crate) fn new(
        name: String,
        may: Vec<Right>,
        allow: Vec<Glob>,
        forward: Vec<Methods>,
        expires_at: Option<UnixTime>,
    ) -> Self {
        Self { name, may, allow, forward, expires_at, last_used: AtomicI64::new(0) }
    }

    /// False once its time is over.
    pub(crate) fn is_good_at(&self, now: UnixTime) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }

    /// True when it may do this with any connection.
    pub(crate) fn may(&self, right: Right) -> bool {
        self.may.contains(&right)
    }

    /// True when it may know of this connection.
    pub(crate) fn sees(&self, connection: &str) -> bool {
        self.allow.iter().any(|glob| glob.matches(connection))
    }

    /// Refuses what it may not do. A connection that it may not know of is one that is not there.
    pub(crate) fn check(&self, right: Right, connection: &str) -> Result<(), Problem> {
        match (self.may(right), self.sees(connection)) {
            (false, _) => Err(Problem::no_right(right)),
            (true, false) => Err(Problem::no_such_connection(connection)),
            (true, true) => Ok(()),
        }
    }

    /// Refuses what it may do with no connection at all.
    pub(crate) fn check_any(&self, right: Right) -> Result<(), Problem> {
        if self.may(right) { Ok(()) } else { Err(Problem::no_right(right)) }
    }

    /// True when this request may be forwarded for it; `path` is without its query.
    pub(crate) fn may_forward(&self, method: &str, path: &str) -> bool {
        self.forward.is_empty() || self.forward.iter().any(|methods| methods.permit(method, path))
    }

    /// The one connection that it may use, where it is named and no pattern.
    pub(crate) fn only_connection(&self) -> Option<String> {
        match self.allow.as_slice() {
            [only] => only.as_name().map(str::to_owned),
            _ => None,
        }
    }

    /// Written at most once a second, so that no cache line is fought for.
    pub(crate) fn note_use(&self, now: UnixTime) {
        if self.last_used.load(Ordering::Relaxed) < now.0 {
            self.last_used.store(now.0, Ordering::Relaxed);
        }
    }

    /// When it last asked; 0 where it never has.
    pub(crate) fn last_used(&self) -> i64 {
        self.last_used.load(Ordering::Relaxed)
    }
}
