//! Access tokens: one, or many at once.

use super::{Asked, Body, Daemon, Query, Segment};
use crate::config::Right;
use crate::hot::{Entry, rfc3339};
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use perennial::core::AccessToken;
use perennial::core::schedule::DEFAULT_MIN_TTL;
use perennial::core::time::parse_duration;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// So many tokens may be asked for at once.
const MOST_AT_ONCE: usize = 1000;

/// The longest that anybody waits for a refresh.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What is asked of a token.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// The least time that the token must live yet: `60s`, `10m`.
    #[param(example = "60s", pattern = r"^([0-9]{1,9}|([0-9]{1,6}[smhd])+)$")]
    min_ttl: Option<String>,
    /// How long to wait for a refresh; it goes on when the wait is over.
    #[param(example = "10s", pattern = r"^([0-9]{1,9}|([0-9]{1,6}[smhd])+)$")]
    wait: Option<String>,
}

impl Wanted {
    fn read(&self, shared: &Shared) -> Result<(Duration, Duration), Problem> {
        let read = |name: &str, text: &Option<String>| match text {
            Some(text) => parse_duration(text)
                .map(Some)
                .map_err(|error| Problem::bad_request(format!("{name}: {error}"))),
            None => Ok(None),
        };
        let min_ttl = read("min_ttl", &self.min_ttl)?.unwrap_or(DEFAULT_MIN_TTL);
        let wait = read("wait", &self.wait)?.unwrap_or(shared.config().limits.patience.0);
        Ok((min_ttl, wait.min(LONGEST_WAIT)))
    }
}

/// `min_ttl` where the query is as plain as most: nothing, or nothing but it.
pub(crate) fn plain_min_ttl(query: Option<&str>) -> Option<i64> {
    let min_ttl = match query {
        None | Some("") => DEFAULT_MIN_TTL,
        Some(query) => {
            let text = query.strip_prefix("min_ttl=").filter(|text| !text.contains(['&', '%', '+']))?;
            parse_duration(text).ok()?
        }
    };
    i64::try_from(min_ttl.as_secs()).ok()
}

/// A valid access token.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Token {
    /// How many seconds it has left.
    #[schema(minimum = 0)]
    expires_in: i64,
    /// The token.
    access_token: String,
    /// `Bearer`, as a rule.
    token_type: String,
    /// When it ends (RFC 3339).
    #[schema(format = DateTime)]
    expires_at: String,
    /// What it may do.
    scope: Option<String>,
    /// Where it is good: the base of API calls.
    base_uri: String,
    /// The connection.
    connection: String,
    /// How many times the connection's tokens have been replaced.
    generation: u64,
}

/// Get an access token
///
/// It is valid for `min_ttl` at least: from memory, from the store, or by one refresh however many ask.
#[utoipa::path(
    get, path = "/v1/connections/{name}/token", tag = "tokens",
    params(("name" = String, Path, description = "The connection"), Wanted),
    responses(
        (status = 200, description = "A valid access token", body = Token, headers(("ETag" = String))),
        (status = 304, description = "The token that the caller has, by If-None-Match, is still the one"),
        Problems,
    )
)]
pub(crate) async fn token(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.check(Right::Token, &name)?;
    let (min_ttl, wait) = wanted.read(&shared)?;
    let entry = shared.token(&name, min_ttl, wait).await?;
    let mut response = if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == entry.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        entry.answer(shared.keeper.now()).body.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ETAG, entry.etag.clone());
    Ok(response)
}

/// The token that the API has rejected.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rejected {
    /// The access token.
    access_token: String,
}

/// Say that the API has rejected an access token
///
/// The one in force comes back if it is another by now, else one refresh is made, at most one in five minutes.
#[utoipa::path(
    post, path = "/v1/connections/{name}/rejected", tag = "tokens", request_body = Rejected,
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "Another access token", body = Token),
        Problems,
    )
)]
pub(crate) async fn rejected(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
    Body(rejected): Body<Rejected>,
) -> Result<Response, Problem> {
    caller.check(Right::Token, &name)?;
    let token = AccessToken::new(rejected.access_token);
    let newer = shared.keeper.rejected(&name, &token).await.map_err(|error| shared.problem(&error, &name))?;
    let entry = shared.hot.put(newer, shared.keeper.now());
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(Token::of(&entry, &shared)))
        .into_response())
}

