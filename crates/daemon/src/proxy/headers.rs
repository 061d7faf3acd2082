//! What goes along with a forwarded request and its answer. What belongs to one connection between two programs stays
//! there (RFC 9110 section 7.6.1), and what a caller has said to the daemon is not the API's business (law 10).
//!
//! No Via is added: servers take it for a reason to answer without compression (nginx does, by default), and there is no
//! loop for it to find, because the daemon is no connection's geolocation.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING,
    UPGRADE, USER_AGENT,
};
use perennial::http::{AGENT, CORRELATION_ID};

/// In these some servers look for another method than the request's own.
const OTHER_METHODS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// A request, on its way.
pub(super) fn to_the_api(headers: &mut HeaderMap) {
    strip(headers, is_the_callers);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    if let Ok(id) = HeaderValue::try_from(perennial::request_id()) {
        headers.entry(CORRELATION_ID).or_insert(id);
    }
}

/// An answer, on its way back.
pub(super) fn from_the_api(headers: &mut HeaderMap) {
    strip(headers, is_the_apis_own);
}

/// True where the request asks for another protocol. Other versions of HTTP do not count: they are an offer, which some
/// clients make with every request and which may be passed over (RFC 9110 section 7.8).
pub(super) fn asks_for_another_protocol(headers: &HeaderMap) -> bool {
    let is_http = |word: &str| {
        let word = word.trim().to_ascii_lowercase();
        word == "h2c" || word.starts_with("http/")
    };
    let named = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.split(',').all(is_http));
    !headers.get_all(UPGRADE).iter().all(named)
}

/// True where a server may read another method than the request's own.
pub(super) fn says_another_method(headers: &HeaderMap) -> bool {
    OTHER_METHODS.iter().any(|name| headers.contains_key(*name))
}

/// True where the body is coded for one connection in a way that stays in it here (RFC 9112 section 6.1).
pub(super) fn is_coded_for_transfer(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    !codings.all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Headers of one connection.
fn is_of_one_connection(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade")
        || name.starts_with("proxy-")
}

/// What a caller says to the daemon, what proxies before it have said of the caller, and other paths than the one that
/// was checked.
fn is_the_callers(name: &str) -> bool {
    matches!(name, "authorization" | "cookie" | "expect" | "forwarded" | "host" | "http2-settings")
        || matches!(name, "x-real-ip" | "x-original-url" | "x-original-uri" | "x-rewrite-url")
        || name.starts_with("x-forwarded-")
        || name.starts_with("perennial-")
}

/// A cookie would be for all callers of the connection; what the API says of its own origin is not true of ours; and
/// nobody but the daemon says what the daemon has done.
fn is_the_apis_own(name: &str) -> bool {
    matches!(name, "alt-svc" | "clear-site-data")
        || name == SET_COOKIE
        || name == STRICT_TRANSPORT_SECURITY
        || name.starts_with("perennial-")
}

/// Takes out what belongs to one connection, what Connection names, and what else is `gone`.
fn strip(headers: &mut HeaderMap, gone: impl Fn(&str) -> bool) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let goes = |name: &&HeaderName| {
        is_of_one_connection(name.as_str()) || gone(name.as_str()) || named.contains(name)
    };
    let going: Vec<HeaderName> = headers.keys().filter(goes).cloned().collect();
    going.iter().for_each(|name| drop(headers.remove(name)));
}
