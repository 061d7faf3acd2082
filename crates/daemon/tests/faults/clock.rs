//! Law 11: somebody sets this machine's clock while the daemon runs.

use crate::support::{House, until};

const TOKEN: &str = "/v1/connections/acme/token";
const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn law_11_a_clock_that_is_set_back_by_a_day_makes_no_token_live_longer() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let before = house.get(TOKEN).await.json();
    house.clock.set_on(-DAY);
    let after = house.get(TOKEN).await.json();
    assert_eq!(after["access_token"], before["access_token"]);
    let left = |object: &serde_json::Value| object["expires_in"].as_i64().unwrap();
    assert!(
        (left(&before) - 60..=left(&before) + 5).contains(&left(&after)),
        "{} {}",
        left(&before),
        left(&after)
    );
    assert_eq!(house.sandbox.stats().refreshes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_11_a_clock_that_is_set_forward_by_a_day_costs_one_refresh_and_no_grant() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    house.get(TOKEN).await;
    house.clock.set_on(DAY);
    // The token looks spent: one refresh, whose answer measures this clock anew.
    let again = until("a token is handed out", async || {
        let reply = house.get(TOKEN).await;
        (reply.status == 200).then(|| reply.json())
    })
    .await;
    assert!(again["expires_in"].as_i64().unwrap() > 3_000, "{again}");
    for _ in 0..10 {
        assert_eq!(house.get(TOKEN).await.status, 200);
    }
    assert!(house.sandbox.stats().refreshes <= 2, "{:?}", house.sandbox.stats());
}
