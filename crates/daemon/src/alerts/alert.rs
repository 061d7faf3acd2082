//! One thing to tell, and the message that tells it: documented JSON (docs/daemon.md#alerts) and a line for people.
//! Nothing in it is a secret (law 10): it is made of names, states, times and words that may be shown.

use super::seen::Seen;
use crate::config::AlertEvent;
use jiff::Timestamp;
use perennial::core::connection::Fault;
use perennial::core::{Expiry, UnixTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Which form the messages have. It changes when a member changes its meaning or goes; new ones may come at any time.
pub const VERSION: u32 = 1;

/// One thing to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Names it: the same thing told again after a crash has the same.
    pub id: String,
    /// What it is about.
    pub event: AlertEvent,
    /// True when it is over.
    pub recovered: bool,
    /// When it was seen.
    pub at: UnixTime,
    /// Which connection, where it is about one.
    pub connection: Option<String>,
    /// State or days: alerts that share it may be told together.
    pub label: String,
    /// The message's data.
    pub data: Map<String, Value>,
    /// One line for people.
    pub text: String,
}

impl Alert {
    /// The message that tells it.
    #[must_use]
    pub fn message(self) -> Message {
        let kind = kind(self.event, self.recovered);
        Message::new(self.id, &kind, self.at, self.data, self.text, self.recovered)
    }
}

/// What `type` says.
#[must_use]
pub fn kind(event: AlertEvent, recovered: bool) -> String {
    let name = match event {
        AlertEvent::RefreshTokenDies => "refresh_token.dies",
        AlertEvent::StateChanged => "connection.state_changed",
        AlertEvent::ServerFails => "server.fails",
        AlertEvent::StoreNotWritable => "store.not_writable",
        AlertEvent::ClockWrong => "clock.wrong",
    };
    if recovered { format!("{name}.recovered") } else { name.to_owned() }
}

/// A message, as it waits in the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `webhook-id`: a receiver that sees it twice has been told twice of one thing.
    pub id: String,
    /// More is added to it yet. What a crash has left behind does not grow any more.
    #[serde(skip)]
    pub grows: bool,
    /// When it was made.
    pub made: i64,
    /// It tells of something that is over: the first to go where there is no room.
    pub passing: bool,
    /// One line for people, and behind it what to do.
    pub text: String,
    /// What webhooks and commands get.
    pub body: Value,
}

impl Message {
    pub(super) fn new(
        id: String,
        kind: &str,
        at: UnixTime,
        data: Map<String, Value>,
        text: String,
        passing: bool,
    ) -> Self {
        let body = json!({
            "type": kind,
            "version": VERSION,
            "id": id,
            "timestamp": rfc3339(at),
            "data": data,
        });
        Self { id, grows: false, made: at.0, passing, text, body }
    }

    /// What `perennial alert test` sends.
    #[must_use]
    pub fn test(at: UnixTime) -> Self {
        let text = "perennial: this is a test; nothing is wrong".to_owned();
        let data = object(json!({"message": text, "hint": null}));
        let id = format!("msg_{}", perennial::request_id());
        Self::new(id, "alerts.test", at, data, text, false)
    }

    /// What a sink is told that has lost messages because too many waited for it.
    pub(super) fn lost(count: u64, since: UnixTime, at: UnixTime) -> Self {
        let text = format!(
            "perennial: {count} older messages were dropped since {}: too many waited here, or they waited too long",
            rfc3339(since)
        );
        let hint = "perennial status";
        let data = object(json!({"count": count, "since": rfc3339(since), "message": text, "hint": hint}));
        let id = format!("msg_{}", perennial::request_id());
        Self::new(id, "alerts.lost", at, data, format!("{text}\nnext: {hint}"), false)
    }
}

/// What is told of a connection.
pub(super) fn of_connection(seen: &Seen, tenant: &str, now: UnixTime) -> Map<String, Value> {
    let fault = seen.fault.as_ref();
    object(json!({
        "connection": seen.name,
        "tenant": tenant,
        "state": seen.state.as_str(),
        "expires_at": seen.ends.map(|ends| rfc3339(ends.at())),
        "expiry": seen.ends.map(Expiry::basis),
        "days_left": seen.ends.map(|ends| days_left(ends.at(), now)),
        "fault": fault.map(|fault| fault.message.clone()),
        "verdict": fault.map(|fault| fault.verdict.as_str()),
        "code": fault.and_then(|fault| fault.code),
        "correlation_id": fault.and_then(|fault| fault.correlation_id.clone()),
    }))
}

/// Days, a day that has begun among them: at the bell of seven days it is seven.
pub(super) fn days_left(ends: UnixTime, now: UnixTime) -> i64 {
    ends.since(now).max(0).saturating_add(DAY - 1) / DAY
}

/// `in 7 days`.
pub(super) fn in_days(left: i64) -> String {
    if left == 1 { "within a day".to_owned() } else { format!("in {left} days") }
}

pub(super) const DAY: i64 = 24 * 3600;

/// A fault as a line for people has it.
pub(super) fn in_brackets(fault: Option<&Fault>) -> String {
    let Some(fault) = fault else { return String::new() };
    let id = fault.correlation_id.as_ref().map(|id| format!(", correlation id {id}")).unwrap_or_default();
    format!(" ({}{id})", fault.message)
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `2027-05-24T01:48:00Z` (RFC 3339).
pub(super) fn rfc3339(at: UnixTime) -> String {
    Timestamp::from_second(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
