//! Whatever stands in `refreshTokenObjectFile.json`: it is refused without showing a value, or it is a connection that
//! can be asked, presented, answered and written back, and no refresh token gets lost on the way.

use super::canary::{assert_showable, planted};
use super::memory::{assert_remembered, recall};
use super::presentation::{answer, answered, plan};
use super::reply::NOW;
use perennial::core::connection::Cause;
use perennial::core::profile::Purpose;
use perennial::core::{Connection, Fingerprint};
use perennial::store::document::BOOKKEEPING;
use perennial::store::sap_sample::parse_token_file;
use serde_json::{Map, Value};
use std::time::Duration;

/// Checks one file.
pub fn check(bytes: &[u8]) {
    for input in planted(bytes) {
        if let Err(reason) = parse_token_file(Some(&input)) {
            assert_showable(&reason);
        }
    }
    let Ok(members) = parse_token_file(Some(bytes)) else { return };
    let connection = recall(&members);
    assert_every_question_has_an_answer(&connection);
    assert_nothing_is_lost(&connection, &members);
    for purpose in [Purpose::Obtain, Purpose::Refresh] {
        // Law 4: an intent is found again. Laws 1 and 13: so is an answer, in force or aside.
        let intended = connection.intend(plan(purpose));
        let written = assert_nothing_is_lost(&intended, &members);
        let committed = intended.accept(&answer(), &answered()).unwrap_or_else(|aside| *aside);
        assert_remembered(&committed, &written);
    }
}

fn assert_every_question_has_an_answer(connection: &Connection) {
    let wanted = Cause::Wanted { min_ttl: Duration::MAX };
    let instead_of = connection.version();
    let rejected = Cause::Rejected(Fingerprint::of("rejected"));
    for cause in [wanted, rejected, Cause::Due, Cause::Asked, Cause::Authorized { instead_of }] {
        let _ = connection.decide(&cause, NOW);
    }
    let _ = (connection.state(NOW), connection.renew_at(), connection.living_access(NOW));
    let _ = (connection.refresh_token_looks_expired(NOW), connection.adopt());
}

/// Law 5: every refresh token that the file held is in it still, readable or not, in force or not.
fn assert_nothing_is_lost(connection: &Connection, members: &Map<String, Value>) -> Map<String, Value> {
    let written = assert_remembered(connection, members);
    let mut kept = Vec::new();
    written.values().for_each(|value| texts(value, &mut kept));
    for token in refresh_tokens(members) {
        assert!(kept.contains(&token), "{token:?} is gone");
    }
    written
}

/// The refresh tokens of a file, wherever this version of it keeps them.
fn refresh_tokens(members: &Map<String, Value>) -> Vec<&str> {
    let own = |name: &str| members.get(BOOKKEEPING).and_then(|own| own.get(name)).and_then(Value::as_array);
    let previous = own("previous").into_iter().flatten();
    let candidates = own("candidates").into_iter().flatten().filter_map(|candidate| candidate.get("answer"));
    let holders = previous.chain(candidates).filter_map(|holder| holder.get("refresh_token"));
    let tokens = members.get("refresh_token").into_iter().chain(holders);
    tokens.filter_map(Value::as_str).filter(|token| !token.is_empty()).collect()
}

/// Every text in a value.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(members) => members.values().for_each(|value| texts(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
