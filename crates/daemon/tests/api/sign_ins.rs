//! People sign in through the daemon: in a browser, with a one-time password, with a password. What is brought back by
//! the wrong caller, for the wrong connection, or twice, changes nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::support::{House, Reply, ask_with, exchange, request};
use perennial_daemon::config::Right;
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub(crate) const BACK: &str = "http://127.0.0.1:7777/back";

/// A sandbox whose pages a test can read without TLS.
fn house() -> House {
    House::with(perennial_sandbox::Config { tls: false, ..perennial_sandbox::Config::default() })
}

async fn add(house: &House, name: &str, grant: Value) -> Reply {
    let ready = house.sandbox.ready();
    let new = json!({"name": name, "client_id": ready.app_id, "client_secret": ready.client_secret, "grant": grant,
        "scope": "openid user.read"});
    house.ask("POST", "/v1/connections", &new.to_string()).await
}

async fn waiting(house: &House, name: &str) {
    let added = add(house, name, json!({"type": "sign_in"})).await;
    assert_eq!((added.status, &added.json()["state"]), (201, &json!("awaiting_grant")), "{added:?}");
}

pub(crate) fn browser() -> String {
    json!({"type": "browser", "redirect_uri": BACK}).to_string()
}

async fn begin(house: &House, name: &str) -> Value {
    let begun = house.ask("POST", &format!("/v1/connections/{name}/sign-in"), &browser()).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    begun.json()
}

pub(crate) async fn finish(house: &House, name: &str, redirected: &str) -> Reply {
    let body = json!({"redirected": redirected}).to_string();
    house.ask("POST", &format!("/v1/connections/{name}/signed-in"), &body).await
}

