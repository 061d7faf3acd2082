//! `axum-floor ADDRESS BODY`: answers every request for a token with the bytes in the file BODY, out of memory, with the
//! headers of a hand-out. ADDRESS is `HOST:PORT` or the path of a unix socket.
//!
//! Nobody is asked who they are, no name is looked up, nothing is counted: a server of axum's that hands out tokens cannot
//! do less. One thread does everything.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use std::env;
use std::error::Error;
use std::fs;
use tokio::net::{TcpListener, UnixListener};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, body] = arguments.as_slice() else {
        return Err("usage: axum-floor ADDRESS BODY".into());
    };
    let body = Bytes::from(fs::read(body)?);
    let hand_out = move || {
        let body = body.clone();
        async move { answer(body) }
    };
    let router = Router::new().route("/v1/connections/{name}/token", get(hand_out));
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
