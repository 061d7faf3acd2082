//! POST /oauth2/v0/token: what the request must look like, which grant it asks for, and the answer.

use crate::answer::Answer;
use crate::body::Held;
use crate::centres::Here;
use crate::client::{authenticate, check_format};
use crate::codes::NotTaken;
use crate::device;
use crate::distort;
use crate::errors::Refusal;
use crate::faults::Place;
use crate::form::Form;
use crate::jwt::{SigningFailed, at_hash};
use crate::ledger::{Granted, Principal, Refused};
use crate::otp;
use crate::server::Line;
use crate::world::{World, now};
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use std::sync::Arc;

/// No honest token request comes near this.
const MOST_BYTES: usize = 64 * 1024;

/// A form that is only somewhat too long is read to its end: closing a connection on bytes that were not read resets
/// it, and the client would not see the refusal.
const MOST_READ: usize = 1 << 20;

/// The grants that SAP documents, and that of RFC 8628; any other word counts as unknown.
pub(crate) const GRANTS: [&str; 6] =
    ["password", "refresh_token", "client_credentials", "authorization_code", "otp", DEVICE_CODE];

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(crate) async fn token(
    State(world): State<Arc<World>>,
    Extension(line): Extension<Line>,
    Extension(here): Extension<Here>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, MOST_READ).await {
        Ok(body) if body.len() <= MOST_BYTES => body,
        _ => return too_long().into_response(),
    };
    let form = Form::read(&body);
    let grant = grant_of(&form);
    let in_flight = world.counters.enter(grant);
    let fault = world.faults().draw(Place::Token, grant);
    let normal = || process(&world, here, &parts, &form);
    let response = distort::answer(fault, &world, &line, normal).await;
    response.map(|body| Held::body(body, in_flight))
}

/// The grant that is asked for, as one of the words that are counted.
fn grant_of(form: &Form) -> &'static str {
    let Some(named) = form.get("grant_type") else { return "(none)" };
    GRANTS.into_iter().find(|grant| *grant == named).unwrap_or("(unknown)")
}

