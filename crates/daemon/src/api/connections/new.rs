//! What a new connection is made of, as a caller writes it.

use super::given::{GrantGiven, Means, pairs};
use super::server::{Reach, ServerGiven};
use crate::problem::Problem;
use crate::shared::Shared;
use perennial::core::connection::{Held, Obtaining, Way};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RefreshToken};
use perennial::core::server::ClientAuthentication;
use perennial::core::{Connection, Grant, Origin};
use perennial::store::App;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A new connection.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct New {
    pub(super) name: String,
    client_id: String,
    client_secret: Option<String>,
    company: Option<String>,
    company_request_token: Option<String>,
    refresh_token: Option<String>,
    geolocation: Option<String>,
    grant: Option<GrantGiven>,
    server: Option<ServerGiven>,
    base_uri: Option<String>,
    scope: Option<String>,
    parameters: Option<BTreeMap<String, String>>,
}

/// What is described of [`New`]: with a `grant` of any type, or one of two short forms for Concur.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it describes the body for OpenAPI; read is the one struct, whose mistakes have names"
)]
pub(crate) enum NewDescribed {
    /// With any grant, at any server.
    Granted {
        /// What to call it.
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
        name: String,
        /// The app's id.
        client_id: String,
        /// The app's secret; with `private_key_jwt` its private key, as PEM, and with it the certificate where the server
        /// knows the client by that; none for a public client.
        #[schema(min_length = 1)]
        client_secret: Option<String>,
        /// How the grant is obtained.
        grant: GrantGiven,
        /// The authorization server; Concur where there is none.
        server: Option<Box<ServerGiven>>,
        /// Concur: where the grant is obtained. When nothing is said, where the daemon's own configuration says, else at
        /// the global landing zone.
        base_uri: Option<String>,
        /// What is asked for. When nothing is said, for a sign-in the profile's scope, which brings a refresh token; else, or
        /// with an empty text, the server decides.
        scope: Option<String>,
        /// Further parameters of the token request, such as `audience` or `resource`. They are kept, and are no place
        /// for secrets.
        parameters: Option<BTreeMap<String, String>>,
    },
    /// Concur, with a company request token.
    Authorized {
        /// What to call it.
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
        name: String,
        /// The app's id.
        client_id: String,
        /// The app's secret.
        #[schema(min_length = 1)]
        client_secret: String,
        /// The company's UUID.
        #[schema(pattern = "^[A-Za-z0-9-]{1,64}$")]
        company: String,
        /// What a Web Services Administrator made in Concur within the last 24 hours.
        company_request_token: String,
    },
    /// Concur, with a refresh token that something else has obtained.
    Held {
        /// What to call it.
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
        name: String,
        /// The app's id.
        client_id: String,
        /// The app's secret.
        #[schema(min_length = 1)]
        client_secret: String,
        /// The refresh token.
        refresh_token: String,
        /// Where it is good.
        #[schema(pattern = r"^https://[a-z0-9-]{1,40}\.api\.concursolutions\.com$")]
        geolocation: String,
    },
}

/// A connection to be taken in, its app, and what is done with it then.
pub(super) struct Read {
    pub(super) connection: Connection,
    pub(super) app: App,
    pub(super) then: Then,
}

/// What is done with a connection that was taken in.
pub(super) enum Then {
    /// A grant is obtained with what is kept.
    Obtain,
    /// This is exchanged for a grant.
    Present(Grant),
    /// The refresh token is tried.
    Refresh,
    /// Nothing before a person has signed in.
    Wait,
}

