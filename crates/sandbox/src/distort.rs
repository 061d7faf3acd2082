//! What a fault does to an answer.

use crate::answer::Answer;
use crate::body::{Script, Step};
use crate::errors::Refusal;
use crate::faults::{Fault, Kind, retry_after_text};
use crate::ids::Seed;
use crate::server::Line;
use crate::world::World;
use axum::body::Body;
use axum::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use serde_json::{Map, Value};
use std::future::pending;
use std::io::Write as _;
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// One piece of an answer that is too long.
const PIECE: usize = 64 * 1024;

/// The answer as the client will see it. `normal` is run exactly if the request is to take effect.
pub(crate) async fn answer(
    fault: Option<Fault>,
    world: &World,
    line: &Line,
    normal: impl FnOnce() -> Answer,
) -> Response<Body> {
    let Some(fault) = fault else { return normal().into_response() };
    let normal = if fault.spent { normal() } else { Answer::empty(StatusCode::OK) };
    befall(fault.kind, normal, world, line).await
}

async fn befall(kind: Kind, normal: Answer, world: &World, line: &Line) -> Response<Body> {
    match kind {
        Kind::Status { status, retry_after, body } => {
            told(status, retry_after.as_ref(), body).into_response()
        }
        Kind::Reset {} => {
            line.reset();
            pending().await
        }
        Kind::Hang { seconds } => hang(seconds, line).await,
        Kind::Html { status } => {
            Answer::typed(code(status), "text/html; charset=utf-8", PAGE).into_response()
        }
        Kind::Huge { bytes } => huge(bytes),
        Kind::Redirect { location, status } => {
            let answer = Answer::empty(code(status.or(Some(307))));
            with_header(answer, LOCATION, &location).into_response()
        }
        Kind::Empty { status } => Answer::empty(code(status)).into_response(),
        Kind::Error { code, geolocation, status } => refusal(code, geolocation, status).into_response(),
        Kind::OkError { code, geolocation } => refusal(code, geolocation, Some(200)).into_response(),
        Kind::Delay { milliseconds } => {
            sleep(Duration::from_millis(milliseconds)).await;
            normal.into_response()
        }
        Kind::SlowBody { milliseconds, chunks } => slow(normal, Duration::from_millis(milliseconds), chunks),
        Kind::CutBody {} => cut(normal, line),
        Kind::TruncatedJson {} => {
            let half = normal.body.len() / 2;
            Answer { body: normal.body[..half].to_vec(), ..normal }.into_response()
        }
        Kind::InvalidUtf8 {} => with_broken_text(normal).into_response(),
        Kind::Gzip {} => gzip(normal).into_response(),
        Kind::ContentType { value } => with_header(normal, CONTENT_TYPE, &value).into_response(),
        Kind::DateSkew { seconds } => skewed(normal, seconds).into_response(),
        Kind::Fields { set, remove } => {
            with_members(normal, |body| change(body, set, &remove)).into_response()
        }
        Kind::OtherPrincipal {} => with_members(normal, |body| name_another(body, world)).into_response(),
    }
}

const PAGE: &str = "<!doctype html>\n<html><head><title>Maintenance</title></head>\
    <body><h1>We will be back soon</h1></body></html>\n";

fn told(status: u16, retry_after: Option<&Value>, body: Option<String>) -> Answer {
    let body = body.unwrap_or_else(|| format!("the sandbox was told to answer {status}"));
    let answer = Answer::typed(code(Some(status)), "text/plain", body);
    match retry_after.map(retry_after_text) {
        Some(Ok(text)) => with_header(answer, RETRY_AFTER, &text),
        _ => answer,
    }
}

async fn hang(seconds: Option<f64>, line: &Line) -> Response<Body> {
    if let Some(wait) = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        sleep(wait).await;
        line.close();
    }
    pending().await
}

fn refusal(code: u32, geolocation: Option<String>, status: Option<u16>) -> Answer {
    let mut answer = Refusal::new(code).with_geolocation(geolocation).answer();
    if let Some(status) = status {
        answer.status = self::code(Some(status));
    }
    answer
}

