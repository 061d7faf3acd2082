//! Talking to servers. A line is connected first (name, TCP, proxy, TLS), and one request goes out on it later: between
//! the two the intent is made durable (law 4). Nothing retries, nothing follows a redirect.
//!
//! This stands on hyper's connection, one floor below the usual clients, because those decide for themselves when to
//! connect and when to send again.
//!
//! | module | what it does |
//! |---|---|
//! | `mod.rs` | [`TokenEndpoint`], and the real one: [`Http`] |
//! | `connect` | name, `--resolve`, proxy, TCP, TLS |
//! | `certificate` | names the certificate that was refused |
//! | `body` | reads an answer's body, bounded, and undoes its content coding |
//! | `upstream` | API hosts that are called again and again: [`Upstream`] |
//! | [`api`] | a request to the API behind a grant |
//! | `errand` | metadata, keys, revocation: one request beside the token grants |
//! | `post` | a message to somebody who is told something |

pub mod api;
mod body;
mod certificate;
mod connect;
mod errand;
mod post;
mod upstream;

pub use api::{ApiRequest, ApiResponse};
pub(crate) use certificate::failure as tls_failure;
pub use connect::{Options, OptionsError, Resolve};
pub(crate) use connect::{client_config, client_config_trusting_only, innermost};
pub use errand::Errand;

pub use post::Posted;

pub use upstream::{Failed, Upstream};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::response::Parts;
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use perennial_core::Origin;
use perennial_core::grant::{Form, TokenRequest};
use perennial_core::token_endpoint::{BodyEnd, Failure, NoAnswer, Reply, Unreachable};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use zeroize::Zeroizing;

/// A future that can be stored and sent.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The header in which Concur names a request; a client may send its own.
pub const CORRELATION_ID: &str = "concur-correlationid";

/// How a server introduces us in its logs.
pub const AGENT: &str = concat!("perennial/", env!("CARGO_PKG_VERSION"));

/// Where tokens come from.
pub trait TokenEndpoint: Send + Sync + 'static {
    /// Does everything that comes before the request itself, so that nothing is left to fail but the request.
    fn connect<'a>(&'a self, base: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>>;

    /// Sends one request beside the token grants. An endpoint that knows only these reaches nobody.
    fn run(&self, errand: Errand) -> BoxFuture<'_, Result<Reply, Failure>> {
        drop(errand);
        Box::pin(async { Err(Failure::Unreachable(Unreachable::TimedOut)) })
    }
}

/// A connection on which nothing has been sent yet.
pub trait Line: Send {
    /// Sends one request, once, and waits for its answer at most `patience`.
    fn ask(
        self: Box<Self>,
        question: Question,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Reply, NoAnswer>>;
}

/// A token request.
#[derive(Clone, Debug)]
pub struct Question {
    /// The endpoint's path, and its query where it has one.
    pub path: String,
    /// The body, and the Authorization header where it has one.
    pub request: TokenRequest,
    /// What SAP's support will ask for if all goes wrong.
    pub correlation_id: String,
}

/// The real thing: HTTP/1.1 over TLS.
#[derive(Debug)]
pub struct Http {
    connector: connect::Connector,
}

impl Http {
    /// Takes the options; nothing is loaded or connected before the first connection.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { connector: connect::Connector::new(options) }
    }
}

impl TokenEndpoint for Http {
    fn connect<'a>(&'a self, base: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        Box::pin(async move {
            let sender = self.connector.connect(base).await?;
            Ok(Box::new(Wire { sender, host: base.authority() }) as Box<dyn Line>)
        })
    }

    fn run(&self, errand: Errand) -> BoxFuture<'_, Result<Reply, Failure>> {
        self.run_errand(errand)
    }
}

/// A connected line.
struct Wire {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Line for Wire {
    fn ask(
        mut self: Box<Self>,
        question: Question,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        Box::pin(async move {
            let ended = |error: &dyn std::error::Error| NoAnswer::Reset(connect::innermost(error));
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(question.path)
                .header(HOST, &self.host)
                .header(CONTENT_TYPE, Form::CONTENT_TYPE)
                .header(ACCEPT, "application/json")
                .header(USER_AGENT, AGENT)
                .header(CORRELATION_ID, &question.correlation_id);
            if let Some(authorization) = &question.request.authorization {
                let mut value =
                    HeaderValue::from_str(authorization.expose()).map_err(|error| ended(&error))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            let body = Bytes::copy_from_slice(question.request.form.expose());
            let request = request.body(Full::new(body)).map_err(|error| ended(&error))?;
            let answered = async {
                let response = self.sender.send_request(request).await.map_err(|error| ended(&error))?;
                let (head, incoming) = response.into_parts();
                Ok((head, incoming))
            };
            let started = tokio::time::Instant::now();
            let (head, incoming) =
                tokio::time::timeout(patience, answered).await.map_err(|_| NoAnswer::TimedOut)??;
            let left = patience.saturating_sub(started.elapsed());
            let (body, end) = body::read(&head.headers, incoming, left).await;
            Ok(reply(&head, body, end))
        })
    }
}

/// What is kept of an answer.
fn reply(head: &Parts, body: Zeroizing<Vec<u8>>, end: BodyEnd) -> Reply {
    Reply {
        status: head.status.as_u16(),
        retry_after: header(&head.headers, "retry-after"),
        date: header(&head.headers, "date"),
        correlation_id: header(&head.headers, CORRELATION_ID),
        body,
        end,
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(perennial_core::token_endpoint::plain(value))
}
