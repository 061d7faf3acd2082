//! API calls through the daemon: what arrives, what comes back, and what never does.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

use perennial_daemon::Daemon;
use perennial_daemon::access::clients::NewClient;
use perennial_daemon::config::Right;
use serde_json::{Value, json};
use support::{House, Reply, ask_tcp, exchange, request, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

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
        ("TRACE", USERS, 501),
    ] {
        let reply = ask_tcp(&daemon, method, path, &[("authorization", &bearer)], "").await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    }
    assert_eq!(house.sandbox.stats().api_calls, before, "nothing of it went out");
    let reply = ask_tcp(&daemon, "GET", USERS, &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let upgrade = [("authorization", bearer.as_str()), ("upgrade", "websocket"), ("connection", "upgrade")];
    assert_eq!(ask_tcp(&daemon, "GET", USERS, &upgrade, "").await.status, 501);
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

/// An API that hears how a request's body comes, and answers piece by piece when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_and_who_hangs_up_is_noticed() {
    let (house, _daemon) = served(&[]).await;
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", api.local_addr().unwrap());
    let mut connection = house.keeper.connection("acme").unwrap();
    connection.name = "local".to_owned();
    connection.id = "id-local".to_owned();
    let origin = perennial::core::Origin::parse(&base).unwrap();
    connection.permitted.push(origin.clone());
    connection.held.as_mut().unwrap().base = origin;
    let app = house.keeper.store().app("acme").unwrap();
    house.keeper.add(&connection, &app, &[], "added").unwrap();

    let mut caller = UnixStream::connect(house.socket()).await.unwrap();
    let head =
        "POST /v1/connections/local/proxy/stream HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    caller.write_all(b"5\r\nfirst\r\n").await.unwrap();
    let (mut server, _) = api.accept().await.unwrap();
    hears(&mut server, "first").await;
    caller.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    hears(&mut server, "second").await;
    server.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
    hears(&mut caller, "one").await;
    server.write_all(b"3\r\ntwo\r\n").await.unwrap();
    hears(&mut caller, "two").await;
    drop(caller);
    until("the API hears that nobody listens any more", async || {
        let wrote = server.write_all(b"3\r\nxyz\r\n").await;
        wrote.is_err().then_some(())
    })
    .await;
}

async fn hears(stream: &mut (impl tokio::io::AsyncRead + Unpin), what: &str) {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(what) {
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "it ended without {what}: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
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
