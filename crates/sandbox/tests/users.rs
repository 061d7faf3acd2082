//! Two users beside the company: their password grants, and that each principal's grants are its own.

mod common;
use common::*;
use perennial_sandbox::{Ready, Regrant};

/// The fields of a user's password grant.
fn user_fields<'a>(ready: &'a Ready, login: &'a str, password: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("client_id", &ready.app_id),
        ("client_secret", &ready.client_secret),
        ("grant_type", "password"),
        ("username", login),
        ("password", password),
    ]
}

#[test]
fn a_user_signs_in_by_password_with_or_without_a_credtype() {
    let sandbox = plain();
    let ready = sandbox.ready();
    for user in &ready.users {
        let mut fields = user_fields(ready, &user.login, &user.password);
        let granted = token(&sandbox, &fields);
        assert_eq!(granted.status, 200, "{granted:?}");
        assert_eq!(granted.claim("id_token", "sub"), user.uuid);
        assert_eq!(granted.claim("id_token", "concur.type"), "user");
        let refreshed = refresh(&sandbox, &granted.text("refresh_token"));
        assert_eq!(refreshed.claim("id_token", "sub"), user.uuid);
        fields.push(("credtype", "password"));
        assert_eq!(token(&sandbox, &fields).status, 200);
    }
    assert_eq!(sandbox.stats().request_token_uses, 0);
}

#[test]
fn a_login_that_nobody_has_is_told_from_a_wrong_password() {
    let sandbox = plain();
    let ready = sandbox.ready();
    let right = &ready.users[0].password;
    assert_eq!(token(&sandbox, &user_fields(ready, "eve@example.com", right)).code(), 55);
    assert_eq!(token(&sandbox, &user_fields(ready, "eve", right)).code(), 100);
    assert_eq!(token(&sandbox, &user_fields(ready, "ann@example.com", "wrong")).code(), 5);
    assert_eq!(token(&sandbox, &user_fields(ready, "", right)).code(), 51);
    assert_eq!(token(&sandbox, &user_fields(ready, "ann@example.com", "")).code(), 52);
}

#[test]
fn five_wrong_passwords_lock_the_account_and_no_other() {
    let sandbox = plain();
    let ready = sandbox.ready();
    let (ann, bob) = (&ready.users[0], &ready.users[1]);
    for _ in 0..5 {
        assert_eq!(token(&sandbox, &user_fields(ready, &ann.login, "wrong")).code(), 5);
    }
    assert_eq!(token(&sandbox, &user_fields(ready, &ann.login, &ann.password)).code(), 14);
    assert_eq!(token(&sandbox, &user_fields(ready, &bob.login, &bob.password)).status, 200);
}

#[test]
fn a_principal_ends_its_own_grants_and_nobody_elses() {
    let sandbox = start(|config| config.regrant = Regrant::Invalidate);
    let ready = sandbox.ready();
    let ann = token(&sandbox, &user_fields(ready, &ready.users[0].login, &ready.users[0].password));
    let bob = token(&sandbox, &user_fields(ready, &ready.users[1].login, &ready.users[1].password));
    let firm = company(&sandbox);
    for granted in [&ann, &bob, &firm] {
        assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).status, 200, "each grant stands");
    }
    let revoked = call(&sandbox, "DELETE", "/app-mgmt/v0/connections", &ann.text("access_token"));
    assert_eq!(revoked.status, 204);
    assert_eq!(refresh(&sandbox, &ann.text("refresh_token")).code(), 108);
    for granted in [&bob, &firm] {
        assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).status, 200, "these still stand");
    }
}

#[test]
fn a_printed_user_keeps_the_password() {
    let sandbox = plain();
    let printed = format!("{:?} {sandbox:?}", sandbox.ready().users);
    assert!(printed.contains("ann@example.com"));
    for user in &sandbox.ready().users {
        assert!(!printed.contains(&user.password));
        assert!(sandbox.secrets().contains(&user.password));
    }
}
