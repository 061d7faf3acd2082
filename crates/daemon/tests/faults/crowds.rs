//! Many at once, slow ones, and those who hang up.

use crate::support::{House, exchange, request, until};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

const TOKEN: &str = "/v1/connections/acme/token";

/// An access token that no request for a token is content with.
fn short_lived() -> perennial_sandbox::Config {
    perennial_sandbox::Config {
        access_lifetime: Duration::from_secs(5),
        ..perennial_sandbox::Config::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_ten_thousand_requests_for_one_expired_token_are_one_refresh() {
    let house = House::with(short_lived());
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    house.sandbox.inject(serde_json::json!([{"kind": "delay", "milliseconds": 3000}])).unwrap();
    // Ten to a socket: the system's backlog is not what is tried here.
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let socket = house.socket();
        callers.spawn(async move {
            let mut stream = UnixStream::connect(socket).await.unwrap();
            let one = format!("GET {TOKEN}?min_ttl=4s HTTP/1.1\r\nhost: x\r\n\r\n");
            let last = request("GET", &format!("{TOKEN}?min_ttl=4s"), &[("host", "x")], "");
            stream.write_all((one.repeat(9) + &last).as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text.matches("HTTP/1.1 200 OK").count()
        });
    }
    // The token is too short-lived for who comes first: a refresh is under way by now, or will be.
    let answered: usize = callers.join_all().await.into_iter().sum();
    assert_eq!(answered, 10_000);
    let stats = house.sandbox.stats();
    assert_eq!(stats.most_in_flight, 1, "{stats:?}");
    // The answers of a refresh live five seconds: a slow machine may need the next one before the last caller came.
    assert!(stats.refreshes <= 4, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_idle_sockets_are_in_nobodys_way() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&[]);
    let mut idle = Vec::new();
    while idle.len() < 5_000 {
        match UnixStream::connect(house.socket()).await {
            Ok(stream) => idle.push(stream),
            // Both ends of each are this process's: its file descriptors may be fewer.
            Err(error) => {
                assert!(idle.len() > 300, "{error}");
                break;
            }
        }
    }
    // Whoever has none left at the other end either is not what is tried here.
    idle.truncate(idle.len().saturating_sub(64));
    let reply = house.get(TOKEN).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_sockets_than_there_may_be_are_closed_and_the_others_served() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["limits.sockets=3"]);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(UnixStream::connect(house.socket()).await.unwrap());
    }
    let mut turned_away = TcpStream::connect(daemon.addresses()[0]).await.unwrap();
    let mut bytes = Vec::new();
    assert_eq!(turned_away.read_to_end(&mut bytes).await.unwrap_or(0), 0, "closed without a word");
    let first = held.remove(0);
    let reply = exchange(first, &request("GET", TOKEN, &[("host", "x")], "")).await;
    assert_eq!(reply.status, 200);
    until("there is room again", async || {
        let stream = UnixStream::connect(house.socket()).await.ok()?;
        let mut stream = stream;
        stream.write_all(request("GET", TOKEN, &[("host", "x")], "").as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        text.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go() {
    let house = House::new();
    house.obtain("acme").await;
    let daemon = house.serve(&["limits.idle=1s", "limits.slow_client=1s"]);
    let mut slow = TcpStream::connect(daemon.addresses()[0]).await.unwrap();
    slow.write_all(b"GET /live HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.unwrap();
    assert!(!bytes.starts_with(b"HTTP/1.1 20"), "the head never came");

    let mut slow = UnixStream::connect(house.socket()).await.unwrap();
    slow.write_all(b"POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{").await.unwrap();
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_does_not_end_the_refresh_that_was_begun() {
    let house = House::with(short_lived());
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    house.sandbox.inject(serde_json::json!([{"kind": "delay", "milliseconds": 1500}])).unwrap();
    let mut callers = Vec::new();
    for _ in 0..20 {
        let mut stream = UnixStream::connect(house.socket()).await.unwrap();
        let asked = request("GET", &format!("{TOKEN}?min_ttl=60s"), &[("host", "x")], "");
        stream.write_all(asked.as_bytes()).await.unwrap();
        callers.push(stream);
    }
    until("it is begun", async || house.keeper.connection("acme").unwrap().intent.map(drop)).await;
    drop(callers);
    until("it has landed", async || {
        (house.keeper.connection("acme").unwrap().held.unwrap().generation >= 2).then_some(())
    })
    .await;
}
