//! One-time passwords: asked for, read in the mailbox, used once, and with the same parameters.

mod common;
use common::*;
use perennial_sandbox::{Expire, Sandbox};

const ANN: [(&str, &str); 2] = [("channel_handle", "ann@example.com"), ("channel_type", "email")];

fn ask(sandbox: &Sandbox, fields: &[(&str, &str)]) -> Answer {
    post(sandbox, "/oauth2/v0/otp", &as_client(sandbox.ready(), fields))
}

fn redeem(sandbox: &Sandbox, otp: &str, more: &[(&str, &str)]) -> Answer {
    let fields = [&ANN[..], &[("grant_type", "otp"), ("otp", otp)], more].concat();
    post(sandbox, "/oauth2/v0/token", &as_client(sandbox.ready(), &fields))
}

#[test]
fn a_password_from_the_mailbox_is_good_once() {
    let sandbox = plain();
    let sent = ask(&sandbox, &[&ANN[..], &[("name", "Ann"), ("link", "https://app.example/in")]].concat());
    assert_eq!((sent.status, sent.text("message").as_str()), (200, "otp sent"));

    let mails = get(&sandbox, "/sandbox/mailbox?address=ann%40example.com").json();
    assert_eq!(mails[0]["name"], "Ann");
    assert_eq!(mails[0]["link"], "https://app.example/in");
    assert_eq!(mails[0]["open"], true);
    let otp = mails[0]["otp"].as_str().unwrap_or_default().to_owned();
    assert_eq!(sandbox.one_time_passwords("ann@example.com"), [otp.as_str()]);
    assert_eq!(get(&sandbox, "/sandbox/mailbox?address=bob%40example.com").json(), serde_json::json!([]));
    assert!(sandbox.secrets().contains(&otp));

    let granted = redeem(&sandbox, &otp, &[]);
    assert_eq!(granted.status, 200, "{granted:?}");
    assert_eq!(granted.claim("id_token", "sub"), sandbox.ready().users[0].uuid);
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).status, 200);
    assert_eq!(redeem(&sandbox, &otp, &[]).code(), 83);
    assert_eq!(sandbox.stats().by_grant["otp"], 2);
}

#[test]
fn the_custom_parameters_have_to_be_the_same() {
    let sandbox = plain();
    ask(&sandbox, &[&ANN[..], &[("tenant", "7"), ("note", "a b")]].concat());
    let otp = sandbox.one_time_passwords("ann@example.com").remove(0);
    assert_eq!(redeem(&sandbox, &otp, &[]).code(), 84);
    assert_eq!(redeem(&sandbox, &otp, &[("tenant", "8"), ("note", "a b")]).code(), 84);
    assert_eq!(redeem(&sandbox, &otp, &[("tenant", "7"), ("note", "a b"), ("more", "1")]).code(), 84);
    assert_eq!(redeem(&sandbox, &otp, &[("note", "a b"), ("tenant", "7")]).status, 200);
}

#[test]
fn three_may_be_open_and_no_fourth() {
    let sandbox = plain();
    for _ in 0..3 {
        assert_eq!(ask(&sandbox, &ANN).status, 200);
    }
    assert_eq!(ask(&sandbox, &ANN).code(), 82);
    let bob = [("channel_handle", "bob@example.com"), ("channel_type", "email")];
    assert_eq!(ask(&sandbox, &bob).status, 200, "each address for itself");
    assert_eq!(redeem(&sandbox, "wrong", &[]).code(), 85);
    let second = sandbox.one_time_passwords("ann@example.com").remove(1);
    assert_eq!(redeem(&sandbox, &second, &[]).status, 200);
    assert_eq!(ask(&sandbox, &ANN).status, 200, "there is room again");
}

#[test]
fn a_password_that_is_too_old_is_gone() {
    let sandbox = plain();
    ask(&sandbox, &ANN);
    let otp = sandbox.one_time_passwords("ann@example.com").remove(0);
    sandbox.expire(Expire::Otp);
    assert_eq!(redeem(&sandbox, &otp, &[]).code(), 83);
}

#[test]
fn each_wrong_field_has_its_code() {
    let sandbox = plain();
    let handle = ("channel_handle", "ann@example.com");
    for (fields, code) in [
        (vec![("channel_type", "email")], 58),
        (vec![handle], 57),
        (vec![handle, ("channel_type", "pigeon")], 80),
        (vec![("channel_handle", "ann"), ("channel_type", "email")], 81),
        (vec![("channel_handle", "eve@example.com"), ("channel_type", "email")], 55),
        (vec![handle, handle, ("channel_type", "email")], 135),
    ] {
        assert_eq!(ask(&sandbox, &fields).code(), code, "{fields:?}");
    }
    assert_eq!(redeem(&sandbox, "", &[]).code(), 56);
    let nobody = post(&sandbox, "/oauth2/v0/otp", &ANN);
    assert_eq!(nobody.code(), 62);
}
