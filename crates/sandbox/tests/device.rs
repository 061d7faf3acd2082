//! A device without a browser: it asks, a person approves elsewhere, it polls.

mod common;
use common::*;
use perennial_sandbox::{Expire, Sandbox};
use std::time::Duration;

/// A sandbox whose devices may ask as often as they like, so that no test has to wait.
fn patient() -> Sandbox {
    start(|config| config.device_interval = Duration::ZERO)
}

fn begin(sandbox: &Sandbox) -> Answer {
    let fields = as_client(sandbox.ready(), &[("scope", "openid user.read")]);
    post(sandbox, "/oauth2/v0/device_authorization", &fields)
}

fn poll(sandbox: &Sandbox, device_code: &str) -> Answer {
    let grant =
        [("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", device_code)];
    post(sandbox, "/oauth2/v0/token", &as_client(sandbox.ready(), &grant))
}

fn press(sandbox: &Sandbox, user_code: &str, decision: &str) -> Answer {
    let bob = &sandbox.ready().users[1];
    let fields = [
        ("user_code", user_code),
        ("login", &bob.login),
        ("password", &bob.password),
        ("decision", decision),
    ];
    post(sandbox, "/device", &fields)
}

#[test]
fn a_person_approves_and_the_device_goes_on() {
    let sandbox = patient();
    let begun = begin(&sandbox);
    let device_code = begun.text("device_code");
    assert_eq!(begun.text("verification_uri"), format!("{}/device", sandbox.base_uri()));
    assert_eq!(begun.json()["expires_in"], 900);
    assert_eq!(poll(&sandbox, &device_code).text("error"), "authorization_pending");

    let complete = begun.text("verification_uri_complete");
    let page = get(&sandbox, complete.strip_prefix(sandbox.base_uri()).unwrap_or_default());
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert!(html.contains(&format!("value=\"{}\"", begun.text("user_code"))), "{html}");
    assert!(html.contains("<label for=\"user_code\">"));

    let typed = begun.text("user_code").replace('-', "").to_lowercase();
    assert_eq!(press(&sandbox, &typed, "approve").status, 200);
    let granted = poll(&sandbox, &device_code);
    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(granted.claim("id_token", "sub"), sandbox.ready().users[1].uuid);
    assert_eq!(granted.text("scope"), "openid user.read");
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).text("scope"), "openid user.read");
    assert_eq!(poll(&sandbox, &device_code).text("error"), "invalid_grant");
}

#[test]
fn a_person_denies_and_the_device_is_told() {
    let sandbox = patient();
    let begun = begin(&sandbox);
    assert_eq!(press(&sandbox, &begun.text("user_code"), "deny").status, 200);
    let denied = poll(&sandbox, &begun.text("device_code"));
    assert_eq!((denied.status, denied.text("error").as_str()), (400, "access_denied"));
    assert_eq!(press(&sandbox, &begun.text("user_code"), "approve").status, 400, "it was decided");
}

#[test]
fn a_device_that_asks_too_often_is_told_to_slow_down() {
    let sandbox = plain();
    let begun = begin(&sandbox);
    assert_eq!(begun.json()["interval"], 5);
    assert_eq!(poll(&sandbox, &begun.text("device_code")).text("error"), "authorization_pending");
    assert_eq!(poll(&sandbox, &begun.text("device_code")).text("error"), "slow_down");
}

#[test]
fn a_device_waits_for_a_time_and_not_for_ever() {
    let sandbox = patient();
    let begun = begin(&sandbox);
    assert!(sandbox.secrets().contains(&begun.text("device_code")));
    sandbox.expire(Expire::DeviceCode);
    assert_eq!(poll(&sandbox, &begun.text("device_code")).text("error"), "expired_token");
    assert_eq!(press(&sandbox, &begun.text("user_code"), "approve").status, 400);
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let sandbox = patient();
    assert_eq!(poll(&sandbox, "").text("error"), "invalid_request");
    assert_eq!(poll(&sandbox, "unknown").text("error"), "invalid_grant");
    let unknown = press(&sandbox, "AAAA-AAAA", "approve");
    assert_eq!(unknown.status, 400);
    assert!(String::from_utf8_lossy(&unknown.body).contains("role=\"alert\""));
    assert_eq!(post(&sandbox, "/oauth2/v0/device_authorization", &[("scope", "openid")]).code(), 62);
}
