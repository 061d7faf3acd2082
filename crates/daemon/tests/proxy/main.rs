//! API calls through the daemon: what arrives, what comes back, and what never does.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod canary;
mod framing;
mod local;
mod passing;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use perennial_daemon::Daemon;
use perennial_daemon::access::clients::NewClient;
use perennial_daemon::config::Right;
use serde_json::{Value, json};
use support::{House, Reply, ask_tcp, exchange, request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const USERS: &str = "/v1/connections/acme/proxy/profile/identity/v4/Users";
const ECHO: &str = "/v1/connections/acme/proxy/sandbox/echo";

async fn served(settings: &[&str]) -> (House, Daemon) {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(settings);
    (house, daemon)
}

/// What the sandbox says it has received.
async fn echo(house: &House, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut all = vec![("host", "localhost")];
    all.extend(headers);
    let stream = UnixStream::connect(house.socket()).await.unwrap();
    exchange(stream, &request(method, path, &all, body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_arrives_with_the_bearer_and_the_caller_never_sees_it() {
    let (house, _daemon) = served(&[]).await;
    let reply = house.get(USERS).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let token = house.get("/v1/connections/acme/token").await.access_token();
    assert!(!reply.head.contains(&token) && !reply.body.contains(&token));
    assert!(reply.header("concur-correlationid").is_some());
    assert_eq!(house.sandbox.stats().refreshes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_10_what_is_said_to_the_daemon_does_not_reach_the_api() {
    let (house, _daemon) = served(&[]).await;
    let key = house.key("billing", &[Right::Proxy], "*");
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("cookie", "session=canary"),
        ("x-forwarded-for", "canary"),
        ("te", "canary"),
        ("keep-alive", "canary"),
        ("x-own", "kept"),
        ("concur-correlationid", "mine"),
    ];
    let reply = echo(&house, "POST", &format!("{ECHO}?a=b%2Fc"), &headers, "{\"x\": 1}").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(!reply.body.contains("canary") && !reply.body.contains(&key), "{}", reply.body);
    assert!(reply.body.contains("kept") && reply.body.contains("mine"), "{}", reply.body);
    assert!(reply.body.contains("a=b%2Fc"), "the query goes out as it came: {}", reply.body);
    assert_eq!(reply.header("concur-correlationid"), Some("mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_rejected_token_is_renewed_once_and_the_call_made_once_more() {
    let (house, _daemon) = served(&["proxy.replayable=1KiB"]).await;
    for status in [401, 403] {
        house.sandbox.inject(json!([{"kind": "status", "status": status, "on": "api"}])).unwrap();
        let refreshes = house.sandbox.stats().refreshes;
        let reply = echo(&house, "POST", ECHO, &[], "{\"x\": 1}").await;
        let stats = house.sandbox.stats();
        if refreshes == 0 {
            assert_eq!((reply.status, stats.refreshes), (200, 1), "{reply:?}");
        } else {
            // A second rejection within five minutes forces no refresh: what the API says is passed on, with the reason.
            assert_eq!((reply.status, stats.refreshes), (status, refreshes), "{reply:?}");
            assert!(reply.header("perennial-note").unwrap().starts_with("not sent again"), "{reply:?}");
        }
    }
    let large = "x".repeat(4_000);
    house.sandbox.inject(json!([{"kind": "status", "status": 401, "on": "api"}])).unwrap();
    let reply = echo(&house, "POST", ECHO, &[], &large).await;
    assert_eq!(
        (reply.status, reply.header("perennial-note")),
        (401, Some("not sent again: the body was not kept"))
    );
    let metrics = house.get("/metrics").await.body;
    for counted in [
        "perennial_forwarded_total{class=\"2xx\"} 1",
        "perennial_forwarded_total{class=\"4xx\"} 2",
        "perennial_rejected_total{sent_again=\"yes\"} 1",
        "perennial_rejected_total{sent_again=\"no\"} 2",
    ] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_forwards_what_it_may_and_nothing_else() {
    let (house, daemon) = served(&["access.failures_per_minute=1000"]).await;
    let client = NewClient {
        name: "reports".to_owned(),
        may: vec![Right::Proxy],
        allow: vec!["acme".parse().unwrap()],
        forward: vec!["GET /profile/*".parse().unwrap()],
        expires_at: None,
    };
    let key = house.clients.add(client, perennial::core::UnixTime(1)).unwrap().expose().to_owned();
    let bearer = format!("Bearer {key}");
    let before = house.sandbox.stats().api_calls;
    for (method, path, status) in [
        ("POST", USERS, 403),
        ("GET", ECHO, 403),
        ("GET", "/v1/connections/acme/proxy/profile/../sandbox/echo", 400),
        ("GET", "/v1/connections/acme/proxy/profile/%2e%2e/sandbox/echo", 400),
        ("GET", "/v1/connections/acme/proxy/profile/..%2fsandbox/echo", 400),
        ("GET", "/v1/connections/acme/proxy//evil.example.com/", 400),
        ("GET", "/v1/connections/west/proxy/profile/x", 404),
        ("GET", "/v1/connections/acme/token", 403),
        ("TRACE", USERS, 405),
    ] {
        let reply = ask_tcp(&daemon, method, path, &[("authorization", &bearer)], "").await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    }
    assert_eq!(house.sandbox.stats().api_calls, before, "nothing of it went out");
    let reply = ask_tcp(&daemon, "GET", USERS, &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let calls = house.sandbox.stats().api_calls;
    for name in ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override"] {
        let two = [("authorization", bearer.as_str()), (name, "DELETE")];
        assert_eq!(ask_tcp(&daemon, "GET", USERS, &two, "").await.status, 403, "{name}");
    }
    assert_eq!(house.sandbox.stats().api_calls, calls, "it says one method, and not two");
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_what_came_in_pieces_is_sent_again_where_it_was_little() {
    let (house, _daemon) = served(&["proxy.replayable=1KiB"]).await;
    for (length, status) in [(1_000, 200), (2_000, 401)] {
        house.sandbox.inject(json!([{"kind": "status", "status": 401, "on": "api"}])).unwrap();
        let piece = "x".repeat(length / 2);
        let head = format!("POST {ECHO} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let piece = format!("{:x}\r\n{piece}\r\n", piece.len());
        let request = format!("{head}transfer-encoding: chunked\r\n\r\n{piece}{piece}0\r\n\r\n");
        let reply = exchange(UnixStream::connect(house.socket()).await.unwrap(), &request).await;
        assert_eq!(reply.status, status, "{length}: {reply:?}");
        let note = (status == 401).then_some("not sent again: the body was not kept");
        assert_eq!(reply.header("perennial-note"), note);
        assert_eq!(reply.body.contains(&"x".repeat(length)), status == 200);
    }
    assert_eq!(house.sandbox.stats().refreshes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_call_that_is_rejected_twice_is_made_twice() {
    let (house, _daemon) = served(&[]).await;
    house.sandbox.inject(json!([{"kind": "status", "status": 403, "on": "api", "count": 2}])).unwrap();
    let calls = house.sandbox.stats().api_calls;
    let reply = house.get(USERS).await;
    let stats = house.sandbox.stats();
    assert_eq!((reply.status, stats.api_calls - calls, stats.refreshes), (403, 2, 1), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_hangs_does_not_hold_up_who_was_rejected() {
    let (house, _daemon) = served(&["limits.patience=1s"]).await;
    house.sandbox.inject(json!([{"kind": "status", "status": 401, "on": "api"}])).unwrap();
    house.sandbox.inject(json!([{"kind": "hang", "seconds": 20}])).unwrap();
    let reply = house.get(USERS).await;
    let note = reply.header("perennial-note");
    assert_eq!((reply.status, note), (401, Some("not sent again: no new token in time")), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_there_is_told_as_such() {
    let (house, _daemon) = served(&[]).await;
    let api = local::Api::open(&house).await;
    let address = api.listener.local_addr().unwrap();
    drop(api);
    let reply = house.get("/v1/connections/local/proxy/x").await;
    let problem = reply.json();
    assert_eq!((reply.status, problem["type"].as_str()), (502, Some("/problems/api-unreachable")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&address.to_string()) && detail.contains("refused"), "{detail}");
    assert_eq!(problem["next"], "it was not sent; ask again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_slow_cut_or_gone_is_told_as_what_it_is() {
    let (house, _daemon) = served(&["proxy.patience=1s"]).await;
    house.sandbox.inject(json!([{"kind": "hang", "seconds": 30, "on": "api"}])).unwrap();
    let reply = house.get(USERS).await;
    assert_eq!(
        (reply.status, reply.json()["type"].as_str()),
        (504, Some("/problems/api-silent")),
        "{reply:?}"
    );
    assert!(reply.json()["correlation_id"].is_string());
    house.sandbox.inject(json!([{"kind": "reset", "on": "api"}])).unwrap();
    let reply = house.get(USERS).await;
    assert_eq!((reply.status, reply.json()["type"].as_str()), (502, Some("/problems/api-cut")), "{reply:?}");
    // Its head promised more than came: the caller is not told that this was all.
    house.sandbox.inject(json!([{"kind": "cut_body", "on": "api"}])).unwrap();
    let mut stream = UnixStream::connect(house.socket()).await.unwrap();
    stream.write_all(request("GET", USERS, &[("host", "x")], "").as_bytes()).await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let is_whole = promised.map_or_else(|| text.ends_with("0\r\n\r\n"), |length| body.len() >= length);
    assert!(!is_whole, "{text:?}");
    assert_eq!(house.get(USERS).await.status, 200, "and the next one is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_connections_to_the_api() {
    let (house, _daemon) = served(&[]).await;
    assert_eq!(house.get(USERS).await.status, 200);
    let before = house.sandbox.stats().connections;
    for _ in 0..20 {
        assert_eq!(house.get(USERS).await.status, 200);
    }
    assert!(house.sandbox.stats().connections - before <= 1, "{before} {:?}", house.sandbox.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn law_10_a_token_goes_to_no_host_that_its_connection_does_not_permit() {
    let (house, _daemon) = served(&[]).await;
    let mut connection = house.keeper.connection("acme").unwrap();
    connection.name = "astray".to_owned();
    connection.id = "id-astray".to_owned();
    connection.held.as_mut().unwrap().base = perennial::core::Origin::parse("https://127.0.0.1:1").unwrap();
    let app = house.keeper.store().app("acme").unwrap();
    connection.permitted.clear();
    house.keeper.add(&connection, &app, &[], "added").unwrap();
    let reply = house.get("/v1/connections/astray/proxy/x").await;
    let problem: Value = reply.json();
    assert_eq!((reply.status, problem["type"].as_str()), (409, Some("/problems/person-needed")), "{problem}");
}
