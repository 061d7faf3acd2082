//! An entry of the journal as JSON: what `perennial log --json` prints, what SQLite keeps in a column and SAP's two
//! files beside them, a line each. There is no secret in it.

use perennial_core::journal::{Entry, Event};
use perennial_core::{Fingerprint, UnixTime};
use serde_json::{Map, Value, json};

/// An entry's members, `at` in Unix seconds.
#[must_use]
pub fn write(entry: &Entry) -> Map<String, Value> {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            members.insert(name.to_owned(), value);
        }
    };
    put("at", json!(entry.at.0));
    put("event", json!(entry.event.as_str()));
    put("correlation_id", json!(entry.correlation_id));
    let print = |token: &Option<Fingerprint>| json!(token.as_ref().map(Fingerprint::as_str));
    match &entry.event {
        Event::Obtained { to, generation } | Event::Adopted { to, generation } => {
            put("to", print(to));
            put("generation", json!(generation));
        }
        Event::Refreshed { from, to, generation } => {
            put("from", print(from));
            put("to", print(to));
            put("generation", json!(generation));
        }
        Event::AdoptedFromSibling { generation } => put("generation", json!(generation)),
        Event::IntentFound { process, presented } => {
            put("process", json!(process));
            put("presented", json!(presented.as_str()));
        }
        Event::Replayed { presented } => put("presented", json!(presented.as_str())),
        Event::Refused { verdict, status, code, said, message } => {
            put("verdict", json!(verdict));
            put("status", json!(status));
            put("code", json!(code));
            put("said", json!(said));
            put("message", json!(message));
        }
        Event::SetAside { reason, refresh } => {
            put("reason", json!(reason));
            put("refresh", print(refresh));
        }
        Event::Noted { what } => put("what", json!(what)),
        _ => {}
    }
    members
}

/// Reads what [`write()`] wrote; an event that this version does not know is shown by its name.
#[must_use]
pub fn read(members: &Map<String, Value>) -> Option<Entry> {
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let print = |name: &str| text(name).and_then(|text| Fingerprint::parse(&text));
    let number = |name: &str| members.get(name).and_then(Value::as_u64);
    let generation = || number("generation").unwrap_or(0);
    let small = |name: &str| number(name).and_then(|number| u32::try_from(number).ok());
    let kind = text("event")?;
    let event = match kind.as_str() {
        "obtained" => Event::Obtained { to: print("to"), generation: generation() },
        "adopted" => Event::Adopted { to: print("to"), generation: generation() },
        "refreshed" => Event::Refreshed { from: print("from"), to: print("to"), generation: generation() },
        "adopted_from_sibling" => Event::AdoptedFromSibling { generation: generation() },
        "intent_found" => {
            Event::IntentFound { process: small("process").unwrap_or(0), presented: print("presented")? }
        }
        "replayed" => Event::Replayed { presented: print("presented")? },
        "refused" => Event::Refused {
            verdict: text("verdict").unwrap_or_default(),
            status: number("status").and_then(|status| u16::try_from(status).ok()),
            code: small("code"),
            said: text("said"),
            message: text("message").unwrap_or_default(),
        },
        "set_aside" => {
            Event::SetAside { reason: text("reason").unwrap_or_default(), refresh: print("refresh") }
        }
        "suspended" => Event::Suspended,
        "needs_reauthorization" => Event::NeedsReauthorization,
        "revoked" => Event::Revoked,
        "recovered" => Event::Recovered,
        _ => Event::Noted { what: text("what").unwrap_or(kind) },
    };
    let at = UnixTime(members.get("at").and_then(Value::as_i64)?);
    Some(Entry { at, event, correlation_id: text("correlation_id") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_back() {
        let (one, two) = (Fingerprint::of("one"), Fingerprint::of("two"));
        let events = [
            Event::Obtained { to: Some(one.clone()), generation: 1 },
            Event::Refreshed { from: Some(one.clone()), to: Some(two.clone()), generation: 2 },
            Event::Adopted { to: None, generation: 3 },
            Event::AdoptedFromSibling { generation: 4 },
            Event::IntentFound { process: 7, presented: one.clone() },
            Event::Replayed { presented: one },
            Event::Refused {
                verdict: "grant_gone".into(),
                status: Some(400),
                code: Some(108),
                said: Some("theirs".into()),
                message: "ours".into(),
            },
            Event::SetAside { reason: "late".into(), refresh: Some(two) },
            Event::Suspended,
            Event::NeedsReauthorization,
            Event::Revoked,
            Event::Recovered,
            Event::Noted { what: "added".into() },
        ];
        for event in events {
            let entry = Entry { at: UnixTime(5), event, correlation_id: Some("id".into()) };
            assert_eq!(read(&write(&entry)), Some(entry));
        }
    }
}
