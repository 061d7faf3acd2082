//! `axum-floor ADDRESS BODY [NAMES]`: answers every request for a token with the bytes in the file BODY, out of memory, with
//! the headers of a hand-out. With NAMES, a file with a name on each line, each of these has a copy of them to itself, as
//! each connection has a token of its own: what differs from the other is what it takes to get at memory. ADDRESS is `HOST:PORT` or the path of a unix socket.
//!
//! Nobody is asked who they are, nothing is counted: a server of axum's that hands out tokens cannot do less. One thread
//! does everything.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::fs;
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, body, names) = match arguments.as_slice() {
        [address, body] => (address, body, None),
        [address, body, names] => (address, body, Some(names)),
        _ => return Err("usage: axum-floor ADDRESS BODY [NAMES]".into()),
    };
    let body = fs::read(body)?;
    let path = "/v1/connections/{name}/token";
    let router = if let Some(names) = names {
        let names = fs::read_to_string(names)?;
        let of_each = names.lines().map(|name| (name.to_owned(), Bytes::from(body.clone())));
        let of_each: Arc<HashMap<String, Bytes>> = Arc::new(of_each.collect());
        let hand_out = move |uri: Uri| {
            let name = uri.path().split('/').nth(3).unwrap_or_default();
            let found = of_each.get(name).cloned().map(answer).ok_or(StatusCode::NOT_FOUND);
            async move { found }
        };
        Router::new().route(path, get(hand_out))
    } else {
        let body = Bytes::from(body);
        let hand_out = move || {
            let body = body.clone();
            async move { answer(body) }
        };
        Router::new().route(path, get(hand_out))
    };
    if address.contains('/') {
        axum::serve(UnixListener::bind(address)?, router).await?;
    } else {
        let listener = TcpListener::bind(address).await?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await?;
    }
    Ok(())
}

fn answer(body: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ETAG, HeaderValue::from_static("\"1-0123456789ab\"")),
    ];
    (headers, Body::from(body)).into_response()
}
