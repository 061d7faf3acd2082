//! Law 12 over many connections of one keeper: a server that fails for all is asked by one probe at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod stage;

use perennial::core::Connection;
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::store::{App, Memory, Store};
use perennial::{Keeper, Options, Parts};
use serde_json::json;
use stage::{Answer, EU2, Script, Stage, TestClock, issued};
use std::sync::Arc;
use std::time::Duration;

/// Keeps this many connections, all of which hold a grant that lives at one place, and what is answered from there on.
async fn fleet(size: usize, answers: Vec<Answer>) -> (Keeper, Script, TestClock) {
    let obtained = (0..size).map(|_| issued(1, EU2));
    let Stage { script, .. } = Stage::open(obtained.chain(answers).collect());
    let (store, clock) = (Memory::new(), TestClock::default());
    let app = || {
        let client = Client { id: "app".to_owned(), secret: ClientSecret::new("secret") };
        App::new(client, Some(Principal::new("company")), Some(RequestToken::new("request")))
    };
    for number in 0..size {
        let name = format!("number-{number}");
        store.add(&Connection::new(name.clone(), name, &CONCUR), &app()).unwrap();
    }
    let (store, endpoint) = (Arc::new(store), Arc::new(script.clone()));
    let parts = Parts { store, endpoint, clock: Arc::new(clock.clone()), seed: Some(1), threads: None };
    let keeper = Keeper::with_parts(parts, Options::default());
    for name in keeper.names().unwrap() {
        keeper.obtain(&keeper.connection(&name).unwrap()).await.unwrap();
    }
    script.sent.lock().unwrap().clear();
    script.connected.lock().unwrap().clear();
    (keeper, script, clock)
}

/// Asks for more life than the token has, so that it is refreshed; and says whether the server was asked.
async fn asks_the_server(keeper: &Keeper, script: &Script, number: usize) -> bool {
    let before = script.connected.lock().unwrap().len();
    let handed_out = keeper.token(&format!("number-{number}"), Duration::from_secs(7200)).await;
    assert_eq!(handed_out.unwrap().access_token.expose(), "access-1", "law 9");
    script.connected.lock().unwrap().len() > before
}

#[tokio::test]
async fn law_12_a_server_that_fails_for_all_is_not_asked_with_every_connection() {
    let down = || Ok((503, json!({"message": "down"})));
    let (keeper, script, clock) = fleet(9, (0..9).map(|_| down()).collect()).await;
    for number in 0..5 {
        assert!(asks_the_server(&keeper, &script, number).await, "{number}");
    }
    assert!(!asks_the_server(&keeper, &script, 5).await, "five failures in a row are enough");
    // After the pause one probe goes out; it fails, and everybody waits for longer.
    clock.pass(Duration::from_secs(16));
    assert!(asks_the_server(&keeper, &script, 6).await);
    assert!(!asks_the_server(&keeper, &script, 7).await);
    // A person may always ask.
    keeper.refresh("number-8").await.unwrap_err();
    assert_eq!(script.sent.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn law_12_a_probe_that_is_answered_lets_all_ask_again() {
    let mut answers: Vec<Answer> = (0..5).map(|_| Ok((503, json!({"message": "down"})))).collect();
    // Any answer of the server's own will do, also a refusal.
    answers.push(Ok((400, json!({"code": 61, "error": "invalid_client"}))));
    answers.push(Ok((400, json!({"code": 61, "error": "invalid_client"}))));
    let (keeper, script, clock) = fleet(8, answers).await;
    for number in 0..5 {
        asks_the_server(&keeper, &script, number).await;
    }
    clock.pass(Duration::from_secs(16));
    assert!(asks_the_server(&keeper, &script, 5).await, "the probe");
    assert!(asks_the_server(&keeper, &script, 6).await, "it was answered");
    assert_eq!(script.sent.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn law_12_while_a_probe_is_under_way_nobody_else_asks() {
    let mut answers: Vec<Answer> = (0..5).map(|_| Ok((503, json!({"message": "down"})))).collect();
    answers.push(issued(1, EU2));
    let (keeper, script, clock) = fleet(8, answers).await;
    for number in 0..5 {
        asks_the_server(&keeper, &script, number).await;
    }
    clock.pass(Duration::from_secs(16));
    script.gate.forget_permits(100);
    let keeper = Arc::new(keeper);
    let probing = Arc::clone(&keeper);
    let probe = tokio::spawn(async move { probing.token("number-5", Duration::from_secs(7200)).await });
    while script.sent.lock().unwrap().len() < 6 {
        tokio::task::yield_now().await;
    }
    assert!(!asks_the_server(&keeper, &script, 6).await);
    script.gate.add_permits(1);
    probe.await.unwrap().unwrap();
    assert_eq!(script.sent.lock().unwrap().len(), 6);
}
