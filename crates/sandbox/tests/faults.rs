//! Each fault as a client sees it, on the wire.

mod common;
use common::*;
use flate2::read::GzDecoder;
use perennial_sandbox::Sandbox;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

/// A sandbox with a grant, and its refresh token.
fn granted() -> (Sandbox, String) {
    let sandbox = plain();
    let refresh_token = company(&sandbox).text("refresh_token");
    (sandbox, refresh_token)
}

/// Sends a refresh and does not wait for the answer.
fn ask(sandbox: &Sandbox, token: &str) -> TcpStream {
    let mut stream = connect(sandbox);
    let request = token_request(&refresh_fields(sandbox.ready(), token));
    assert!(stream.write_all(request.as_bytes()).is_ok());
    stream
}

#[test]
fn a_status_with_its_pause_and_its_body() {
    let (sandbox, token) = granted();
    inject(&sandbox, &json!({"kind": "status", "status": 503, "retry_after": 300}));
    let answer = refresh(&sandbox, &token);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("300")));
    let date = "Fri, 31 Dec 2027 23:59:59 GMT";
    inject(&sandbox, &json!({"kind": "status", "status": 429, "retry_after": date, "body": "slow down"}));
    let answer = refresh(&sandbox, &token);
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some(date)));
    assert_eq!(answer.body, b"slow down");
    assert_eq!(sandbox.stats().refreshes, 0);
    assert_eq!(refresh(&sandbox, &token).status, 200, "the queue is empty again");
}

#[test]
fn a_reset_is_a_reset_before_and_after_the_token_was_spent() {
    let (sandbox, token) = granted();
    for (spent, refreshes) in [(false, 0), (true, 1)] {
        inject(&sandbox, &json!({"kind": "reset", "spent": spent}));
        let error = try_token(&sandbox, &refresh_fields(sandbox.ready(), &token)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(sandbox.stats().refreshes, refreshes);
    }
    assert_eq!(sandbox.stats().requests, 3);
}

#[test]
fn a_hang_says_nothing_until_the_sandbox_stops() {
    let (sandbox, token) = granted();
    inject(&sandbox, &json!({"kind": "hang"}));
    let mut stream = ask(&sandbox, &token);
    let mut one = [0];
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = stream.read(&mut one).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");

    let stopping = Instant::now();
    drop(sandbox);
    assert!(stopping.elapsed() < Duration::from_secs(5));
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(matches!(stream.read(&mut one), Ok(0) | Err(_)));
}

#[test]
fn a_hang_with_an_end_closes_without_an_answer() {
    let (sandbox, token) = granted();
    inject(&sandbox, &json!({"kind": "hang", "seconds": 0.01, "spent": true}));
    let mut stream = ask(&sandbox, &token);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"");
    assert_eq!(sandbox.stats().refreshes, 1);
}

#[test]
fn a_delay_and_a_slow_body_arrive_whole_but_late() {
    let (sandbox, token) = granted();
    for fault in [
        json!({"kind": "delay", "milliseconds": 30}),
        json!({"kind": "slow_body", "milliseconds": 10, "chunks": 4}),
    ] {
        inject(&sandbox, &fault);
        let asked = Instant::now();
        let answer = refresh(&sandbox, &token);
        assert!(asked.elapsed() >= Duration::from_millis(30), "{fault}");
        assert_eq!(answer.text("refresh_token"), token);
    }
    assert_eq!(sandbox.stats().refreshes, 2);
}

#[test]
fn a_cut_body_ends_before_its_length_and_a_truncated_one_does_not() {
    let (sandbox, token) = granted();
    inject(&sandbox, &json!({"kind": "cut_body"}));
    let cut = refresh(&sandbox, &token);
    let promised: usize = cut.header("content-length").unwrap().parse().unwrap();
    assert_eq!(cut.status, 200);
    assert!(!cut.body.is_empty() && cut.body.len() < promised, "{} of {promised}", cut.body.len());

    inject(&sandbox, &json!({"kind": "truncated_json"}));
    let truncated = refresh(&sandbox, &token);
    let promised: usize = truncated.header("content-length").unwrap().parse().unwrap();
    assert_eq!(truncated.body.len(), promised);
    assert!(serde_json::from_slice::<Value>(&truncated.body).is_err());
    assert_eq!(sandbox.stats().refreshes, 2);
}

