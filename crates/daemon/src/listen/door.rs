//! One connection: each of its requests is looked at here first. A token that stands in memory is handed out at once,
//! without a future, a route or a box; everything else goes to the router.

use super::Answer;
use crate::access::{Caller, From, Memory};
use crate::api;
use crate::config::Right;
use crate::hot::Written;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use perennial::core::UnixTime;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// In which whoever could use a store by itself says which one it means.
const MEANT_STORE: &str = "perennial-store";

pub(crate) struct Door {
    shared: Arc<Shared>,
    router: Router,
    from: From,
    memory: Mutex<Memory>,
}

/// An answer that is there, or one that is being made.
pub(crate) enum Answering {
    Ready(Ready<Result<Response<Answer>, Infallible>>),
    Made(Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(answer) => Pin::new(answer).poll(cx),
            Self::Made(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl Door {
    pub(super) fn new(shared: Arc<Shared>, router: Router, from: From) -> Self {
        Self { shared, router, from, memory: Mutex::default() }
    }

    /// Who asks; nobody where the path is open to everybody or looks at its caller itself.
    fn caller(&self, request: &Request<Incoming>, now: UnixTime) -> Result<Option<Arc<Caller>>, Problem> {
        let headers = request.headers();
        // Nobody else wants it: a connection's requests come one after the other.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.doorman.check_address(&self.from, headers, &mut memory)?;
        if let From::Unix { .. } = self.from
            && let Some(meant) = headers.get(MEANT_STORE)
            && meant.as_bytes() != self.shared.keeper.store().address().as_bytes()
        {
            return Err(Problem::other_store());
        }
        if api::is_open(request.uri().path()) {
            return Ok(None);
        }
        let caller = self.shared.doorman.caller(&self.from, headers, &mut memory, now)?;
        caller.note_use(now);
        Ok(Some(caller))
    }

    /// The plainest request there is, and what is asked most: a token that stands in memory.
    fn at_hand(
        &self,
        request: &Request<Incoming>,
        caller: &Caller,
        now: UnixTime,
    ) -> Option<Response<Answer>> {
        let name = token_path(request.uri().path())?;
        let min_ttl = api::token::plain_min_ttl(request.uri().query())?;
        if request.method() != Method::GET || caller.check(Right::Token, name).is_err() {
            return None;
        }
        let entry = self.shared.at_hand(name, min_ttl, now)?;
        let Written { etag, body } = entry.answer(now);
        let known = request.headers().get(IF_NONE_MATCH) == Some(&etag);
        let mut response = Response::new(Answer::Whole((!known).then_some(body)));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ETAG, etag);
        Some(response)
    }
}

/// The connection's name in `/v1/connections/{name}/token`, where nothing in it is escaped.
fn token_path(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/v1/connections/")?.strip_suffix("/token")?;
    (!name.contains(['/', '%'])).then_some(name)
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        let now = self.shared.keeper.now();
        let caller = match self.caller(&request, now) {
            Ok(caller) => caller,
            Err(problem) => {
                self.shared.tally.strangers.add();
                self.shared.tally.answered(problem.status);
                return Answering::Ready(ready(Ok(problem.into_response().map(Answer::Other))));
            }
        };
        if let Some(caller) = caller {
            if let Some(response) = self.at_hand(&request, &caller, now) {
                self.shared.tally.answered(response.status().as_u16());
                return Answering::Ready(ready(Ok(response)));
            }
            request.extensions_mut().insert(caller);
        }
        request.extensions_mut().insert(self.from.clone());
        let (shared, mut router) = (Arc::clone(&self.shared), self.router.clone());
        Answering::Made(Box::pin(async move {
            let answer = api::answer(&shared, &mut router, request.map(Body::new)).await;
            shared.tally.answered(answer.status().as_u16());
            Ok(answer.map(Answer::Other))
        }))
    }
}
