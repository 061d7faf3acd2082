//! The store goes away, and comes back.

use crate::support::{House, until};
use std::fs;

const TOKEN: &str = "/v1/connections/acme/token";

#[tokio::test(flavor = "multi_thread")]
async fn law_9_without_a_store_what_lives_is_handed_out_and_nothing_is_spent() {
    let house = House::new();
    house.obtain("acme").await;
    house.obtain("west").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let before = house.get(TOKEN).await.access_token();
    let sent = house.sandbox.stats().requests;
    let (here, away) = (house.dir.path().join("store"), house.dir.path().join("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    // A database in whose place something else lies: nobody can read it.
    fs::write(here.join("perennial.db"), "nothing").unwrap();
    until("it says that it is not ready", async || (house.get("/ready").await.status == 503).then_some(()))
        .await;
    for _ in 0..5 {
        assert_eq!(house.get(TOKEN).await.access_token(), before, "law 9");
    }
    assert_eq!(house.get("/v1/connections/west/token").await.status, 503, "this one was not in use");
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 503);
    assert_eq!(
        house.sandbox.stats().requests,
        sent,
        "a store that cannot be written spends no token (law 4)"
    );

    fs::remove_dir_all(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    until("it is ready again", async || (house.get("/ready").await.status == 200).then_some(())).await;
    assert_eq!(house.get("/v1/connections/west/token").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_does_is_seen_soon() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let before = house.get(TOKEN).await.access_token();
    let sibling = house.sibling();
    sibling.refresh("acme").await.unwrap();
    until("the sibling's token is handed out", async || {
        (house.get(TOKEN).await.access_token() != before).then_some(())
    })
    .await;
    sibling.remove("acme").unwrap();
    until("what was put away is handed out no more", async || {
        (house.get(TOKEN).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_taken_over_in_the_middle_of_a_flight() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    house.sandbox.inject(serde_json::json!([{"kind": "delay", "milliseconds": 1500}])).unwrap();
    let (refreshed, ()) = tokio::join!(house.ask("POST", "/v1/connections/acme/refresh", ""), async {
        until("the request has gone out", async || {
            let connection = house.keeper.connection("acme").unwrap();
            connection.intent.is_some().then_some(())
        })
        .await;
        let config = perennial_daemon::Config::parse("[limits]\nbody = \"1KiB\"\n", &[]).unwrap();
        daemon.reload(config).unwrap();
    });
    assert_eq!((refreshed.status, refreshed.json()["generation"].as_u64()), (200, Some(2)), "{refreshed:?}");
    let long = format!("{{\"connections\": [\"{}\"]}}", "x".repeat(2000));
    assert_eq!(house.ask("POST", "/v1/tokens", &long).await.status, 413, "the new limit is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_sees_down_what_is_under_way() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    house.sandbox.inject(serde_json::json!([{"kind": "delay", "milliseconds": 1500}])).unwrap();
    let (refreshed, in_time) = tokio::join!(house.ask("POST", "/v1/connections/acme/refresh", ""), async {
        until("the request has gone out", async || {
            house.keeper.connection("acme").unwrap().intent.is_some().then_some(())
        })
        .await;
        daemon.drain().await
    });
    assert!(in_time);
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert!(!house.socket().exists());
    assert!(house.keeper.connection("acme").unwrap().intent.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_kept_alive_also_where_nobody_can_be_told_of_trouble() {
    let house = House::new();
    house.obtain("acme").await;
    fs::write(house.dir.path().join("alerts"), "a file in the way").unwrap();
    let told = "[[alerts.to]]\nkind = \"command\"\ncommand = [\"true\"]\n";
    let daemon = house.serve_with(perennial_daemon::Config::parse(told, &[]).unwrap());
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 200);
    let stays = daemon.reload(perennial_daemon::Config::parse(told, &[]).unwrap()).unwrap();
    assert_eq!(stays, ["alerts"], "a reload says that this needs a restart");
}

/// Else whoever may ask for anything at all could have a daemon taken out of use.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_what_is_not_there_says_nothing_of_the_store() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&[]);
    until("it is ready", async || (house.get("/ready").await.status == 200).then_some(())).await;
    let rejected = "{\"access_token\": \"x\"}";
    for (method, path, body) in [
        ("GET", "/v1/connections/nobody/token", ""),
        ("POST", "/v1/connections/nobody/refresh", ""),
        ("POST", "/v1/connections/nobody/rejected", rejected),
        ("GET", "/v1/connections/nobody/proxy/x", ""),
    ] {
        assert_eq!(house.ask(method, path, body).await.status, 404, "{method} {path}");
        let ready = house.get("/ready").await;
        assert_eq!(ready.status, 200, "{method} {path}: {ready:?}");
    }
}
