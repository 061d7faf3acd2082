//! Why there is no answer, as RFC 9457 writes it, with what a person or program can do about it: our verdict, the
//! provider's code, the correlation id that its support asks for, and the next step.

use crate::config::Right;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use perennial::Error;
use perennial::core::Verdict;
use perennial::core::connection::Blocked;
use perennial::store::StoreError;
use serde::Serialize;
use std::time::Duration;

/// What is told of an error of the keeper. Who builds the daemon knows best which commands put it right.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub next: Option<String>,
    /// The keeper's verdict.
    pub verdict: Option<&'static str>,
    /// The provider's code.
    pub code: Option<u32>,
    /// What the provider's support asks for.
    pub correlation_id: Option<String>,
    /// True where a person must act and waiting is of no use.
    pub needs_a_person: bool,
}

/// Says what to do about an error of the keeper with this connection.
pub type Advise = dyn Fn(&Error, &str) -> Advice + Send + Sync;

/// Advice in the error's own words.
#[must_use]
pub fn plain_advice(error: &Error, _: &str) -> Advice {
    let needs_a_person = match error {
        Error::Blocked { blocked, .. } => !matches!(blocked, Blocked::Until(_)),
        Error::Failed { fault, retry_at, .. } => retry_at.is_none() && fault.verdict != Verdict::Unknown,
        Error::NotPermitted { .. } | Error::OtherPrincipal { .. } | Error::OtherCompany { .. } => true,
        Error::NoRequestToken | Error::RequestTokenUsedUp { .. } | Error::RescueClosed { .. } => true,
        Error::SignInNeeded | Error::Unbelieved(_) | Error::PrivateKey(_) | Error::NoEndpoint(_) => true,
        Error::OtherConnection | Error::SignInFailed(_) => true,
        Error::Errand { status, .. } => is_refusal(*status),
        _ => false,
    };
    Advice { message: error.to_string(), needs_a_person, ..Advice::default() }
}

/// True when a server has judged, and says the same again to whoever asks the same again.
fn is_refusal(status: Option<u16>) -> bool {
    status.is_some_and(|status| (400..500).contains(&status) && status != 429)
}

/// What a path may answer with instead of what it is there for.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it describes answers for OpenAPI; they are made of the problem itself")]
pub(crate) enum Problems {
    /// Why not.
    #[response(status = "4XX", content_type = "application/problem+json")]
    OfTheCaller(Problem),
    /// Why not now.
    #[response(status = "5XX", content_type = "application/problem+json")]
    OfTheDaemon(Problem),
}

