//! A grant that a person gives: a new connection, or one that is authorized anew. What was begun is seen through, also when
//! the caller hangs up: a client secret that the server calls wrong must not stay in force for all connections of its app.

use super::given::{GrantGiven, Means};
use super::new::{New, NewDescribed, Read, Then};
use super::server::Reach;
use super::{Shown, in_background, read, shown_after};
use crate::access::Caller;
use crate::api::{Asked, Body, Daemon, Segment};
use crate::config::Right;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use http::StatusCode;
use perennial::core::connection::Way;
use perennial::core::grant::Principal;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::{Connection, Grant};
use perennial::store::App;
use perennial::{Error, HandOut};
use serde::Deserialize;
use std::sync::Arc;

/// Add a connection
///
/// A grant is obtained, or the refresh token tried, before the answer. What was given is kept even if that does not work,
/// but for what is good once. With a grant of the type `sign_in` the connection waits for a person: `POST …/sign-in`.
#[utoipa::path(
    post, path = "/v1/connections", tag = "connections", request_body = NewDescribed,
    responses(
        (status = 201, description = "It works, or waits for a person to sign in", body = Shown),
        Problems,
    )
)]
pub(crate) async fn add(
    shared: Daemon,
    caller: Asked,
    reach: Reach,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Shown>), Problem> {
    perennial::store::check_name(&new.name).map_err(|error| shared.problem(&error.into(), ""))?;
    caller.check(Right::Admin, &new.name)?;
    let read = new.read(&shared, &reach).await?;
    let own = Arc::clone(&shared);
    let shown = shared.seen_through(async move { take_in(&own, &caller, read).await }).await?;
    Ok((StatusCode::CREATED, shown))
}

async fn take_in(shared: &Arc<Shared>, caller: &Caller, new: Read) -> Result<Json<Shown>, Problem> {
    let Read { connection, app, then } = new;
    let (adding, seen) = (Arc::clone(shared), connection.clone());
    let how = format!("added over HTTP by {}", caller.name);
    in_background(move || {
        let added = adding.keeper.add_to_app(&seen, &app, how);
        added.map_err(|error| adding.problem(&error, &seen.name))
    })
    .await?;
    let outcome = match then {
        Then::Wait => return read(shared, &connection.name).await,
        Then::Obtain => shared.keeper.obtain(&connection).await,
        Then::Present(grant) => shared.keeper.obtain_given(&connection, grant).await,
        Then::Refresh => shared.keeper.refresh(&connection.name).await,
    };
    shown_after(shared, &connection.name, outcome).await
}

/// What a person has authorized anew, or another secret of the app.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anew {
    /// Concur, in short: what a Web Services Administrator made within the last 24 hours.
    company_request_token: Option<String>,
    /// The company's UUID, where it is not known yet.
    company: Option<String>,
    /// How the grant is obtained anew. A sign-in is begun with `POST …/sign-in` instead.
    grant: Option<GrantGiven>,
    /// The app's secret, where it is a new one. It stays in force, for all connections of the app, if the server takes it.
    /// Alone, it is tried with what is held.
    client_secret: Option<String>,
}

/// Reauthorize a connection
///
/// A new grant with what is given. Identity and history stay, and the old grant is kept until the new one has refreshed.
#[utoipa::path(
    post, path = "/v1/connections/{name}/reauthorize", tag = "connections", request_body = Anew,
    params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "There is a new grant, or the new secret is taken", body = Shown),
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
        let seen = seen(shared, &name).await?;
        let company = self.company.as_deref().and_then(Principal::named);
        let means = match (self.grant, self.company_request_token) {
            (Some(grant), None) if company.is_none() => Some(grant.read(seen.server.is_none())?),
            (None, Some(request_token)) => Some(Means::Company(company, RequestToken::new(request_token))),
            (None, None) if self.client_secret.is_some() && company.is_none() => None,
            _ => {
                return Err(Problem::bad_request(
                    "give a grant, or a company_request_token, or a client_secret",
                ));
            }
        };
        let (next, company) = next(&seen, means)?;
        let change = Change { company, secret: self.client_secret.map(ClientSecret::new) };
        let how = format!("authorized anew by {}", caller.name);
        let (keeper, of) = (Arc::clone(shared), seen.clone());
        let outcome = with_app(shared, &name, change, how, async move {
            match next {
                Next::Present(grant) => keeper.keeper.obtain_given(&of, grant).await,
                Next::Obtain => keeper.keeper.obtain(&of).await,
                Next::Refresh => keeper.keeper.refresh(&of.name).await,
            }
        })
        .await?;
        shown_after(shared, &name, outcome).await
    }
}

