//! How the daemon is: alive, ready, and its numbers.
//!
//! | file | what it answers |
//! |---|---|
//! | `mod.rs` | `/live`, `/ready`, `/metrics` |
//! | `health` | what is wrong, if anything is |
//! | `survey` | what is looked at from time to time, because it costs too much to be looked at when somebody asks |
//! | `metrics` | the numbers, as OpenMetrics has them; none names a connection (law 10) |

pub(crate) mod health;
mod metrics;
pub(crate) mod survey;

use crate::api::{Asked, Daemon};
use crate::problem::Problem;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

/// Whether the daemon works.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Live {
    /// False when only a restart helps.
    live: bool,
    /// What does not work.
    reasons: Vec<String>,
}

/// How the daemon is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Ready {
    /// True when requests belong here.
    ready: bool,
    /// The store can be read.
    store: bool,
    /// The store takes writes, as far as is known: it did when it was last asked to.
    writable: bool,
    /// Grants are being kept alive; true also where that is another daemon's duty.
    keeps_alive: bool,
    /// It is about to end.
    draining: bool,
    /// Why it is not ready.
    reasons: Vec<String>,
}

/// Is it alive?
///
/// A daemon that says no is to be started anew: one of its duties has ended. What lies outside (the store, the network)
/// does not count.
#[utoipa::path(
    get, path = "/live", tag = "operations", security(()),
    responses((status = 200, description = "Yes", body = Live), (status = 503, description = "No", body = Live))
)]
pub(crate) async fn live(shared: Daemon) -> Response {
    let reasons = shared.health.ended(shared.scheduler.load().rounds);
    let live = reasons.is_empty();
    told(live, Live { live, reasons })
}

/// Do requests belong here?
///
/// A daemon whose store is gone says no, and still hands out what lives.
#[utoipa::path(
    get, path = "/ready", tag = "operations", security(()),
    responses((status = 200, description = "Yes", body = Ready), (status = 503, description = "No", body = Ready))
)]
pub(crate) async fn ready(shared: Daemon) -> Response {
    let store = shared.health.is_readable();
    let writable = shared.health.is_writable(&shared.keeper.tally());
    let draining = shared.health.is_draining();
    let ended = shared.health.ended(shared.scheduler.load().rounds);
    let keeps_alive = ended.is_empty();
    let must_write = shared.config().keep_alive.enabled;
    let mut reasons = ended;
    let mut because = |is_so: bool, why: &str| reasons.extend(is_so.then(|| why.to_owned()));
    because(!store, "the store cannot be read; tokens that live are handed out meanwhile");
    because(must_write && !writable, "the store takes no writes: nothing is refreshed until it does");
    because(draining, "the daemon is about to end");
    let ready = reasons.is_empty();
    told(ready, Ready { ready, store, writable, keeps_alive, draining, reasons })
}

/// Its numbers, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn metrics(shared: Daemon, _: Asked) -> Response {
    match metrics::page(&shared) {
        Ok(page) => {
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE)),
                (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            (headers, page).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the numbers could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn told(is_good: bool, body: impl Serialize) -> Response {
    let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}
