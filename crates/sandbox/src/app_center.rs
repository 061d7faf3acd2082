//! The App Center's side of a connection: a page with a Connect button, which leads to the app's landing page.

use crate::answer::Answer;
use crate::form::{Form, with_query};
use crate::page::{escaped, page, problem};
use crate::world::World;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri};
use serde_json::json;
use std::sync::Arc;

const NO_LANDING: &str = "there is no landing page: give one, as ?landing=http://127.0.0.1:8080/connect/app";

/// GET /sandbox/app-center
pub(crate) async fn show(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Answer {
    match lead(&world, &Form::read(query.unwrap_or_default().as_bytes())) {
        Ok(address) => {
            let body = format!(
                "<p>An administrator of the company connects an app here.</p>\n\
                 <p><a class=\"button\" id=\"connect\" href=\"{}\">Connect</a></p>\n",
                escaped(&address)
            );
            page(StatusCode::OK, "App Center", &body)
        }
        Err(why_not) => problem("App Center", why_not),
    }
}

/// GET /sandbox/app-center/redirect: where the button leads, for tests without a browser.
pub(crate) async fn redirect(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Answer {
    match lead(&world, &Form::read(query.unwrap_or_default().as_bytes())) {
        Ok(address) => Answer::json(StatusCode::OK, &json!({ "address": address })),
        Err(why_not) => Answer::failure(StatusCode::BAD_REQUEST, "bad_order", why_not),
    }
}

/// The landing page, and behind it the company, a fresh request token and the person who pressed: the first user.
fn lead(world: &World, form: &Form) -> Result<String, &'static str> {
    let landing = form.get("landing").or(world.config.landing.as_deref()).ok_or(NO_LANDING)?;
    let scheme = landing.parse::<Uri>().ok().and_then(|uri| uri.scheme_str().map(str::to_owned));
    if !matches!(scheme.as_deref(), Some("http" | "https")) || landing.contains('#') {
        return Err("the landing page must be an http or https address without a fragment");
    }
    let user_id = if world.config.capital_user_id { "userID" } else { "userId" };
    let token = world.mint_request_token(false);
    let parameters = [
        ("id", world.company_uuid.as_str()),
        ("requestToken", &token),
        (user_id, &world.users.all()[0].uuid),
    ];
    Ok(with_query(landing, &parameters))
}
