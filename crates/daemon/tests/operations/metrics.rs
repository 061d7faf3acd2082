//! The numbers: well formed, right, and silent about who and what (law 10).

use crate::open_metrics::{Read, read};
use crate::support::{House, ask_tcp, ask_with, until};
use perennial_daemon::config::Right;

async fn numbers(house: &House) -> Read {
    let page = house.get("/metrics").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(
        page.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    read(&page.body).unwrap_or_else(|wrong| panic!("{wrong}\n{}", page.body))
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_as_requests_come_in() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    let before = numbers(&house).await;
    for _ in 0..3 {
        assert_eq!(house.get("/v1/connections/acme/token").await.status, 200);
    }
    assert_eq!(house.get("/v1/connections/nobody/token").await.status, 404);
    assert_eq!(ask_tcp(&daemon, "GET", "/v1/connections/acme/token", &[], "").await.status, 401);
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 200);
    let after = numbers(&house).await;
    for (series, more) in [
        ("perennial_hand_outs_total{freshness=\"fetched\"}", 1.0),
        ("perennial_hand_outs_total{freshness=\"fresh\"}", 2.0),
        ("perennial_hand_outs_total{freshness=\"refused\"}", 1.0),
        ("perennial_hand_outs_total{freshness=\"in_need\"}", 0.0),
        // Three tokens, one refresh, and the page of numbers itself.
        ("perennial_requests_total{class=\"2xx\"}", 5.0),
        ("perennial_requests_total{class=\"4xx\"}", 2.0),
        ("perennial_requests_total{class=\"5xx\"}", 0.0),
        ("perennial_strangers_total", 1.0),
        ("perennial_refreshes_total{outcome=\"ok\"}", 1.0),
        ("perennial_flights_begun_total{cause=\"asked\"}", 1.0),
        ("perennial_sockets_turned_away_total", 0.0),
        ("perennial_store_operation_seconds_count{operation=\"commit\"}", 1.0),
    ] {
        assert_eq!(after.get(series) - before.get(series), more, "{series}");
    }
    assert_eq!(after.get("perennial_resident_tokens"), 1.0);
    assert_eq!(after.get("perennial_flights_under_way"), 0.0);
    assert_eq!(after.get("perennial_store_writable"), 1.0);
    assert_eq!(after.get("perennial_live"), 1.0);
    assert_eq!(after.get("perennial_build_info{version=\"0.1.0\"}"), 1.0);
    let server = house.sandbox.base_uri().trim_end_matches('/');
    let closed = format!("perennial_server_breaker{{server=\"{server}\",state=\"closed\"}}");
    assert_eq!(after.get(&closed), 1.0);
    assert_eq!(after.get(&closed.replace("closed", "open")), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_and_when_refresh_tokens_end_is_told() {
    let house = House::new();
    house.obtain("acme").await;
    house.obtain("globex").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let told = until("it has looked around", async || {
        let told = numbers(&house).await;
        told.kinds.contains_key("perennial_refresh_token_left_seconds").then_some(told)
    })
    .await;
    assert_eq!(told.get("perennial_due"), 0.0);
    assert_eq!(told.get("perennial_agenda_lag_seconds"), 0.0);
    assert_eq!(told.get("perennial_refresh_token_left_seconds_count"), 2.0);
    assert_eq!(told.get("perennial_refresh_token_left_seconds_bucket{le=\"0.0\"}"), 0.0, "none has ended");
    let days = told.get("perennial_refresh_token_left_seconds_sum") / 2.0 / 86_400.0;
    assert!((150.0..200.0).contains(&days), "Concur's live for half a year: {days}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_does_not_come_about_is_seen_to_lag() {
    let house = House::new();
    house.obtain("acme").await;
    // Two months later, and nobody keeps it alive.
    house.clock.set_on(60 * 86_400);
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let told = until("it has looked around", async || {
        let told = numbers(&house).await;
        told.kinds.contains_key("perennial_agenda_lag_seconds").then_some(told)
    })
    .await;
    assert_eq!(told.get("perennial_due"), 1.0);
    assert!(told.get("perennial_agenda_lag_seconds") > 86_400.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_10_no_number_tells_who_or_what() {
    let house = House::new();
    house.obtain("canary-connection").await;
    let key = house.key("canary-client", &[Right::Token], "*");
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    let path = "/v1/connections/canary-connection/token";
    let token = ask_with(&daemon, &key, "GET", path, "").await.access_token();
    let refreshed = house.ask("POST", "/v1/connections/canary-connection/refresh", "").await;
    assert_eq!(refreshed.status, 200);
    let renewed = house.get(path).await.access_token();
    let page = ask_with(&daemon, &key, "GET", "/metrics", "").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("perennial_hand_outs_total"));
    let ready = house.sandbox.ready();
    for secret in [&token, &renewed, &key, &ready.client_secret, &ready.app_id, &ready.company_uuid] {
        assert!(!page.body.contains(secret.as_str()), "a secret or an id is in it");
    }
    assert!(!page.body.contains("canary"), "{}", page.body);
    assert_eq!(ask_tcp(&daemon, "GET", "/metrics", &[], "").await.status, 401, "nor to a stranger");
}

/// Whoever asks for numbers waits for no store.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_there_are_numbers_all_the_same() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let (here, away) = (house.dir.path().join("store"), house.dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join("perennial.db"), "nothing").unwrap();
    until("it knows", async || (numbers(&house).await.get("perennial_store_readable") == 0.0).then_some(()))
        .await;
}
