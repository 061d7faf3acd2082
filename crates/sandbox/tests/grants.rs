//! The grants: what they need, what they give, and how long it is good.

mod common;
use common::*;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use perennial_sandbox::{Expire, Regrant};
use serde_json::Value;
use std::time::{Duration, SystemTime};

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[test]
fn a_request_token_becomes_a_refresh_token_that_refreshes() {
    let sandbox = plain();
    let granted = company(&sandbox);
    let body = granted.json();
    assert_eq!(body["expires_in"], 3600);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["geolocation"], sandbox.base_uri());
    assert_eq!(granted.text("refresh_token").len(), 36);
    let expires = body["refresh_expires_in"].as_u64().unwrap();
    assert!(expires.abs_diff(now() + 183 * 24 * 3600) <= 2, "an absolute time, not a duration: {expires}");

    let refreshed = refresh(&sandbox, &granted.text("refresh_token"));
    assert_eq!(refreshed.status, 200);
    assert_eq!(refreshed.text("refresh_token"), granted.text("refresh_token"));
    assert_ne!(refreshed.text("access_token"), granted.text("access_token"));
    let stats = sandbox.stats();
    assert_eq!((stats.requests, stats.refreshes, stats.request_token_uses, stats.refused), (2, 1, 1, 0));
    assert_eq!(stats.by_grant["password"], 1);
    assert_eq!(stats.by_grant["refresh_token"], 1);
}

#[test]
fn every_answer_names_its_date_and_its_correlation() {
    let sandbox = plain();
    let own = send(&sandbox, "GET", "/nowhere", &["concur-correlationid: mine-1"], "").unwrap();
    assert_eq!(own.status, 404);
    assert_eq!(own.header("concur-correlationid"), Some("mine-1"));
    assert!(own.header("date").is_some());
    assert_eq!(own.text("error"), "not_found");
    let given = company(&sandbox);
    assert_eq!(given.header("concur-correlationid").unwrap().len(), 36);
    assert!(given.header("date").is_some());
}

#[test]
fn the_tokens_are_signed_with_the_published_key() {
    let sandbox = plain();
    let granted = company(&sandbox);
    let keys: JwkSet =
        serde_json::from_slice(&send(&sandbox, "GET", "/oauth2/v0/jwks", &[], "").unwrap().body).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[&sandbox.ready().app_id]);
    rules.set_issuer(&[sandbox.base_uri()]);
    for name in ["access_token", "id_token"] {
        let token = granted.text(name);
        let kid = decode_header(&token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
        let claims = decode::<Value>(&token, &key, &rules).unwrap().claims;
        assert_eq!(claims["sub"], sandbox.ready().company_uuid.as_str());
        assert_eq!(claims["concur.type"], "company");
        assert!(claims["exp"].as_u64().unwrap().abs_diff(now() + 3600) <= 2);
    }
}

#[test]
fn the_app_itself_gets_no_refresh_token() {
    let sandbox = plain();
    let ready = sandbox.ready();
    let mut fields = company_fields(ready)[..2].to_vec();
    fields.push(("grant_type", "client_credentials"));
    let granted = token(&sandbox, &fields);
    assert_eq!(granted.status, 200);
    assert_eq!(granted.json().get("refresh_token"), None);
    assert_eq!(granted.json().get("refresh_expires_in"), None);
    assert_eq!(call(&sandbox, "GET", USERS, &granted.text("access_token")).status, 200);
}

#[test]
fn less_scope_is_granted_and_more_is_refused() {
    let sandbox = plain();
    let refresh_token = company(&sandbox).text("refresh_token");
    let mut fields = refresh_fields(sandbox.ready(), &refresh_token);
    fields.push(("scope", "openid+user.read"));
    assert_eq!(token(&sandbox, &fields).text("scope"), "openid user.read");
    fields.pop();
    fields.push(("scope", "openid+everything"));
    assert_eq!(token(&sandbox, &fields).code(), 54);
    assert_eq!(sandbox.stats().refreshes, 1);
}

#[test]
fn an_access_token_lives_until_it_expires_and_through_a_refresh() {
    let sandbox = plain();
    let granted = company(&sandbox);
    let old = granted.text("access_token");
    let new = refresh(&sandbox, &granted.text("refresh_token")).text("access_token");
    assert_eq!(call(&sandbox, "GET", USERS, &old).status, 200);
    assert_eq!(call(&sandbox, "GET", USERS, &new).status, 200);
    sandbox.expire(Expire::Access);
    assert_eq!(call(&sandbox, "GET", USERS, &old).status, 403);
    assert_eq!(call(&sandbox, "GET", USERS, &new).status, 403);
    let fresh = refresh(&sandbox, &granted.text("refresh_token")).text("access_token");
    assert_eq!(call(&sandbox, "GET", USERS, &fresh).status, 200);
}

#[test]
fn a_lifetime_that_is_over_is_refused() {
    let sandbox = start(|config| {
        config.access_lifetime = Duration::ZERO;
        config.refresh_lifetime = Duration::ZERO;
    });
    let granted = company(&sandbox);
    assert_eq!(granted.json()["expires_in"], 0);
    assert_eq!(call(&sandbox, "GET", USERS, &granted.text("access_token")).status, 403);
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).code(), 108);
}

#[test]
fn a_new_company_grant_leaves_the_old_one_or_ends_it() {
    for (regrant, status) in [(Regrant::Coexist, 200), (Regrant::Invalidate, 400)] {
        let sandbox = start(|config| config.regrant = regrant);
        let old = company(&sandbox).text("refresh_token");
        let new = company(&sandbox).text("refresh_token");
        assert_eq!(refresh(&sandbox, &old).status, status, "{regrant}");
        assert_eq!(refresh(&sandbox, &new).status, 200, "{regrant}");
    }
}

#[test]
fn one_seed_issues_the_same_values_in_every_run() {
    let (one, same, other) = (plain(), plain(), start(|config| config.seed = Some(2)));
    assert_eq!(one.ready().client_secret, same.ready().client_secret);
    assert_eq!(one.ready().request_token, same.ready().request_token);
    assert_eq!(company(&one).text("refresh_token"), company(&same).text("refresh_token"));
    assert_ne!(one.ready().client_secret, other.ready().client_secret);
}

#[test]
fn a_real_name_in_the_host_header_comes_back_as_the_geolocation() {
    let sandbox = plain();
    let body = encode(&company_fields(sandbox.ready()));
    let request = format!(
        "POST /oauth2/v0/token HTTP/1.1\r\nhost: us2.api.concursolutions.com:8443\r\nconnection: close\r\n\
         {FORM}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let granted = exchange(&sandbox, &request).unwrap();
    assert_eq!(granted.text("geolocation"), "http://us2.api.concursolutions.com:8443");
}