/// Why there is no answer (RFC 9457).
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Names the kind of problem: a path below this daemon's documentation.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The kind, in words.
    pub(crate) title: &'static str,
    /// What is wrong this time.
    pub(crate) detail: String,
    /// The connection that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<String>,
    /// What the keeper makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<&'static str>,
    /// The provider's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<u32>,
    /// What the provider's support asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// What the daemon's log calls this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    /// How many seconds to wait before another try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<u64>,
    #[serde(skip)]
    challenge: bool,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status: status.as_u16(),
            kind,
            title,
            detail: detail.into(),
            connection: None,
            verdict: None,
            code: None,
            correlation_id: None,
            next: None,
            trace_id: None,
            retry_after: None,
            challenge: false,
        }
    }

    /// The same, with what to do about it.
    pub(crate) fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// The same, not before this time.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait.as_secs().max(1)), ..self }
    }

    /// The same, of a connection and a request to its API.
    pub(crate) fn about(self, connection: &str, correlation_id: &str) -> Self {
        let correlation_id = Some(correlation_id.to_owned());
        Self { connection: Some(connection.to_owned()), correlation_id, ..self }
    }

    /// What the keeper said of a connection.
    pub(crate) fn of_keeper(error: &Error, connection: &str, advise: &Advise) -> Self {
        if let Error::Store(store) = error
            && matches!(**store, StoreError::NoSuchConnection { .. })
        {
            // Whoever asks from afar is not told where the store lies.
            return Self::no_such_connection(connection);
        }
        let advice = advise(error, connection);
        let (status, kind, title) = kind_of(error, advice.needs_a_person);
        let (code, correlation_id) = said(error);
        Self {
            connection: Some(connection.to_owned()),
            verdict: advice.verdict,
            code: advice.code.or(code),
            correlation_id: advice.correlation_id.or(correlation_id),
            next: advice.next.or_else(|| next_step(error, connection)),
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
            ..Self::new(status, kind, title, advice.message)
        }
    }

    /// A task of the daemon's own ended without a word.
    pub(crate) fn ended() -> Self {
        let title = "the daemon could not go on";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", title, "a task ended")
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "/problems/bad-request",
            "the request cannot be understood",
            detail,
        )
    }

    pub(crate) fn no_such_connection(name: &str) -> Self {
        let detail =
            format!("there is no connection named \"{}\"", perennial::core::token_endpoint::plain(name));
        let title = "there is no such connection";
        Self::new(StatusCode::NOT_FOUND, "/problems/no-such-connection", title, detail)
            .next("those that you may use: GET /v1/connections")
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "/problems/no-such-path",
            "there is nothing at this path",
            "nothing is here",
        )
        .next("what there is: GET /openapi.json")
    }

    pub(crate) fn no_such_method() -> Self {
        let title = "this path does not take this method";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "/problems/no-such-method",
            title,
            "another method is asked for",
        )
        .next("which ones it takes: GET /openapi.json")
    }

    pub(crate) fn no_key() -> Self {
        let detail = "the request shows no client key";
        Self {
            challenge: true,
            ..Self::new(StatusCode::UNAUTHORIZED, "/problems/no-key", "a client key is needed", detail)
        }
        .next("show it as Authorization: Bearer KEY; an administrator makes one: perennial client add NAME")
    }

    pub(crate) fn wrong_key() -> Self {
        let detail = "the client key is unknown, revoked or past its time";
        Self {
            challenge: true,
            ..Self::new(StatusCode::UNAUTHORIZED, "/problems/wrong-key", "the client key is no good", detail)
        }
        .next("an administrator sees the keys that are good: perennial client list")
    }

    pub(crate) fn stranger(uid: u32) -> Self {
        let detail = format!("user {uid} may do nothing here");
        Self::new(StatusCode::FORBIDDEN, "/problems/stranger", "this user is not known here", detail)
            .next("an administrator lets users in: [[access.peer]] in the configuration")
    }

    pub(crate) fn failed_too_often(wait: Duration) -> Self {
        let detail = "too many requests of this address have shown no good client key";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "/problems/failed-too-often",
            "turned away for a while",
            detail,
        )
        .after(wait)
    }

    pub(crate) fn no_right(right: Right) -> Self {
        let right = match right {
            Right::Token => "token",
            Right::Proxy => "proxy",
            Right::Admin => "admin",
        };
        let detail = format!("this needs the right \"{right}\"");
        Self::new(StatusCode::FORBIDDEN, "/problems/no-right", "the client may not do this", detail).next(
            format!("an administrator makes a key with that right: perennial client add NAME --may {right}"),
        )
    }

    pub(crate) fn not_addressed() -> Self {
        let detail = "the Host header names somebody else";
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "/problems/not-addressed",
            "this is not the host that was called",
            detail,
        )
        .next("an administrator adds the name: hosts under [listen] in the configuration")
    }

    pub(crate) fn other_store() -> Self {
        let detail = "this daemon serves another store than the one that is meant";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "/problems/other-store", "another store is meant", detail)
    }

    pub(crate) fn foreign_page() -> Self {
        let detail = "the request comes from a web page that is not known here";
        Self::new(StatusCode::FORBIDDEN, "/problems/foreign-page", "this page may not call", detail)
            .next("an administrator adds its origin: origins under [listen] in the configuration")
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "/problems/too-large", "the body is too large", detail)
    }

    pub(crate) fn too_slow() -> Self {
        let title = "the request took too long to arrive";
        Self::new(StatusCode::REQUEST_TIMEOUT, "/problems/too-slow", title, "the body was not there in time")
    }

    pub(crate) fn no_token_in_time(connection: &str) -> Self {
        let detail = "no token in time; the refresh goes on";
        let problem =
            Self::new(StatusCode::GATEWAY_TIMEOUT, "/problems/no-token-in-time", "no token in time", detail);
        Self { connection: Some(connection.to_owned()), ..problem }
            .after(Duration::from_secs(5))
            .next("ask again")
    }

    pub(crate) fn is_draining() -> Self {
        let title = "the daemon is about to end";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "/problems/draining", title, "ask another one, or again")
            .after(Duration::from_secs(5))
    }
}

