//! What goes along with a forwarded request and its answer. What belongs to one connection between two programs stays
//! there (RFC 9110 section 7.6.1), and what a caller has said to the daemon is not the API's business (law 10).

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use perennial::http::{AGENT, CORRELATION_ID};

/// Headers of one connection.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Those without a name of their own in the library.
const HOP_BY_HOP_TOO: [&str; 2] = ["keep-alive", "proxy-connection"];

/// What a caller says to the daemon.
const OF_THE_CALLER: [HeaderName; 5] = [AUTHORIZATION, COOKIE, EXPECT, FORWARDED, HOST];

/// And what proxies before it have said of the caller.
const OF_PROXIES: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "perennial-store",
];

/// A request, on its way.
pub(super) fn to_the_api(headers: &mut HeaderMap) {
    strip(headers);
    OF_THE_CALLER.iter().for_each(|name| drop(headers.remove(name)));
    OF_PROXIES.iter().for_each(|name| drop(headers.remove(*name)));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    if let Ok(id) = HeaderValue::try_from(perennial::request_id()) {
        headers.entry(CORRELATION_ID).or_insert(id);
    }
}

/// An answer, on its way back. A cookie would be for all callers of the connection, and what the API says of its own
/// origin is not true of ours.
pub(super) fn from_the_api(headers: &mut HeaderMap) {
    strip(headers);
    headers.remove(SET_COOKIE);
    headers.remove(STRICT_TRANSPORT_SECURITY);
    headers.remove("alt-svc");
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().chain(&HOP_BY_HOP).for_each(|name| drop(headers.remove(name)));
    HOP_BY_HOP_TOO.iter().for_each(|name| drop(headers.remove(*name)));
}
