//! What a cached hand-out allocates, counted, beside a bare server of axum's that answers the same bytes and asks nobody
//! who they are.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop, and tells what it has counted"
)]

#[path = "../support/mod.rs"]
mod support;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use perennial_daemon::config::Right;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use support::House;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many that what happens once a second, and elsewhere in the process, is lost in them.
const REQUESTS: usize = 5_000;

/// hyper's timer for the next head, and the two halves of a map of headers.
const AT_MOST: f64 = 3.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_out_allocates_no_more_than_a_bare_server() {
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "acme*");
    let daemon = house.serve(&[]);
    let address = daemon.addresses()[0];
    let path = "/v1/connections/acme/token";
    let shown = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n");

    let over_tcp = counted(TcpStream::connect(address).await.unwrap(), &shown).await;
    let plain = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let over_unix = counted(UnixStream::connect(house.socket()).await.unwrap(), &plain).await;
    let floor = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let floor_address = floor.local_addr().unwrap();
    let body = Bytes::from(house.get(path).await.body);
    tokio::spawn(async move { axum::serve(floor, bare(body)).await });
    let bare = counted(TcpStream::connect(floor_address).await.unwrap(), &shown).await;

    println!(
        "allocations for each hand-out: TCP {over_tcp:.2}, unix socket {over_unix:.2}, bare axum {bare:.2}"
    );
    for (over, counted) in [("TCP", over_tcp), ("the unix socket", over_unix)] {
        assert!(counted < AT_MOST + 0.5, "{counted} over {over}");
        assert!(counted < bare, "{counted} over {over}, {bare} by axum alone");
    }
    assert!(daemon.drain().await);
}

fn bare(body: Bytes) -> Router {
    let headers = || {
        [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (ETAG, HeaderValue::from_static("\"1-0123456789abcdef\"")),
        ]
    };
    let hand_out = move || {
        let body = body.clone();
        async move { (headers(), Body::from(body)).into_response() }
    };
    Router::new().route("/v1/connections/{name}/token", get(hand_out))
}

/// Allocations for each of many requests on one socket; this end of it makes none.
async fn counted<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> f64 {
    let mut room = vec![0; 16 * 1024];
    // The first answer may come out of the store, with other headers than those out of memory.
    ask(&mut stream, request, &mut room, None).await;
    let length = ask(&mut stream, request, &mut room, None).await;
    for _ in 0..100 {
        ask(&mut stream, request, &mut room, Some(length)).await;
    }
    let region = Region::new(COUNTED);
    for _ in 0..REQUESTS {
        ask(&mut stream, request, &mut room, Some(length)).await;
    }
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / REQUESTS as f64
}

/// Asks once, and returns how long the answer was. The first ones are read to where they seem to end; all others are as
/// long, for only the seconds that are left change, and not the number of their digits.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &str,
    room: &mut [u8],
    length: Option<usize>,
) -> usize {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut filled = 0;
    loop {
        let read = stream.read(&mut room[filled..]).await.unwrap();
        assert!(read > 0, "the server hung up");
        filled += read;
        let ended = match length {
            Some(length) => filled >= length,
            None => room[..filled].ends_with(b"}"),
        };
        if ended {
            assert!(room.starts_with(b"HTTP/1.1 200 OK\r\n"));
            return filled;
        }
    }
}
