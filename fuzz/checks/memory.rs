//! A connection, written down as the token file holds it and read again: it must be the same.

use perennial::core::Connection;
use perennial::core::connection::Fault;
use perennial::core::profile::concur::CONCUR;
use perennial::core::token_endpoint::response::{KNOWN_MEMBERS, Others};
use perennial::core::verdict::Verdict;
use perennial::store::document::{self, BOOKKEEPING, COMPANY};
use perennial::store::sap_sample::parse_token_file;
use serde_json::{Map, Value};

/// Names the running kernel, here and in the inputs.
pub(super) const KERNEL: &str = "kernel";

/// A connection of which nothing is known yet.
pub(super) fn fresh() -> Connection {
    Connection::new("id", "default", &CONCUR)
}

/// Reads members as the store does.
pub(super) fn recall(members: &Map<String, Value>) -> Connection {
    document::read(members, fresh()).connection
}

/// Writes a connection over `members` and reads it again; returns what the file holds now.
pub(super) fn assert_remembered(connection: &Connection, members: &Map<String, Value>) -> Map<String, Value> {
    let text = Value::Object(document::write(connection, members)).to_string();
    let written = match parse_token_file(Some(text.as_bytes())) {
        Ok(written) => written,
        Err(reason) => panic!("what was written cannot be read: {reason}"),
    };
    let read = document::read(&written, fresh());
    assert!(!read.by_another, "our own writing is taken for somebody else's");
    assert!(others(&read.connection).all(|(name, _)| !is_ours(name)), "our own is taken for the answer's");
    assert_others_are_kept(connection, members, &written);
    assert_same(&comparable(read.connection), &comparable(connection.clone()));
    written
}

/// Says in what they differ, and leaves out the rest.
fn assert_same(read: &Connection, written: &Connection) {
    let (left, right) = (format!("{read:#?}"), format!("{written:#?}"));
    let differing: Vec<_> = left.lines().zip(right.lines()).filter(|(left, right)| left != right).collect();
    assert!(read == written, "read and written differ: {differing:?}");
}

/// What nobody here knows stays in the file, be it the answer's or the file's own.
fn assert_others_are_kept(
    connection: &Connection,
    members: &Map<String, Value>,
    written: &Map<String, Value>,
) {
    for (name, value) in others(connection).filter(|(name, _)| !is_ours(name)) {
        assert_eq!(written.get(name), Some(value), "{name:?}");
    }
    for name in members.keys().filter(|name| !is_ours(name) && !KNOWN_MEMBERS.contains(&name.as_str())) {
        assert!(written.contains_key(name), "{name:?}");
    }
}

fn others(connection: &Connection) -> impl Iterator<Item = (&String, &Value)> {
    connection.held.iter().flat_map(|held| &held.others.0)
}

/// Names that the file has a use of its own for.
fn is_ours(name: &str) -> bool {
    name == COMPANY || name.split('.').next() == Some(BOOKKEEPING)
}

/// A connection without what a document holds in another way: the answer's other members mix with the file's own, and
/// how long a fault's verdict asks to wait stands in the condition.
fn comparable(mut connection: Connection) -> Connection {
    if let Some(Fault { verdict: Verdict::Retry { after }, .. }) = &mut connection.last_fault {
        *after = None;
    }
    if let Some(held) = &mut connection.held {
        held.others = Others::default();
    }
    connection
}