#[test]
fn foreign_answers() {
    let (sandbox, token) = granted();
    inject(&sandbox, &json!({"kind": "html"}));
    let page = refresh(&sandbox, &token);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    inject(&sandbox, &json!({"kind": "html", "status": 502}));
    assert_eq!(refresh(&sandbox, &token).status, 502);
    inject(&sandbox, &json!({"kind": "empty"}));
    let empty = refresh(&sandbox, &token);
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    inject(&sandbox, &json!({"kind": "redirect", "location": "https://elsewhere.example/token"}));
    let redirect = refresh(&sandbox, &token);
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (307, Some("https://elsewhere.example/token"))
    );
    inject(&sandbox, &json!({"kind": "ok_error", "code": 108}));
    let error = refresh(&sandbox, &token);
    assert_eq!((error.status, error.code()), (200, 108));
    assert_eq!(sandbox.stats().refreshes, 0, "none of these took effect");
}

#[test]
fn a_huge_body_is_exactly_as_long_as_was_asked_for() {
    let (sandbox, token) = granted();
    for (fault, length) in [
        (json!({"kind": "huge"}), 5 << 20),
        (json!({"kind": "huge", "bytes": 100_000}), 100_000),
        (json!({"kind": "huge", "bytes": 20}), 20),
    ] {
        inject(&sandbox, &fault);
        let answer = refresh(&sandbox, &token);
        assert_eq!((answer.status, answer.body.len()), (200, length));
        assert!(answer.json()["padding"].is_string());
    }
}

#[test]
fn the_right_answer_in_a_wrong_dress() {
    let (sandbox, token) = granted();
    inject(&sandbox, &json!({"kind": "invalid_utf8"}));
    let broken = refresh(&sandbox, &token);
    assert_eq!(broken.status, 200);
    assert!(std::str::from_utf8(&broken.body).is_err());

    inject(&sandbox, &json!({"kind": "gzip"}));
    let zipped = refresh(&sandbox, &token);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut body = String::new();
    GzDecoder::new(&zipped.body[..]).read_to_string(&mut body).unwrap();
    assert!(body.contains(&token));

    inject(&sandbox, &json!({"kind": "content_type", "value": "text/plain"}));
    let odd = refresh(&sandbox, &token);
    assert_eq!(odd.header("content-type"), Some("text/plain"));
    assert_eq!(odd.text("refresh_token"), token);

    inject(&sandbox, &json!({"kind": "date_skew", "seconds": -7200}));
    let skewed = refresh(&sandbox, &token);
    let date = httpdate::parse_http_date(skewed.header("date").unwrap()).unwrap();
    let behind = SystemTime::now().duration_since(date).unwrap();
    assert!(behind.as_secs().abs_diff(7200) <= 5);
    assert_eq!(sandbox.stats().refreshes, 4);
}

#[test]
fn members_are_set_and_removed() {
    let (sandbox, token) = granted();
    inject(
        &sandbox,
        &json!({"kind": "fields", "set": {"expires_in": "3600"}, "remove": ["refresh_expires_in"]}),
    );
    let answer = refresh(&sandbox, &token).json();
    assert_eq!(answer["expires_in"], "3600");
    assert_eq!(answer.get("refresh_expires_in"), None);
    assert_eq!(answer["refresh_token"], token);
}

#[test]
fn another_principal_is_named_in_the_id_token() {
    let (sandbox, token) = granted();
    let subject = |answer: Answer| {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let id_token = answer.text("id_token");
        let claims = BASE64_URL_SAFE_NO_PAD.decode(id_token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["sub"].as_str().unwrap().to_owned()
    };
    inject(&sandbox, &json!({"kind": "other_principal"}));
    let other = subject(refresh(&sandbox, &token));
    assert_eq!(other.len(), 36);
    assert_ne!(other, sandbox.ready().company_uuid);
    assert_eq!(subject(refresh(&sandbox, &token)), sandbox.ready().company_uuid);
}

#[test]
fn the_api_has_faults_of_its_own() {
    let sandbox = plain();
    let access_token = company(&sandbox).text("access_token");
    inject(&sandbox, &json!({"kind": "status", "status": 500, "on": "api"}));
    assert_eq!(company(&sandbox).status, 200);
    assert_eq!(call(&sandbox, "GET", USERS, &access_token).status, 500);
    assert_eq!(call(&sandbox, "GET", USERS, &access_token).status, 200);
}

#[test]
fn requests_under_way_are_counted_together_and_one_after_another_are_not() {
    let (sandbox, token) = granted();
    for _ in 0..20 {
        refresh(&sandbox, &token);
    }
    assert_eq!(sandbox.stats().most_in_flight, 1);
    let together = 4;
    sandbox.inject(json!([{"kind": "hang", "count": together}])).unwrap();
    let _waiting: Vec<_> = (0..together).map(|_| ask(&sandbox, &token)).collect();
    let asked = Instant::now();
    while sandbox.stats().most_in_flight < together && asked.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
    assert_eq!(sandbox.stats().most_in_flight, together);
}
