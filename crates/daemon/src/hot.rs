//! The tokens that are asked for again and again, kept in memory so that handing one out costs a look into a table and
//! a copy of nothing. Bounded: whatever is not in use falls out. All others are read from the store.
//!
//! What is kept here lags at most [`SEEN_ANEW`] behind the store (`follow` forgets what has changed there, and each
//! entry is read anew from time to time). A store that cannot be read takes nothing away: a token that lives is handed
//! out (law 9).

use bytes::Bytes;
use http::HeaderValue;
use perennial::HandOut;
use perennial::core::UnixTime;
use quick_cache::sync::Cache;
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// An entry that was just read is read once more after this many seconds: a change that was written while it was being
/// read may have been announced before it was here.
const SEEN_ANEW: i64 = 4;

/// And from then on after this many: against changes that nobody announces (another name).
const LOOKED_AFTER: i64 = 30;

/// A refresh ahead that did not work is not tried again before this many seconds.
const AHEAD_PAUSE: i64 = 30;

/// The tokens in use.
pub(crate) struct Hot {
    entries: Cache<String, Arc<Entry>>,
    /// When the access tokens that are in use are to be renewed, the earliest first.
    ahead: Mutex<BinaryHeap<Reverse<(i64, String)>>>,
    capacity: usize,
}

/// A token in use.
pub(crate) struct Entry {
    pub(crate) hand_out: HandOut,
    pub(crate) etag: HeaderValue,
    /// The answer behind the number of seconds that the token has left.
    behind: Zeroizing<String>,
    /// The whole answer for one second.
    written: Mutex<(i64, Written)>,
    look_again_at: AtomicI64,
    is_asked_for: AtomicBool,
    ahead_from: AtomicI64,
}

/// An answer. Both parts lie in one piece of memory and share one count of those who use it: of ten thousand tokens in
/// use, hardly any lies in the processor's cache, and each place that is touched has to be waited for.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) etag: HeaderValue,
    pub(crate) body: Bytes,
}

/// What is to be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Hand it out.
    Fresh,
    /// Hand it out, and have it renewed behind the caller's back.
    Stale,
    /// It lives long enough as far as is known, and the store is to be asked once more.
    Old,
    /// It does not live long enough.
    Spent,
}

