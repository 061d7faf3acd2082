//! The record of a connection: the document that files hold too, with every secret in it sealed one by one. The rest
//! stays legible, for a person who looks into the database.

use super::keys::Keys;
use crate::seal::{SealError, wiped};
use crate::store::document::{self, BOOKKEEPING, COMPANY, Members};
use perennial_core::Connection;
use serde_json::Value;

/// Members of the document that are no secrets. All others are sealed, also those that nobody here knows: a server may
/// have put anything into them.
const LEGIBLE: [&str; 6] =
    ["expires_in", "scope", "token_type", "refresh_expires_in", "geolocation", COMPANY];

/// To whom a record belongs.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) keys: &'a Keys,
    pub(super) tenant: &'a str,
    pub(super) connection: &'a str,
}

/// The record, sealed under the key that is in force.
pub(super) fn seal(owner: Owner<'_>, connection: &Connection) -> Result<String, SealError> {
    let mut members = document::write(connection, &Members::new());
    for_each_secret(&mut members, |place, generation, value| {
        let plain = wiped::text(std::mem::take(value));
        *value = Value::String(owner.keys.seal(&owner.names(place, generation), &plain)?);
        Ok(())
    })?;
    Ok(Value::Object(members).to_string())
}

/// The record, opened with key number `key`.
pub(super) fn open(
    owner: Owner<'_>,
    key: i64,
    record: &str,
    fresh: Connection,
) -> Result<Connection, SealError> {
    let Ok(Value::Object(mut members)) = serde_json::from_str(record) else { return Err(SealError::Foreign) };
    for_each_secret(&mut members, |place, generation, value| {
        let sealed = value.as_str().ok_or(SealError::Foreign)?;
        let plain = owner.keys.open_sealed(key, &owner.names(place, generation), sealed)?;
        *value = serde_json::from_slice(&plain).map_err(|_| SealError::Foreign)?;
        Ok(())
    })?;
    let read = document::read(&members, fresh);
    wiped::wipe_all(&mut members);
    Ok(read.connection)
}

impl Owner<'_> {
    fn names<'a>(&'a self, place: &'a str, generation: &'a str) -> [&'a str; 4] {
        [self.tenant, self.connection, place, generation]
    }
}

/// Goes through all places where a secret stands.
fn for_each_secret(
    members: &mut Members,
    mut at: impl FnMut(&str, &str, &mut Value) -> Result<(), SealError>,
) -> Result<(), SealError> {
    let own = members.get(BOOKKEEPING).and_then(Value::as_object);
    let generation = own.and_then(|own| own.get("generation")).map_or_else(String::new, Value::to_string);
    for (name, value) in members.iter_mut() {
        if name != BOOKKEEPING && !LEGIBLE.contains(&name.as_str()) {
            at(name, &generation, value)?;
        }
    }
    let Some(Value::Object(own)) = members.get_mut(BOOKKEEPING) else { return Ok(()) };
    for (list, secret) in [("previous", "refresh_token"), ("candidates", "answer")] {
        let entries = own.get_mut(list).and_then(Value::as_array_mut);
        for (number, entry) in entries.into_iter().flatten().enumerate() {
            let Some(value) = entry.get_mut(secret) else { return Err(SealError::Foreign) };
            at(&format!("{list}/{number}/{secret}"), &generation, value)?;
        }
    }
    Ok(())
}
