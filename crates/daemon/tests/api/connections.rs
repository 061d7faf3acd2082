//! Connections over HTTP: add, list, show, refresh, suspend, reauthorize, remove.

use crate::support::{House, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lives_its_life_over_http() {
    let house = House::new();
    let ready = house.sandbox.ready();
    let _daemon = house.serve(&[]);
    let new = json!({
        "name": "acme", "client_id": ready.app_id, "client_secret": ready.client_secret,
        "company": ready.company_uuid, "company_request_token": house.sandbox.mint_request_token(),
    });
    let added = house.ask("POST", "/v1/connections", &new.to_string()).await;
    assert_eq!((added.status, &added.json()["state"]), (201, &json!("held")), "{added:?}");
    assert_eq!(house.ask("POST", "/v1/connections", &new.to_string()).await.status, 409);

    let shown = house.get("/v1/connections/acme").await.json();
    assert_eq!((&shown["generation"], &shown["profile"]), (&json!(1), &json!("concur")));
    let refreshed = house.ask("POST", "/v1/connections/acme/refresh", "").await.json();
    assert_eq!(refreshed["generation"], 2);

    let suspended = house.ask("POST", "/v1/connections/acme/suspend", "").await.json();
    assert_eq!(suspended["state"], "suspended");
    let before = house.sandbox.stats().refreshes;
    let unwilling = house.get("/v1/connections/acme/token?min_ttl=2h").await;
    assert_eq!(unwilling.status, 200, "law 9: what lives is handed out: {unwilling:?}");
    assert_eq!(house.sandbox.stats().refreshes, before, "and nothing is refreshed");
    assert_eq!(house.ask("POST", "/v1/connections/acme/resume", "").await.json()["state"], "held");

    let anew = json!({"company_request_token": house.sandbox.mint_request_token()}).to_string();
    let reauthorized = house.ask("POST", "/v1/connections/acme/reauthorize", &anew).await;
    assert_eq!(reauthorized.status, 200, "{reauthorized:?}");

    assert_eq!(house.ask("DELETE", "/v1/connections/acme", "").await.status, 204);
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 404, "not from memory either");
    house.keeper.restore("acme").unwrap();
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_10_no_answer_but_a_token_holds_a_secret() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&[]);
    for path in ["/v1/connections", "/v1/connections/acme", "/ready", "/openapi.json"] {
        let reply = house.get(path).await;
        for secret in house.sandbox.secrets() {
            assert!(!reply.body.contains(&secret) && !reply.head.contains(&secret), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_listed_page_by_page_and_by_what_they_are() {
    let house = House::new();
    for name in ["a1", "a2", "a3", "b1", "b2"] {
        house.obtain(name).await;
    }
    let _daemon = house.serve(&[]);
    let (mut names, mut path) = (Vec::new(), "/v1/connections?limit=2".to_owned());
    loop {
        let page = house.get(&path).await.json();
        let some = page["connections"].as_array().unwrap();
        assert!(some.len() <= 2);
        names.extend(some.iter().map(|shown| shown["connection"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/connections?limit=2&after={next}");
    }
    assert_eq!(names, ["a1", "a2", "a3", "b1", "b2"]);

    house.ask("POST", "/v1/connections/b1/suspend", "").await;
    let count = async |query: &str| {
        let page = house.get(&format!("/v1/connections?{query}")).await.json();
        page["connections"].as_array().unwrap().len()
    };
    assert_eq!(count("state=suspended").await, 1);
    assert_eq!(count("state=held").await, 4);
    assert_eq!(count("dies_within=1h").await, 0);
    assert_eq!(count("dies_within=9000h").await, 5);
    assert_eq!(house.get("/v1/connections?limit=0").await.status, 400);
}

/// All connections of an app share its secret: what is wrong for one must not become wrong for the others.
#[tokio::test(flavor = "multi_thread")]
async fn law_5_a_wrong_client_secret_harms_no_other_connection_of_the_app() {
    let house = House::new();
    house.obtain("acme").await;
    let ready = house.sandbox.ready();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let new = json!({
        "name": "west", "client_id": ready.app_id, "client_secret": "wrong",
        "company": ready.company_uuid, "company_request_token": house.sandbox.mint_request_token(),
    });
    let refused = house.ask("POST", "/v1/connections", &new.to_string()).await;
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (409, &json!("/problems/other-secret")),
        "{refused:?}"
    );
    assert_eq!(house.get("/v1/connections/west").await.status, 404, "nothing of it is kept");
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 200);

    let anew = json!({"company_request_token": house.sandbox.mint_request_token(), "client_secret": "wrong"});
    let refused = house.ask("POST", "/v1/connections/acme/reauthorize", &anew.to_string()).await;
    assert_eq!((refused.status, &refused.json()["verdict"]), (409, &json!(null)), "{refused:?}");
    assert_eq!(house.keeper.store().app("acme").unwrap().client.secret.expose(), ready.client_secret);
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_client_secret_is_put_back_also_when_the_caller_has_hung_up() {
    use tokio::io::AsyncWriteExt as _;
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    let right = house.sandbox.ready().client_secret.clone();
    house.sandbox.inject(json!([{"kind": "delay", "milliseconds": 1000}])).unwrap();
    let anew = json!({"company_request_token": house.sandbox.mint_request_token(), "client_secret": "wrong"});
    let request = crate::support::request(
        "POST",
        "/v1/connections/acme/reauthorize",
        &[("host", "localhost")],
        &anew.to_string(),
    );
    let mut caller = tokio::net::UnixStream::connect(house.socket()).await.unwrap();
    caller.write_all(request.as_bytes()).await.unwrap();
    let secret = || house.keeper.store().app("acme").unwrap().client.secret.expose().to_owned();
    until("the wrong one is tried", async || (secret() == "wrong").then_some(())).await;
    drop(caller);
    assert!(daemon.drain().await, "a daemon that ends waits for it");
    assert_eq!(secret(), right);
}
