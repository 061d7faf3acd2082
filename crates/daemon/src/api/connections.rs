//! Grants: what a person does with them, over HTTP. Never a secret in an answer.

use super::{Asked, Body, Daemon, Query, Segment};
use crate::config::Right;
use crate::hot::rfc3339;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::Json;
use http::StatusCode;
use perennial::core::connection::{Fault, Held};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RefreshToken, RequestToken};
use perennial::core::time::parse_duration;
use perennial::core::token_endpoint::response::Others;
use perennial::core::{Connection, Origin};
use perennial::store::App;
use perennial::{Error, HandOut};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// So many connections are listed at once, unless fewer are asked for.
const PAGE: usize = 100;

/// And so many at most.
const LONGEST_PAGE: usize = 1000;

/// So many are looked at for one page: a filter that few pass does not read the whole store for one request.
const LOOKED_AT: usize = 10_000;

/// A connection, without its secrets.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Shown {
    /// Its name.
    connection: String,
    /// What never changes.
    id: String,
    /// The authorization server's kind.
    profile: &'static str,
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
        let held = connection.held.as_ref();
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
        }
    }
}

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
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
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

/// A new connection: with a company request token, or with a refresh token and where it is good.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    /// What to call it.
    name: String,
    /// The app's id.
    client_id: String,
    /// The app's secret.
    client_secret: String,
    /// The company's UUID.
    company: Option<String>,
    /// What a Web Services Administrator made in Concur within the last 24 hours.
    company_request_token: Option<String>,
    /// A refresh token that something else has obtained.
    refresh_token: Option<String>,
    /// Where the refresh token is good.
    geolocation: Option<String>,
}

/// What is described of [`New`]: one of two ways.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it describes the body for OpenAPI; read is the one struct, whose mistakes have names"
)]
pub(crate) enum NewDescribed {
    /// With a company request token.
    Authorized {
        /// What to call it.
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
        name: String,
        /// The app's id.
        client_id: String,
        /// The app's secret.
        client_secret: String,
        /// The company's UUID.
        #[schema(pattern = "^[A-Za-z0-9-]{1,64}$")]
        company: String,
        /// What a Web Services Administrator made in Concur within the last 24 hours.
        company_request_token: String,
    },
    /// With a refresh token that something else has obtained.
    Held {
        /// What to call it.
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
        name: String,
        /// The app's id.
        client_id: String,
        /// The app's secret.
        client_secret: String,
        /// The refresh token.
        refresh_token: String,
        /// Where it is good.
        #[schema(pattern = r"^https://[a-z0-9-]{1,40}\.api\.concursolutions\.com$")]
        geolocation: String,
    },
}

