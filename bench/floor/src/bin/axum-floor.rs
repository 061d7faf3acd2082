//! `axum-floor ADDRESS BODY [threads]`: answers every request for a token with the bytes in the file BODY, out of memory, with the
//! headers of a hand-out. ADDRESS is `HOST:PORT` or the path of a unix socket.
//!
//! Nobody is asked who they are, no name is looked up, nothing is counted: a server of axum's that hands out tokens cannot
//! do less. One thread does everything; with `threads`, one worker of the runtime for several threads does, which is what a
//! program gets from `#[tokio::main]` on one processor.

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
use tokio::runtime::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (mut builder, address, body) = match arguments.as_slice() {
        [address, body] => (Builder::new_current_thread(), address, body),
        [address, body, word] if word == "threads" => (Builder::new_multi_thread(), address, body),
        _ => return Err("usage: axum-floor ADDRESS BODY [threads]".into()),
    };
    let runtime = builder.worker_threads(1).enable_all().build()?;
    runtime.block_on(serve(address, Bytes::from(fs::read(body)?)))
}

async fn serve(address: &str, body: Bytes) -> Result<(), Box<dyn Error>> {
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