/// A person goes to the address, signs in, and presses a button; where the browser ends.
pub(crate) async fn press(house: &House, begun: &Value, decision: &str) -> String {
    let ann = &house.sandbox.ready().users[0];
    let address = begun["address"].as_str().unwrap();
    let (page, query) = address.split_once('?').unwrap();
    let form = format!("{query}&login={}&password={}&decision={decision}", ann.login, ann.password);
    let host = house.sandbox.base_uri().strip_prefix("http://").unwrap();
    let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
    let path = page.strip_prefix(house.sandbox.base_uri()).unwrap();
    let reply =
        exchange(TcpStream::connect(host).await.unwrap(), &request("POST", path, &headers, &form)).await;
    reply.header("location").unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_by_browser_and_what_came_back_is_good_once() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    let begun = begin(&house, "ann").await;
    assert!(begun["address"].as_str().unwrap().contains("code_challenge_method=S256"), "{begun}");
    let shown = house.get("/v1/connections/ann").await.json();
    assert_eq!(
        (&shown["sign_in"]["type"], &shown["sign_in"]["state"]),
        (&json!("browser"), &json!("under_way"))
    );
    let redirected = press(&house, &begun, "approve").await;
    let signed_in = finish(&house, "ann", &redirected).await;
    assert_eq!((signed_in.status, &signed_in.json()["state"]), (200, &json!("held")), "{signed_in:?}");
    assert_eq!(signed_in.json()["principal"], house.sandbox.ready().users[0].uuid);
    assert_eq!(
        (&signed_in.json()["sign_in"], house.get("/v1/connections/ann/token").await.status),
        (&json!(null), 200)
    );

    let before = house.sandbox.stats().requests;
    let again = finish(&house, "ann", &redirected).await;
    assert_eq!((again.status, &again.json()["type"]), (409, &json!("/problems/no-sign-in")), "{again:?}");
    assert_eq!(house.sandbox.stats().requests, before, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_another_sign_in_changes_nothing() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    waiting(&house, "bob").await;
    let (of_ann, of_bob) = (begin(&house, "ann").await, begin(&house, "bob").await);
    let redirected = press(&house, &of_ann, "approve").await;
    for foreign in [redirected.as_str(), "http://evil.example/back?code=c", "code=c", "nothing", ""] {
        let refused = finish(&house, "bob", foreign).await;
        assert_eq!(
            (refused.status, &refused.json()["type"]),
            (400, &json!("/problems/other-sign-in")),
            "{refused:?}"
        );
    }
    assert_eq!(house.get("/v1/connections/bob").await.json()["state"], "awaiting_grant");
    assert_eq!(house.sandbox.stats().requests, 0, "no code was presented");
    let own = press(&house, &of_bob, "approve").await;
    assert_eq!(finish(&house, "bob", &own).await.status, 200, "and his own goes on");
    assert_eq!(finish(&house, "ann", &redirected).await.status, 200, "and hers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_belongs_to_who_began_it() {
    let house = house();
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    let keys = [house.key("one", &[Right::Admin], "*"), house.key("two", &[Right::Admin], "*")];
    let path = "/v1/connections/ann/sign-in";
    let begun = ask_with(&daemon, &keys[0], "POST", path, &browser()).await.json();
    let body = json!({"redirected": press(&house, &begun, "approve").await}).to_string();
    let path = "/v1/connections/ann/signed-in";
    assert_eq!(ask_with(&daemon, &keys[1], "POST", path, &body).await.status, 409, "another key");
    assert_eq!(house.ask("POST", path, &body).await.status, 409, "nor the socket");
    assert_eq!(house.sandbox.stats().requests, 0);
    assert_eq!(ask_with(&daemon, &keys[0], "POST", path, &body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_a_sign_in_lands_in_no_other_connection_of_the_same_name() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    let redirected = press(&house, &begin(&house, "ann").await, "approve").await;
    assert_eq!(house.ask("DELETE", "/v1/connections/ann", "").await.status, 204);
    waiting(&house, "ann").await;
    let refused = finish(&house, "ann", &redirected).await;
    assert_eq!((refused.status, house.sandbox.stats().requests), (409, 0), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_over_is_begun_anew() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    let denied = press(&house, &begin(&house, "ann").await, "deny").await;
    let refused = finish(&house, "ann", &denied).await;
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (409, &json!("/problems/sign-in-failed")),
        "{refused:?}"
    );
    assert_eq!(finish(&house, "ann", &denied).await.json()["type"], "/problems/no-sign-in");

    let late = press(&house, &begin(&house, "ann").await, "approve").await;
    house.clock.set_on(601);
    assert_eq!(finish(&house, "ann", &late).await.json()["type"], "/problems/no-sign-in");
    let replaced = press(&house, &begin(&house, "ann").await, "approve").await;
    let newer = begin(&house, "ann").await;
    assert_eq!(finish(&house, "ann", &replaced).await.status, 400, "a newer one stands in its place");
    assert_eq!(house.sandbox.stats().requests, 0, "no code was presented so far");
    assert_eq!(finish(&house, "ann", &press(&house, &newer, "approve").await).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_for_a_connection_of_somebody_else_is_kept_aside() {
    let house = house();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let before = house.get("/v1/connections/acme").await.json();
    let redirected = press(&house, &begin(&house, "acme").await, "approve").await;
    let refused = finish(&house, "acme", &redirected).await;
    assert_eq!(refused.status, 409, "law 13: {refused:?}");
    let after = house.get("/v1/connections/acme").await.json();
    for member in ["principal", "generation", "state"] {
        assert_eq!(before[member], after[member], "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_password_may_be_mistyped_and_is_good_once() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    let login = house.sandbox.ready().users[0].login.clone();
    let wanted =
        json!({"type": "one_time_password", "address": login, "parameters": {"ticket": "7"}}).to_string();
    let begun = house.ask("POST", "/v1/connections/ann/sign-in", &wanted).await;
    assert_eq!((begun.status, &begun.json()["type"]), (200, &json!("one_time_password")), "{begun:?}");
    let otp = house.sandbox.one_time_passwords(&login).pop().unwrap();
    let enter = async |otp: &str| {
        house.ask("POST", "/v1/connections/ann/signed-in", &json!({"otp": otp}).to_string()).await
    };
    let mistyped = enter("mistyped").await;
    assert_eq!(mistyped.status, 409, "{mistyped:?}");
    assert!(!mistyped.body.contains("mistyped"), "law 10: {mistyped:?}");
    assert_eq!(enter(&otp).await.status, 200);
    assert_eq!(enter(&otp).await.json()["type"], "/problems/no-sign-in");

    house.ask("POST", "/v1/connections/ann/sign-in", &wanted).await;
    let mut kinds = Vec::new();
    for _ in 0..6 {
        kinds.push(enter("guess").await.json()["type"].as_str().unwrap().to_owned());
    }
    let none = kinds.iter().filter(|kind| *kind == "/problems/no-sign-in").count();
    assert_eq!(none, 1, "five guesses, and it is over: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_from_who_knows_what_that_means() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let ann = house.sandbox.ready().users[0].clone();
    let grant = |password: &str| json!({"type": "password", "username": ann.login, "password": password, "i_know": true});
    let wrong = add(&house, "ann", grant("wrong")).await;
    assert_eq!(
        (wrong.status, house.get("/v1/connections/ann").await.json()["state"].clone()),
        (409, json!("awaiting_grant"))
    );
    let anew = json!({"grant": grant(&ann.password)}).to_string();
    let right = house.ask("POST", "/v1/connections/ann/reauthorize", &anew).await;
    assert_eq!((right.status, &right.json()["principal"]), (200, &json!(ann.uuid)), "{right:?}");
    let sent = json!({"type": "one_time_password", "address": ann.login}).to_string();
    house.ask("POST", "/v1/connections/ann/sign-in", &sent).await;
    let otp = house.sandbox.one_time_passwords(&ann.login).pop().unwrap();
    let added =
        add(&house, "otp", json!({"type": "one_time_password", "address": ann.login, "otp": otp})).await;
    assert_eq!(added.status, 201, "one that was sent elsewhere: {added:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_keeps_the_others_from_signing_in() {
    let house = house();
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    let key = house.key("busy", &[Right::Admin], "*");
    for number in 0..=100 {
        let name = format!("c{number}");
        waiting(&house, &name).await;
        let path = format!("/v1/connections/{name}/sign-in");
        let begun = ask_with(&daemon, &key, "POST", &path, &browser()).await;
        assert_eq!(begun.status, if number < 100 { 200 } else { 429 }, "{begun:?}");
    }
    begin(&house, "c100").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_10_no_journal_and_no_answer_holds_what_a_person_gave() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    waiting(&house, "ann").await;
    let redirected = press(&house, &begin(&house, "ann").await, "approve").await;
    let code = redirected.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let signed_in = finish(&house, "ann", &redirected).await;
    let journal = house.keeper.store().journal(Some("ann"), None, 100).unwrap();
    let written = format!("{journal:?}{signed_in:?}{:?}", house.get("/v1/connections/ann").await);
    assert!(written.contains("signed in over HTTP by uid"), "{written}");
    for secret in house.sandbox.secrets().iter().map(String::as_str).chain([code]) {
        assert!(!written.contains(secret), "{written}");
    }
}
