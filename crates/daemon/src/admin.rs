//! How the daemon is: alive, ready, and its numbers.

use crate::api::{Asked, Daemon};
use crate::problem::Problem;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use std::sync::atomic::Ordering;

/// How the daemon is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Ready {
    /// True when requests belong here.
    ready: bool,
    /// The store can be read.
    store: bool,
    /// It is about to end.
    draining: bool,
}

/// Is it alive?
#[utoipa::path(get, path = "/live", tag = "operations", security(()), responses((status = 204, description = "Yes")))]
pub(crate) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Do requests belong here?
///
/// A daemon whose store is gone says no, and still hands out what lives.
#[utoipa::path(
    get, path = "/ready", tag = "operations", security(()),
    responses((status = 200, description = "Yes", body = Ready), (status = 503, description = "No", body = Ready))
)]
pub(crate) async fn ready(shared: Daemon) -> Response {
    let store = shared.health.store.load(Ordering::Relaxed);
    let draining = shared.health.is_draining();
    let ready = store && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (status, headers, Json(Ready { ready, store, draining })).into_response()
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
    let _ = shared;
    StatusCode::NO_CONTENT.into_response()
}
