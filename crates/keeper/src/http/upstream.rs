//! API hosts that are called again and again: connections are kept open, and bodies stream both ways. What is sent is
//! sent once; only a request of which not a byte had gone out goes out on another connection.

use super::api::ApiError;
use super::connect::Connector;
use super::{BoxFuture, Options, connect};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use perennial_core::token_endpoint::{NoAnswer, Unreachable};
use perennial_core::{AccessToken, Origin};
use std::error::Error as StdError;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tower_service::Service;

/// A connection on which nothing is asked for this long is closed: servers close them by themselves after a minute.
const IDLE: Duration = Duration::from_secs(30);

/// Why a body could not be read.
pub type Failed = Box<dyn StdError + Send + Sync>;

/// A pool of connections to API hosts.
pub struct Upstream<B> {
    client: Client<Dial, Going<B>>,
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Failed>,
{
    /// Nothing is connected yet. So many connections to one host are kept while nothing is asked.
    #[must_use]
    pub fn new(options: Options, idle_connections: usize) -> Self {
        let dial = Dial(Arc::new(Connector::new(options)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle_connections)
            // Only one that comes back whole, its body untouched: the connection that it was to go out on had been closed
            // before hyper took it up. What hyper has begun to write never comes back.
            .retry_canceled_requests(true)
            .set_host(false)
            .build(dial);
        Self { client }
    }

    /// Sends a request to `base` with the access token as its bearer (RFC 6750 section 2.1), and returns when the head of
    /// the answer is there. The request's address is path and query alone. `patience` counts from the moment at which the
    /// server took the last piece of the request's body: a large one takes as long as it makes headway.
    ///
    /// # Errors
    /// When no answer came; any status is an answer.
    pub async fn send(
        &self,
        base: &Origin,
        mut request: Request<B>,
        (token_type, token): (&str, &AccessToken),
        patience: Duration,
    ) -> Result<Response<Incoming>, ApiError> {
        let unfit = |error: &dyn std::fmt::Display| ApiError::Request(error.to_string());
        let mut bearer = HeaderValue::try_from(format!("{token_type} {}", token.expose()))
            .map_err(|_| unfit(&"the access token does not fit into a header"))?;
        bearer.set_sensitive(true);
        let host = HeaderValue::try_from(base.authority()).map_err(|error| unfit(&error))?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let target = format!("{base}{path}").parse::<Uri>().map_err(|error| unfit(&error))?;
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(AUTHORIZATION, bearer);
        let headway = Arc::new(Headway(Mutex::new(Instant::now())));
        let request = request.map(|body| Going { body, headway: Arc::clone(&headway) });
        let mut answer = pin!(self.client.request(request));
        let mut until = headway.last() + patience;
        loop {
            match tokio::time::timeout_at(until, answer.as_mut()).await {
                Ok(answered) => return answered.map_err(|error| told(&error)),
                Err(_) if headway.last() + patience > until => until = headway.last() + patience,
                Err(_) => return Err(ApiError::NoAnswer(NoAnswer::TimedOut)),
            }
        }
    }
}

/// When the server took the last piece of a body.
struct Headway(Mutex<Instant>);

impl Headway {
    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on its way out. The next piece is asked for when there is room for it, so each one is headway.
struct Going<B> {
    body: B,
    headway: Arc<Headway>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Going<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            *self.headway.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A failure before the request went out names the step at which it happened.
fn told(error: &hyper_util::client::legacy::Error) -> ApiError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(NotConnected(why)) = current.downcast_ref() {
            return ApiError::Unreachable(why.clone());
        }
        cause = current.source();
    }
    ApiError::NoAnswer(NoAnswer::Reset(connect::innermost(error)))
}

/// No connection came about.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
struct NotConnected(Unreachable);

/// Connects as everything here does: name, `--resolve`, proxy, TCP, TLS.
#[derive(Clone)]
struct Dial(Arc<Connector>);

impl Service<Uri> for Dial {
    type Response = Dialled;
    type Error = NotConnected;
    type Future = BoxFuture<'static, Result<Dialled, NotConnected>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotConnected>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connector = Arc::clone(&self.0);
        Box::pin(async move {
            let base = Origin::parse(&target.to_string())
                .map_err(|error| NotConnected(Unreachable::Connect(error.to_string())))?;
            connector.stream(&base).await.map(Dialled).map_err(NotConnected)
        })
    }
}

/// A connected stream, with TLS or without.
struct Dialled(connect::Stream);

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Dialled {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            connect::Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            connect::Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl Write for Dialled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            connect::Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            connect::Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            connect::Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            connect::Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            connect::Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            connect::Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
