//! Whatever wants a bearer: users, revocation, an echo. And the keys that tokens are signed with, which want none.

use crate::answer::Answer;
use crate::centres::FIRST;
use crate::distort;
use crate::faults::Place;
use crate::ledger::Principal;
use crate::server::Line;
use crate::world::{World, now};
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const MOST_BYTES: usize = 1 << 20;

/// GET /oauth2/v0/jwks
pub(crate) async fn jwks(State(world): State<Arc<World>>) -> Answer {
    Answer::json(StatusCode::OK, &world.signer.jwks())
}

/// GET /profile/identity/v4/Users, with and without a slash behind it.
pub(crate) async fn users(
    State(world): State<Arc<World>>,
    Extension(line): Extension<Line>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    call(&world, &line, &parts.headers, |_| Answer::json(StatusCode::OK, &user_list(&world))).await
}

/// DELETE /app-mgmt/v0/connections
pub(crate) async fn revoke(
    State(world): State<Arc<World>>,
    Extension(line): Extension<Line>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    call(&world, &line, &parts.headers, |principal| {
        world.ledger().revoke(principal);
        world.counters.count(|stats| stats.revocations += 1);
        Answer::empty(StatusCode::NO_CONTENT)
    })
    .await
}

/// Any method at /sandbox/echo: says what arrived.
pub(crate) async fn echo(
    State(world): State<Arc<World>>,
    Extension(line): Extension<Line>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Answer::failure(status, "too_large", "the echo takes at most 1 MiB").into_response();
    };
    call(&world, &line, &parts.headers, |_| Answer::json(StatusCode::OK, &heard(&parts, &body))).await
}

/// One API call: counted, exposed to the faults, and let through only with a good bearer.
async fn call(
    world: &World,
    line: &Line,
    headers: &HeaderMap,
    action: impl FnOnce(Principal) -> Answer,
) -> Response<Body> {
    world.counters.count(|stats| stats.api_calls += 1);
    let fault = world.faults().draw(Place::Api, "");
    let normal = || match bearer(world, headers) {
        Ok(principal) => action(principal),
        Err(denied) => {
            world.counters.count(|stats| stats.refused += 1);
            denied.answer()
        }
    };
    distort::answer(fault, world, line, normal).await
}

/// Why a bearer is not let through.
enum Denied {
    Missing,
    NotGood,
}

fn bearer(world: &World, headers: &HeaderMap) -> Result<Principal, Denied> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = header.and_then(|header| header.split_once(' ')).ok_or(Denied::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::Missing);
    }
    world.ledger().bearer(token.trim(), now()).ok_or(Denied::NotGood)
}

impl Denied {
    /// A token that is expired or unknown is answered 403, as SAP says of its own API; none at all is 401.
    fn answer(&self) -> Answer {
        match self {
            Denied::Missing => {
                let why = "this needs a bearer token";
                let mut answer = Answer::failure(StatusCode::UNAUTHORIZED, "unauthorized", why);
                answer.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                answer
            }
            Denied::NotGood => {
                let why = "the access token has expired, or was not issued here";
                Answer::failure(StatusCode::FORBIDDEN, "forbidden", why)
            }
        }
    }
}

/// The shape of SCIM's ListResponse (RFC 7644, section 3.4.2). The users are invented.
fn user_list(world: &World) -> Value {
    let users: Vec<Value> = (1..=3).map(|number| user(world, number)).collect();
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": users.len(),
        "itemsPerPage": users.len(),
        "startIndex": 1,
        "Resources": users,
    })
}

fn user(world: &World, number: u32) -> Value {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    let address = format!("user{number}@example.com");
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": id,
        "userName": address,
        "displayName": format!("User {number}"),
        "active": true,
        "emails": [{ "value": address, "type": "work" }],
        "meta": {
            "resourceType": "User",
            "location": format!("{}/profile/identity/v4/Users/{id}", world.base_uri(FIRST)),
        },
    })
}

/// Everything but the bearer, which has no business in an answer.
fn heard(parts: &Parts, body: &[u8]) -> Value {
    let mut headers = Map::new();
    for name in parts.headers.keys().filter(|name| **name != AUTHORIZATION) {
        let values = parts.headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), json!(values.join(", ")));
    }
    json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query(),
        "headers": headers,
        "body": String::from_utf8_lossy(body),
    })
}