impl New {
    pub(super) async fn read(mut self, shared: &Shared, reach: &Reach) -> Result<Read, Problem> {
        let means = self.means()?;
        let secret = self.client_secret.take().filter(|secret| !secret.is_empty());
        let signs = matches!(means, Means::Itself(Way::JwtBearer { .. }));
        let mut connection = match self.server.take() {
            None => Connection::new(perennial::request_id(), &self.name, &CONCUR),
            Some(server) => {
                let (server, profile) = server.read(shared, reach, secret.is_some() && !signs).await?;
                Connection::new(perennial::request_id(), &self.name, profile).at(server)
            }
        };
        check_secret(&connection, secret.as_deref(), signs)?;
        let client =
            Client { id: self.client_id.clone(), secret: ClientSecret::new(secret.unwrap_or_default()) };
        let way = means.way(connection.server.is_none());
        let scope = connection.profile.scope(self.scope.take(), &way);
        let parameters = pairs(self.parameters.take().unwrap_or_default())?;
        connection.obtaining = Obtaining { way, scope, parameters };
        if let Some(base) = &self.base_uri {
            named_base(&mut connection, base, shared, reach)?;
        }
        let app = App::new(client, None, None);
        match means {
            Means::Once(grant) => Ok(Read { connection, app, then: Then::Present(grant) }),
            Means::Later => Ok(Read { connection, app, then: Then::Wait }),
            Means::Itself(_) => Ok(Read { connection, app, then: Then::Obtain }),
            Means::Company(company, request_token) => {
                let app = App::new(app.client, company, Some(request_token));
                let app = app.known_since(shared.keeper.now());
                Ok(Read { connection, app, then: Then::Obtain })
            }
            Means::Held { refresh_token, geolocation } => {
                let base = held_base(&mut connection, geolocation.as_deref(), reach)?;
                let company = self.company.as_deref().and_then(Principal::named);
                connection.principal.clone_from(&company);
                let token = RefreshToken::new(refresh_token);
                connection.held = Some(Held::unproved(perennial::request_id(), token, base));
                Ok(Read { connection, app: App::new(app.client, company, None), then: Then::Refresh })
            }
        }
    }

    /// What the grant is obtained with: the `grant`, or one of the two short forms.
    fn means(&mut self) -> Result<Means, Problem> {
        let is_concur = self.server.is_none();
        if !is_concur && self.base_uri.is_some() {
            return Err(Problem::bad_request(
                "base_uri is Concur's; a server of its own has a token_endpoint",
            ));
        }
        let company = self.company.take();
        let short = (self.company_request_token.take(), self.refresh_token.take(), self.geolocation.take());
        let given = match (self.grant.take(), company, short) {
            (Some(grant), None, (None, None, None)) => grant,
            (None, Some(company), (Some(request_token), None, None)) => {
                GrantGiven::Company { company, request_token }
            }
            (None, None, (Some(_), None, None)) => {
                let what = "a company request token needs the company's UUID beside it";
                return Err(Problem::bad_request(what));
            }
            (None, company, (None, Some(refresh_token), geolocation @ Some(_))) => {
                self.company = company;
                GrantGiven::RefreshToken { refresh_token, geolocation }
            }
            _ => {
                let what = "give a grant, or a company and its company_request_token, or a refresh_token and its \
                            geolocation";
                return Err(Problem::bad_request(what));
            }
        };
        given.read(is_concur)
    }
}

/// A client proves itself with what it has; an app that signs statements does so with its private key.
fn check_secret(connection: &Connection, secret: Option<&str>, signs: bool) -> Result<(), Problem> {
    let authentication =
        connection.server.as_ref().map_or_else(ClientAuthentication::default, |it| it.authentication);
    let wants_key = signs || authentication == ClientAuthentication::PrivateKey;
    match (authentication, secret) {
        (_, Some(pem)) if wants_key => perennial::check_private_key(pem, connection.profile)
            .map_err(|error| Problem::bad_request(format!("client_secret: {error}"))),
        (ClientAuthentication::None, Some(_)) if !signs => {
            Err(Problem::bad_request("a client that proves nothing has no client_secret"))
        }
        (ClientAuthentication::None, None) if !signs => Ok(()),
        (_, None) => Err(Problem::bad_request("client_secret is missing")),
        _ => Ok(()),
    }
}

/// Concur: a person may say where a grant is obtained, unless the daemon's configuration has said so for all.
fn named_base(
    connection: &mut Connection,
    base: &str,
    shared: &Shared,
    reach: &Reach,
) -> Result<(), Problem> {
    let base = Origin::parse(base).map_err(|error| Problem::bad_request(format!("base_uri {error}")))?;
    reach.check_base(connection.profile, &base)?;
    connection.permitted.push(base.clone());
    let used = shared.keeper.obtaining_base(connection).map_err(|error| shared.problem(&error, ""))?;
    if used == base {
        return Ok(());
    }
    Err(Problem::bad_request(format!(
        "this daemon's configuration has grants obtained at {used}: leave base_uri out"
    )))
}

/// Where a refresh token is presented.
fn held_base(
    connection: &mut Connection,
    geolocation: Option<&str>,
    reach: &Reach,
) -> Result<Origin, Problem> {
    if let Some(own) = connection.token_origin() {
        return Ok(own.clone());
    }
    let base = Origin::parse(geolocation.unwrap_or_default());
    let base = base.map_err(|error| Problem::bad_request(format!("geolocation {error}")))?;
    reach.check_base(connection.profile, &base)?;
    if !connection.permits(&base) {
        connection.permitted.push(base.clone());
    }
    Ok(base)
}