/// What is done to have a grant anew.
enum Next {
    Present(Grant),
    Obtain,
    Refresh,
}

/// And the company that it is for, where there is one.
type ForCompany = Option<(Option<Principal>, RequestToken)>;

fn next(seen: &Connection, means: Option<Means>) -> Result<(Next, ForCompany), Problem> {
    match means {
        Some(Means::Once(grant)) => Ok((Next::Present(grant), None)),
        Some(Means::Company(..)) if seen.server.is_some() || seen.obtains_itself() => {
            Err(Problem::bad_request("this connection's grant is not obtained with a company request token"))
        }
        Some(Means::Company(company, request_token)) => Ok((Next::Obtain, Some((company, request_token)))),
        Some(Means::Itself(way)) if is_same(&way, &seen.obtaining.way) => Ok((Next::Obtain, None)),
        Some(Means::Itself(_)) => Err(Problem::bad_request(
            "this connection's grant is obtained in another way: add another connection",
        )),
        Some(Means::Held { .. }) => Err(Problem::bad_request("a refresh token is for a new connection")),
        Some(Means::Later) => Err(Problem::bad_request("a sign-in begins with POST …/sign-in")),
        None if seen.obtains_instead() => Ok((Next::Obtain, None)),
        None => Ok((Next::Refresh, None)),
    }
}

/// True for the same way; who says no more than its name means the one that is kept.
fn is_same(way: &Way, kept: &Way) -> bool {
    let unnamed = Way::JwtBearer { issuer: None, subject: None };
    way == kept || (*way == unnamed && matches!(kept, Way::JwtBearer { .. }))
}

/// What is given of an app.
#[derive(Default)]
pub(super) struct Change {
    pub(super) company: ForCompany,
    pub(super) secret: Option<ClientSecret>,
}

/// Tries something with what was given of the app. All connections of the app share its secret, also those that the
/// caller may not touch: a new one stays only where the server has taken it.
pub(super) async fn with_app(
    shared: &Arc<Shared>,
    name: &str,
    change: Change,
    how: String,
    attempt: impl Future<Output = Result<HandOut, Error>>,
) -> Result<Result<HandOut, Error>, Problem> {
    let (putting, of) = (Arc::clone(shared), name.to_owned());
    if change.company.is_none() && change.secret.is_none() {
        let outcome = attempt.await;
        let how = if outcome.is_ok() { how } else { format!("{how}, which came to nothing") };
        in_background(move || {
            putting.keeper.note(&of, how);
            Ok(())
        })
        .await?;
        return Ok(outcome);
    }
    let (before, given) = in_background(move || {
        let problem = |error: Error| putting.problem(&error, &of);
        let before = putting.keeper.store().app(&of).map_err(|error| problem(error.into()))?;
        let given = change.over(before.clone(), &putting);
        putting.keeper.put_app(&of, &given, how).map_err(problem)?;
        Ok((before, given))
    })
    .await?;
    let outcome = attempt.await;
    if before.client.secret != given.client.secret && !is_taken(&outcome) {
        let (putting, of) = (Arc::clone(shared), name.to_owned());
        in_background(move || {
            let put = putting.keeper.put_back_secret(&of, &before, &given);
            put.map_err(|error| putting.problem(&error, &of))
        })
        .await?;
    }
    Ok(outcome)
}

impl Change {
    /// What stands there, with what was given in its place.
    fn over(self, mut app: App, shared: &Shared) -> App {
        if let Some((company, request_token)) = self.company {
            app.company = company.or(app.company);
            app.request_token = Some(request_token);
            app = app.known_since(shared.keeper.now());
        }
        if let Some(secret) = self.secret {
            app.client.secret = secret;
        }
        app
    }
}

/// True when the server has taken the client's secret. A refusal of whatever kind is no proof of that: Concur's code 5 may
/// mean the secret too.
fn is_taken(outcome: &Result<HandOut, Error>) -> bool {
    matches!(outcome, Ok(_) | Err(Error::OtherPrincipal { .. } | Error::Unbelieved(_)))
}

/// The connection as it is.
pub(super) async fn seen(shared: &Arc<Shared>, name: &str) -> Result<Connection, Problem> {
    let (reading, name) = (Arc::clone(shared), name.to_owned());
    in_background(move || reading.keeper.connection(&name).map_err(|error| reading.problem(&error, &name)))
        .await
}
