//! API calls for programs that never see a token: the request goes to the connection's geolocation with the bearer set,
//! and what comes back streams through. A token that the API rejects is renewed once, and the request sent once more
//! where all of it was kept.
//!
//! | file | what it does | law |
//! |---|---|---|
//! | `mod.rs` | one call | 10, 12 |
//! | `target` | which path is meant; what tries to be another one is refused | 10 |
//! | `headers` | what goes along, and what does not | 10 |
//! | `body` | what streams, is waited for, and is kept as it goes by | |

mod body;
mod headers;
mod target;

use crate::access::Caller;
use crate::api::Trace;
use crate::config::Right;
use crate::hot::Entry;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use body::Copied;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use perennial::core::Origin;
use perennial::core::profile::Purpose;
use perennial::core::schedule::DEFAULT_MIN_TTL;
use perennial::core::token_endpoint::NoAnswer;
use perennial::http::api::ApiError;
use perennial::http::{self as wire, CORRELATION_ID, Upstream};
use perennial::{Error, HandOut};
use quick_cache::sync::Cache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says why a request that was rejected was not sent again.
const NOTE: &str = "perennial-note";

/// What forwarding needs.
pub(crate) struct Proxy {
    upstream: Upstream<Body>,
    /// Where each connection's token may go, as far as that has been looked up.
    permitted: Cache<String, Origin>,
}

impl Proxy {
    pub(crate) fn new(http: wire::Options, idle_connections: usize, resident: usize) -> Self {
        Self { upstream: Upstream::new(http, idle_connections), permitted: Cache::new(resident) }
    }
}

/// Call the API through the daemon
///
/// Any method. What the API answers comes back as it is, but for what belongs to one connection; a problem of the daemon's
/// own is told as such.
#[utoipa::path(
    method(get, post, put, patch, delete), path = "/v1/connections/{name}/proxy/{path}", tag = "proxy",
    params(
        ("name" = String, Path, description = "The connection"),
        (
            "path" = String, Path, description = "The path at its geolocation",
            pattern = r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$"
        ),
    ),
    responses((status = "default", description = "What the API answers"), Problems)
)]
#[expect(dead_code, reason = "it describes the route for OpenAPI, which has no path of several segments")]
async fn described() {}

/// What is forwarded: neither CONNECT, which is a tunnel, nor TRACE, whose answer would show the bearer.
pub(crate) fn route() -> MethodRouter<Arc<Shared>> {
    use MethodFilter as Method;
    let reads = Method::GET.or(Method::HEAD).or(Method::OPTIONS);
    on(reads.or(Method::POST).or(Method::PUT).or(Method::PATCH).or(Method::DELETE), forward)
}

/// Forwards a request.
async fn forward(
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
    check_kind(&request)?;
    check_limits(&caller, &request, &path)?;
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

/// Refuses what is no plain request and answer.
fn check_kind(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let refused = if headers::asks_for_another_protocol(headers) {
        "upgrades are not forwarded"
    } else if headers::is_coded_for_transfer(headers) {
        "of all transfer codings, only chunked is forwarded"
    } else {
        return Ok(());
    };
    let title = "this is not forwarded";
    Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "/problems/not-forwarded", title, refused))
}

/// Refuses what the caller may not send. Whoever may send some methods only says one of them, and not two.
fn check_limits(caller: &Caller, request: &Request, path: &str) -> Result<(), Problem> {
    let method = request.method();
    let says_two = !caller.forward.is_empty() && headers::says_another_method(request.headers());
    if caller.may_forward(method.as_str(), path) && !says_two {
        return Ok(());
    }
    let title = "this request may not be forwarded";
    let detail = if says_two {
        "the client may not say another method in a header".to_owned()
    } else {
        format!("the client may not send {method} to this path")
    };
    Err(Problem::new(StatusCode::FORBIDDEN, "/problems/not-forwardable", title, detail).next(
        "an administrator says which ones: perennial client add NAME --may proxy --forward 'METHOD PATH'",
    ))
}

