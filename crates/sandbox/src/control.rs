//! /sandbox/…: what a test or a person tells the sandbox. No fault befalls these.

use crate::answer::Answer;
use crate::config::Expire;
use crate::world::World;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// GET /sandbox/stats
pub(crate) async fn stats(State(world): State<Arc<World>>) -> Answer {
    Answer::json(StatusCode::OK, &json!(world.counters.snapshot()))
}

/// POST /sandbox/request-token; the body may be empty.
pub(crate) async fn request_token(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(default)]
        other_app: bool,
    }
    let order = if body.is_empty() { Ok(Order::default()) } else { read::<Order>(&body) };
    match order {
        Ok(order) => {
            let token = world.mint_request_token(order.other_app);
            Answer::json(StatusCode::OK, &json!({ "request_token": token }))
        }
        Err(problem) => bad(&problem),
    }
}

/// POST /sandbox/expire
pub(crate) async fn expire(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        what: Expire,
    }
    match read::<Order>(&body) {
        Ok(order) => {
            world.expire(order.what);
            Answer::empty(StatusCode::NO_CONTENT)
        }
        Err(problem) => bad(&problem),
    }
}

/// POST /sandbox/faults
pub(crate) async fn inject(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    let injected = read::<Value>(&body).and_then(|faults| world.faults().inject(faults));
    match injected {
        Ok(queued) => Answer::json(StatusCode::OK, &json!({ "queued": queued })),
        Err(problem) => bad(&problem),
    }
}

/// GET /sandbox/faults
pub(crate) async fn pending_faults(State(world): State<Arc<World>>) -> Answer {
    Answer::json(StatusCode::OK, &world.faults().pending())
}

/// DELETE /sandbox/faults
pub(crate) async fn clear_faults(State(world): State<Arc<World>>) -> Answer {
    world.faults().clear();
    Answer::empty(StatusCode::NO_CONTENT)
}

/// Read whatever the Content-Type says: these are typed by hand, with curl.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|problem| problem.to_string())
}

pub(crate) fn bad(problem: &str) -> Answer {
    Answer::failure(StatusCode::BAD_REQUEST, "bad_order", problem)
}
