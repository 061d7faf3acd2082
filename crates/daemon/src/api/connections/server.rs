//! An authorization server, as a caller names it: by its issuer, which is asked what it is, by a profile that knows it, or
//! endpoint by endpoint.
//!
//! Secrets go there (law 10), and requests do: whoever names a server has this daemon knock at doors that he may not reach
//! himself. So a client key names no address of this machine or this network but those that the configuration lists
//! (`access.servers_inside`). Who asks over the unix socket without a key is on this machine already, and may name any: he
//! reaches those doors without us. What a public name leads to is not looked at: plain http goes nowhere but to this
//! machine's own name, and nobody inside has a certificate of a public one, so that no request gets beyond the handshake.

use crate::access::From;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use perennial::core::metadata::is_inside;
use perennial::core::profile::Profile;
use perennial::core::profile::concur::CONCUR;
use perennial::core::profile::generic::GENERIC;
use perennial::core::server::{ClientAuthentication, Endpoint};
use perennial::core::{Origin, Server};
use perennial::sign_in::discovery::{DiscoveryError, discover, locate};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The authorization server: its `issuer`, which describes itself, a `profile` that knows where it is, or its endpoints by
/// hand.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerGiven {
    /// Its issuer identifier. Alone, the endpoints are asked for there (RFC 8414, OpenID Connect Discovery).
    issuer: Option<String>,
    /// The profile whose rules it follows, `generic` when nothing is said: what may be done with its tokens, what its errors
    /// mean, the scope that brings a refresh token. Without an issuer and a token_endpoint it also says where the server is,
    /// and how clients prove who they are there.
    profile: Option<String>,
    /// What the profile asks for, such as `tenant`.
    settings: Option<BTreeMap<String, String>>,
    /// Where grants are exchanged: with it, nothing is asked for, and the endpoints are those that are named here.
    token_endpoint: Option<String>,
    /// Where a person signs in.
    authorization_endpoint: Option<String>,
    /// Where a sign-in on another device begins (RFC 8628).
    device_authorization_endpoint: Option<String>,
    /// Where tokens are revoked (RFC 7009).
    revocation_endpoint: Option<String>,
    /// Where tokens are asked about (RFC 7662).
    introspection_endpoint: Option<String>,
    /// Where the keys stand that id_tokens are signed with.
    jwks_uri: Option<String>,
    /// True when every redirect back names the issuer (RFC 9207).
    authorization_response_iss_parameter_supported: Option<bool>,
    /// How the client proves who it is. When nothing is said: as the server takes it, `client_secret_basic` first; `none`
    /// where there is no secret.
    client_authentication: Option<AuthenticationGiven>,
    /// With `private_key_jwt`: the key's id.
    key_id: Option<String>,
    /// With `private_key_jwt`: whom the assertion is for, where it is not the issuer.
    audience: Option<String>,
    /// The base of the API that the tokens are for, where it is not the token endpoint's.
    api: Option<String>,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthenticationGiven {
    /// Id and secret in the Authorization header.
    ClientSecretBasic,
    /// Id and secret in the body.
    ClientSecretPost,
    /// A signed assertion; `client_secret` is the private key, as PEM, and with it the certificate where the server knows the
    /// client by that.
    PrivateKeyJwt,
    /// A public client.
    None,
}

impl AuthenticationGiven {
    fn read(self) -> ClientAuthentication {
        match self {
            Self::ClientSecretBasic => ClientAuthentication::Basic,
            Self::ClientSecretPost => ClientAuthentication::Post,
            Self::PrivateKeyJwt => ClientAuthentication::PrivateKey,
            Self::None => ClientAuthentication::None,
        }
    }
}

impl ServerGiven {
    /// The server and its profile; one that describes itself is asked. A client that `proves` nothing has no secret, or
    /// signs a statement instead.
    pub(super) async fn read(
        self,
        shared: &Shared,
        reach: &Reach,
        proves: bool,
    ) -> Result<(Server, &'static Profile), Problem> {
        let profile = self.profile()?;
        let chosen = self.client_authentication.map(AuthenticationGiven::read);
        let mut server = match (&self.token_endpoint, &self.issuer, &self.profile) {
            (Some(_), ..) => self.by_hand()?,
            (None, Some(issuer), _) => self.discovered(shared, reach, issuer).await?,
            (None, None, Some(_)) => self.of_profile(shared, reach, profile).await?,
            (None, None, None) => {
                return Err(Problem::bad_request("a server needs an issuer, a token_endpoint or a profile"));
            }
        };
        let usual = if proves { server.authentication } else { ClientAuthentication::None };
        server.authentication = chosen.unwrap_or(usual);
        server.key_id = self.key_id;
        server.audience = self.audience.or(server.audience);
        if let Some(api) = self.api {
            server.api = Some(Origin::parse(&api).map_err(|error| wrong("api", &error))?);
        }
        reach.check_all(&server)?;
        Ok((server, profile))
    }

