//! What stands in a request, read so that every mistake is a [`Problem`].

use crate::problem::Problem;
use crate::shared::Shared;
use axum::RequestExt as _;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The connection's name in the path.
pub(crate) struct Segment(pub(crate) String);

impl FromRequestParts<Arc<Shared>> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, shared).await;
        let Path(name) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
        perennial::store::check_name(&name).map_err(|_| Problem::no_such_connection(&name))?;
        Ok(Self(name))
    }
}

/// What stands behind the question mark.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, shared).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// A JSON body, bounded in size and in time.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        parse(&whole(request, shared).await?).map(Self)
    }
}

/// The same where nothing need be said.
pub(crate) struct MayHaveBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<Shared>> for MayHaveBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let bytes = whole(request, shared).await?;
        let said: Option<T> = if bytes.is_empty() { None } else { parse(&bytes)? };
        Ok(Self(said.unwrap_or_default()))
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // What is wrong is told by its place: the value may be a secret.
    let wrong = |error: serde_json::Error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => of_data(&error),
            _ => "it is no JSON".to_owned(),
        };
        Problem::bad_request(format!("line {}, column {}: {what}", error.line(), error.column()))
    };
    serde_json::from_slice(bytes).map_err(wrong)
}

/// Which member is wrong, without its value.
fn of_data(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    if what.starts_with("unknown variant") {
        let known = what.split_once("expected").map_or("", |(_, known)| known);
        format!("a value is none of those that are known: expected{known}")
    } else if what.starts_with("invalid") {
        "a value is not of the kind that is asked for".to_owned()
    } else {
        what.to_owned()
    }
}

/// A whole body, bounded in size and in time.
pub(crate) async fn whole(request: Request, shared: &Shared) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let limits = shared.config().limits.clone();
    let body = Limited::new(request.with_limited_body().into_body(), limits.body.0);
    let collected = tokio::time::timeout(limits.slow_client.0, body.collect()).await;
    match collected {
        Err(_) => Err(Problem::too_slow()),
        Ok(Ok(collected)) => Ok(Zeroizing::new(collected.to_bytes().to_vec())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(limits.body.0)),
        Ok(Err(_)) => Err(Problem::bad_request("the body was cut off")),
    }
}