/// Add a connection
///
/// A grant is obtained, or the refresh token tried, before the answer. What was given is kept even if that does not work.
#[utoipa::path(
    post, path = "/v1/connections", tag = "connections", request_body = NewDescribed,
    responses(
        (status = 201, description = "It works", body = Shown),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add(
    shared: Daemon,
    caller: Asked,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    perennial::store::check_name(&new.name).map_err(|error| shared.problem(&error.into(), ""))?;
    caller.check(Right::Admin, &new.name)?;
    let name = new.name.clone();
    let (connection, app) = new.read(&shared)?;
    let obtains = connection.held.is_none();
    let (adding, seen) = (Arc::clone(&shared), connection.clone());
    let how = format!("added over HTTP by {}", caller.name);
    in_background(move || {
        let added = adding.keeper.add(&seen, &app, &[], how);
        added.map_err(|error| adding.problem(&error, &seen.name))
    })
    .await?;
    let outcome =
        if obtains { shared.keeper.obtain(&connection).await } else { shared.keeper.refresh(&name).await };
    shown_after(&shared, &name, outcome).await.map(|shown| (StatusCode::CREATED, shown))
}

impl New {
    fn read(self, shared: &Shared) -> Result<(Connection, App), Problem> {
        let secret = ClientSecret::new(self.client_secret);
        let client = Client { id: self.client_id, secret };
        let company = self.company.as_deref().and_then(Principal::named);
        let mut connection = Connection::new(perennial::request_id(), &self.name, &CONCUR);
        match (self.company_request_token, self.refresh_token, self.geolocation) {
            (Some(_), None, None) if company.is_none() => {
                Err(Problem::bad_request("a company request token needs the company's UUID beside it"))
            }
            (Some(request_token), None, None) => {
                let app = App::new(client, company, Some(RequestToken::new(request_token)));
                Ok((connection, app.known_since(shared.keeper.now())))
            }
            (None, Some(refresh_token), Some(geolocation)) => {
                let base = Origin::parse(&geolocation);
                let base = base.map_err(|error| Problem::bad_request(format!("geolocation {error}")))?;
                if !connection.permits(&base) {
                    connection.permitted.push(base.clone());
                }
                connection.principal.clone_from(&company);
                connection.held = Some(given(refresh_token, base));
                Ok((connection, App::new(client, company, None)))
            }
            _ => Err(Problem::bad_request(
                "give a company and its company_request_token, or a refresh_token and its geolocation",
            )),
        }
    }
}

/// Nobody knows how old it is: renewal is due at once.
fn given(refresh_token: String, base: Origin) -> Held {
    Held {
        grant_id: perennial::request_id(),
        generation: 1,
        access: None,
        refresh: Some(RefreshToken::new(refresh_token)),
        refresh_expiry: None,
        base,
        scope: None,
        id_token: None,
        refreshed_at: None,
        others: Others::default(),
    }
}

/// Show a connection
#[utoipa::path(
    get, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "How it is", body = Shown),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
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

/// Remove a connection
///
/// It is put away with all that is held of it; `perennial remove --undo` brings it back.
#[utoipa::path(
    delete, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 204, description = "It is put away"),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
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

/// Refresh a connection
///
/// Now, because a person asks, whatever is waited for.
#[utoipa::path(
    post, path = "/v1/connections/{name}/refresh", tag = "connections",
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "Both tokens are new", body = Shown),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
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
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
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
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
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

/// What a person has authorized anew.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anew {
    /// What a Web Services Administrator made in Concur within the last 24 hours.
    company_request_token: String,
    /// The company's UUID, where it is not known yet.
    company: Option<String>,
    /// The app's secret, where it is a new one.
    client_secret: Option<String>,
}

/// Reauthorize a connection
///
/// A new grant with a new request token. Identity and history stay, and the old grant is kept until the new one has
/// refreshed.
#[utoipa::path(
    post, path = "/v1/connections/{name}/reauthorize", tag = "connections", request_body = Anew,
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "There is a new grant", body = Shown),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Why not now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reauthorize(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
    Body(anew): Body<Anew>,
) -> Result<Json<Shown>, Problem> {
    caller.check(Right::Admin, &name)?;
    let (putting, of, by) = (Arc::clone(&shared), name.clone(), caller.name.clone());
    let seen = in_background(move || {
        let problem = |error: Error| putting.problem(&error, &of);
        let seen = putting.keeper.connection(&of).map_err(problem)?;
        let mut app = putting.keeper.store().app(&of).map_err(|error| problem(error.into()))?;
        app = app.known_since(putting.keeper.now());
        app.request_token = Some(RequestToken::new(anew.company_request_token));
        if let Some(company) = anew.company.as_deref().and_then(Principal::named) {
            app.company = Some(company);
        }
        if let Some(secret) = anew.client_secret {
            app.client.secret = ClientSecret::new(secret);
        }
        putting.keeper.put_app(&of, &app, format!("authorized anew by {by}")).map_err(problem)?;
        Ok(seen)
    })
    .await?;
    let outcome = shared.keeper.obtain(&seen).await;
    shown_after(&shared, &name, outcome).await
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
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        let title = "the daemon could not go on";
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "/problems/internal", title, "a task ended"))
    })
}