    fn profile(&self) -> Result<&'static Profile, Problem> {
        let Some(name) = &self.profile else { return Ok(&GENERIC) };
        match Profile::named(name) {
            Some(profile) if *profile == CONCUR => {
                Err(Problem::bad_request("SAP Concur has its own endpoints: leave the server out"))
            }
            Some(profile) => Ok(profile),
            None => Err(Problem::bad_request("no profile of that name is known here")),
        }
    }

    fn by_hand(&self) -> Result<Server, Problem> {
        self.check_no_settings()?;
        let read = |name: &str, text: &Option<String>| match text {
            Some(text) => Endpoint::parse(text).map(Some).map_err(|error| wrong(name, &error)),
            None => Ok(None),
        };
        let missing = || Problem::bad_request("token_endpoint is missing");
        let token = read("token_endpoint", &self.token_endpoint)?.ok_or_else(missing)?;
        Ok(Server {
            issuer: self.issuer.clone(),
            authorization: read("authorization_endpoint", &self.authorization_endpoint)?,
            device_authorization: read("device_authorization_endpoint", &self.device_authorization_endpoint)?,
            revocation: read("revocation_endpoint", &self.revocation_endpoint)?,
            introspection: read("introspection_endpoint", &self.introspection_endpoint)?,
            keys: read("jwks_uri", &self.jwks_uri)?,
            names_itself: self.authorization_response_iss_parameter_supported == Some(true),
            ..Server::undescribed(token)
        })
    }

    async fn discovered(&self, shared: &Shared, reach: &Reach, issuer: &str) -> Result<Server, Problem> {
        self.check_no_settings()?;
        self.check_none_by_hand("the issuer")?;
        let home = Origin::parse(issuer).map_err(|error| wrong("issuer", &error))?;
        reach.check(&home)?;
        let described = discover(&shared.http, issuer).await;
        described.map(|described| described.server).map_err(|error| Problem::not_discovered(&error))
    }

    async fn of_profile(&self, shared: &Shared, reach: &Reach, profile: &Profile) -> Result<Server, Problem> {
        self.check_none_by_hand("the profile")?;
        let settings: Vec<_> = self.settings.clone().unwrap_or_default().into_iter().collect();
        let filled = profile.template.fill(&settings);
        let filled = filled.map_err(|error| Problem::bad_request(format!("settings: {error}")))?;
        if let Some(issuer) = filled.asks() {
            reach.check(&Origin::parse(issuer).map_err(|error| wrong("issuer", &error))?)?;
        }
        let described = locate(&shared.http, &filled).await;
        described.map(|described| described.server).map_err(|error| match error {
            DiscoveryError::NothingNamed => Problem::bad_request(
                "the profile names no endpoints: name an issuer or a token_endpoint beside it",
            ),
            error => Problem::not_discovered(&error),
        })
    }

    /// A mixture would send secrets where neither the server nor a whole description by hand has said.
    fn check_none_by_hand(&self, what: &str) -> Result<(), Problem> {
        let by_hand = [
            &self.authorization_endpoint,
            &self.device_authorization_endpoint,
            &self.revocation_endpoint,
            &self.introspection_endpoint,
            &self.jwks_uri,
        ];
        if by_hand.into_iter().all(Option::is_none) {
            return Ok(());
        }
        Err(Problem::bad_request(format!("name {what} alone, or a token_endpoint beside the others")))
    }

    fn check_no_settings(&self) -> Result<(), Problem> {
        match self.settings {
            None => Ok(()),
            Some(_) => Err(Problem::bad_request(
                "settings fill in a profile's addresses; leave the issuer and the token_endpoint out, or the settings",
            )),
        }
    }
}

fn wrong(name: &str, why: &dyn std::fmt::Display) -> Problem {
    Problem::bad_request(format!("{name} {why}"))
}

/// Which servers a caller may name.
pub(crate) struct Reach {
    /// Over the unix socket, without a key.
    pub(super) is_here: bool,
    inside: Vec<Origin>,
}

impl FromRequestParts<Arc<Shared>> for Reach {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let over_socket = matches!(parts.extensions.get::<From>(), Some(From::Unix { .. }));
        let inside = shared.config().access.servers_inside.iter().map(|site| site.0.clone()).collect();
        Ok(Self { is_here: over_socket && !parts.headers.contains_key(AUTHORIZATION), inside })
    }
}

impl Reach {
    /// Refuses a server of this machine or this network that the caller may not name.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), Problem> {
        if self.is_here || self.inside.contains(origin) || !is_inside(&origin.to_string()) {
            return Ok(());
        }
        Err(Problem::out_of_reach(origin))
    }

    /// Refuses a base that is neither the provider's own nor one that the caller may name.
    pub(super) fn check_base(&self, profile: &Profile, base: &Origin) -> Result<(), Problem> {
        if self.is_here || self.inside.contains(base) || profile.permits(base, &[]) {
            return Ok(());
        }
        Err(Problem::out_of_reach(base))
    }

    /// All that is ever asked: also where a person signs in, for a person believes the address that we show.
    fn check_all(&self, server: &Server) -> Result<(), Problem> {
        let shown = [&server.authorization, &server.keys];
        let shown = shown.into_iter().flatten().map(Endpoint::origin);
        server.origins().chain(shown).try_for_each(|origin| self.check(origin))
    }
}
