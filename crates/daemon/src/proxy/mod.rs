//! API calls for programs that never see a token: the request goes to the connection's geolocation with the bearer set,
//! and what comes back streams through. A token that the API rejects is renewed once, and the request sent once more
//! where it is at hand whole.
//!
//! | file | what it does | law |
//! |---|---|---|
//! | `mod.rs` | one call | 10, 12 |
//! | `target` | which path is meant; what tries to be another one is refused | 10 |
//! | `headers` | what goes along, and what does not | 10 |

mod headers;
mod target;

use crate::access::Caller;
use crate::api::Trace;
use crate::config::Right;
use crate::hot::Entry;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use perennial::core::schedule::DEFAULT_MIN_TTL;
use perennial::core::token_endpoint::NoAnswer;
use perennial::http::api::ApiError;
use perennial::http::{self as wire, CORRELATION_ID, Upstream};
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::Instant;

/// Says why a request that was rejected was not sent again.
const NOTE: &str = "perennial-note";

/// What forwarding needs.
pub(crate) struct Proxy {
    upstream: Upstream<Body>,
    /// Where each connection's token may go, as far as that has been looked up.
    permitted: Cache<String, String>,
}

impl Proxy {
    pub(crate) fn new(http: wire::Options, idle_connections: usize, resident: usize) -> Self {
        Self { upstream: Upstream::new(http, idle_connections), permitted: Cache::new(resident) }
    }
}

/// Forwards a request.
pub(crate) async fn forward(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Arc<Caller>>,
    Extension(trace): Extension<Trace>,
    request: Request,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let (name, target) = target::of(request.uri())?;
    caller.check(Right::Proxy, &name)?;
    let path = target.path().to_owned();
    let method = request.method().clone();
    if method == Method::TRACE || method == Method::CONNECT || request.headers().contains_key(UPGRADE) {
        let title = "this is not forwarded";
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "/problems/not-forwarded",
            title,
            "neither tunnels, traces nor upgrades",
        ));
    }
    if !caller.may_forward(method.as_str(), &path) {
        let title = "this request may not be forwarded";
        let detail = format!("the client may not send {method} to this path");
        return Err(Problem::new(StatusCode::FORBIDDEN, "/problems/not-forwardable", title, detail).next(
            "an administrator says which ones: perennial client add NAME --may proxy --forward 'METHOD PATH'",
        ));
    }
    let call = Call::read(&shared, name, target, request).await?;
    let outcome = call.carry_out().await;
    let status =
        outcome.as_ref().map_or_else(|problem| problem.status, |response| response.status().as_u16());
    shared.tally.forwarded(status);
    tracing::debug!(
        trace_id = %trace.0, caller = caller.name, connection = call.name, %method, path, status,
        correlation_id = call.correlation_id(),
        milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "forwarded"
    );
    outcome
}

/// A call that is to be made.
struct Call<'a> {
    shared: &'a Arc<Shared>,
    name: String,
    head: http::request::Parts,
    body: std::sync::Mutex<Sent>,
}

/// A request's body.
enum Sent {
    /// At hand whole: it can be sent again.
    Whole(Bytes),
    /// It streams, once.
    Streaming(Option<Body>),
}

impl<'a> Call<'a> {
    async fn read(
        shared: &'a Arc<Shared>,
        name: String,
        target: http::Uri,
        request: Request,
    ) -> Result<Self, Problem> {
        let config = shared.config();
        let (mut head, body) = request.into_parts();
        head.uri = target;
        head.extensions.clear();
        headers::to_the_api(&mut head.headers);
        let fits = body.size_hint().upper().is_some_and(|size| size <= config.proxy.replayable.0 as u64);
        let body = if fits {
            let whole = tokio::time::timeout(config.limits.slow_client.0, body.collect()).await;
            let whole = whole.map_err(|_| Problem::too_slow())?;
            Sent::Whole(whole.map_err(|_| Problem::bad_request("the body was cut off"))?.to_bytes())
        } else {
            Sent::Streaming(Some(body))
        };
        Ok(Self { shared, name, head, body: std::sync::Mutex::new(body) })
    }

