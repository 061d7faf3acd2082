//! Small readings of a JSON object: a member is there in the right type, or it is not there.

use perennial_core::UnixTime;
use perennial_core::grant::Principal;
use perennial_core::time::Expiry;
use serde_json::{Map, Value};

/// A JSON object's members, in their order.
pub type Members = Map<String, Value>;

pub(super) fn expiry(at: UnixTime, stated: bool) -> Expiry {
    if stated { Expiry::Stated(at) } else { Expiry::Assumed(at) }
}

pub(super) fn text<'a>(members: &'a Members, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

pub(super) fn count(members: &Members, name: &str) -> Option<u64> {
    members.get(name).and_then(Value::as_u64)
}

pub(super) fn principal(members: &Members, name: &str) -> Option<Principal> {
    text(members, name).and_then(Principal::named)
}

pub(super) fn number(members: &Members, name: &str) -> Option<i64> {
    members.get(name).and_then(Value::as_i64)
}

pub(super) fn time(members: &Members, name: &str) -> Option<UnixTime> {
    number(members, name).map(UnixTime)
}

pub(super) fn object<'a>(members: &'a Members, name: &str) -> Option<&'a Members> {
    members.get(name).and_then(Value::as_object)
}

/// What should be a list and is none counts as a list of one.
pub(super) fn list<'a>(members: &'a Members, name: &str) -> std::slice::Iter<'a, Value> {
    match members.get(name) {
        Some(Value::Array(entries)) => entries.iter(),
        Some(entry) => std::slice::from_ref(entry).iter(),
        None => [].iter(),
    }
}
