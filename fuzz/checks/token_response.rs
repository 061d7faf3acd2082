//! Whatever a token endpoint answers: what is read as a token response is what the body says, can be sent and stored
//! again, and does not print.

use super::canary::with_other_secrets;
use super::memory::{assert_remembered, fresh};
use super::presentation::{answered, plan};
use super::reply::{NOW, reply};
use perennial::core::profile::Purpose;
use perennial::core::token_endpoint::response::{KNOWN_MEMBERS, is_sendable};
use perennial::core::token_endpoint::{self, BodyEnd, Reply, jwt};
use perennial::core::{Origin, RefreshToken, TokenResponse, UnixTime};
use serde_json::{Map, Value};
use std::time::Duration;

/// Checks one answer.
pub fn check(bytes: &[u8]) {
    let reply = reply(bytes);
    assert_the_body_does_not_print(&reply);
    let read = token_endpoint::read(&reply, NOW);
    for end in [BodyEnd::TooLong, BodyEnd::Cut] {
        let ended = token_endpoint::read(&Reply { end, ..reply.clone() }, NOW);
        assert_eq!(ended.ok().as_ref(), read.as_ref().ok(), "whole tokens count, however the body ended");
    }
    let Ok(response) = read else { return };
    assert!((200..300).contains(&reply.status), "tokens under a {} are not handed out", reply.status);
    let body = reply.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reply.body);
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        panic!("tokens in a body that is no JSON object");
    };
    assert_the_body_was_believed(&response, &members);
    assert_the_numbers_can_be_true(&response);
    assert_tokens_do_not_print(&response, &members);
    assert_it_can_be_stored(&response);
}

fn assert_the_body_does_not_print(reply: &Reply) {
    let blank = Reply { body: vec![b'x'; reply.body.len()].into(), ..reply.clone() };
    assert_eq!(format!("{reply:?}"), format!("{blank:?}"));
}

/// Tokens are taken to the letter, in a shape that a header and a form can carry.
fn assert_the_body_was_believed(response: &TokenResponse, members: &Map<String, Value>) {
    let stated = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let access = response.access_token.expose();
    assert_eq!(Some(access), stated("access_token"));
    assert!(is_sendable(access) && is_sendable(&response.token_type));
    let refresh = response.refresh_token.as_ref().map(RefreshToken::expose);
    assert_eq!(refresh, stated("refresh_token"), "a refresh token that is there is not overlooked");
    assert!(refresh.is_none_or(is_sendable));
    assert!(KNOWN_MEMBERS.iter().all(|name| !response.others.0.contains_key(*name)));
    assert!(response.others.0.iter().all(|(name, value)| members.get(name) == Some(value)));
    if let Some(base) = &response.geolocation {
        assert_eq!(Origin::parse(&base.to_string()).as_ref(), Ok(base));
        assert!(base.is_secure() || !base.host().ends_with(".com"), "{base}");
    }
}

fn assert_the_numbers_can_be_true(response: &TokenResponse) {
    let ten_years = Duration::from_secs(10 * 366 * 24 * 3600);
    for life in [response.expires_in, response.access_lifetime()].into_iter().flatten() {
        assert!(Duration::ZERO < life && life <= ten_years, "{life:?}");
    }
    let seconds = UnixTime(1_000_000_000)..UnixTime(100_000_000_000);
    assert!(response.refresh_expires_at.is_none_or(|at| seconds.contains(&at)));
    assert!(response.principal().is_none_or(|principal| !principal.as_str().is_empty()));
    let _ = jwt::claims(response.access_token.expose());
}

/// Law 10: with other secrets in it, a response prints the same.
fn assert_tokens_do_not_print(response: &TokenResponse, members: &Map<String, Value>) {
    let others = members.keys().map(String::as_str).filter(|name| !KNOWN_MEMBERS.contains(name));
    let secrets: Vec<&str> = others.chain(["access_token", "refresh_token", "id_token"]).collect();
    let Some(other) = TokenResponse::from_members(&with_other_secrets(members, &secrets)) else {
        panic!("a response with other tokens is one too");
    };
    assert_eq!(format!("{response:?} {:?}", response.others), format!("{other:?} {:?}", other.others));
}

/// Law 1: what is committed is what is read again.
fn assert_it_can_be_stored(response: &TokenResponse) {
    let intended = fresh().intend(plan(Purpose::Obtain));
    let Ok(connection) = intended.accept(response, &answered()) else {
        panic!("a connection that is new takes nobody for a stranger");
    };
    assert_remembered(&connection, &Map::new());
}
