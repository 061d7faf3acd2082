//! The authorization code: the page, the way back, and what a code is good for.

mod common;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use common::*;
use perennial_sandbox::{Config, Expire, Sandbox};

const BACK: &str = "http://127.0.0.1:7777/back?kept=1";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

fn challenge() -> String {
    BASE64.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes()))
}

/// The fields of an authorization request, PKCE and nonce included.
fn asked(sandbox: &Sandbox) -> Vec<(String, String)> {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        field("client_id", &sandbox.ready().app_id),
        field("redirect_uri", BACK),
        field("scope", "openid user.read"),
        field("response_type", "code"),
        field("state", "a state & more"),
        field("code_challenge", &challenge()),
        field("code_challenge_method", "S256"),
        field("nonce", "n-1"),
    ]
}

fn set(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.retain(|(key, _)| key != name);
    if !value.is_empty() {
        fields.push((name.to_owned(), value.to_owned()));
    }
}

fn show(sandbox: &Sandbox, fields: &[(String, String)]) -> Answer {
    get(sandbox, &format!("/oauth2/v0/authorize?{}", query(fields)))
}

/// Fills in the page that was shown, as a browser would, and presses a button.
fn press(sandbox: &Sandbox, page: &Answer, login: &str, password: &str, decision: &str) -> Answer {
    let mut fields = hidden_fields(page);
    for (name, value) in [("login", login), ("password", password), ("decision", decision)] {
        fields.push((name.to_owned(), value.to_owned()));
    }
    post(sandbox, "/oauth2/v0/authorize", &fields)
}

/// Ann approves; what comes back is the code.
fn approved(sandbox: &Sandbox, fields: &[(String, String)]) -> String {
    let ann = &sandbox.ready().users[0];
    let answer = press(sandbox, &show(sandbox, fields), &ann.login, &ann.password, "approve");
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.led_to("code").unwrap_or_default()
}

fn exchange_code(sandbox: &Sandbox, code: &str, redirect_uri: &str, verifier: &str) -> Answer {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier),
    ];
    post(sandbox, "/oauth2/v0/token", &as_client(sandbox.ready(), &fields))
}

#[test]
fn a_person_signs_in_and_the_app_gets_a_grant_of_that_person() {
    let sandbox = plain();
    let ann = &sandbox.ready().users[0];
    let page = show(&sandbox, &asked(&sandbox));
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let html = String::from_utf8(page.body.clone()).unwrap();
    for part in ["<html lang=\"en\">", "<label for=\"login\">", "<label for=\"password\">", "<h1>"] {
        assert!(html.contains(part), "{part}");
    }

    let back = press(&sandbox, &page, &ann.login, &ann.password, "approve");
    assert_eq!(back.status, 303);
    assert!(back.header("location").unwrap().starts_with("http://127.0.0.1:7777/back?kept=1&code="));
    assert_eq!(back.led_to("state").as_deref(), Some("a state & more"));
    assert_eq!(back.led_to("geolocation").as_deref(), Some(sandbox.base_uri()));
    assert_eq!(back.led_to("iss").as_deref(), Some(sandbox.base_uri()));

    let granted = exchange_code(&sandbox, &back.led_to("code").unwrap(), BACK, VERIFIER);
    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(granted.claim("id_token", "sub"), ann.uuid);
    assert_eq!(granted.claim("id_token", "nonce"), "n-1");
    assert_eq!(granted.text("scope"), "openid user.read");
    let refreshed = refresh(&sandbox, &granted.text("refresh_token"));
    assert_eq!(refreshed.status, 200);
    assert!(refreshed.claim("id_token", "nonce").is_null());
    assert_eq!(sandbox.stats().by_grant["authorization_code"], 1);
}

