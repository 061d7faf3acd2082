//! Every other row of Concur's grant table, with flags alone: a one-time password, a person's password; and what is asked of
//! whoever names two ways, or none.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::json;
use std::io::Write;
use std::process::Stdio;
use support::{Ended, World};

fn world() -> World {
    World::with(World::plain())
}

fn adding<'a>(world: &'a World, more: &[&'a str]) -> Vec<&'a str> {
    let app =
        ["add", "lee", "--app-id", &world.sandbox.ready().app_id, "--client-secret-env", "CLIENT_SECRET"];
    [&app[..], more].concat()
}

/// `--otp`, with the code written into a pipe once the mail has come.
fn by_mail(world: &World, more: &[&str], code: impl FnOnce() -> String) -> Ended {
    let words = [&adding(world, &["--otp-code-file", "-"])[..], more].concat();
    let mut child = world.keeps(&words).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let address = &world.sandbox.ready().users[0].login;
    support::wait_until("a mail has come", || !world.sandbox.one_time_passwords(address).is_empty());
    writeln!(stdin, "{}", code()).expect("it reads");
    drop(stdin);
    Ended::landed(child)
}

#[test]
fn a_one_time_password_becomes_a_grant() {
    let world = world();
    let user = world.sandbox.ready().users[0].clone();
    let newest = || world.sandbox.one_time_passwords(&user.login).pop().expect("a mail");
    let ended = by_mail(
        &world,
        &["--otp", &user.login, "--with", "link=https://app.example.com", "--with", "mine=1"],
        newest,
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains(&format!("A one-time password is on its way to {}", user.login)),
        "{ended:?}"
    );
    ended.shows_none_of(&world.sandbox.secrets());
    let status = world.status_of("lee");
    assert_eq!((&status["state"], &status["principal"]), (&json!("held"), &json!(user.uuid)));
    world.keep_ok(&["refresh", "lee"]);
}

#[test]
fn a_wrong_one_time_password_is_told_and_another_is_asked_for() {
    let world = world();
    let user = world.sandbox.ready().users[0].clone();
    let ended = by_mail(&world, &["--otp", &user.login], || "WRONG".to_owned());
    ended.is_trouble(&world, 3, "the one-time password", "perennial reauthorize lee");
    assert_eq!(world.status_of("lee")["state"], "awaiting_grant", "what was given is kept");
}

#[test]
fn an_address_that_nobody_has_is_told() {
    let world = world();
    let ended = world.keep(&adding(&world, &["--otp", "nobody@example.com"]));
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("code 55"), "{ended:?}");
    assert_eq!(world.requests(), 0);
}

