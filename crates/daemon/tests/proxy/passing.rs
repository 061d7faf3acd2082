//! Headers: which ones go along, and which ones do not.

use crate::local::{Api, call};
use crate::served;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_one_connection_or_to_the_caller_stays_here() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let sent = "Keep-Alive: timeout=5\r\nProxy-Authorization: Basic canary\r\nProxy-Connection: canary\r\n\
                Proxy-Anything: canary\r\nTE: trailers, canary\r\nTrailer: canary\r\nConnection: x-named, X-Also\r\n\
                x-named: canary\r\nx-also: canary\r\nCookie: canary=1\r\nForwarded: for=canary\r\n\
                X-Forwarded-For: canary\r\nX-Forwarded-Access-Token: canary\r\nX-Forwarded-Prefix: /canary\r\n\
                X-Real-IP: canary\r\nX-Original-URL: /canary\r\nX-Rewrite-URL: /canary\r\nperennial-own: canary\r\n\
                Accept: application/json\r\nIf-Match: \"kept\"\r\nx-own: kept\r\nx-own: kept too\r\n\
                X-HTTP-Method-Override: PATCH\r\n";
    let (heard, _) = api.serve(&house, &call("POST", sent), "\r\n\r\n", &format!("{OK}\r\nok")).await;
    assert!(!heard.to_lowercase().contains("canary"), "{heard}");
    for kept in [
        "accept: application/json",
        "if-match: \"kept\"",
        "x-own: kept",
        "x-own: kept too",
        "x-http-method-override: PATCH",
    ] {
        assert!(heard.contains(&format!("{kept}\r\n")), "{kept}: {heard}");
    }
    assert!(heard.contains("user-agent: perennial/") && heard.contains("concur-correlationid: "), "{heard}");
    assert_eq!(heard.matches("authorization: ").count(), 1, "ours: {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_says_to_the_daemon_does_not_reach_the_caller() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let head = format!(
        "{OK}Set-Cookie: canary=1\r\nStrict-Transport-Security: max-age=canary\r\nAlt-Svc: canary\r\n\
         Clear-Site-Data: canary\r\nperennial-note: canary\r\nKeep-Alive: canary\r\nProxy-Authenticate: canary\r\n\
         Connection: x-named\r\nx-named: canary\r\nWWW-Authenticate: Bearer error=\"kept\"\r\nETag: \"kept\"\r\n\
         concur-correlationid: theirs\r\n\r\nok"
    );
    let (_, got) = api.serve(&house, &call("GET", ""), "\r\n\r\n", &head).await;
    assert!(!got.contains("canary"), "{got}");
    assert!(
        got.contains("www-authenticate: Bearer error=\"kept\"\r\n"),
        "why a call failed is its caller's: {got}"
    );
    assert!(got.contains("etag: \"kept\"\r\n") && got.contains("concur-correlationid: theirs\r\n"), "{got}");
    assert!(got.ends_with("ok"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_a_correlation_id_which_the_caller_learns() {
    let (house, _daemon) = served(&[]).await;
    let api = Api::open(&house).await;
    let id = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("concur-correlationid: "));
        line.unwrap_or_default().to_owned()
    };
    let answer = format!("{OK}\r\nok");
    let (heard, got) = api.serve(&house, &call("GET", ""), "\r\n\r\n", &answer).await;
    assert!(id(&heard).len() >= 32 && id(&heard) == id(&got), "{heard} {got}");
    let (again, _) = api.serve(&house, &call("GET", ""), "\r\n\r\n", &answer).await;
    assert_ne!(id(&heard), id(&again));
    let request = call("GET", "concur-correlationid: mine\r\n");
    let (heard, got) = api.serve(&house, &request, "\r\n\r\n", &answer).await;
    assert_eq!((id(&heard).as_str(), id(&got).as_str()), ("mine", "mine"));
}
