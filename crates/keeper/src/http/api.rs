//! A request to the API behind a grant: sent once, its body streamed to whoever asked.

use super::{AGENT, CORRELATION_ID, Http};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use perennial_core::token_endpoint::{NoAnswer, Unreachable};
use perennial_core::{AccessToken, Origin};
use std::time::Duration;

/// What to ask the API.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// The HTTP method.
    pub method: Method,
    /// Path and query, from the leading slash on.
    pub path: String,
    /// Headers beside those that are set here (Host, Authorization, User-Agent, correlation id).
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What the API said.
#[derive(Debug)]
pub struct ApiResponse {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
}

impl ApiResponse {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection ended before the body did.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NoAnswer> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| NoAnswer::Reset(super::connect::innermost(&error)))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Why the API did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No connection came about.
    #[error("no connection")]
    Unreachable(Unreachable),
    /// The request went out, and no answer came.
    #[error("no answer")]
    NoAnswer(NoAnswer),
    /// The request could not be put into HTTP.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

impl Http {
    /// Calls the API at `base` with the access token as its bearer (RFC 6750 section 2.1). `patience` bounds the wait
    /// for the answer's head; the body may take as long as it takes.
    ///
    /// # Errors
    /// When no answer came; any status is an answer.
    pub async fn call(
        &self,
        base: &Origin,
        request: &ApiRequest,
        (token_type, token): (&str, &AccessToken),
        correlation_id: &str,
        patience: Duration,
    ) -> Result<ApiResponse, ApiError> {
        let unfit = |error: &dyn std::fmt::Display| ApiError::Request(error.to_string());
        let mut bearer = HeaderValue::try_from(format!("{token_type} {}", token.expose()))
            .map_err(|_| unfit(&"the access token does not fit into a header"))?;
        bearer.set_sensitive(true);
        let mut sent = Request::builder()
            .method(&request.method)
            .uri(&request.path)
            .body(Full::new(request.body.clone()))
            .map_err(|error| unfit(&error))?;
        let headers = sent.headers_mut();
        *headers = request.headers.clone();
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        if let Ok(id) = HeaderValue::try_from(correlation_id) {
            headers.entry(CORRELATION_ID).or_insert(id);
        }
        headers.insert(HOST, HeaderValue::try_from(base.authority()).map_err(|error| unfit(&error))?);
        headers.insert(AUTHORIZATION, bearer);

        let mut sender = self.connector.connect(base).await.map_err(ApiError::Unreachable)?;
        let answered = tokio::time::timeout(patience, sender.send_request(sent)).await;
        let response = answered
            .map_err(|_| ApiError::NoAnswer(NoAnswer::TimedOut))?
            .map_err(|error| ApiError::NoAnswer(NoAnswer::Reset(super::connect::innermost(&error))))?;
        let (head, body) = response.into_parts();
        Ok(ApiResponse { status: head.status, headers: head.headers, body })
    }
}
