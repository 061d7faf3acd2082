//! A visit's page: how it stands. To look at it does nothing, however often; only its form does.

use super::landing::visit_of;
use super::pages::{Again, Page};
use super::redirect::Parameters;
use super::trouble::Trouble;
use super::visits::{Stage, Visit};
use super::{Place, exchange, see_other, sign_in};
use crate::api;
use crate::config::SignIn;
use axum::extract::{Path, Request};
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// So long a page waits for the end of the exchange; then it says that it goes on. It takes a second or two as a
/// rule, and people take more than ten for a fault.
const PATIENCE: Duration = Duration::from_secs(10);

/// How it stands.
pub(super) async fn show(place: Place, Path((_, id)): Path<(String, String)>) -> Response {
    let visit = match visit_of(&place, &id) {
        Ok(visit) => visit,
        Err(trouble) => return place.failed(&trouble, None),
    };
    // Who looks again waits for the end, if that is near: no page asks by itself (WCAG 2.2, success criterion 2.2.1).
    visit.attempt.ended(PATIENCE).await;
    match visit.attempt.stage() {
        Stage::Waiting if has_said_yes(&place, &visit) => Page::Confirm(&visit).show(&place, StatusCode::OK),
        Stage::Waiting if !visit.handed_over.swap(true, Ordering::Relaxed) => sign_in::off(&place, &visit),
        Stage::Waiting => Page::SignIn(&visit).show(&place, StatusCode::OK),
        Stage::Running => Page::Working(&visit).show(&place, StatusCode::OK),
        Stage::Connected => Page::Connected(&visit).show(&place, StatusCode::OK),
        Stage::Failed { trouble, correlation_id } => {
            let may = trouble.passes() && visit.attempt.may_try_again();
            let again = match has_said_yes(&place, &visit) {
                true => Again::Exchange(&visit),
                false => Again::SignIn(&visit),
            };
            let page = Page::Failed {
                trouble: &trouble,
                correlation_id: &correlation_id,
                again: may.then_some(again),
            };
            page.show(&place, trouble.status())
        }
    }
}

/// The person says yes: in our own form, on the page that this browser was sent to.
pub(super) async fn say_yes(
    place: Place,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Response {
    if let Err(wait) = place.let_in() {
        return *wait;
    }
    let visit = match visit_of(&place, &id) {
        Ok(visit) => visit,
        Err(trouble) => return place.failed(&trouble, None),
    };
    let body = api::whole(request, &place.shared).await;
    let form = body.ok().and_then(|body| std::str::from_utf8(&body).ok().map(Parameters::read));
    if !form.is_some_and(|form| form.the("csrf").is_some_and(|csrf| visit.has_read_the_page(csrf))) {
        return place.failed(&Trouble::NotOurForm, Some(&visit.attempt.reference));
    }
    if !has_said_yes(&place, &visit) {
        return see_other(&visit.path(), None);
    }
    go(place, visit).await
}

/// Begins the exchange unless that was done already, and leads to where its end is told.
pub(super) async fn go(place: Place, visit: Arc<Visit>) -> Response {
    let path = visit.path();
    exchange::start(place, visit).await;
    see_other(&path, None)
}

/// Where people sign in elsewhere, pressing the button here is not enough.
fn has_said_yes(place: &Place, visit: &Visit) -> bool {
    matches!(place.config.sign_in, SignIn::Confirm) || visit.subject.get().is_some()
}