/// Tokens of many connections.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyWanted {
    /// Their names.
    #[schema(max_items = 1000)]
    connections: Vec<String>,
    /// The least time that each token must live yet: `60s`, `10m`.
    #[schema(pattern = r"^([0-9]{1,9}|([0-9]{1,6}[smhd])+)$")]
    min_ttl: Option<String>,
    /// How long to wait for refreshes; they go on when the wait is over.
    #[schema(pattern = r"^([0-9]{1,9}|([0-9]{1,6}[smhd])+)$")]
    wait: Option<String>,
}

/// One for each name, in their order.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Many {
    /// A token, or why there is none.
    tokens: Vec<OneOfMany>,
}

/// A token, or why there is none.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOfMany {
    /// A valid access token.
    Token(Token),
    /// Why there is none.
    Problem {
        /// The connection.
        connection: String,
        /// Why.
        problem: Box<Problem>,
    },
}

/// Get access tokens of many connections at once
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", request_body = ManyWanted,
    responses(
        (status = 200, description = "One for each name, in their order: a token, or a problem", body = Many),
        Problems,
    )
)]
pub(crate) async fn tokens(
    shared: Daemon,
    caller: Asked,
    Body(many): Body<ManyWanted>,
) -> Result<Response, Problem> {
    caller.check_any(Right::Token)?;
    if many.connections.len() > MOST_AT_ONCE {
        return Err(Problem::bad_request(format!("more than {MOST_AT_ONCE} connections at once")));
    }
    let (min_ttl, wait) = Wanted { min_ttl: many.min_ttl, wait: many.wait }.read(&shared)?;
    let mut asked = Vec::with_capacity(many.connections.len());
    for name in many.connections {
        let (shared, caller) = (Arc::clone(&shared), Arc::clone(&caller));
        asked.push(tokio::spawn(async move { one(&shared, &caller, name, min_ttl, wait).await }));
    }
    let mut tokens = Vec::with_capacity(asked.len());
    for task in asked {
        tokens.push(task.await.map_err(|_| Problem::ended())?);
    }
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(Many { tokens })).into_response())
}

async fn one(
    shared: &Arc<Shared>,
    caller: &crate::access::Caller,
    name: String,
    min_ttl: Duration,
    wait: Duration,
) -> OneOfMany {
    let token = match caller.check(Right::Token, &name) {
        Ok(()) => shared.token(&name, min_ttl, wait).await,
        Err(problem) => Err(problem),
    };
    match token {
        Ok(entry) => OneOfMany::Token(Token::of(&entry, shared)),
        Err(problem) => OneOfMany::Problem { connection: name, problem: Box::new(problem) },
    }
}

impl Token {
    fn of(entry: &Entry, shared: &Shared) -> Self {
        let hand_out = &entry.hand_out;
        Self {
            expires_in: entry.left(shared.keeper.now()),
            access_token: hand_out.access_token.expose().to_owned(),
            token_type: hand_out.token_type.clone(),
            expires_at: rfc3339(hand_out.expires_at),
            scope: hand_out.scope.clone(),
            base_uri: hand_out.base.to_string(),
            connection: hand_out.connection.clone(),
            generation: hand_out.generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_query_is_read_without_a_parser() {
        assert_eq!(plain_min_ttl(None), Some(60));
        assert_eq!(plain_min_ttl(Some("min_ttl=10m")), Some(600));
        for query in ["min_ttl=10m&wait=1s", "min_ttl=1%30m", "wait=1s", "min_ttl=soon"] {
            assert_eq!(plain_min_ttl(Some(query)), None, "{query}");
        }
    }
}