#[test]
fn a_person_who_denies_or_mistypes_gives_no_code() {
    let sandbox = plain();
    let page = show(&sandbox, &asked(&sandbox));
    let denied = press(&sandbox, &page, "", "", "deny");
    assert_eq!(denied.status, 303);
    assert_eq!(denied.led_to("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.led_to("state").as_deref(), Some("a state & more"));
    assert_eq!(denied.led_to("iss").as_deref(), Some(sandbox.base_uri()));
    assert!(denied.led_to("error_code").is_some() && denied.led_to("error_description").is_some());
    assert_eq!(denied.led_to("code"), None);

    let mistyped = press(&sandbox, &page, "ann@example.com", "wrong", "approve");
    assert_eq!(mistyped.status, 400);
    assert!(String::from_utf8_lossy(&mistyped.body).contains("role=\"alert\""));
    let ann = &sandbox.ready().users[0];
    assert_eq!(press(&sandbox, &mistyped, &ann.login, &ann.password, "approve").status, 303, "tries again");
}

#[test]
fn a_redirect_uri_that_is_not_the_apps_gets_a_page_and_no_redirect() {
    let sandbox = start(|config: &mut Config| {
        config.redirect_uris = vec!["https://app.example/back".to_owned()];
    });
    for (redirect_uri, status) in [
        ("https://app.example/back", 200),
        ("https://app.example/back/more", 400),
        ("https://elsewhere.example/", 400),
        ("http://127.0.0.1@elsewhere.example/", 400),
        ("", 400),
    ] {
        let mut fields = asked(&sandbox);
        set(&mut fields, "redirect_uri", redirect_uri);
        let answer = show(&sandbox, &fields);
        assert_eq!((answer.status, answer.header("location")), (status, None), "{redirect_uri}");
        let posted = press(&sandbox, &answer, "", "", "deny");
        assert_eq!(posted.status == 303, status == 200, "{redirect_uri}");
    }
    let mut fields = asked(&sandbox);
    set(&mut fields, "client_id", "another");
    assert_eq!(show(&sandbox, &fields).status, 400);
}

#[test]
fn what_else_is_wrong_is_told_to_the_app() {
    let sandbox = plain();
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "everything", "invalid_scope"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
    ] {
        let mut fields = asked(&sandbox);
        set(&mut fields, name, value);
        let answer = show(&sandbox, &fields);
        assert_eq!((answer.status, answer.led_to("error").as_deref()), (303, Some(error)), "{name}={value}");
    }
}

#[test]
fn a_second_use_of_a_code_ends_the_grant() {
    let sandbox = plain();
    let code = approved(&sandbox, &asked(&sandbox));
    let granted = exchange_code(&sandbox, &code, BACK, VERIFIER);
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).status, 200);
    assert_eq!(exchange_code(&sandbox, &code, BACK, VERIFIER).code(), 103);
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).code(), 108);
}

#[test]
fn a_code_is_bound_to_its_request() {
    let sandbox = plain();
    let code = approved(&sandbox, &asked(&sandbox));
    assert_eq!(exchange_code(&sandbox, "", BACK, VERIFIER).code(), 101);
    assert_eq!(exchange_code(&sandbox, &code, "", VERIFIER).code(), 102);
    assert_eq!(exchange_code(&sandbox, "unknown", BACK, VERIFIER).code(), 103);
    assert_eq!(exchange_code(&sandbox, &code, BACK, "another").code(), 103);
    assert_eq!(exchange_code(&sandbox, &code, BACK, "").code(), 103);
    assert_eq!(exchange_code(&sandbox, &code, "http://127.0.0.1:7777/", VERIFIER).code(), 104);
    assert_eq!(exchange_code(&sandbox, &code, BACK, VERIFIER).status, 200);

    let mut bare = asked(&sandbox);
    set(&mut bare, "code_challenge", "");
    set(&mut bare, "code_challenge_method", "");
    let code = approved(&sandbox, &bare);
    assert_eq!(exchange_code(&sandbox, &code, BACK, VERIFIER).code(), 103, "a verifier nobody asked for");
    assert_eq!(exchange_code(&sandbox, &code, BACK, "").status, 200);
}

#[test]
fn a_code_that_is_too_old_is_refused() {
    let sandbox = plain();
    let code = approved(&sandbox, &asked(&sandbox));
    assert!(sandbox.secrets().contains(&code));
    sandbox.expire(Expire::Code);
    assert_eq!(exchange_code(&sandbox, &code, BACK, VERIFIER).code(), 103);
}
