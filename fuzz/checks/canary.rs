//! A text that must not come out again. It is planted into an input, and errors are searched for it.

use serde_json::{Map, Value};

/// No error of ours has this word in it, whatever the input says.
const CANARY: &str = "canary";
/// Nor this number: it is no line and no column.
const CANARY_NUMBER: u64 = 7_070_707_070_707;

/// The input, and the input with canaries: one at a place that its first byte chooses, and, where it is a JSON object,
/// one at the head of every text in it and in place of every number.
pub(super) fn planted(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut inputs = vec![bytes.to_vec()];
    let place = usize::from(bytes.first().copied().unwrap_or(0)) % (bytes.len() + 1);
    inputs.push([&bytes[..place], CANARY.as_bytes(), &bytes[place..]].concat());
    if let Ok(mut value @ Value::Object(_)) = serde_json::from_slice(bytes) {
        mark(&mut value);
        inputs.push(value.to_string().into_bytes());
    }
    inputs
}

fn mark(value: &mut Value) {
    match value {
        Value::String(text) => text.insert_str(0, CANARY),
        Value::Number(number) => *number = CANARY_NUMBER.into(),
        Value::Array(values) => values.iter_mut().for_each(mark),
        Value::Object(members) => members.values_mut().for_each(mark),
        Value::Null | Value::Bool(_) => {}
    }
}

/// An error that may be shown: something is said, in one line, and nothing of the input is in it.
pub(super) fn assert_showable(error: &str) {
    assert!(!error.is_empty());
    assert!(!error.contains(char::is_control), "{error:?}");
    assert!(!error.contains(CANARY) && !error.contains(&CANARY_NUMBER.to_string()), "{error:?}");
}

/// The members with other texts in place of the secrets that these names hold: what prints the same with both prints
/// neither. What is empty stays so, and what is no text stays what it is.
pub(super) fn with_other_secrets(members: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let mut other = members.clone();
    for name in names {
        if let Some(Value::String(text)) = other.get_mut(*name)
            && !text.trim().is_empty()
        {
            *text = "other".to_owned();
        }
    }
    other
}
