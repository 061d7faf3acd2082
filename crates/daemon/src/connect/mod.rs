//! What somebody meets who presses Connect in SAP's App Center. SAP sends the browser here with the company's UUID and a
//! request token that is good for 24 hours; the person says yes, here or on a page of the partner's own; then the token
//! becomes a grant.
//!
//! | path | file | what happens |
//! |---|---|---|
//! | `GET /connect/{app}` | [`landing`] | SAP's redirect is taken in, and leaves the address bar at once |
//! | `GET /connect/{app}/{visit}` | [`visit_page`] | how it stands: a reload shows the truth, and does nothing |
//! | `POST /connect/{app}/{visit}` | [`visit_page`] | the person says yes |
//! | `GET /connect/{app}/{visit}/sign-in` | [`sign_in`] | off to the partner's page, signed |
//! | `GET /connect/{app}/return` | [`sign_in`] | and back from it, signed |
//! | `GET /connect/{app}/assets/{file}` | [`assets`] | style sheet, logo |
//!
//! | file | law of docs/design.md | what it keeps |
//! |---|---|---|
//! | `redirect` | 10 | what SAP sends, read strictly |
//! | `visits` | 10 | who is here: in memory, for half an hour, a bounded number |
//! | `exchange` | 4, 5, 13 | the request token becomes a grant, once; what somebody made up leaves no trace |
//! | `trouble` | | what went wrong, in words for the person |
//! | `pages` | 10 | templates, and the headers that keep a page to itself |
//! | `told` | 1 | the webhook: durable, and the same when it is told twice |
//!
//! Whoever opens these pages may be anybody, and may have made up every parameter. The store is not touched before the
//! person has said yes, and a pair of company and token that SAP does not take changes nothing for a company that is
//! connected.

mod assets;
mod exchange;
mod landing;
mod pages;
mod redirect;
mod sign_in;
mod told;
mod trouble;
mod visit_page;
mod visits;

pub(crate) use told::Couriers;

use crate::access::{Failures, From};
use crate::config::{self, Config};
use crate::problem::Problem;
use crate::shared::Shared;
use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::response::Response;
use axum::routing::get;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use pages::Page;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;
use trouble::Trouble;
use visits::Visits;

/// So many exchanges run at a time; who comes next waits. A crowd must not take the place of the refreshes.
const AT_A_TIME: usize = 16;

/// What the pages keep while the daemon runs.
pub(crate) struct Connecting {
    visits: Visits,
    /// Who has come too often with what was no good.
    failures: Failures,
    places: Semaphore,
    couriers: Couriers,
}

impl Connecting {
    pub(crate) fn new(config: &Config, couriers: Couriers) -> Self {
        Self {
            visits: Visits::default(),
            failures: Failures::new(config.access.failures_per_minute),
            places: Semaphore::new(AT_A_TIME),
            couriers,
        }
    }

    /// Takes a new configuration over; who is here stays.
    pub(crate) fn reload(&self, config: &Config) {
        self.failures.allow(config.access.failures_per_minute);
        self.couriers.serve(config);
    }

    pub(crate) fn couriers(&self) -> &Couriers {
        &self.couriers
    }
}

/// These pages look at who comes themselves.
pub(crate) fn is_page(path: &str) -> bool {
    path.starts_with("/connect/")
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/connect/{app}", get(landing::land))
        .route("/connect/{app}/return", get(sign_in::come_back))
        .route("/connect/{app}/assets/{file}", get(assets::show))
        .route("/connect/{app}/{visit}", get(visit_page::show).post(visit_page::say_yes))
        .route("/connect/{app}/{visit}/sign-in", get(sign_in::hand_over))
}

/// One app's pages, and who asks for one.
struct Place {
    shared: Arc<Shared>,
    app: String,
    config: config::Connect,
    /// How the browser calls this daemon: `https://perennial.example.com`.
    origin: String,
    from: From,
    headers: HeaderMap,
}

impl FromRequestParts<Arc<Shared>> for Place {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, shared).await;
        let app = path.ok().and_then(|Path(path)| path.get("app").cloned()).unwrap_or_default();
        let whole = shared.config();
        let Some(config) = whole.connect.get(&app).cloned() else {
            return Err(axum::response::IntoResponse::into_response(Problem::no_such_path()));
        };
        let from = parts.extensions.get::<From>().cloned();
        let from = from.unwrap_or(From::Unix { uid: u32::MAX, gid: u32::MAX });
        let from = who(from, &parts.headers, &config.proxies);
        let origin = origin(&whole, &parts.headers);
        Ok(Self { shared: Arc::clone(shared), app, config, origin, from, headers: parts.headers.clone() })
    }
}

impl Place {
    fn connecting(&self) -> &Connecting {
        &self.shared.connect
    }

    /// Browsers that speak TLS to us, or to a proxy before us.
    fn is_secure(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// Who has come with too much that was no good waits.
    fn let_in(&self) -> Result<(), Box<Response>> {
        let now = self.shared.keeper.now();
        match self.connecting().failures.turned_away(&self.from, now) {
            None => Ok(()),
            Some(wait) => Err(Box::new(self.failed(&Trouble::TooOften(wait), None))),
        }
    }

    fn note_failure(&self) {
        self.connecting().failures.note(&self.from, self.shared.keeper.now());
    }

    /// A page that says what went wrong before there was a visit.
    fn failed(&self, trouble: &Trouble, reference: Option<&str>) -> Response {
        let reference = reference.map_or_else(perennial::request_id, str::to_owned);
        tracing::info!(app = %self.app, reference, trouble = trouble.name(), "App Center: nothing was connected");
        Page::Failed { trouble, correlation_id: &reference, again: None }.show(self, trouble.status())
    }
}

/// Whom a request comes from, where a proxy that is believed stands between: the last address that it has named.
fn who(from: From, headers: &HeaderMap, proxies: &[IpAddr]) -> From {
    let From::Tcp(peer) = &from else { return from };
    if !proxies.contains(peer) {
        return from;
    }
    let named = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let last = named.and_then(|list| list.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
    last.map_or(from, |address| From::Tcp(address.to_canonical()))
}

/// How the browser calls this daemon. The Host header has been looked at before.
fn origin(config: &Config, headers: &HeaderMap) -> String {
    if let Some(url) = &config.listen.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = if config.listen.tls_cert.is_some() { "https" } else { "http" };
    format!("{scheme}://{host}")
}

/// Sends the browser on by GET, to a place that we have chosen.
fn see_other(to: &str, cookie: Option<&str>) -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    let value = |text: &str| http::HeaderValue::try_from(text);
    match value(to) {
        Ok(to) => drop(headers.insert(http::header::LOCATION, to)),
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    let headers = response.headers_mut();
    if let Some(Ok(cookie)) = cookie.map(value) {
        headers.insert(http::header::SET_COOKIE, cookie);
    }
    // The address that is left may hold the request token: it goes nowhere as a Referer.
    pages::guard(headers, "no-referrer");
    response
}

/// What reads or writes the store waits on a thread of its own.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_that_is_believed_says_who_comes() {
        let peer = From::Tcp("127.0.0.1".parse().unwrap());
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("x-forwarded-for"),
                http::HeaderValue::from_static(value),
            )])
        };
        let proxies = ["127.0.0.1".parse().unwrap()];
        let forged = headers("198.51.100.1, 203.0.113.9");
        assert_eq!(who(peer.clone(), &forged, &[]), peer);
        assert_eq!(who(peer.clone(), &forged, &proxies), From::Tcp("203.0.113.9".parse().unwrap()));
        assert_eq!(who(peer.clone(), &headers("nobody"), &proxies), peer);
    }
}
