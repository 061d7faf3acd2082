//! What a person does with a grant that is there: refresh it now, suspend and resume it, put it away.

use super::{Shown, in_background, shown_after};
use crate::api::{Asked, Daemon, Segment};
use crate::config::Right;
use crate::problem::{Problem, Problems};
use axum::Json;
use http::StatusCode;
use std::sync::Arc;

/// Refresh a connection
///
/// Now, because a person asks, whatever is waited for.
#[utoipa::path(
    post, path = "/v1/connections/{name}/refresh", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "Both tokens are new", body = Shown),
        Problems,
    )
)]
pub(crate) async fn refresh(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
) -> Result<Json<Shown>, Problem> {
    caller.check(Right::Admin, &name)?;
    let outcome = shared.keeper.refresh(&name).await;
    shown_after(&shared, &name, outcome).await
}

/// Suspend a connection
///
/// Nothing of it is refreshed until it is resumed. An access token that lives is handed out to its end.
#[utoipa::path(
    post, path = "/v1/connections/{name}/suspend", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "It is suspended", body = Shown),
        Problems,
    )
)]
pub(crate) async fn suspend(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
) -> Result<Json<Shown>, Problem> {
    caller.check(Right::Admin, &name)?;
    let suspended = shared.keeper.suspend(&name, format!("suspended by {}", caller.name)).await;
    let connection = suspended.map_err(|error| shared.problem(&error, &name))?;
    Ok(Json(Shown::of(&shared, &connection)))
}

/// Resume a connection
///
/// One that was suspended, by a person or by a refusal that has been put right.
#[utoipa::path(
    post, path = "/v1/connections/{name}/resume", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "It may be refreshed again", body = Shown),
        Problems,
    )
)]
pub(crate) async fn resume(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
) -> Result<Json<Shown>, Problem> {
    caller.check(Right::Admin, &name)?;
    let resumed = shared.keeper.resume(&name, format!("resumed by {}", caller.name)).await;
    let connection = resumed.map_err(|error| shared.problem(&error, &name))?;
    Ok(Json(Shown::of(&shared, &connection)))
}

/// Remove a connection
///
/// It is put away with all that is held of it; `perennial remove --undo` brings it back.
#[utoipa::path(
    delete, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 204, description = "It is put away"),
        Problems,
    )
)]
pub(crate) async fn remove(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
) -> Result<StatusCode, Problem> {
    caller.check(Right::Admin, &name)?;
    let removing = Arc::clone(&shared);
    in_background(move || {
        removing.keeper.remove(&name).map_err(|error| removing.problem(&error, &name))?;
        removing.hot.forget(&name);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
