//! SAP's redirect is taken in. The request token in its address is a secret, and SAP has put it there: so it is answered at
//! once with a redirect to an address without one, and stands neither in the browser's history nor in a Referer (law 10).

use super::redirect::Redirect;
use super::trouble::Trouble;
use super::visits::{self, Visit};
use super::{Place, see_other};
use axum::response::Response;
use http::HeaderMap;
use http::Uri;
use http::header::COOKIE;
use std::sync::Arc;

/// Takes SAP's redirect in. A reload, and the same redirect once more, lead to where the first has led.
pub(super) async fn land(place: Place, uri: Uri) -> Response {
    if let Err(wait) = place.let_in() {
        return *wait;
    }
    let Some(redirect) = uri.query().and_then(Redirect::read) else {
        place.note_failure();
        return place.failed(&Trouble::NotFromSap, None);
    };
    let (visits, now) = (&place.connecting().visits, place.shared.keeper.now());
    let shown = session(&place.headers, place.is_secure());
    let Some((visit, is_new)) = visits.enter(&place.app, redirect, shown, &place.from, now) else {
        return place.failed(&Trouble::Ours, None);
    };
    if is_new {
        let company = visit.attempt.company.as_str();
        tracing::info!(app = %place.app, company, reference = visit.attempt.reference, "App Center: somebody has come");
    }
    see_other(&visit.path(), Some(&cookie(&visit, place.is_secure())))
}

/// The visit that this browser has begun.
pub(super) fn visit_of(place: &Place, id: &str) -> Result<Arc<Visit>, Trouble> {
    let Some(session) = session(&place.headers, place.is_secure()) else { return Err(Trouble::NoCookie) };
    let found = place.connecting().visits.find(id, session, place.shared.keeper.now());
    found.filter(|visit| visit.app == place.app).ok_or(Trouble::Over)
}

/// `__Host-`: no other host, and nothing that came without TLS, can put such a cookie there (RFC 6265bis section 4.1.3).
/// Browsers take it from https alone; on this machine itself there may be none.
fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-perennial-connect" } else { "perennial-connect" }
}

fn cookie(visit: &Visit, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    let (name, session, life) = (cookie_name(is_secure), visit.session(), visits::LIFE);
    // Lax and not Strict: both SAP and the partner's page send the browser here from elsewhere.
    format!("{name}={session}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}")
}

pub(super) fn session(headers: &HeaderMap, is_secure: bool) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(is_secure)).map(|(_, value)| value)
}
