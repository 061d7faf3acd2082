//! Many connections: a page at a time, and by what they are.

use super::{Shown, in_background};
use crate::api::{Asked, Daemon, Query};
use crate::problem::{Problem, Problems};
use axum::Json;
use perennial::Error;
use perennial::core::Connection;
use perennial::core::time::parse_duration;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// So many connections are listed at once, unless fewer are asked for.
const PAGE: usize = 100;

/// And so many at most.
const LONGEST_PAGE: usize = 1000;

/// So many are looked at for one page: a filter that few pass does not read the whole store for one request.
const LOOKED_AT: usize = 10_000;

/// Which connections.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Those in this state only.
    state: Option<String>,
    /// Those whose refresh token ends within this time only: `720h`.
    #[param(example = "720h", pattern = r"^([0-9]{1,9}|([0-9]{1,6}[smhd])+)$")]
    dies_within: Option<String>,
    /// Those behind this name: what `next` of the page before says.
    after: Option<String>,
    /// So many at most.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Some connections, by name.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Page {
    /// The connections.
    connections: Vec<Shown>,
    /// Where the next page begins; nothing where this was the last one.
    next: Option<String>,
}

/// List connections
///
/// Those that the caller may use, by name, a page at a time.
#[utoipa::path(
    get, path = "/v1/connections", tag = "connections", params(Which),
    responses(
        (status = 200, description = "A page", body = Page),
        Problems,
    )
)]
pub(crate) async fn list(
    shared: Daemon,
    caller: Asked,
    Query(which): Query<Which>,
) -> Result<Json<Page>, Problem> {
    let limit = which.limit.map_or(PAGE, usize::from);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {LONGEST_PAGE}")));
    }
    let within = which.dies_within.as_deref().map(parse_duration).transpose();
    let within = within.map_err(|error| Problem::bad_request(format!("dies_within: {error}")))?;
    let (shared, caller) = (Arc::clone(&shared), Arc::clone(&caller));
    in_background(move || {
        let now = shared.keeper.now();
        let passes = |connection: &Connection| {
            let state =
                which.state.as_ref().is_none_or(|state| state == shared.keeper.state(connection).as_str());
            let ends = connection.held.as_ref().and_then(|held| held.refresh_expiry);
            let dies = within.is_none_or(|within| {
                ends.is_some_and(|end| connection.skew.host_time(end.at()) <= now.after(within))
            });
            state && dies
        };
        let (mut found, mut after, mut looked_at) = (Vec::new(), which.after, 0);
        loop {
            let names =
                shared.keeper.store().names_after(after.as_deref(), LONGEST_PAGE).map_err(Error::from);
            let names = names.map_err(|error| shared.problem(&error, ""))?;
            let is_last = names.len() < LONGEST_PAGE;
            for name in names {
                if found.len() == limit || looked_at == LOOKED_AT {
                    return Ok(Json(Page { connections: found, next: after }));
                }
                looked_at += 1;
                // One that cannot be read, or was removed meanwhile, hides no other.
                if caller.sees(&name)
                    && let Ok(connection) = shared.keeper.connection(&name)
                    && passes(&connection)
                {
                    found.push(Shown::of(&shared, &connection));
                }
                after = Some(name);
            }
            if is_last {
                return Ok(Json(Page { connections: found, next: None }));
            }
        }
    })
    .await
}
