//! Who is let in, and who is not.

use crate::support::{House, ask_tcp, ask_with, until};
use perennial_daemon::config::Right;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_what_it_says_and_no_more() {
    let house = House::new();
    house.obtain("acme").await;
    house.obtain("west").await;
    let key = house.key("billing", &[Right::Token], "ac*");
    let daemon = house.serve(&[]);
    let status = async |method, path| ask_with(&daemon, &key, method, path, "").await.status;
    assert_eq!(status("GET", "/v1/connections/acme/token").await, 200);
    assert_eq!(status("GET", "/v1/connections/west/token").await, 404, "it is as if it were not there");
    assert_eq!(status("GET", "/v1/connections/west").await, 404);
    assert_eq!(status("POST", "/v1/connections/acme/refresh").await, 403);
    assert_eq!(status("DELETE", "/v1/connections/acme").await, 403);
    let listed = ask_with(&daemon, &key, "GET", "/v1/connections", "").await.json();
    assert_eq!(listed["connections"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_key_nobody_is_let_in_over_tcp() {
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "*");
    let daemon = house.serve(&["access.failures_per_minute=1000"]);
    let path = "/v1/connections/acme/token";
    let nobody = ask_tcp(&daemon, "GET", path, &[], "").await;
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer realm=\"perennial\"")));
    let mut forged = key.clone();
    forged.replace_range(key.len() - 1.., if key.ends_with('A') { "B" } else { "A" });
    for wrong in [forged.as_str(), "", "perennial_000000000000_x", "Basic"] {
        assert_eq!(ask_with(&daemon, wrong, "GET", path, "").await.status, 401, "{wrong}");
    }
    assert_eq!(ask_with(&daemon, &key, "GET", path, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_opens_nothing_any_more_on_an_open_connection_either() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "*");
    let daemon = house.serve(&[]);
    let mut stream = tokio::net::TcpStream::connect(daemon.addresses()[0]).await.unwrap();
    let request = format!(
        "GET /v1/connections/acme/token HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    let mut status = async || {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 8192];
        let length = stream.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(&buffer[9..length.min(12)]).into_owned()
    };
    assert_eq!(status().await, "200");
    house.clients.revoke("billing", perennial::core::UnixTime(1)).unwrap();
    until("the key is refused", async || (status().await == "401").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_too_often_is_turned_away() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["access.failures_per_minute=3"]);
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(ask_with(&daemon, "wrong", "GET", "/v1/connections/acme/token", "").await.status);
    }
    // A minute may have ended in between; then there are three more.
    assert!(statuses.contains(&429) && statuses[0] == 401, "{statuses:?}");
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 200, "the socket is another matter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_reaches_nothing() {
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "*");
    let daemon = house.serve(&[]);
    let bearer = format!("Bearer {key}");
    let status = async |extra: (&str, &str)| {
        let headers = [("authorization", bearer.as_str()), extra];
        ask_tcp(&daemon, "GET", "/v1/connections/acme/token", &headers, "").await.status
    };
    assert_eq!(status(("host", "evil.example.com")).await, 421);
    assert_eq!(status(("origin", "https://evil.example.com")).await, 403);
    assert_eq!(status(("host", "localhost")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_not_named_is_refused_at_the_socket() {
    let house = House::new();
    house.obtain("acme").await;
    let config = "[[access.peer]]\nuser = \"4000000\"\nmay = [\"token\"]\n";
    let config = perennial_daemon::Config::parse(config, &[]).unwrap();
    let daemon = house.serve_with(config.clone());
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 403);
    // A reload lets this user in, on the very same daemon.
    let own = rustix::process::geteuid().as_raw();
    let text = format!("[[access.peer]]\nuser = \"{own}\"\nmay = [\"token\"]\nallow = [\"acme\"]\n");
    daemon.reload(perennial_daemon::Config::parse(&text, &[]).unwrap()).unwrap();
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 200);
    assert_eq!(house.ask("POST", "/v1/connections/acme/refresh", "").await.status, 403);
    assert_eq!(house.get("/v1/connections").await.json()["next"], json!(null));
}