impl Hot {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Cache::new(capacity), ahead: Mutex::default(), capacity }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Entry>> {
        self.entries.get(name)
    }

    /// Keeps what was handed out. The same tokens as before are looked after less often.
    pub(crate) fn put(&self, hand_out: HandOut, now: UnixTime) -> Arc<Entry> {
        let name = hand_out.connection.clone();
        let known = self.entries.peek(&name);
        let is_known = known.as_ref().is_some_and(|known| known.is_of(&hand_out));
        let entry = Arc::new(Entry::new(hand_out, now, is_known));
        if let Some(known) = known.filter(|_| is_known) {
            entry.is_asked_for.store(known.is_asked_for.load(Ordering::Relaxed), Ordering::Relaxed);
            entry.ahead_from.store(known.ahead_from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.entries.insert(name, Arc::clone(&entry));
        entry
    }

    /// It has changed in the store: the store is asked before it is handed out again. Until then it stays, for the store
    /// may be gone by then (law 9).
    pub(crate) fn has_changed(&self, name: &str) {
        if let Some(entry) = self.entries.peek(name) {
            entry.doubt();
        }
    }

    /// There is no such connection any more.
    pub(crate) fn forget(&self, name: &str) {
        self.entries.remove(name);
    }

    /// Nobody knows what has changed: all of them are to be looked at.
    pub(crate) fn all_may_have_changed(&self) {
        self.entries.iter().for_each(|(_, entry)| entry.doubt());
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Notes that it is asked for: it will be renewed ahead of its end.
    pub(crate) fn note_asked(&self, entry: &Entry) {
        if entry.is_asked_for.load(Ordering::Relaxed) || entry.is_asked_for.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(at) = entry.hand_out.refresh_at {
            let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            // Whatever has fallen out of memory is no longer in use.
            if ahead.len() < self.capacity.saturating_mul(2) {
                ahead.push(Reverse((at.0, entry.hand_out.connection.clone())));
            }
        }
    }

    /// Names of connections in use whose access token is to be renewed by now.
    pub(crate) fn due_ahead(&self, now: UnixTime) -> Vec<String> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while ahead.peek().is_some_and(|Reverse((at, _))| *at <= now.0) {
            let Some(Reverse((_, name))) = ahead.pop() else { break };
            if self.entries.peek(&name).is_some_and(|entry| entry.begin_ahead(now)) {
                due.push(name);
            }
        }
        due
    }
}

impl Entry {
    fn new(hand_out: HandOut, now: UnixTime, is_known: bool) -> Self {
        let whole = json!({
            "access_token": hand_out.access_token.expose(),
            "token_type": hand_out.token_type,
            "expires_at": rfc3339(hand_out.expires_at),
            "scope": hand_out.scope,
            "base_uri": hand_out.base.to_string(),
            "connection": hand_out.connection,
            "generation": hand_out.generation,
        });
        // The one member that changes from second to second comes first, so that all the rest stays as it is.
        let rest = Zeroizing::new(whole.to_string());
        let mut behind = Zeroizing::new(String::with_capacity(rest.len() + 1));
        behind.push(',');
        behind.push_str(&rest[1..]);
        let print = hand_out.access_token.fingerprint();
        let etag = HeaderValue::try_from(format!("\"{}-{print}\"", hand_out.generation))
            .unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        let look_again_at = now.0 + if is_known { LOOKED_AFTER } else { SEEN_ANEW };
        Self {
            hand_out,
            written: Mutex::new((i64::MIN, Written { etag: etag.clone(), body: Bytes::new() })),
            etag,
            behind,
            look_again_at: AtomicI64::new(look_again_at),
            is_asked_for: AtomicBool::new(false),
            ahead_from: AtomicI64::new(i64::MIN),
        }
    }

    /// What may be done with it for who wants a token that lives so many seconds.
    pub(crate) fn look(&self, min_ttl: i64, now: UnixTime) -> Look {
        if self.left(now) < min_ttl.max(1) {
            return Look::Spent;
        }
        if self.look_again_at.load(Ordering::Relaxed) <= now.0 {
            return Look::Old;
        }
        match self.hand_out.refresh_at {
            Some(at) if at <= now && self.begin_ahead(now) => Look::Stale,
            _ => Look::Fresh,
        }
    }

    /// The store cannot be asked: what lives is handed out for a while longer.
    pub(crate) fn keep(&self, now: UnixTime) {
        self.look_again_at.store(now.0 + 1, Ordering::Relaxed);
    }

    fn doubt(&self) {
        self.look_again_at.store(i64::MIN, Ordering::Relaxed);
    }

    /// How many seconds it lives yet.
    pub(crate) fn left(&self, now: UnixTime) -> i64 {
        self.hand_out.expires_at.since(now)
    }

    /// True for one caller in a while: who is to have it renewed.
    fn begin_ahead(&self, now: UnixTime) -> bool {
        let from = self.ahead_from.load(Ordering::Relaxed);
        let next = now.0 + AHEAD_PAUSE;
        from <= now.0
            && self.ahead_from.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_of(&self, other: &HandOut) -> bool {
        self.hand_out.id == other.id
            && self.hand_out.generation == other.generation
            && self.hand_out.access_token == other.access_token
    }

    /// The whole answer. It is written once a second.
    pub(crate) fn answer(&self, now: UnixTime) -> Written {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.0 != now.0 {
            *written = (now.0, self.write(now));
        }
        written.1.clone()
    }

    fn write(&self, now: UnixTime) -> Written {
        let etag = self.etag.as_bytes();
        let mut text = Vec::with_capacity(etag.len() + self.behind.len() + 40);
        text.extend_from_slice(etag);
        let _ = write!(text, "{{\"expires_in\":{}", self.left(now));
        text.extend_from_slice(self.behind.as_bytes());
        let mut etag_and_body = Bytes::from(text);
        let body = etag_and_body.split_off(etag.len());
        let etag = HeaderValue::from_maybe_shared(etag_and_body).unwrap_or_else(|_| self.etag.clone());
        Written { etag, body }
    }
}

pub(crate) fn rfc3339(at: UnixTime) -> String {
    jiff::Timestamp::from_second(at.0).unwrap_or(jiff::Timestamp::MAX).to_string()
}