/// What to do about an error of which whoever builds the daemon says nothing.
fn next_step(error: &Error, connection: &str) -> Option<String> {
    let api = |what: &str, path: &str| Some(format!("{what}: POST /v1/connections/{connection}/{path}"));
    match error {
        Error::SignInNeeded => api("begin a sign-in", "sign-in"),
        Error::Unbelieved(_) => api("check client id and issuer, then begin a sign-in", "sign-in"),
        Error::PrivateKey(_) => api("give the key as client_secret", "reauthorize"),
        Error::NoEndpoint("introspection") => Some("nothing is wrong with the grant for that".to_owned()),
        Error::NoEndpoint("revocation") => {
            Some("have the server's administrator end the grant, then remove the connection".to_owned())
        }
        Error::NoEndpoint(_) => Some("have a person sign in in another way".to_owned()),
        _ => None,
    }
}

/// What a server said of a request beside the token grants.
fn said(error: &Error) -> (Option<u32>, Option<String>) {
    match error {
        Error::Errand { code, correlation_id, .. } => (*code, correlation_id.clone()),
        _ => (None, None),
    }
}

fn kind_of(error: &Error, needs_a_person: bool) -> (StatusCode, &'static str, &'static str) {
    match error {
        Error::Store(error) => match error.as_ref() {
            StoreError::NameTaken { .. } => {
                (StatusCode::CONFLICT, "/problems/name-taken", "the name is taken")
            }
            StoreError::OtherSecret => {
                (StatusCode::CONFLICT, "/problems/other-secret", "the app has another client secret")
            }
            StoreError::BadName { .. } => (StatusCode::BAD_REQUEST, "/problems/bad-name", "this is no name"),
            StoreError::Fixed { .. } => {
                (StatusCode::CONFLICT, "/problems/fixed", "the store does not do this")
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, "/problems/store", "the store cannot be used now"),
        },
        Error::Unreachable { .. } | Error::ServerFails { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "/problems/server-fails",
            "the authorization server cannot be used now",
        ),
        Error::Busy | Error::Deadline => {
            (StatusCode::GATEWAY_TIMEOUT, "/problems/no-token-in-time", "no token in time")
        }
        Error::Internal(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", "the daemon could not go on")
        }
        Error::Errand { status, .. } if is_refusal(*status) => {
            (StatusCode::CONFLICT, "/problems/server-refuses", "the authorization server refuses")
        }
        Error::Errand { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "/problems/server-fails",
            "the authorization server cannot be used now",
        ),
        Error::NoEndpoint(_) => {
            (StatusCode::CONFLICT, "/problems/no-endpoint", "the authorization server does not offer this")
        }
        Error::SignInNeeded => (StatusCode::CONFLICT, "/problems/sign-in-needed", "a person must sign in"),
        Error::SignInFailed(_) => {
            (StatusCode::CONFLICT, "/problems/sign-in-failed", "the sign-in came to nothing")
        }
        Error::Pending { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "/problems/sign-in-pending", "nobody has signed in yet")
        }
        Error::Unbelieved(_) => {
            (StatusCode::CONFLICT, "/problems/unbelieved", "the server's answer is not believed")
        }
        Error::PrivateKey(_) => {
            (StatusCode::CONFLICT, "/problems/private-key", "the client's private key is of no use")
        }
        Error::OtherConnection => {
            (StatusCode::CONFLICT, "/problems/other-connection", "another connection has the name by now")
        }
        _ if needs_a_person => (StatusCode::CONFLICT, "/problems/person-needed", "a person must act"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "/problems/try-later", "no token can be had now"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"perennial\""));
        }
        response
    }
}