/// One JSON member as long as was asked for: a client that reads it all would find it to be valid.
fn huge(bytes: u64) -> Response<Body> {
    const HEAD: &[u8] = br#"{"padding":""#;
    const TAIL: &[u8] = br#""}"#;
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let padding = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(HEAD.len() + TAIL.len());
    let mut steps = vec![Step::Send(Bytes::from_static(HEAD))];
    steps.extend((0..padding / PIECE).map(|_| Step::Send(piece.clone())));
    steps.push(Step::Send(piece.slice(..padding % PIECE)));
    steps.push(Step::Send(Bytes::from_static(TAIL)));
    let length = (padding + HEAD.len() + TAIL.len()).to_string();
    let answer = Answer::typed(StatusCode::OK, "application/json", "");
    with_header(answer, CONTENT_LENGTH, &length).with_body(Script::body(steps))
}

fn slow(mut normal: Answer, wait: Duration, chunks: usize) -> Response<Body> {
    let length = normal.body.len().to_string();
    let size = normal.body.len().div_ceil(chunks).max(1);
    let body = Bytes::from(std::mem::take(&mut normal.body));
    let pieces = (0..body.len()).step_by(size);
    let steps = pieces.flat_map(|start| {
        let piece = body.slice(start..body.len().min(start + size));
        [Step::Wait(wait), Step::Send(piece)]
    });
    let body = Script::body(steps);
    with_header(normal, CONTENT_LENGTH, &length).with_body(body)
}

fn cut(mut normal: Answer, line: &Line) -> Response<Body> {
    let length = normal.body.len().to_string();
    let half = normal.body.len() / 2;
    let mut body = Bytes::from(std::mem::take(&mut normal.body));
    body.truncate(half);
    let steps = [Step::Send(body), Step::Flush, Step::Close(line.clone())];
    with_header(normal, CONTENT_LENGTH, &length).with_body(Script::body(steps))
}

/// Two bytes that no UTF-8 text contains, inside of the last text of the body.
fn with_broken_text(mut normal: Answer) -> Answer {
    let quote = normal.body.iter().rposition(|byte| *byte == b'"').unwrap_or(normal.body.len());
    normal.body.splice(quote..quote, [0xff, 0xfe]);
    normal
}

fn gzip(normal: Answer) -> Answer {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    match encoder.write_all(&normal.body).and_then(|()| encoder.finish()) {
        Ok(body) => with_header(Answer { body, ..normal }, CONTENT_ENCODING, "gzip"),
        // Writing to a Vec does not fail; if it did, the answer as it was is the honest one.
        Err(_) => normal,
    }
}

fn skewed(normal: Answer, seconds: i64) -> Answer {
    let (now, by) = (SystemTime::now(), Duration::from_secs(seconds.unsigned_abs()));
    let date = if seconds < 0 { now.checked_sub(by) } else { now.checked_add(by) };
    with_header(normal, DATE, &httpdate::fmt_http_date(date.unwrap_or(now)))
}

fn change(body: &mut Map<String, Value>, set: Map<String, Value>, remove: &[String]) {
    body.extend(set);
    body.retain(|name, _| !remove.contains(name));
}

/// Signs the id_token anew for a company that this sandbox does not otherwise know.
fn name_another(body: &mut Map<String, Value>, world: &World) {
    let Some(Value::String(token)) = body.get("id_token") else { return };
    let Ok(seed) = Seed::new(Some(0)) else { return };
    if let Some(other) = world.signer.with_subject(token, &seed.stream("another company").next()) {
        body.insert("id_token".to_owned(), Value::String(other));
    }
}

/// Changes the members of a body that is a JSON object; any other stays as it is.
fn with_members(normal: Answer, change: impl FnOnce(&mut Map<String, Value>)) -> Answer {
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(&normal.body) else { return normal };
    change(&mut members);
    Answer { body: Value::Object(members).to_string().into_bytes(), ..normal }
}

fn with_header(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    // Each value was checked when the fault was read.
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers.insert(name, value);
    }
    answer
}

fn code(status: Option<u16>) -> StatusCode {
    status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK)
}
