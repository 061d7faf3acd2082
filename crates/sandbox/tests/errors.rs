//! What the token endpoint refuses, and with which code.

mod common;
use common::*;
use perennial_sandbox::Sandbox;
use serde_json::json;

fn without<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    fields.iter().copied().filter(|(key, _)| *key != name).collect()
}

fn with<'a>(fields: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    [without(fields, name), vec![(name, value)]].concat()
}

/// The same fields, as a request that is odd in one way.
fn raw(sandbox: &Sandbox, target: &str, headers: &[&str]) -> (u16, u64) {
    let body = encode(&company_fields(sandbox.ready()));
    match send(sandbox, "POST", target, headers, &body) {
        Ok(answer) => (answer.status, answer.code()),
        Err(_) => (0, 0),
    }
}

#[test]
fn each_wrong_field_has_its_code() {
    let sandbox = plain();
    let right = company_fields(sandbox.ready());
    let other = "00000000-0000-4000-8000-000000000000";
    for (fields, status, code) in [
        (without(&right, "client_id"), 400, 62),
        (without(&right, "client_secret"), 400, 63),
        (with(&right, "client_id", other), 401, 61),
        (with(&right, "client_secret", other), 401, 64),
        (without(&right, "grant_type"), 400, 65),
        (with(&right, "grant_type", "authorization_code"), 400, 101),
        (with(&right, "grant_type", "otp"), 400, 58),
        (with(&right, "grant_type", "wish"), 400, 60),
        (without(&right, "username"), 400, 51),
        (without(&right, "password"), 400, 52),
        (with(&right, "password", ""), 400, 52),
        (with(&right, "credtype", "password"), 400, 100),
        (without(&right, "credtype"), 400, 100),
        (with(&right, "credtype", "wish"), 400, 120),
        (with(&right, "username", other), 400, 19),
        (with(&right, "password", other), 400, 5),
        (with(&right, "scope", "everything"), 400, 54),
        (with(&right, "grant_type", "refresh_token"), 400, 106),
        ([right.clone(), vec![("username", other)]].concat(), 400, 135),
    ] {
        let answer = token(&sandbox, &fields);
        assert_eq!((answer.status, answer.code()), (status, code), "{fields:?}");
        assert!(answer.json()["error_description"].is_string());
    }
    assert_eq!(refresh(&sandbox, other).code(), 108);
    let stats = sandbox.stats();
    assert_eq!((stats.refused, stats.requests, stats.request_token_uses), (20, 20, 0));
    assert_eq!(stats.by_grant["(none)"], 1);
    assert_eq!(stats.by_grant["(unknown)"], 1);
    assert_eq!(company(&sandbox).status, 200, "no refusal has used up the request token");
}

#[test]
fn the_form_must_look_exactly_as_documented() {
    let sandbox = plain();
    let path = "/oauth2/v0/token";
    assert_eq!(raw(&sandbox, path, &[]), (400, 135));
    assert_eq!(raw(&sandbox, path, &[&format!("{FORM}; charset=UTF-8")]), (400, 135));
    assert_eq!(raw(&sandbox, path, &["content-type: application/json"]), (400, 135));
    assert_eq!(raw(&sandbox, "/oauth2/v0/token?grant_type=password", &[FORM]), (400, 135));
    assert_eq!(send(&sandbox, "GET", path, &[], "").unwrap().status, 405);
}

#[test]
fn a_chunked_request_is_refused() {
    let sandbox = plain();
    let request = format!(
        "POST /oauth2/v0/token HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n{FORM}\r\n\
         transfer-encoding: chunked\r\n\r\n7\r\na=b&c=d\r\n0\r\n\r\n"
    );
    let answer = exchange(&sandbox, &request).unwrap();
    assert_eq!((answer.status, answer.code()), (400, 135));
}

#[test]
fn http_basic_does_not_authenticate_the_client() {
    let sandbox = plain();
    let fields = without(&company_fields(sandbox.ready()), "client_id");
    let fields = without(&fields, "client_secret");
    let headers = [FORM, "authorization: Basic c2FuZGJveDpzZWNyZXQ="];
    let answer = send(&sandbox, "POST", "/oauth2/v0/token", &headers, &encode(&fields)).unwrap();
    assert_eq!((answer.status, answer.code()), (400, 62));
}

#[test]
fn a_form_without_end_is_not_read_to_its_end() {
    let sandbox = plain();
    let long = "x".repeat(65 * 1024);
    let answer = token(&sandbox, &[("client_id", &long)]);
    assert_eq!(answer.status, 413);
    assert_eq!(sandbox.stats().requests, 0);
}

#[test]
fn any_documented_code_can_be_had_on_demand() {
    let sandbox = plain();
    let refresh_token = company(&sandbox).text("refresh_token");
    for (code, error, status) in [
        (10, "invalid_grant", 400),
        (16, "invalid_request", 400),
        (53, "invalid_client", 401),
        (59, "access_denied", 403),
        (107, "invalid_request", 400),
        (123, "invalid_request", 400),
        (134, "invalid_request", 400),
        (139, "invalid_request", 400),
        (4711, "invalid_request", 400),
    ] {
        inject(&sandbox, &json!({"kind": "error", "code": code}));
        let answer = refresh(&sandbox, &refresh_token);
        assert_eq!(answer.code(), code);
        assert_eq!((answer.text("error").as_str(), answer.status), (error, status), "code {code}");
    }
    let elsewhere = "https://eu2.api.concursolutions.com";
    inject(&sandbox, &json!({"kind": "error", "code": 16, "geolocation": elsewhere, "status": 403}));
    let answer = refresh(&sandbox, &refresh_token);
    assert_eq!((answer.status, answer.text("geolocation").as_str()), (403, elsewhere));
    assert_eq!(sandbox.stats().refreshes, 0);
    assert_eq!(sandbox.stats().refused, 0, "a fault is no refusal by the rules");
}
