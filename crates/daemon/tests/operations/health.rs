//! Alive and ready: two questions that differ. What lies outside makes a daemon not ready, never dead.

use crate::support::{House, until};
use serde_json::json;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_well_is_live_and_ready() {
    let house = House::new();
    let daemon = house.serve(&[]);
    let live = house.get("/live").await;
    assert_eq!((live.status, live.json()), (200, json!({"live": true, "reasons": []})));
    let ready = until("it has looked at its store", async || {
        let ready = house.get("/ready").await;
        (ready.status == 200).then_some(ready)
    })
    .await;
    let well = json!({
        "ready": true, "store": true, "writable": true, "keeps_alive": true, "draining": false, "reasons": [],
    });
    assert_eq!(ready.json(), well);
    assert!(daemon.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_it_is_alive_and_not_ready_until_the_store_is_back() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&[]);
    let (here, away) = (house.dir.path().join("store"), house.dir.path().join("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    fs::write(here.join("perennial.db"), "nothing").unwrap();
    let not_ready = until("it is not ready", async || {
        let ready = house.get("/ready").await;
        (ready.json()["store"] == false).then_some(ready)
    })
    .await;
    assert_eq!(not_ready.status, 503);
    let reasons = not_ready.json()["reasons"].to_string();
    assert!(reasons.contains("the store cannot be read"), "{reasons}");
    assert_eq!(house.get("/live").await.status, 200, "a restart would not help");
    assert!(daemon.is_well());

    fs::remove_dir_all(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    until("it is ready again", async || (house.get("/ready").await.status == 200).then_some(())).await;
}

/// A refresh that the store refuses is not sent (law 4), and says that there is no writing; a daemon that keeps grants
/// alive is of no use then. It finds out by itself when that has passed, though nothing is due.
#[tokio::test(flavor = "multi_thread")]
async fn law_4_with_a_store_that_takes_no_writes_it_is_not_ready_until_it_does() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&[]);
    until("it is ready", async || (house.get("/ready").await.status == 200).then_some(())).await;
    let (here, away) = (house.dir.path().join("store"), house.dir.path().join("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    fs::write(here.join("perennial.db"), "nothing").unwrap();
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 503);
    let told = house.get("/ready").await.json();
    assert_eq!(told["writable"], false, "{told}");
    assert!(told["reasons"].to_string().contains("takes no writes"), "{told}");

    fs::remove_dir_all(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    until("it takes writes again", async || {
        let ready = house.get("/ready").await;
        (ready.status == 200 && ready.json()["writable"] == true).then_some(())
    })
    .await;
    let journal = house.keeper.store().journal(Some("acme"), None, 10).unwrap();
    let last = format!("{:?}", journal.last().unwrap().entry.event);
    assert!(last.contains("takes writes again"), "{last}");
}
