//! A grant that a person gives: a new connection, or one that is authorized anew. What was begun is seen through, also when
//! the caller hangs up: a client secret that the server calls wrong must not stay in force for all connections of its app.

use super::{Shown, in_background, shown_after};
use crate::access::Caller;
use crate::api::{Asked, Body, Daemon, Segment};
use crate::config::Right;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use http::StatusCode;
use perennial::core::connection::Held;
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RefreshToken, RequestToken};
use perennial::core::token_endpoint::response::Others;
use perennial::core::{Connection, Origin, Verdict};
use perennial::store::App;
use perennial::{Error, HandOut};
use serde::Deserialize;
use std::sync::Arc;

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
        Problems,
    )
)]
pub(crate) async fn add(
    shared: Daemon,
    caller: Asked,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    perennial::store::check_name(&new.name).map_err(|error| shared.problem(&error.into(), ""))?;
    caller.check(Right::Admin, &new.name)?;
    let (connection, app) = new.read(&shared)?;
    let own = Arc::clone(&shared);
    let shown = shared.seen_through(async move { take_in(&own, &caller, connection, app).await }).await?;
    Ok((StatusCode::CREATED, shown))
}

async fn take_in(
    shared: &Arc<Shared>,
    caller: &Caller,
    connection: Connection,
    app: App,
) -> Result<Json<Shown>, Problem> {
    let (adding, seen) = (Arc::clone(shared), connection.clone());
    let how = format!("added over HTTP by {}", caller.name);
    in_background(move || {
        let added = adding.keeper.add_to_app(&seen, &app, how);
        added.map_err(|error| adding.problem(&error, &seen.name))
    })
    .await?;
    let outcome = match connection.held {
        None => shared.keeper.obtain(&connection).await,
        Some(_) => shared.keeper.refresh(&connection.name).await,
    };
    shown_after(shared, &connection.name, outcome).await
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
        granted_at: None,
        others: Others::default(),
    }
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
        Problems,
    )
)]
pub(crate) async fn reauthorize(
    shared: Daemon,
    caller: Asked,
    Segment(name): Segment,
    Body(anew): Body<Anew>,
) -> Result<Json<Shown>, Problem> {
    caller.check(Right::Admin, &name)?;
    let own = Arc::clone(&shared);
    shared.seen_through(async move { anew.carry_out(&own, name, &caller).await }).await
}

impl Anew {
    async fn carry_out(
        self,
        shared: &Arc<Shared>,
        name: String,
        caller: &Caller,
    ) -> Result<Json<Shown>, Problem> {
        let (putting, of, by) = (Arc::clone(shared), name.clone(), caller.name.clone());
        let (seen, before, given) = in_background(move || {
            let problem = |error: Error| putting.problem(&error, &of);
            let seen = putting.keeper.connection(&of).map_err(problem)?;
            let before = putting.keeper.store().app(&of).map_err(|error| problem(error.into()))?;
            let given = self.over(before.clone()).known_since(putting.keeper.now());
            putting.keeper.put_app(&of, &given, format!("authorized anew by {by}")).map_err(problem)?;
            Ok((seen, before, given))
        })
        .await?;
        let outcome = shared.keeper.obtain(&seen).await;
        if is_wrong_secret(&outcome) && before.client.secret != given.client.secret {
            let (putting, of) = (Arc::clone(shared), name.clone());
            in_background(move || {
                let put = putting.keeper.put_back_secret(&of, &before, &given);
                put.map_err(|error| putting.problem(&error, &of))
            })
            .await?;
        }
        shown_after(shared, &name, outcome).await
    }

    /// What stands there, with what was given in its place.
    fn over(self, mut app: App) -> App {
        app.request_token = Some(RequestToken::new(self.company_request_token));
        if let Some(company) = self.company.as_deref().and_then(Principal::named) {
            app.company = Some(company);
        }
        if let Some(secret) = self.client_secret {
            app.client.secret = ClientSecret::new(secret);
        }
        app
    }
}

fn is_wrong_secret(outcome: &Result<HandOut, Error>) -> bool {
    matches!(outcome, Err(Error::Failed { fault, .. }) if fault.verdict == Verdict::FixClient)
}
