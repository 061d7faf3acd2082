//! /oauth2/v0/authorize: a page on which a person signs in and decides, and the way back to the app.
//!
//! An app or a redirect_uri that is not known gets a page and never a redirect (RFC 6749, section 4.1.2.1).

use crate::answer::Answer;
use crate::centres::Here;
use crate::client::check_id;
use crate::codes::Approved;
use crate::errors::Refusal;
use crate::form::{Form, with_query};
use crate::ledger::{Principal, SCOPE, narrowed};
use crate::page::{alert, escaped, hidden, page, problem, see_other, sign_in_fields};
use crate::world::{World, now};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use std::sync::Arc;

/// What the form carries from the request to the decision.
const CARRIED: [&str; 8] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "nonce",
];

/// GET /oauth2/v0/authorize
pub(crate) async fn show(
    State(world): State<Arc<World>>,
    Extension(here): Extension<Here>,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    match Back::read(&world, here, &form) {
        Err(page) => page,
        Ok(back) => match check(&form) {
            Ok(()) => sign_in(StatusCode::OK, &form, None),
            Err(wrong) => back.refused(&wrong),
        },
    }
}

/// POST /oauth2/v0/authorize: the person has decided.
pub(crate) async fn decide(
    State(world): State<Arc<World>>,
    Extension(here): Extension<Here>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let form = Form::read(&body);
    let back = match Back::read(&world, here, &form) {
        Ok(back) => back,
        Err(page) => return page,
    };
    if let Err(wrong) = check(&form) {
        return back.refused(&wrong);
    }
    match form.get("decision") {
        Some("deny") => back.refused(&DENIED),
        Some("approve") => match world.users.sign_in(&form) {
            Ok(user) => back.approved(&world, here, &headers, &form, user),
            Err(why) => sign_in(StatusCode::BAD_REQUEST, &form, Some(why)),
        },
        _ => sign_in(StatusCode::BAD_REQUEST, &form, Some("Approve or deny.")),
    }
}

/// An error that the app is told by redirect.
struct Wrong {
    error: &'static str,
    code: u32,
    description: &'static str,
}

/// SAP lists no code for a person who says no.
const DENIED: Wrong =
    Wrong { error: "access_denied", code: 0, description: "the user has denied the request" };

/// The way back to an app that is known, to an address that is its own.
struct Back<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
    issuer: &'a str,
}

impl<'a> Back<'a> {
    fn read(world: &'a World, here: Here, form: &'a Form) -> Result<Back<'a>, Answer> {
        const TITLE: &str = "This sign-in cannot start";
        if form.has_duplicates() {
            return Err(problem(TITLE, "A parameter stands in the request more than once."));
        }
        let known = form.get("client_id").ok_or(Refusal::new(62)).and_then(|id| check_id(world, here, id));
        if known.is_err() {
            return Err(problem(TITLE, "No app has this client_id."));
        }
        let redirect_uri = form.get("redirect_uri").unwrap_or_default();
        if !is_loopback(redirect_uri) && !world.config.redirect_uris.iter().any(|own| own == redirect_uri) {
            return Err(problem(TITLE, "The redirect_uri is not one of the app's own."));
        }
        Ok(Back { redirect_uri, state: form.get("state"), issuer: world.base_uri(here) })
    }

    fn refused(&self, wrong: &Wrong) -> Answer {
        let code = wrong.code.to_string();
        self.redirect(&[
            ("error", wrong.error),
            ("error_code", &code),
            ("error_description", wrong.description),
        ])
    }

    fn approved(&self, world: &World, here: Here, headers: &HeaderMap, form: &Form, user: usize) -> Answer {
        let kept = |name| form.get(name).map(str::to_owned);
        let approved = Approved {
            user,
            redirect_uri: self.redirect_uri.to_owned(),
            scope: kept("scope"),
            challenge: kept("code_challenge"),
            nonce: kept("nonce"),
        };
        let code = world.codes().issue(approved, now());
        let geolocation = world.geolocation(Principal::User(user), here, headers);
        self.redirect(&[("code", &code), ("geolocation", &geolocation)])
    }

    /// Every redirect names the issuer (RFC 9207), and the state if there was one.
    fn redirect(&self, outcome: &[(&str, &str)]) -> Answer {
        let mut parameters = outcome.to_vec();
        parameters.extend(self.state.map(|state| ("state", state)));
        parameters.push(("iss", self.issuer));
        see_other(&with_query(self.redirect_uri, &parameters))
    }
}

/// Whether this is an http address of this machine, at any port and path (RFC 8252, section 7.3).
fn is_loopback(redirect_uri: &str) -> bool {
    let Ok(uri) = redirect_uri.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    uri.scheme_str() == Some("http")
        && matches!(authority.host(), "127.0.0.1" | "[::1]" | "localhost")
        && !authority.as_str().contains('@')
        && !redirect_uri.contains('#')
}

/// What is wrong with the rest of the request.
fn check(form: &Form) -> Result<(), Wrong> {
    if form.get("response_type") != Some("code") {
        let description = "the response_type must be code";
        return Err(Wrong { error: "unsupported_response_type", code: 116, description });
    }
    if narrowed(form.get("scope"), SCOPE).is_err() {
        let description = "more scope is asked for than the app has";
        return Err(Wrong { error: "invalid_scope", code: 54, description });
    }
    let challenge = form.get("code_challenge");
    if challenge.map(|_| "S256") != form.get("code_challenge_method") {
        let description = "a code_challenge goes with the code_challenge_method S256, and with no other";
        return Err(Wrong { error: "invalid_request", code: 116, description });
    }
    Ok(())
}

fn sign_in(status: StatusCode, form: &Form, why_not: Option<&str>) -> Answer {
    let mut body = why_not.map(alert).unwrap_or_default();
    let scope = form.get("scope").unwrap_or("everything that it may have");
    body.push_str(&format!("<p>An app asks for access in your name: {}.</p>\n", escaped(scope)));
    body.push_str("<form method=\"post\" action=\"/oauth2/v0/authorize\">\n");
    for name in CARRIED {
        body.extend(form.get(name).map(|value| hidden(name, value)));
    }
    body.push_str(sign_in_fields());
    body.push_str("</form>\n");
    page(status, "Sign in to the sandbox", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_on_this_machine_is_loopback() {
        for good in ["http://127.0.0.1:8080/cb", "http://[::1]:1/", "http://localhost/a?b=c"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "https://127.0.0.1/",
            "http://127.0.0.1@elsewhere.example/",
            "http://a@127.0.0.1/",
            "http://127.0.0.1.elsewhere.example/",
            "http://127.0.0.1:80/#fragment",
            "http://elsewhere.example/",
            "http://127.0.0.1\\@elsewhere.example/",
            "javascript:alert(1)",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
