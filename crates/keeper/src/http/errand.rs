//! A request beside the token grants: metadata, keys, revocation, introspection, the beginning of a sign-in on another
//! device. It is sent once, follows no redirect, and its answer is bounded.

use super::{AGENT, BoxFuture, CORRELATION_ID, Http, body, connect};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use perennial_core::grant::{Form, TokenRequest};
use perennial_core::secret::Credential;
use perennial_core::server::Endpoint;
use perennial_core::token_endpoint::{Failure, NoAnswer, Reply};
use std::time::Duration;

/// How long an errand may take: it is nothing that a grant depends on.
pub(crate) const ERRAND_WITHIN: Duration = Duration::from_secs(20);

/// What is asked.
#[derive(Clone, Debug)]
pub struct Errand {
    /// GET, POST or DELETE.
    pub method: Method,
    /// Where.
    pub to: Endpoint,
    /// The body.
    pub form: Option<Form>,
    /// The whole value of the Authorization header.
    pub authorization: Option<Credential>,
    /// What a server's support asks for.
    pub correlation_id: String,
}

impl Errand {
    /// Asks for a document, with no secret.
    #[must_use]
    pub fn get(from: Endpoint) -> Self {
        let correlation_id = crate::random::id();
        Self { method: Method::GET, to: from, form: None, authorization: None, correlation_id }
    }
}

impl Errand {
    /// Sends a form of an authenticated client.
    #[must_use]
    pub fn post(to: Endpoint, request: TokenRequest) -> Self {
        let TokenRequest { form, authorization } = request;
        let correlation_id = crate::random::id();
        Self { method: Method::POST, to, form: Some(form), authorization, correlation_id }
    }
}

impl Http {
    pub(super) fn run_errand(&self, errand: Errand) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(async move {
            let base = errand.to.origin();
            let mut sender = self.connector.connect(base).await.map_err(Failure::Unreachable)?;
            let request = request(&errand).map_err(Failure::NoAnswer)?;
            let answered = tokio::time::timeout(ERRAND_WITHIN, sender.send_request(request)).await;
            let response = answered
                .map_err(|_| Failure::NoAnswer(NoAnswer::TimedOut))?
                .map_err(|error| Failure::NoAnswer(NoAnswer::Reset(connect::innermost(&error))))?;
            let (head, incoming) = response.into_parts();
            let (body, end) = body::read(&head.headers, incoming, ERRAND_WITHIN).await;
            Ok(super::reply(&head, body, end))
        })
    }
}

fn request(errand: &Errand) -> Result<Request<Full<Bytes>>, NoAnswer> {
    let unfit = |error: &dyn std::error::Error| NoAnswer::Reset(connect::innermost(error));
    let mut request = Request::builder()
        .method(&errand.method)
        .uri(errand.to.path())
        .header(HOST, errand.to.origin().authority())
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, AGENT)
        .header(CORRELATION_ID, &errand.correlation_id);
    if errand.form.is_some() {
        request = request.header(CONTENT_TYPE, Form::CONTENT_TYPE);
    }
    if let Some(authorization) = &errand.authorization {
        let mut value = HeaderValue::from_str(authorization.expose()).map_err(|error| unfit(&error))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = errand.form.as_ref().map_or_else(Bytes::new, |form| Bytes::copy_from_slice(form.expose()));
    request.body(Full::new(body)).map_err(|error| unfit(&error))
}
