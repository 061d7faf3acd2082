//! The sign-in on a page of the partner's own. We send the browser there with a signed request, and the partner's page
//! sends it back with a signed answer; both go through the browser, so neither is believed without its signature, and an
//! answer is good for the browser that we have sent and for nobody else.
//!
//! Both are signed as webhooks are (Standard Webhooks: `id.timestamp.body`): the id is the state, the timestamp is when it
//! ends, and the body's first word says which way it goes, so that no request can be sent back as an answer.

use super::landing::visit_of;
use super::pages::{Again, Page};
use super::redirect::Parameters;
use super::trouble::Trouble;
use super::visits::{Stage, Visit};
use super::{Place, see_other, visit_page};
use crate::alerts::sink::signature;
use crate::config::{Partner, SignIn};
use axum::extract::Path;
use axum::response::Response;
use http::Uri;
use http::header::COOKIE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use perennial::core::UnixTime;
use std::sync::Arc;

/// The partner's page must be reached within this time: seconds.
const REQUEST_LIFE: i64 = 10 * 60;
/// No answer may be good for longer: what never ends can be sent again.
const ANSWER_LIFE: i64 = 10 * 60;
/// An account's id at the partner's.
const LONGEST_SUBJECT: usize = 256;

/// Off to the partner's page, because the person says so.
pub(super) async fn hand_over(place: Place, Path((_, id)): Path<(String, String)>) -> Response {
    match visit_of(&place, &id) {
        Ok(visit) if matches!(visit.attempt.stage(), Stage::Waiting | Stage::Failed { .. }) => {
            off(&place, &visit)
        }
        Ok(visit) => see_other(&visit.path(), None),
        Err(trouble) => place.failed(&trouble, None),
    }
}

/// Off to the partner's page.
pub(super) fn off(place: &Place, visit: &Visit) -> Response {
    let SignIn::Partner(partner) = &place.config.sign_in else { return see_other(&visit.path(), None) };
    match request(place, partner, visit) {
        Ok(url) => see_other(&url, None),
        Err(why) => {
            tracing::error!(app = %place.app, why, "App Center: the sign-in cannot be signed");
            place.failed(&Trouble::Ours, Some(&visit.attempt.reference))
        }
    }
}

fn request(place: &Place, partner: &Partner, visit: &Visit) -> Result<String, String> {
    let expires = place.shared.keeper.now().plus(REQUEST_LIFE);
    let back = format!("{}/connect/{}/return", place.origin, place.app);
    let company = visit.attempt.company.as_str();
    let body = format!("request\n{}\n{company}\n{back}", place.app);
    let secrets = partner.secret.read()?;
    let signature = signature::sign(&secrets, &visit.state, expires, body.as_bytes())?;
    let expires = expires.0.to_string();
    let parameters = [
        ("app", place.app.as_str()),
        ("company", company),
        ("return", &back),
        ("state", &visit.state),
        ("expires", &expires),
        ("signature", &signature),
    ];
    let mut url = partner.url.clone();
    let mut mark = if url.contains('?') { '&' } else { '?' };
    for (name, value) in parameters {
        url.push(mark);
        url.push_str(&format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        mark = '&';
    }
    Ok(url)
}

/// Back from the partner's page.
pub(super) async fn come_back(place: Place, uri: Uri) -> Response {
    if let Err(wait) = place.let_in() {
        return *wait;
    }
    let answer = Parameters::read(uri.query().unwrap_or_default());
    let visit = match returning(&place, &answer) {
        Ok(visit) => visit,
        Err(trouble) => return place.failed(&trouble, None),
    };
    // It was good once: a reload, and the same answer sent again, lead to where it has led.
    if visit.subject.get().is_some() {
        return see_other(&visit.path(), None);
    }
    let bad = |trouble: &Trouble| {
        let again = Some(Again::SignIn(&visit));
        let page = Page::Failed { trouble, correlation_id: &visit.attempt.reference, again };
        page.show(&place, trouble.status())
    };
    if answer.the("error").is_some() {
        return bad(&Trouble::Declined);
    }
    match subject(&place, &answer, place.shared.keeper.now()) {
        Ok(subject) => {
            tracing::info!(app = %place.app, reference = visit.attempt.reference, "App Center: signed in at the partner's");
            let _ = visit.subject.set(subject);
            visit_page::go(place, visit).await
        }
        Err(why) => {
            place.note_failure();
            tracing::warn!(app = %place.app, reference = visit.attempt.reference, why, "App Center: the sign-in's answer is no good");
            bad(&Trouble::BadAnswer)
        }
    }
}

fn returning(place: &Place, answer: &Parameters) -> Result<Arc<Visit>, Trouble> {
    let state = answer.the("state").ok_or(Trouble::NotFromSap)?;
    let has_cookie = place.headers.contains_key(COOKIE);
    let session = super::landing::session(&place.headers, place.is_secure());
    let session = session.ok_or(if has_cookie { Trouble::Over } else { Trouble::NoCookie })?;
    let found = place.connecting().visits.returning(state, session, place.shared.keeper.now());
    found.filter(|visit| visit.app == place.app).ok_or(Trouble::Over)
}

/// Who the partner says that it is, if it is the partner who says so.
fn subject(place: &Place, answer: &Parameters, now: UnixTime) -> Result<String, String> {
    let SignIn::Partner(partner) = &place.config.sign_in else { return Err("nobody was asked".to_owned()) };
    let need = |name: &str| answer.the(name).ok_or_else(|| format!("it has no {name}, or two"));
    let (state, subject, signature) = (need("state")?, need("subject")?, need("signature")?);
    let expires: i64 = need("expires")?.parse().map_err(|_| "expires is no number".to_owned())?;
    if subject.len() > LONGEST_SUBJECT || subject.chars().any(char::is_control) {
        return Err("the subject is no account's id".to_owned());
    }
    let secrets = partner.secret.read()?;
    let body = format!("answer\n{}\n{subject}", place.app);
    if !signature::verify(&secrets, state, UnixTime(expires), body.as_bytes(), signature)? {
        return Err("its signature is wrong".to_owned());
    }
    match expires.saturating_sub(now.0) {
        ..=0 => Err("it has ended".to_owned()),
        left if left > ANSWER_LIFE => Err(format!("it must end within {ANSWER_LIFE} s")),
        _ => Ok(subject.to_owned()),
    }
}
