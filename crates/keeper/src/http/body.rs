//! Reads the body of a token endpoint's answer: bounded in size and time, and with its content coding undone. Whatever
//! has come is given back, also when it ended early: there may be tokens in it (law 5).

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use perennial_core::token_endpoint::{BODY_LIMIT, BodyEnd};
use std::io::Read;
use std::time::Duration;
use zeroize::Zeroizing;

pub(super) async fn read(
    headers: &HeaderMap,
    mut incoming: Incoming,
    patience: Duration,
) -> (Zeroizing<Vec<u8>>, BodyEnd) {
    let mut body = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let collected = async {
        loop {
            match incoming.frame().await {
                None => return BodyEnd::Whole,
                Some(Err(_)) => return BodyEnd::Cut,
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = BODY_LIMIT - body.len();
                    body.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        return BodyEnd::TooLong;
                    }
                }
            }
        }
    };
    let end = tokio::time::timeout(patience, collected).await.unwrap_or(BodyEnd::Cut);
    decoded(headers, body, end)
}

/// No coding is asked for, yet some proxies apply one all the same.
fn decoded(headers: &HeaderMap, body: Zeroizing<Vec<u8>>, end: BodyEnd) -> (Zeroizing<Vec<u8>>, BodyEnd) {
    let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let mut plain = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let limit = BODY_LIMIT as u64 + 1;
    let read = match coding.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => MultiGzDecoder::new(body.as_slice()).take(limit).read_to_end(&mut plain),
        "deflate" => ZlibDecoder::new(body.as_slice()).take(limit).read_to_end(&mut plain),
        _ => return (body, end),
    };
    match read {
        Ok(_) if plain.len() > BODY_LIMIT => {
            plain.truncate(BODY_LIMIT);
            (plain, BodyEnd::TooLong)
        }
        Ok(_) => (plain, end),
        // What could be decoded may hold the tokens; if nothing could, the raw bytes are what is to be kept.
        Err(_) if plain.is_empty() => (body, BodyEnd::Cut),
        Err(_) => (plain, BodyEnd::Cut),
    }
}