/// RFC 9700 section 2.4.
#[test]
fn a_password_is_refused_without_i_know_and_presented_once_with_it() {
    let world = world();
    let user = world.sandbox.ready().users[0].clone();
    let named = adding(&world, &["--by-password", &user.login, "--password-env", "PASSWORD"]);
    let run = |words: &[&str]| {
        Ended::of(&world.keeps(words).env("PASSWORD", &user.password).output().expect("it runs"))
    };
    let ended = run(&named);
    ended.is_trouble(&world, 2, "RFC 9700 section 2.4 forbids this grant", "--i-know");
    assert!(!world.database().exists(), "nothing is made");
    let ended = run(&[&named[..], &["--i-know"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.shows_none_of(std::slice::from_ref(&user.password));
    assert_eq!(world.status_of("lee")["principal"], user.uuid.as_str());
    for file in std::fs::read_dir(world.database().parent().expect("a directory")).expect("it is there") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("it can be read");
        let kept = bytes.windows(user.password.len()).any(|window| window == user.password.as_bytes());
        assert!(!kept, "law 10: the password is kept nowhere");
    }
    world.keep_ok(&["refresh", "lee"]);
    let again = ["reauthorize", "lee", "--by-password", &user.login, "--i-know", "--password-env", "WRONG"];
    let ended = Ended::of(&world.keeps(&again).env("WRONG", "wrong").output().expect("it runs"));
    ended.is_trouble(&world, 3, "no new grant was obtained: ", "perennial reauthorize lee");
    assert!(!ended.stderr.contains("stored"), "a password is not: {ended:?}");
    assert_eq!(world.status_of("lee")["state"], "held", "law 5: the old grant stays");
}

#[test]
fn law_10_no_secret_of_a_way_is_taken_as_a_word() {
    let world = world();
    for option in ["--password", "--otp-code", "--subject-token", "--private-key", "--redirected"] {
        let ended = world.keep(&adding(&world, &[option, "canary"]));
        ended.is_trouble(&world, 2, "is not taken from the command line", &format!("{option}-file FILE"));
        assert!(!ended.stderr.contains("canary"), "{ended:?}");
    }
}

#[test]
fn two_ways_are_a_mistake() {
    let world = world();
    for (more, says) in [
        (&["--user", "--app"][..], "--user and --app are two ways"),
        (&["--device", "--otp", "a@example.com"], "--device and --otp are two ways"),
        (&["--user", "--request-token-env", "REQUEST_TOKEN"], "two ways to the same end"),
        (&["--app", "--refresh-token-env", "REQUEST_TOKEN"], "two ways to the same end"),
        (
            &["--issuer", "https://login.example.com", "--company"],
            "is SAP Concur's, and another server is named",
        ),
        (&["--client-auth", "client_secret_basic"], "does not fit SAP Concur"),
        (&["--device"], "SAP Concur offers no sign-in on another device"),
    ] {
        let ended = world.keep(&adding(&world, more));
        assert_eq!(ended.code, 2, "{more:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{more:?}: {ended:?}");
    }
    assert_eq!(world.requests(), 0);
}

#[test]
fn an_answer_that_could_not_come_back_is_told_before_anything_is_kept() {
    let world = world();
    for (uri, says) in [
        ("https://app.example.com/back", "nobody is here to paste it"),
        ("http://app.example.com/back", "is plain http to another machine"),
        ("nowhere", "is not an absolute address"),
    ] {
        let ended = world.keep(&adding(&world, &["--user", "--redirect-uri", uri]));
        assert_eq!(ended.code, 2, "{uri}: {ended:?}");
        assert!(ended.stderr.contains(says), "{uri}: {ended:?}");
    }
    assert!(!world.database().exists());
}

#[test]
fn a_server_that_is_no_address_or_not_there_is_told_before_anything_is_kept() {
    let world = world();
    for (issuer, code, says) in [
        ("login.example.com", 3, "is not an absolute address"),
        ("http://login.example.com", 3, "is plain http to another machine"),
        ("https://login.example.com?x=1", 3, "has a query"),
        ("http://127.0.0.1:1", 3, "describes itself nowhere"),
    ] {
        let ended = world.keep(&adding(&world, &["--issuer", issuer]));
        assert_eq!(ended.code, code, "{issuer}: {ended:?}");
        assert!(ended.stderr.contains(says), "{issuer}: {ended:?}");
    }
    let ended = world.keep(&adding(&world, &["--token-endpoint", "https://login.example.com/token"]));
    ended.is_trouble(&world, 2, "no page to sign in at", "--authorization-endpoint URL");
    let ended = world.keep(&adding(
        &world,
        &["--app", "--token-endpoint", "https://l.example/t", "--param", "grant_type=x"],
    ));
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(!world.database().exists());
}

#[test]
fn a_failed_exchange_keeps_the_request_token_and_counts_down() {
    let world = world();
    world.inject(json!([{"kind": "status", "status": 503}]));
    let ended = world.keep(&world.adding("acme", &[]));
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(
        ended.stderr.contains(" min and 4 uses are left, counted from when it was given here"),
        "{ended:?}"
    );
    let ended = world.keep_ok(&["reauthorize", "acme"]);
    assert!(ended.stdout.contains("a new grant is obtained"), "{ended:?}");
}
