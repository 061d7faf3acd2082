//! One flight, seen from the line: what is on disk when the request goes out, where it goes, and who gets the answer.

mod stage;

use perennial::core::token_endpoint::NoAnswer;
use perennial::store::Store;
use perennial::{Error, Keeper, Options, Parts, SapSample};
use serde_json::json;
use stage::{EU2, GLZ, MIN_TTL, Stage, TestClock, US2, issued, lives_at, nothing};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn law_4_the_intent_and_the_commits_room_are_on_disk_when_the_request_goes_out() {
    let stage = Stage::open(vec![issued(1, EU2), issued(2, EU2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    stage.keeper.refresh("default").await.unwrap();
    let sent = stage.sent();
    let intent = &sent[0].on_disk["perennial"]["intent"];
    assert_eq!((intent["purpose"].as_str(), intent["base"].as_str()), (Some("obtain"), Some(GLZ)));
    assert_eq!(intent["deadline"], 1_800_000_060);
    assert_eq!(sent[0].on_disk["perennial"]["request_token"]["uses"], 1, "counted before it is sent");
    let intent = &sent[1].on_disk["perennial"]["intent"];
    assert_eq!((intent["purpose"].as_str(), intent["base"].as_str()), (Some("refresh"), Some(EU2)));
    assert_eq!(intent["generation"], 1);
    assert!(sent.iter().all(|sent| sent.room >= 64 * 1024), "{sent:?}");
    assert!(stage.on_disk()["perennial"]["intent"].is_null(), "an answer closes it");
}

#[tokio::test]
async fn a_refresh_goes_to_the_tokens_own_geolocation() {
    let stage = Stage::open(vec![issued(1, EU2), issued(2, US2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let hand_out = stage.keeper.refresh("default").await.unwrap();
    let sent = stage.sent();
    assert_eq!((sent[0].base.as_str(), sent[1].base.as_str()), (GLZ, EU2));
    assert!(sent[1].form.ends_with("grant_type=refresh_token&refresh_token=refresh-1"), "{}", sent[1].form);
    assert_eq!(hand_out.base.to_string(), US2, "and what a success names is stored");
}

#[tokio::test]
async fn a_refresh_that_waited_goes_where_the_siblings_tokens_live() {
    let stage = Stage::open(vec![issued(1, EU2), issued(2, US2), issued(3, US2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    // A sibling holds the claim while this flight connects; what it stores lives elsewhere, and has ended already.
    let claim = SapSample::open(stage.dir.path()).unwrap().try_claim("default").unwrap().unwrap();
    let refresh = stage.keeper.refresh("default");
    let sibling = async {
        while stage.script.connected.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        let mut tokens = stage.on_disk();
        tokens["geolocation"] = json!(US2);
        tokens["refresh_token"] = json!("siblings");
        tokens["access_token"] = json!("ended");
        fs::write(stage.dir.path().join("refreshTokenObjectFile.json"), tokens.to_string()).unwrap();
        drop(claim);
    };
    let (refreshed, ()) = tokio::join!(refresh, sibling);
    refreshed.unwrap();
    let last = stage.sent().pop().unwrap();
    assert_eq!(last.base, US2);
    assert!(last.form.ends_with("refresh_token=siblings"), "{}", last.form);
}

#[tokio::test]
async fn code_16_is_followed_with_a_new_intent_and_the_200s_geolocation_is_stored() {
    let stage = Stage::open(vec![lives_at(EU2), issued(1, US2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let sent = stage.sent();
    assert_eq!(sent[1].base, EU2);
    assert_eq!(sent[1].on_disk["perennial"]["intent"]["base"], EU2, "recorded before resending");
    assert_eq!(sent[1].on_disk["perennial"]["request_token"]["uses"], 2);
    assert_eq!(stage.on_disk()["geolocation"], US2);
}

#[tokio::test]
async fn code_16_is_followed_once_and_not_for_ever() {
    let stage = Stage::open(vec![lives_at(EU2), lives_at(US2)]);
    assert!(matches!(stage.keeper.obtain(&nothing()).await, Err(Error::Failed { .. })));
    assert_eq!(stage.sent().len(), 2);
}

#[tokio::test]
async fn law_12_code_16_to_where_nobody_is_is_written_down_and_backed_off_from() {
    let stage = Stage::open(vec![issued(1, EU2), lives_at(US2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    *stage.script.nobody_at.lock().unwrap() = Some(US2);
    assert!(matches!(stage.keeper.refresh("default").await, Err(Error::Failed { .. })));
    let own = stage.on_disk()["perennial"].clone();
    assert_eq!(own["condition"]["state"], "backing_off", "{own}");
    assert!(own["intent"].is_null(), "a refusal is an answer: {own}");
    assert!(own["last_fault"]["message"].as_str().unwrap().contains("no connection"), "{own}");
    assert_eq!(stage.on_disk()["refresh_token"], "refresh-1");
}

#[tokio::test]
async fn law_6_what_was_adopted_is_not_undone_because_nobody_is_there() {
    let stage = Stage::open(vec![issued(1, EU2), Ok((400, json!({"code": 108, "error": "invalid_grant"})))]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    // A late answer of an older generation, which has ended; it lives where nobody is.
    let mut tokens = stage.on_disk();
    tokens["perennial"]["candidates"] = json!([{"reason": "late", "grant_id": "older", "generation": 0,
        "base": US2, "sent_at": 1, "received_at": 1,
        "answer": {"access_token": "ended", "refresh_token": "late", "expires_in": 1}}]);
    fs::write(stage.dir.path().join("refreshTokenObjectFile.json"), tokens.to_string()).unwrap();
    *stage.script.nobody_at.lock().unwrap() = Some(US2);
    stage.keeper.refresh("default").await.unwrap_err();
    let tokens = stage.on_disk();
    assert_eq!(tokens["refresh_token"], "late", "{tokens}");
    assert_eq!(tokens["perennial"]["previous"][0]["refresh_token"], "refresh-1", "law 5");
    assert_eq!(tokens["perennial"]["condition"]["state"], "backing_off");
}

#[tokio::test]
async fn an_order_for_another_cause_waits_for_the_flight_and_then_flies_itself() {
    let stage = Stage::gated(vec![issued(1, EU2), issued(2, EU2), issued(3, EU2)]);
    stage.script.gate.add_permits(1);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let wanted = stage.keeper.token("default", Duration::from_secs(7200));
    let asked = async {
        while stage.sent().len() < 2 {
            tokio::task::yield_now().await;
        }
        let refresh = stage.keeper.refresh("default");
        tokio::pin!(refresh);
        let joined = tokio::time::timeout(Duration::ZERO, &mut refresh).await;
        assert!(joined.is_err(), "the first flight is still in the air");
        stage.script.gate.add_permits(2);
        refresh.await
    };
    let (wanted, asked) = tokio::join!(wanted, asked);
    assert_eq!(wanted.unwrap().access_token.expose(), "access-2");
    assert_eq!(asked.unwrap().access_token.expose(), "access-3", "a person asked: it was sent for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_callers_on_many_threads_start_one_set_of_threads() {
    for _ in 0..20 {
        let stage = Stage::open(vec![issued(1, EU2)]);
        let keeper = Arc::new(stage.keeper);
        let ask = || {
            let keeper = Arc::clone(&keeper);
            tokio::spawn(async move { keeper.obtain(&nothing()).await })
        };
        let callers: Vec<_> = (0..8).map(|_| ask()).collect();
        for caller in callers {
            caller.await.unwrap().unwrap();
        }
        assert_eq!(stage.script.sent.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn law_10_code_16_does_not_lead_to_a_foreign_host() {
    let stage = Stage::open(vec![lives_at("https://evil.example")]);
    stage.keeper.obtain(&nothing()).await.unwrap_err();
    assert_eq!(stage.script.connected.lock().unwrap().as_slice(), [GLZ]);
}

#[tokio::test]
async fn law_2_fifty_callers_share_one_flight() {
    let stage = Stage::gated(vec![issued(1, EU2)]);
    let keeper = Arc::new(stage.keeper);
    let ask = || {
        let keeper = Arc::clone(&keeper);
        tokio::spawn(async move { keeper.obtain(&nothing()).await })
    };
    let callers: Vec<_> = (0..50).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    stage.script.gate.add_permits(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().access_token.expose(), "access-1");
    }
    assert_eq!(stage.script.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn law_2_callers_leave_and_the_flight_goes_on() {
    let stage = Stage::gated(vec![issued(1, EU2)]);
    let left = tokio::time::timeout(Duration::ZERO, stage.keeper.obtain(&nothing())).await;
    assert!(left.is_err(), "the caller's patience is over");
    stage.script.gate.add_permits(1);
    stage.keeper.landed().await;
    let hand_out = stage.keeper.peek("default", MIN_TTL).unwrap().unwrap();
    assert_eq!(hand_out.access_token.expose(), "access-1");
}

#[tokio::test]
async fn law_2_a_keeper_that_is_dropped_lets_its_flight_land() {
    let Stage { keeper, script, dir } = Stage::gated(vec![issued(1, EU2)]);
    let _ = tokio::time::timeout(Duration::ZERO, keeper.obtain(&nothing())).await;
    drop(keeper);
    script.gate.add_permits(1);
    // Another keeper waits for the claim that the flight holds, looks again, and finds its tokens (law 3).
    let hand_out = stage::keeper(dir.path(), &script).obtain(&nothing()).await.unwrap();
    assert_eq!(hand_out.access_token.expose(), "access-1");
    assert_eq!(script.sent.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn law_7_a_lost_answer_is_asked_for_again_where_that_is_harmless() {
    let stage = Stage::open(vec![issued(1, EU2), Err(NoAnswer::Reset("cut".into())), issued(3, EU2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    stage.keeper.refresh("default").await.unwrap_err();
    let after = stage.on_disk();
    assert_eq!(after["refresh_token"], "refresh-1");
    assert_eq!(after["perennial"]["condition"]["state"], "uncertain");
    assert!(!after["perennial"]["intent"].is_null(), "the intent stays open");
    let hand_out = stage.keeper.refresh("default").await.unwrap();
    assert_eq!(hand_out.access_token.expose(), "access-3");
}

#[tokio::test]
async fn the_request_token_is_not_used_a_sixth_time() {
    let stage = Stage::open((0..5).map(|_| Ok((503, json!({"message": "down"})))).collect());
    for _ in 0..5 {
        assert!(matches!(stage.keeper.obtain(&nothing()).await, Err(Error::Failed { .. })));
    }
    let sixth = stage.keeper.obtain(&nothing()).await;
    assert!(matches!(sixth, Err(Error::RequestTokenUsedUp { uses: 5 })), "{sixth:?}");
    assert_eq!(stage.sent().len(), 5);
}

#[test]
fn law_5_who_hears_of_a_landing_is_the_last_to_hold_the_store() {
    // A command ends when it has its token, and its process with it: what the store does when it is let go, such as
    // its backup, has to be done by then.
    let is_let_go = || {
        let stage = Stage::open(vec![issued(1, EU2)]);
        let store = Arc::new(SapSample::open(stage.dir.path()).unwrap());
        let (endpoint, clock) = (Arc::new(stage.script.clone()), Arc::new(TestClock::default()));
        let held = Arc::downgrade(&store);
        let parts = Parts { store, endpoint, clock, seed: None, threads: None };
        let keeper = Keeper::with_parts(parts, Options::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(keeper.obtain(&nothing())).unwrap();
        drop(keeper);
        assert_eq!(held.strong_count(), 0);
    };
    std::thread::scope(|scope| {
        // More threads than there are processors: each is stopped at any point.
        (0..16).for_each(|_| drop(scope.spawn(|| (0..100).for_each(|_| is_let_go()))));
    });
}
