//! The authorization server is slow, down, flapping or lying.

use crate::support::{House, until};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_hangs_is_in_nobody_elses_way() {
    let house = House::new();
    house.obtain("acme").await;
    house.obtain("west").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    house.get("/v1/connections/west/token").await;
    house.sandbox.inject(json!([{"kind": "hang", "seconds": 20}])).unwrap();
    let hanging = tokio::spawn({
        let keeper = std::sync::Arc::clone(&house.keeper);
        async move { keeper.refresh("acme").await }
    });
    until("it hangs", async || house.keeper.connection("acme").unwrap().intent.map(drop)).await;
    for _ in 0..200 {
        assert_eq!(house.get("/v1/connections/west/token").await.status, 200);
        assert_eq!(house.get("/v1/connections/acme/token").await.status, 200, "law 9");
    }
    assert!(!hanging.is_finished(), "and all the while it hung");
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn law_9_while_the_server_is_down_what_lives_is_handed_out() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    house.sandbox.inject(json!([{"kind": "status", "status": 503, "count": 1000}])).unwrap();
    for _ in 0..30 {
        let reply = house.get("/v1/connections/acme/token?min_ttl=2h").await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let sent = house.sandbox.stats().by_grant.get("refresh_token").copied().unwrap_or_default();
    assert!(sent <= 1, "law 12: it is not asked at each call: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_waits_as_long_as_it_says_and_no_longer() {
    let house = House::with(perennial_sandbox::Config {
        access_lifetime: Duration::from_secs(1),
        ..perennial_sandbox::Config::default()
    });
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    until("the token has ended", async || {
        house.keeper.peek("acme", Duration::ZERO).unwrap().is_none().then_some(())
    })
    .await;
    house.sandbox.inject(json!([{"kind": "delay", "milliseconds": 2000}])).unwrap();
    let reply = house.get("/v1/connections/acme/token?min_ttl=0s&wait=1s").await;
    assert_eq!((reply.status, reply.header("retry-after")), (504, Some("5")), "{reply:?}");
    until("the refresh has landed all the same", async || {
        (house.keeper.connection("acme").unwrap().held.unwrap().generation == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_13_an_answer_for_somebody_else_is_handed_out_to_nobody() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let before = house.get("/v1/connections/acme/token").await.access_token();
    house.sandbox.inject(json!([{"kind": "other_principal"}])).unwrap();
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 409);
    assert_eq!(house.get("/v1/connections/acme/token").await.access_token(), before);
}
