//! What a person does with a grant that is there: refresh it now, suspend and resume it, put it away.

use super::grant::seen;
use super::{Shown, in_background, revoke, shown_after};
use crate::api::{Asked, Daemon, Query, Segment};
use crate::config::Right;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use http::StatusCode;
use perennial::core::connection::Condition;
use serde::Deserialize;
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

/// How a connection is removed.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Removal {
    /// True: its grant is revoked first. If that does not work, nothing is removed.
    #[serde(default)]
    revoke: bool,
    /// True: the caller knows that at Concur every refresh token of this principal for the app ends by that.
    #[serde(default)]
    whole_principal: bool,
}

/// Remove a connection
///
/// It is put away with all that is held of it; `perennial remove --undo` brings it back, but no grant that was revoked.
#[utoipa::path(
    delete, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection"), Removal),
    responses(
        (status = 204, description = "It is put away"),
        Problems,
    )
)]
pub(crate) async fn remove(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
    Query(removal): Query<Removal>,
) -> Result<StatusCode, Problem> {
    caller.check(Right::Admin, &name)?;
    let (own, by) = (Arc::clone(&shared), caller.name.clone());
    let removed = async move {
        if removal.revoke && !is_revoked(&own, &name).await? {
            revoke::carry_out(&own, &name, removal.whole_principal, &by).await?;
        }
        let removing = Arc::clone(&own);
        in_background(move || {
            removing.keeper.remove(&name).map_err(|error| removing.problem(&error, &name))?;
            removing.hot.forget(&name);
            Ok(StatusCode::NO_CONTENT)
        })
        .await
    };
    shared.seen_through(removed).await
}

async fn is_revoked(shared: &Arc<Shared>, name: &str) -> Result<bool, Problem> {
    Ok(seen(shared, name).await?.condition == Condition::Revoked)
}
