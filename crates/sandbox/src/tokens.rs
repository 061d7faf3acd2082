//! What a client asks about one token, or wants to end: introspection (RFC 7662) and revocation (RFC 7009).

use crate::answer::Answer;
use crate::centres::Here;
use crate::client::{authenticate, check_format};
use crate::errors::Refusal;
use crate::form::Form;
use crate::ledger::Described;
use crate::world::{World, now};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::json;
use std::sync::Arc;

/// POST /oauth2/v0/revoke: a token that is not known is no error.
pub(crate) async fn revoke(
    State(world): State<Arc<World>>,
    Extension(here): Extension<Here>,
    parts: Parts,
    body: Bytes,
) -> Answer {
    let form = Form::read(&body);
    match token(&world, here, &parts, &form) {
        Ok(token) => {
            if world.ledger().revoke_token(token) {
                world.counters.count(|stats| stats.revocations += 1);
            }
            Answer::empty(StatusCode::OK)
        }
        Err(refusal) => refusal.answer(),
    }
}

/// POST /oauth2/v0/introspect: of a token that is not good nothing is said but that.
pub(crate) async fn introspect(
    State(world): State<Arc<World>>,
    Extension(here): Extension<Here>,
    parts: Parts,
    body: Bytes,
) -> Answer {
    let form = Form::read(&body);
    let token = match token(&world, here, &parts, &form) {
        Ok(token) => token,
        Err(refusal) => return refusal.answer(),
    };
    let described = world.ledger().describe(token, now());
    let body = match described {
        None => json!({ "active": false }),
        Some(Described { principal, scope, expires, kind }) => json!({
            "active": true,
            "scope": scope,
            "client_id": world.app_id,
            "token_type": kind,
            "exp": expires,
            "sub": world.subject(principal),
            "aud": world.app_id,
            "iss": world.base_uri(here),
        }),
    };
    Answer::json(StatusCode::OK, &body)
}

fn token<'a>(world: &World, here: Here, parts: &Parts, form: &'a Form) -> Result<&'a str, Refusal> {
    check_format(parts, form)?;
    authenticate(world, here, &parts.headers, form)?;
    form.get("token").ok_or(Refusal::plain("invalid_request", "the form has no token"))
}