    fn correlation_id(&self) -> &str {
        self.head.headers.get(CORRELATION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    async fn carry_out(&self) -> Result<Response, Problem> {
        let patience = self.shared.config().limits.patience.0;
        let entry = self.shared.token(&self.name, DEFAULT_MIN_TTL, patience).await?;
        let first = self.send(&entry).await?;
        if ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&first.status()) {
            return Ok(self.answer(first, None));
        }
        if !self.is_whole() {
            self.shared.tally.not_sent_again.add();
            return Ok(self.answer(first, Some("not sent again: the body was not kept".to_owned())));
        }
        match self.shared.keeper.rejected(&self.name, &entry.hand_out.access_token).await {
            Ok(newer) => {
                let entry = self.shared.hot.put(newer, self.shared.keeper.now());
                self.shared.tally.sent_again.add();
                let second = self.send(&entry).await?;
                Ok(self.answer(second, None))
            }
            Err(error) => {
                self.shared.tally.not_sent_again.add();
                Ok(self.answer(first, Some(format!("not sent again with a new token: {error}"))))
            }
        }
    }

    async fn send(&self, entry: &Arc<Entry>) -> Result<Response, Problem> {
        self.check_permitted(entry).await?;
        let hand_out = &entry.hand_out;
        let mut request = Request::new(self.take_body());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        let patience = self.shared.config().proxy.patience.0;
        let bearer = (hand_out.token_type.as_str(), &hand_out.access_token);
        let sent = self.shared.proxy.upstream.send(&hand_out.base, request, bearer, patience).await;
        match sent {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) => Err(self.no_answer(&error, &hand_out.base.to_string())),
        }
    }

    fn is_whole(&self) -> bool {
        matches!(&*self.body.lock().unwrap_or_else(std::sync::PoisonError::into_inner), Sent::Whole(_))
    }

    fn take_body(&self) -> Body {
        match &mut *self.body.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Sent::Whole(bytes) => Body::from(bytes.clone()),
            Sent::Streaming(body) => body.take().unwrap_or_default(),
        }
    }

    /// Law 10: a token goes nowhere but where its connection permits.
    async fn check_permitted(&self, entry: &Arc<Entry>) -> Result<(), Problem> {
        let (id, base) = (&entry.hand_out.id, &entry.hand_out.base);
        let permitted = &self.shared.proxy.permitted;
        if permitted.get(id).is_some_and(|known| *known == base.to_string()) {
            return Ok(());
        }
        let (shared, name) = (Arc::clone(self.shared), self.name.clone());
        let looked = tokio::task::spawn_blocking(move || shared.keeper.connection(&name)).await;
        let ended = |_| Problem::bad_request("a look into the store ended");
        let connection = looked.map_err(ended)?.map_err(|error| self.shared.problem(&error, &self.name))?;
        if !connection.permits(base) {
            let purpose = perennial::core::profile::Purpose::Refresh;
            let error = perennial::Error::NotPermitted { origin: base.clone(), purpose };
            return Err(self.shared.problem(&error, &self.name));
        }
        permitted.insert(id.clone(), base.to_string());
        Ok(())
    }

    fn no_answer(&self, error: &ApiError, base: &str) -> Problem {
        let (status, kind, title, detail) = match error {
            ApiError::Unreachable(_) => (
                StatusCode::BAD_GATEWAY,
                "/problems/api-unreachable",
                "the API cannot be reached",
                format!("no connection to {base}"),
            ),
            ApiError::NoAnswer(NoAnswer::TimedOut) => (
                StatusCode::GATEWAY_TIMEOUT,
                "/problems/api-silent",
                "the API did not answer in time",
                format!("{base}: no answer in time"),
            ),
            ApiError::NoAnswer(NoAnswer::Reset(detail)) => (
                StatusCode::BAD_GATEWAY,
                "/problems/api-cut",
                "the API did not answer",
                format!("{base}: {detail}"),
            ),
            ApiError::Request(detail) => return Problem::bad_request(detail.clone()),
        };
        let next =
            "the API may have carried it out, unless it could not be reached: look before you repeat it";
        let problem = Problem::new(status, kind, title, detail).next(next);
        problem.about(&self.name, self.correlation_id())
    }

    fn answer(&self, mut response: Response, note: Option<String>) -> Response {
        let headers = response.headers_mut();
        headers::from_the_api(headers);
        if let Some(own) = self.head.headers.get(CORRELATION_ID) {
            headers.entry(CORRELATION_ID).or_insert_with(|| own.clone());
        }
        if let Some(note) = note.and_then(|note| HeaderValue::try_from(note).ok()) {
            headers.insert(NOTE, note);
        }
        response.into_response()
    }
}
