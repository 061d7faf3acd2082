//! Giving a grant back, and asking the server about one. Whoever may get a connection's token could revoke with it: these
//! give nobody more than he has.

use super::grant::seen;
use crate::api::{Asked, Daemon, MayHaveBody, Segment};
use crate::config::Right;
use crate::hot::rfc3339;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use perennial::Keeper;
use perennial::core::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What ends by it.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extent {
    /// True: the caller knows that at Concur every refresh token ends that this principal has for the app, also that of
    /// another connection. Elsewhere this grant alone ends, and nothing need be said.
    #[serde(default)]
    whole_principal: bool,
}

/// What was revoked.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ShownRevoked {
    /// The connection.
    connection: String,
    /// Its state now.
    state: &'static str,
    /// Where it was revoked.
    at: String,
    /// True when every refresh token of the principal for the app has ended.
    whole_principal: bool,
    /// What the provider's support asks for.
    correlation_id: Option<String>,
}

/// Revoke a connection's grant
///
/// The server ends it. What is held is kept, and marked; its access token is handed out no more.
#[utoipa::path(
    post, path = "/v1/connections/{name}/revoke", tag = "connections", request_body = Option<Extent>,
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "It is revoked", body = ShownRevoked),
        Problems,
    )
)]
pub(crate) async fn revoke(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
    MayHaveBody(extent): MayHaveBody<Extent>,
) -> Result<Json<ShownRevoked>, Problem> {
    caller.check(Right::Admin, &name)?;
    let (own, by) = (Arc::clone(&shared), caller.name.clone());
    let revoked = async move { carry_out(&own, &name, extent.whole_principal, &by).await };
    shared.seen_through(revoked).await.map(Json)
}

pub(super) async fn carry_out(
    shared: &Arc<Shared>,
    name: &str,
    whole_principal: bool,
    by: &str,
) -> Result<ShownRevoked, Problem> {
    let before = seen(shared, name).await?;
    if Keeper::revokes_whole_principal(&before) && !whole_principal {
        return Err(Problem::whole_principal(name));
    }
    let revoked = shared.keeper.revoke(name, &format!("over HTTP by {by}")).await;
    let revoked = revoked.map_err(|error| shared.problem(&error, name))?;
    shared.hot.forget(name);
    Ok(ShownRevoked {
        connection: name.to_owned(),
        state: State::Revoked.as_str(),
        at: revoked.at.to_string(),
        whole_principal: revoked.whole_principal,
        correlation_id: revoked.correlation_id,
    })
}

/// What a server thinks of a grant.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ShownIntrospection {
    /// True while it is good.
    active: bool,
    /// When it ends (RFC 3339).
    expires_at: Option<String>,
    /// What it may do.
    scope: Option<String>,
}

/// Ask the server about a connection's grant
///
/// RFC 7662, with the refresh token, or the access token where there is no other. Nothing is spent by that.
#[utoipa::path(
    post, path = "/v1/connections/{name}/introspect", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "What the server thinks of it", body = ShownIntrospection),
        Problems,
    )
)]
pub(crate) async fn introspect(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
) -> Result<Json<ShownIntrospection>, Problem> {
    caller.check(Right::Admin, &name)?;
    let before = seen(&shared, &name).await?;
    let told = shared.keeper.introspect(&name).await.map_err(|error| shared.problem(&error, &name))?;
    let host_time = |at| rfc3339(before.skew.host_time(at));
    Ok(Json(ShownIntrospection {
        active: told.active,
        expires_at: told.expires_at.map(host_time),
        scope: told.scope,
    }))
}
