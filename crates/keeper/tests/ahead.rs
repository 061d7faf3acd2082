//! Laws 3, 9 and 12 for tokens that are in use: the next one is fetched behind the callers' backs, in time and not before.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod stage;

use perennial::store::Store;
use perennial::{HandOut, Keeper, Options, Parts, SapSample};
use serde_json::json;
use stage::{Answer, EU2, MIN_TTL, Stage, TestClock, issued, nothing};
use std::sync::Arc;
use std::time::Duration;

/// A keeper that has obtained a grant, whose clock can be moved, and what is answered from there on.
async fn keeping(answers: Vec<Answer>) -> (Keeper, Stage, TestClock) {
    let stage = Stage::open(std::iter::once(issued(1, EU2)).chain(answers).collect());
    let clock = TestClock::default();
    let (store, endpoint) =
        (Arc::new(SapSample::open(stage.dir.path()).unwrap()), Arc::new(stage.script.clone()));
    let parts = Parts { store, endpoint, clock: Arc::new(clock.clone()), seed: Some(1), threads: None };
    let keeper = Keeper::with_parts(parts, Options::default());
    keeper.obtain(&nothing()).await.unwrap();
    (keeper, stage, clock)
}

fn peek(keeper: &Keeper) -> HandOut {
    keeper.peek("default", MIN_TTL).unwrap().unwrap()
}

/// Moves the clock to the end of the seconds in which a token of one hour is worth replacing.
fn let_refresh_at_come(clock: &TestClock) {
    clock.pass(Duration::from_secs(3600 * 9 / 10));
}

#[tokio::test]
async fn law_12_before_its_time_nothing_is_fetched_ahead() {
    let (keeper, stage, clock) = keeping(vec![]).await;
    let hand_out = peek(&keeper);
    let seconds = hand_out.refresh_at.unwrap().since(keeper.now());
    assert!((2700..=3240).contains(&seconds), "{seconds}");
    assert_eq!(hand_out.id, keeper.connection("default").unwrap().id);
    clock.pass(Duration::from_secs(seconds.unsigned_abs() - 1));
    assert_eq!(keeper.refresh_ahead("default").await.unwrap(), None);
    keeper.ahead("default");
    keeper.landed().await;
    assert_eq!(stage.sent().len(), 1, "the grant itself");
}

#[tokio::test]
async fn law_9_callers_are_served_while_the_next_token_is_fetched() {
    let (keeper, stage, clock) = keeping(vec![issued(2, EU2)]).await;
    let_refresh_at_come(&clock);
    stage.script.gate.forget_permits(100);
    keeper.ahead("default");
    while stage.sent().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(peek(&keeper).access_token.expose(), "access-1", "nobody waits");
    stage.script.gate.add_permits(1);
    keeper.landed().await;
    let next = peek(&keeper);
    assert_eq!((next.access_token.expose(), next.generation), ("access-2", 2));
    assert!(next.refresh_at.unwrap() > keeper.now(), "the bell is wound up again");
    assert_eq!(keeper.refresh_ahead("default").await.unwrap(), None);
}

#[tokio::test]
async fn law_3_what_a_sibling_has_fetched_is_not_fetched_again() {
    let (keeper, stage, clock) = keeping(vec![issued(2, EU2)]).await;
    let_refresh_at_come(&clock);
    let claim = SapSample::open(stage.dir.path()).unwrap().try_claim("default").unwrap().unwrap();
    keeper.ahead("default");
    while stage.script.connected.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut tokens = stage.on_disk();
    tokens["access_token"] = json!("siblings");
    tokens["refresh_token"] = json!("siblings");
    std::fs::write(stage.dir.path().join("refreshTokenObjectFile.json"), tokens.to_string()).unwrap();
    drop(claim);
    keeper.landed().await;
    assert_eq!(stage.sent().len(), 1, "nothing was sent");
}

#[tokio::test]
async fn law_12_hand_outs_order_one_flight_and_a_failed_one_is_not_ordered_at_each_of_them() {
    let down: Answer = Ok((503, json!({"message": "down"})));
    let (keeper, stage, clock) = keeping(vec![down]).await;
    let_refresh_at_come(&clock);
    for _ in 0..1_000 {
        keeper.ahead("default");
    }
    keeper.landed().await;
    assert_eq!(stage.sent().len(), 2);
    assert_eq!(peek(&keeper).access_token.expose(), "access-1", "law 9");
    // It backs off by itself now: whoever orders it again sends nothing.
    clock.pass(Duration::from_secs(6));
    keeper.ahead("default");
    keeper.landed().await;
    assert!(keeper.refresh_ahead("default").await.is_err(), "who waits for it hears why");
    assert_eq!(stage.sent().len(), 2);
}
