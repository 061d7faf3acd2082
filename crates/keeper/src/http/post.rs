//! A body sent to somebody who is told something: no bearer, no retry, no redirect, and nothing of the answer but its
//! status and the pause that it asks for.

use super::api::ApiError;
use super::{AGENT, Http};
use bytes::Bytes;
use http::header::{HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use perennial_core::Origin;
use perennial_core::token_endpoint::NoAnswer;
use std::time::Duration;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The HTTP status.
    pub status: StatusCode,
    /// How long the receiver asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Http {
    /// Posts `body` to `path` (with its query) at `base`. `patience` bounds the wait for the answer's head; its body is
    /// not read. The path may be a secret: it stands in no error.
    ///
    /// # Errors
    /// When no answer came; any status is an answer.
    pub async fn post(
        &self,
        base: &Origin,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<Posted, ApiError> {
        let unfit = || ApiError::Request("its path does not fit into a request".to_owned());
        let mut sent =
            Request::builder().method(Method::POST).uri(path).body(Full::new(body)).map_err(|_| unfit())?;
        *sent.headers_mut() = headers.clone();
        sent.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        sent.headers_mut().insert(HOST, HeaderValue::try_from(base.authority()).map_err(|_| unfit())?);

        let mut sender = self.connector.connect(base).await.map_err(ApiError::Unreachable)?;
        let answered = tokio::time::timeout(patience, sender.send_request(sent)).await;
        let response = answered
            .map_err(|_| ApiError::NoAnswer(NoAnswer::TimedOut))?
            .map_err(|error| ApiError::NoAnswer(NoAnswer::Reset(super::connect::innermost(&error))))?;
        Ok(Posted { status: response.status(), retry_after: pause(response.headers()) })
    }
}

/// The seconds of RFC 9110 section 10.2.3; a date is left alone, as receivers of messages do not send one.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
