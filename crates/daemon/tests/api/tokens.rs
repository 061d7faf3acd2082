//! Tokens, one and many.

use crate::support::{House, Reply, ask_with};
use perennial_daemon::config::Right;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn law_12_many_requests_for_a_valid_token_cost_no_refresh() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&[]);
    let first = house.get("/v1/connections/acme/token").await;
    assert_eq!(first.status, 200, "{first:?}");
    let object = first.json();
    assert_eq!((&object["token_type"], &object["connection"]), (&json!("Bearer"), &json!("acme")));
    assert_eq!(object["base_uri"], house.sandbox.base_uri());
    assert!((3_500..=3_600).contains(&object["expires_in"].as_i64().unwrap()), "{object}");
    for _ in 0..50 {
        let again = house.get("/v1/connections/acme/token?min_ttl=5m").await;
        assert_eq!(again.access_token(), first.access_token());
    }
    assert_eq!(house.sandbox.stats().refreshes, 0);
    assert_eq!(first.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_token_already_is_told_so_in_few_words() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&[]);
    let key = house.key("billing", &[Right::Token], "acme");
    let first = first_with(&daemon, &key).await;
    let etag = first.header("etag").unwrap();
    for path in ["/v1/connections/acme/token", "/v1/connections/acme/token?min_ttl=60s&wait=1s"] {
        let headers = [("authorization", format!("Bearer {key}")), ("if-none-match", etag.to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let again = crate::support::ask_tcp(&daemon, "GET", path, &headers, "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    let refreshed = house.ask("POST", "/v1/connections/acme/refresh", "").await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_ne!(first_with(&daemon, &key).await.header("etag"), Some(etag));
}

/// A key that was just made is known within a second.
async fn first_with(daemon: &perennial_daemon::Daemon, key: &str) -> Reply {
    crate::support::until("the key is known", async || {
        let reply = ask_with(daemon, key, "GET", "/v1/connections/acme/token", "").await;
        (reply.status == 200).then_some(reply)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tokens_come_at_once_each_with_its_own_answer() {
    let house = House::new();
    house.obtain("acme").await;
    house.obtain("west").await;
    let _daemon = house.serve(&[]);
    let body = json!({"connections": ["west", "nobody", "acme"], "min_ttl": "2m"}).to_string();
    let reply = house.ask("POST", "/v1/tokens", &body).await;
    let tokens = reply.json()["tokens"].clone();
    assert_eq!((&tokens[0]["connection"], &tokens[2]["connection"]), (&json!("west"), &json!("acme")));
    assert!(tokens[0]["access_token"].is_string() && tokens[2]["access_token"].is_string(), "{tokens}");
    assert_eq!((&tokens[1]["connection"], &tokens[1]["problem"]["status"]), (&json!("nobody"), &json!(404)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_a_problem_that_says_what_to_do() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["limits.body=1KiB"]);
    for (method, path, body, status) in [
        ("GET", "/v1/connections/nobody/token", String::new(), 404),
        ("GET", "/v1/connections/acme/token?min_ttl=soon", String::new(), 400),
        ("GET", "/v1/connections/a%2Fb/token", String::new(), 404),
        ("GET", "/v1/nothing", String::new(), 404),
        ("PATCH", "/v1/connections/acme/token", String::new(), 405),
        ("POST", "/v1/tokens", "{\"connections\": 7}".to_owned(), 400),
        ("POST", "/v1/tokens", "{\"connection\": []}".to_owned(), 400),
        ("POST", "/v1/tokens", "nothing".to_owned(), 400),
        ("POST", "/v1/tokens", format!("{{\"connections\": [\"{}\"]}}", "x".repeat(2000)), 413),
        ("POST", "/v1/tokens", json!({"connections": vec!["x"; 1001][..0], "min_ttl": "x"}).to_string(), 400),
    ] {
        let reply = house.ask(method, path, &body).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{method} {path}");
        let problem = reply.json();
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(reply.header("trace-id").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_server_is_told_with_verdict_code_and_correlation_id() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    house.sandbox.inject(json!([{"kind": "error", "code": 5, "count": 9}])).unwrap();
    let reply = house.ask("POST", "/v1/connections/acme/refresh", "").await;
    let problem = reply.json();
    assert!(reply.status >= 400, "{problem}");
    let shown = house.get("/v1/connections/acme").await.json();
    assert_eq!(shown["last_fault"]["code"], 5, "{shown}");
    assert!(shown["last_fault"]["correlation_id"].is_string(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_made_from_what_answers() {
    let house = House::new();
    let daemon = house.serve(&[]);
    let reply = crate::support::ask_tcp(&daemon, "GET", "/openapi.json", &[], "").await;
    let description = reply.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"), "{}", description["openapi"]);
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/v1/connections",
        "/v1/connections/{name}/token",
        "/v1/tokens",
        "/oauth2/token",
        "/metrics",
        "/v1/connections/{name}/proxy/{path}",
    ] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    for form in description["components"]["schemas"]["GrantGiven"]["oneOf"].as_array().unwrap() {
        assert_eq!(form["additionalProperties"], false, "what is not named is refused: {form}");
    }
    let operations =
        description["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let mut ids: Vec<_> = operations.filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each operation has a name of its own: {ids:?}");
    let same: Value = serde_json::from_str(&perennial_daemon::openapi()).unwrap();
    assert_eq!(same, description);
}