fn too_long() -> Answer {
    Answer::failure(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a token request is at most 64 KiB long")
}

/// The whole of the endpoint's own behaviour; faults come on top.
fn process(world: &World, here: Here, parts: &Parts, form: &Form) -> Answer {
    let outcome = check_format(parts, form)
        .and_then(|()| authenticate(world, here, &parts.headers, form))
        .map_err(Refused::from)
        .and_then(|()| decide(world, here, &parts.headers, form));
    match outcome {
        Ok(granted) => issue(world, here, &parts.headers, &granted).unwrap_or_else(|_| {
            Answer::typed(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "the sandbox could not sign")
        }),
        Err(refused) => {
            world.counters.count(|stats| {
                stats.refused += 1;
                stats.reuse_detected += u64::from(refused.reuse);
            });
            refused.refusal.answer()
        }
    }
}

fn decide(world: &World, here: Here, headers: &HeaderMap, form: &Form) -> Result<Granted, Refused> {
    match form.get("grant_type").ok_or(Refusal::new(65))? {
        "password" => password(world, here, headers, form),
        "refresh_token" => refresh(world, here, headers, form),
        "authorization_code" => authorization_code(world, form),
        "otp" => {
            let user = otp::redeem(world, here, headers, form)?;
            world.ledger().give(Principal::User(user), form.get("scope"), now())
        }
        DEVICE_CODE => {
            let (user, scope) = device::redeem(world, form)?;
            world.ledger().give(Principal::User(user), Some(&scope), now())
        }
        "client_credentials" => world.ledger().app(form.get("scope")),
        _ => Err(Refusal::new(60).into()),
    }
}

fn password(world: &World, here: Here, headers: &HeaderMap, form: &Form) -> Result<Granted, Refused> {
    let username = form.get("username").ok_or(Refusal::new(51))?;
    let password = form.get("password").ok_or(Refusal::new(52))?;
    match form.get("credtype").unwrap_or("password") {
        "authtoken" => {}
        "password" => {
            let user = world.users.find(username)?;
            world.at_home(Principal::User(user), here, headers)?;
            world.users.check(user, password)?;
            return world.ledger().give(Principal::User(user), form.get("scope"), now());
        }
        _ => return Err(Refusal::new(120).into()),
    }
    let right_company = username.eq_ignore_ascii_case(&world.company_uuid);
    let granted = world.ledger().company(right_company, password, form.get("scope"), now())?;
    world.counters.count(|stats| stats.request_token_uses += 1);
    Ok(granted)
}

fn authorization_code(world: &World, form: &Form) -> Result<Granted, Refused> {
    let code = form.get("code").ok_or(Refusal::new(101))?;
    let redirect_uri = form.get("redirect_uri").ok_or(Refusal::new(102))?;
    let mut codes = world.codes();
    let approved = match codes.take(code, redirect_uri, form.get("code_verifier"), now()) {
        Ok(approved) => approved,
        Err(NotTaken::Refused(refusal)) => return Err(refusal.into()),
        Err(NotTaken::Again(grant)) => {
            grant.into_iter().for_each(|grant| world.ledger().revoke_grant(grant));
            return Err(Refusal::because(103, "the authorization code has been used before").into());
        }
    };
    let user = Principal::User(approved.user);
    let mut granted = world.ledger().give(user, approved.scope.as_deref(), now())?;
    codes.led_to(code, granted.grant);
    granted.nonce = approved.nonce;
    Ok(granted)
}

fn refresh(world: &World, here: Here, headers: &HeaderMap, form: &Form) -> Result<Granted, Refused> {
    let presented = form.get("refresh_token").ok_or(Refusal::new(106))?;
    let holder = world.ledger().holder(presented);
    if let Some(holder) = holder.filter(|_| !world.config.refresh_after_move) {
        world.at_home(holder, here, headers)?;
    }
    let granted = world.ledger().refresh(presented, form.get("scope"), now())?;
    world.counters.count(|stats| {
        stats.refreshes += 1;
        stats.rotations += u64::from(granted.rotated);
    });
    Ok(granted)
}

fn issue(world: &World, here: Here, headers: &HeaderMap, granted: &Granted) -> Result<Answer, SigningFailed> {
    let now = now();
    let lifetime = world.access_lifetime.as_secs();
    let base_uri = world.issuer(here, headers);
    let claims = Claims { world, base_uri: &base_uri, granted, now, expires: now.saturating_add(lifetime) };
    let access_token = world.signer.sign(&claims.access())?;
    world.ledger().remember_access(&access_token, granted, claims.expires, now);

    let mut body = json!({
        "expires_in": lifetime,
        "scope": granted.scope,
        "token_type": "Bearer",
        "access_token": access_token,
    });
    if let Some(refresh_token) = &granted.refresh_token {
        body["refresh_token"] = json!(refresh_token);
        body["refresh_expires_in"] = json!(granted.refresh_expires);
        body["id_token"] = json!(world.signer.sign(&claims.identity(&access_token))?);
    }
    body["geolocation"] = json!(world.geolocation(granted.principal, here, headers));
    let mut answer = Answer::json(StatusCode::OK, &body);
    answer.headers.insert("cache-control", axum::http::HeaderValue::from_static("no-store"));
    Ok(answer)
}

struct Claims<'a> {
    world: &'a World,
    base_uri: &'a str,
    granted: &'a Granted,
    now: u64,
    expires: u64,
}

impl Claims<'_> {
    fn access(&self) -> Value {
        let mut claims = self.common();
        claims["jti"] = json!(self.world.token_id());
        claims["concur.scopes"] = json!(self.granted.scope.split(' ').collect::<Vec<_>>());
        claims["concur.app"] = json!(format!("{}/app-mgmt/v0/apps/{}", self.base_uri, self.world.app_id));
        claims
    }

    fn identity(&self, access_token: &str) -> Value {
        let mut claims = self.common();
        claims["at_hash"] = json!(at_hash(access_token));
        if let Some(nonce) = &self.granted.nonce {
            claims["nonce"] = json!(nonce);
        }
        claims
    }

    fn common(&self) -> Value {
        let subject = self.world.subject(self.granted.principal);
        json!({
            "aud": self.world.app_id,
            "sub": subject,
            "iss": self.base_uri,
            "iat": self.now,
            "nbf": self.now,
            "exp": self.expires,
            "concur.type": self.granted.principal.kind(),
            "concur.version": 3,
            "concur.profile": format!("{}/profile/v1/principals/{subject}", self.base_uri),
        })
    }
}
