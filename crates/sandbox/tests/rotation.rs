//! Whether a refresh replaces the refresh token, and what a superseded one is good for.

mod common;
use common::*;
use perennial_sandbox::{Expire, Rotate};
use std::collections::BTreeSet;

#[test]
fn never_brings_the_same_value_and_moves_the_expiry() {
    let sandbox = plain();
    let first = company(&sandbox);
    sandbox.expire(Expire::RequestToken);
    for _ in 0..5 {
        let next = refresh(&sandbox, &first.text("refresh_token"));
        assert_eq!(next.text("refresh_token"), first.text("refresh_token"));
        assert!(next.json()["refresh_expires_in"].as_u64() >= first.json()["refresh_expires_in"].as_u64());
    }
    assert_eq!(sandbox.stats().rotations, 0);
}

#[test]
fn sometimes_brings_a_new_value_once_in_three() {
    let sandbox = start(|config| config.rotate = Rotate::Sometimes);
    let mut current = company(&sandbox).text("refresh_token");
    let mut values = BTreeSet::from([current.clone()]);
    for _ in 0..9 {
        current = refresh(&sandbox, &current).text("refresh_token");
        values.insert(current.clone());
    }
    assert_eq!(values.len(), 4);
    assert_eq!(sandbox.stats().rotations, 3);
    assert_eq!(sandbox.stats().refreshes, 9);
}

#[test]
fn sometimes_keeps_the_old_value_until_the_new_one_was_used() {
    let sandbox = start(|config| config.rotate = Rotate::Sometimes);
    let old = company(&sandbox).text("refresh_token");
    let new = loop {
        let next = refresh(&sandbox, &old).text("refresh_token");
        if next != old {
            break next;
        }
    };
    assert_eq!(
        refresh(&sandbox, &old).text("refresh_token"),
        new,
        "the old one still works, and names the new"
    );
    assert_eq!(refresh(&sandbox, &new).status, 200);
    assert_eq!(refresh(&sandbox, &old).code(), 108);
    assert_eq!(sandbox.stats().reuse_detected, 1);
    assert_eq!(refresh(&sandbox, &new).status, 200, "reuse does no harm here");
}

#[test]
fn always_ends_the_grant_when_a_spent_value_comes_back() {
    let sandbox = start(|config| config.rotate = Rotate::Always);
    let granted = company(&sandbox);
    let first = granted.text("refresh_token");
    let second = refresh(&sandbox, &first).text("refresh_token");
    let third = refresh(&sandbox, &second).text("refresh_token");
    assert_eq!(BTreeSet::from([&first, &second, &third]).len(), 3);
    assert_eq!(sandbox.stats().rotations, 2);

    assert_eq!(refresh(&sandbox, &second).code(), 108);
    assert_eq!(sandbox.stats().reuse_detected, 1);
    assert_eq!(refresh(&sandbox, &third).code(), 108, "the newest is gone with the grant");
    assert_eq!(call(&sandbox, "GET", USERS, &granted.text("access_token")).status, 200);
}

#[test]
fn an_expired_refresh_token_is_refused_and_a_new_grant_is_not() {
    let sandbox = plain();
    let old = company(&sandbox).text("refresh_token");
    sandbox.expire(Expire::Refresh);
    assert_eq!(refresh(&sandbox, &old).code(), 108);
    let new = company(&sandbox).text("refresh_token");
    assert_eq!(refresh(&sandbox, &new).status, 200);
}

#[test]
fn revoking_ends_every_refresh_token_of_the_company() {
    let sandbox = plain();
    let (one, two) = (company(&sandbox), company(&sandbox));
    let answer = call(&sandbox, "DELETE", "/app-mgmt/v0/connections", &one.text("access_token"));
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(refresh(&sandbox, &one.text("refresh_token")).code(), 108);
    assert_eq!(refresh(&sandbox, &two.text("refresh_token")).code(), 108);
    assert_eq!(sandbox.stats().revocations, 1);
}