/// A call that is to be made.
struct Call<'a> {
    shared: &'a Arc<Shared>,
    name: String,
    head: http::request::Parts,
    body: Mutex<Sent>,
}

/// A request's body.
enum Sent {
    /// At hand whole: it can be sent again.
    Whole(Bytes),
    /// It streams, once; where it is little, there is a copy in the end.
    Streaming(Option<Body>, Copied),
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
        let room = config.proxy.replayable.0;
        let fits = body.size_hint().upper().is_some_and(|size| size <= room as u64);
        let body = if fits {
            let whole = tokio::time::timeout(config.limits.slow_client.0, body.collect()).await;
            let whole = whole.map_err(|_| Problem::too_slow())?;
            Sent::Whole(whole.map_err(|_| Problem::bad_request("the body was cut off"))?.to_bytes())
        } else {
            let (body, copy) = body::copied(body, config.limits.idle.0, room);
            Sent::Streaming(Some(body), copy)
        };
        Ok(Self { shared, name, head, body: Mutex::new(body) })
    }

    fn correlation_id(&self) -> &str {
        self.head.headers.get(CORRELATION_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
    }

    async fn carry_out(&self) -> Result<Response, Problem> {
        let patience = self.shared.config().limits.patience.0;
        let entry = self.shared.token(&self.name, DEFAULT_MIN_TTL, patience).await?;
        let first = self.send(&entry.hand_out).await?;
        if ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&first.status()) {
            return Ok(self.answer(first, None));
        }
        match self.another_token(&entry.hand_out, patience).await {
            Ok(entry) => {
                drop(first);
                self.shared.tally.sent_again.add();
                Ok(self.answer(self.send(&entry.hand_out).await?, None))
            }
            Err(why) => {
                self.shared.tally.not_sent_again.add();
                Ok(self.answer(first, Some(format!("not sent again: {why}"))))
            }
        }
    }

    /// The token that takes the place of one that the API rejected, where the request can be sent again; else why it is
    /// not. Whoever waits too long leaves; the refresh goes on.
    async fn another_token(&self, rejected: &HandOut, patience: Duration) -> Result<Arc<Entry>, String> {
        if !self.is_whole() {
            return Err("the body was not kept".to_owned());
        }
        let refresh = self.shared.keeper.rejected(&self.name, &rejected.access_token);
        match tokio::time::timeout(patience, refresh).await {
            Ok(Ok(newer)) => Ok(self.shared.hot.put(newer, self.shared.keeper.now())),
            Ok(Err(error)) => Err(format!("no new token: {error}")),
            Err(_) => Err("no new token in time".to_owned()),
        }
    }

    async fn send(&self, hand_out: &HandOut) -> Result<Response, Problem> {
        self.check_permitted(hand_out).await?;
        let mut request = Request::new(self.take_body());
        *request.method_mut() = self.head.method.clone();
        *request.uri_mut() = self.head.uri.clone();
        *request.headers_mut() = self.head.headers.clone();
        let patience = self.shared.config().proxy.patience.0;
        let bearer = (hand_out.token_type.as_str(), &hand_out.access_token);
        let sent = self.shared.proxy.upstream.send(&hand_out.base, request, bearer, patience).await;
        match sent {
            Ok(response) if is_plain(&response) => {
                Ok(response.map(|incoming| body::awaited(incoming, patience)))
            }
            Ok(_) => {
                let what = "it answered with what was not asked for".to_owned();
                Err(self.no_answer(ApiError::NoAnswer(NoAnswer::Reset(what)), &hand_out.base))
            }
            Err(_) if self.is_silent() => Err(Problem::too_slow()),
            Err(error) => Err(self.no_answer(error, &hand_out.base)),
        }
    }

    /// True when the body is at hand whole.
    fn is_whole(&self) -> bool {
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        if let Sent::Streaming(_, copy) = &*body
            && let Some(bytes) = copy.whole()
        {
            *body = Sent::Whole(bytes);
        }
        matches!(&*body, Sent::Whole(_))
    }

    /// True when the caller has stopped to send its body.
    fn is_silent(&self) -> bool {
        match &*self.body.lock().unwrap_or_else(PoisonError::into_inner) {
            Sent::Whole(_) => false,
            Sent::Streaming(_, copy) => copy.is_silent(),
        }
    }

    fn take_body(&self) -> Body {
        match &mut *self.body.lock().unwrap_or_else(PoisonError::into_inner) {
            Sent::Whole(bytes) => Body::from(bytes.clone()),
            Sent::Streaming(body, _) => body.take().unwrap_or_default(),
        }
    }

    /// Law 10: a token goes nowhere but where its connection permits.
    async fn check_permitted(&self, hand_out: &HandOut) -> Result<(), Problem> {
        let (id, base) = (&hand_out.id, &hand_out.base);
        let permitted = &self.shared.proxy.permitted;
        if permitted.get(id).is_some_and(|known| known == *base) {
            return Ok(());
        }
        let (shared, name) = (Arc::clone(self.shared), self.name.clone());
        let looked = tokio::task::spawn_blocking(move || shared.keeper.connection(&name)).await;
        let looked =
            looked.unwrap_or_else(|_| Err(Error::Internal("a look into the store ended".to_owned())));
        let connection = looked.map_err(|error| self.shared.problem(&error, &self.name))?;
        // The name may have become another connection's since the token was taken.
        if connection.id != *id || !connection.permits(base) {
            let error = Error::NotPermitted { origin: base.clone(), purpose: Purpose::Refresh };
            return Err(self.shared.problem(&error, &self.name));
        }
        permitted.insert(id.clone(), base.clone());
        Ok(())
    }

    fn no_answer(&self, error: ApiError, base: &Origin) -> Problem {
        let carried_out = "the API may have carried it out: look before you repeat it";
        let (status, kind, title, detail, next) = match error {
            ApiError::Unreachable(why) => (
                StatusCode::BAD_GATEWAY,
                "/problems/api-unreachable",
                "the API cannot be reached",
                Error::Unreachable { base: base.clone(), why }.to_string(),
                "it was not sent; ask again",
            ),
            ApiError::NoAnswer(NoAnswer::TimedOut) => (
                StatusCode::GATEWAY_TIMEOUT,
                "/problems/api-silent",
                "the API did not answer in time",
                format!("{base}: no answer in time"),
                carried_out,
            ),
            ApiError::NoAnswer(NoAnswer::Reset(detail)) => (
                StatusCode::BAD_GATEWAY,
                "/problems/api-cut",
                "the API did not answer",
                format!("{base}: {detail}"),
                carried_out,
            ),
            ApiError::Request(detail) => return Problem::bad_request(detail),
        };
        tracing::info!(
            connection = self.name,
            correlation_id = self.correlation_id(),
            reason = detail,
            "{title}"
        );
        let problem = Problem::new(status, kind, title, detail).next(next);
        problem.about(&self.name, self.correlation_id())
    }

    fn answer(&self, mut response: Response, note: Option<String>) -> Response {
        // The version is one of the other connection.
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        headers::from_the_api(headers);
        if let Some(own) = self.head.headers.get(CORRELATION_ID) {
            headers.entry(CORRELATION_ID).or_insert_with(|| own.clone());
        }
        if let Some(note) = note.and_then(|note| HeaderValue::try_from(note).ok()) {
            headers.insert(NOTE, note);
        }
        response
    }
}

/// False for an answer after which something else than HTTP is spoken, or whose body cannot be passed on as it is.
fn is_plain<B>(response: &http::Response<B>) -> bool {
    response.status() != StatusCode::SWITCHING_PROTOCOLS
        && !headers::is_coded_for_transfer(response.headers())
}
