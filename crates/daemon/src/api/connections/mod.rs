//! Grants: what a person sees of them and does with them, over HTTP. Never a secret in an answer.
//!
//! | file | what it tells |
//! |---|---|
//! | `mod.rs` | how a connection is shown |
//! | [`list`] | many of them, by page and by what they are |
//! | [`grant`] | a grant that is given: a new connection, one that is authorized anew |
//! | [`new`] | what a new connection is made of |
//! | [`given`] | the ways to obtain a grant, as a caller writes them |
//! | [`server`] | an authorization server, as a caller names it, and which one a caller may name |
//! | [`sign_in`], [`pending`] | sign-ins that need a person, and those that are under way |
//! | [`revoke`] | giving a grant back, asking about one |
//! | `problems` | what may be wrong with all of these |
//! | [`upkeep`] | refresh, suspend, resume, remove |

pub(crate) mod given;
pub(crate) mod grant;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod pending;
mod problems;
pub(crate) mod revoke;
pub(crate) mod server;
pub(crate) mod sign_in;
pub(crate) mod upkeep;

use super::{Asked, Daemon, Segment};
use crate::hot::rfc3339;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use perennial::core::Connection;
use perennial::core::connection::Fault;
use perennial::core::server::ClientAuthentication;
use perennial::{Error, HandOut};
use serde::Serialize;
use std::sync::Arc;

/// A connection, without its secrets.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Shown {
    /// Its name.
    connection: String,
    /// What never changes.
    id: String,
    /// The authorization server's kind.
    profile: &'static str,
    /// How its grant is obtained: by a `person`, one who signs in (`sign_in`; `device` where it was added with `--device`),
    /// or without one by `client_credentials` or `jwt_bearer`.
    way: &'static str,
    /// The authorization server's issuer identifier, where it is known.
    issuer: Option<String>,
    /// Where its grants are exchanged; nothing where that follows from its base, as at Concur.
    token_endpoint: Option<String>,
    /// How the client proves who it is: `client_secret_post` and others of RFC 8414.
    client_authentication: &'static str,
    /// Its state: `held`, `backing_off`, `needs_reauthorization` and others.
    state: &'static str,
    /// Whom the grant is for.
    principal: Option<String>,
    /// Where its tokens are good.
    base_uri: Option<String>,
    /// When its access token ends (RFC 3339).
    access_expires_at: Option<String>,
    /// When its refresh token ends (RFC 3339).
    refresh_expires_at: Option<String>,
    /// When its refresh token will be renewed at the latest (RFC 3339).
    renew_at: Option<String>,
    /// How many times its tokens have been replaced.
    generation: u64,
    /// When they were last replaced (RFC 3339).
    refreshed_at: Option<String>,
    /// What went wrong last.
    last_fault: Option<ShownFault>,
    /// The sign-in that is under way, or has just ended.
    sign_in: Option<pending::ShownSignIn>,
}

/// What went wrong.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ShownFault {
    /// When (RFC 3339).
    at: String,
    /// `obtain` or `refresh`.
    purpose: &'static str,
    /// What the keeper makes of it.
    verdict: &'static str,
    /// The HTTP status.
    status: Option<u16>,
    /// The provider's code.
    code: Option<u32>,
    /// In words.
    message: String,
    /// What the provider's support asks for.
    correlation_id: Option<String>,
}

impl Shown {
    fn of(shared: &Shared, connection: &Connection) -> Self {
        let time = |at| rfc3339(connection.skew.host_time(at));
        let (held, server) = (connection.held.as_ref(), connection.server.as_ref());
        let fault = |fault: &Fault| ShownFault {
            at: time(fault.at),
            purpose: fault.purpose.as_str(),
            verdict: fault.verdict.as_str(),
            status: fault.status,
            code: fault.code,
            message: fault.message.clone(),
            correlation_id: fault.correlation_id.clone(),
        };
        Self {
            connection: connection.name.clone(),
            id: connection.id.clone(),
            profile: connection.profile.name,
            way: connection.obtaining.way.as_str(),
            issuer: server.and_then(|server| server.issuer.clone()),
            token_endpoint: server.map(|server| server.token.to_string()),
            client_authentication: server
                .map_or_else(ClientAuthentication::default, |server| server.authentication)
                .as_str(),
            state: shared.keeper.state(connection).as_str(),
            principal: connection.principal.as_ref().map(ToString::to_string),
            base_uri: held.map(|held| held.base.to_string()),
            access_expires_at: held
                .and_then(|held| held.access.as_ref())
                .map(|access| time(access.expiry.at())),
            refresh_expires_at: held.and_then(|held| held.refresh_expiry).map(|expiry| time(expiry.at())),
            renew_at: connection.renew_at().map(time),
            generation: held.map_or(0, |held| held.generation),
            refreshed_at: held.and_then(|held| held.refreshed_at).map(time),
            last_fault: connection.last_fault.as_ref().map(fault),
            sign_in: shared.sign_ins.shown(&connection.id, shared.keeper.now()),
        }
    }
}

/// Show a connection
#[utoipa::path(
    get, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "How it is", body = Shown),
        Problems,
    )
)]
pub(crate) async fn show(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
) -> Result<Json<Shown>, Problem> {
    if !caller.sees(&name) {
        return Err(Problem::no_such_connection(&name));
    }
    read(&shared, &name).await
}

async fn shown_after(
    shared: &Arc<Shared>,
    name: &str,
    outcome: Result<HandOut, Error>,
) -> Result<Json<Shown>, Problem> {
    let hand_out = outcome.map_err(|error| shared.problem(&error, name))?;
    shared.hot.put(hand_out, shared.keeper.now());
    read(shared, name).await
}

async fn read(shared: &Arc<Shared>, name: &str) -> Result<Json<Shown>, Problem> {
    let (reading, name) = (Arc::clone(shared), name.to_owned());
    in_background(move || {
        let connection = reading.keeper.connection(&name).map_err(|error| reading.problem(&error, &name))?;
        Ok(Json(Shown::of(&reading, &connection)))
    })
    .await
}

/// What reads or writes the store waits on a thread of its own.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::ended()))
}
