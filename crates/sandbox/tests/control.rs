//! What is under /sandbox/, and the API calls that want a bearer.

mod common;
use common::*;
use serde_json::{Value, json};

#[test]
fn the_numbers_are_the_same_by_either_door() {
    let sandbox = plain();
    company(&sandbox);
    let answer = order(&sandbox, "GET", "/sandbox/stats", "");
    // But for the connections that are open at the moment: this one is one by the one door, and over by the other.
    let without = |mut stats: Value| {
        stats.as_object_mut().unwrap().remove("connections");
        stats
    };
    assert_eq!(without(answer.json()), without(json!(sandbox.stats())));
    assert_eq!(answer.json()["requests"], 1);
}

#[test]
fn faults_are_queued_shown_and_cleared() {
    let sandbox = plain();
    let faults = r#"[{"kind": "reset", "count": 2}, {"kind": "empty", "on": "api"}]"#;
    assert_eq!(order(&sandbox, "POST", "/sandbox/faults", faults).json(), json!({"queued": 2}));
    assert!(try_token(&sandbox, &company_fields(sandbox.ready())).is_err());
    assert_eq!(
        order(&sandbox, "GET", "/sandbox/faults", "").json(),
        json!([
            {"kind": "reset", "count": 1, "skip": 0},
            {"kind": "empty", "on": "api", "count": 1, "skip": 0},
        ])
    );
    assert_eq!(order(&sandbox, "DELETE", "/sandbox/faults", "").status, 204);
    assert_eq!(order(&sandbox, "GET", "/sandbox/faults", "").json(), json!([]));
    company(&sandbox);
}

#[test]
fn a_bad_order_is_told_what_is_wrong() {
    let sandbox = plain();
    for (target, body, says) in [
        ("/sandbox/faults", r#"[{"kind": "flood"}]"#, "expected one of `status`, `reset`, `hang`"),
        ("/sandbox/faults", "nonsense", "line 1"),
        ("/sandbox/expire", r#"{"what": "patience"}"#, "`access`, `refresh`, `request_token`"),
        ("/sandbox/expire", "", "EOF"),
        ("/sandbox/request-token", r#"{"other": 1}"#, "other_app"),
    ] {
        let answer = order(&sandbox, "POST", target, body);
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.text("error_description").contains(says), "{:?}", answer.json());
    }
    assert_eq!(order(&sandbox, "PUT", "/sandbox/stats", "").status, 405);
}

#[test]
fn a_kind_of_token_can_be_ended() {
    let sandbox = plain();
    let refresh_token = company(&sandbox).text("refresh_token");
    assert_eq!(order(&sandbox, "POST", "/sandbox/expire", r#"{"what": "refresh"}"#).status, 204);
    assert_eq!(refresh(&sandbox, &refresh_token).code(), 108);
}

#[test]
fn users_want_a_bearer_that_is_good() {
    let sandbox = plain();
    let access_token = company(&sandbox).text("access_token");
    let list = call(&sandbox, "GET", USERS, &access_token).json();
    assert_eq!(list["totalResults"], 3);
    assert_eq!(list["Resources"][0]["userName"], "user1@example.com");
    assert_eq!(call(&sandbox, "GET", USERS.trim_end_matches('/'), &access_token).json(), list);

    let missing = send(&sandbox, "GET", USERS, &[], "").unwrap();
    assert_eq!((missing.status, missing.header("www-authenticate")), (401, Some("Bearer")));
    let unknown = call(&sandbox, "GET", USERS, "unknown");
    assert_eq!((unknown.status, unknown.text("error").as_str()), (403, "forbidden"));
    let stats = sandbox.stats();
    assert_eq!((stats.api_calls, stats.refused), (4, 2));
}

#[test]
fn the_echo_says_what_it_heard_but_not_the_bearer() {
    let sandbox = plain();
    let access_token = company(&sandbox).text("access_token");
    let bearer = format!("authorization: Bearer {access_token}");
    let headers = [bearer.as_str(), "x-note: one", "x-note: two"];
    let answer = send(&sandbox, "PATCH", "/sandbox/echo?a=1&b=2", &headers, "hello").unwrap();
    let heard = answer.json();
    assert_eq!(heard["method"], "PATCH");
    assert_eq!(heard["path"], "/sandbox/echo");
    assert_eq!(heard["query"], "a=1&b=2");
    assert_eq!(heard["body"], "hello");
    assert_eq!(heard["headers"]["x-note"], "one, two");
    assert!(!String::from_utf8_lossy(&answer.body).contains(&access_token));
}
