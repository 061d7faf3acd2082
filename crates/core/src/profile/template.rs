//! Where a provider's endpoints are, with blanks to be filled in: `https://{domain}/oauth2/v1/token`. From a template and
//! a person's answers comes a [`Server`](crate::server::Server).

use crate::server::ClientAuthentication;

/// A provider's endpoints and habits, as far as they are the same for all of its customers. Texts may hold blanks, each
/// the name of a [`Blank`] in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What must be asked for.
    pub blanks: &'static [Blank],
    /// The issuer identifier.
    pub issuer: Option<&'static str>,
    /// True when the endpoints are asked for at the issuer, beyond those that are named here.
    pub discovers: bool,
    /// The token endpoint.
    pub token: Option<&'static str>,
    /// The authorization endpoint.
    pub authorization: Option<&'static str>,
    /// The device authorization endpoint (RFC 8628).
    pub device_authorization: Option<&'static str>,
    /// The revocation endpoint (RFC 7009).
    pub revocation: Option<&'static str>,
    /// The introspection endpoint (RFC 7662).
    pub introspection: Option<&'static str>,
    /// The JWK set.
    pub keys: Option<&'static str>,
    /// The base of the API.
    pub api: Option<&'static str>,
    /// How clients prove who they are, as a rule.
    pub authentication: ClientAuthentication,
    /// Whom a client's assertion is for, where it is not the issuer.
    pub audience: Option<&'static str>,
    /// The scope that brings a refresh token, where one must be asked for.
    pub scope: Option<&'static str>,
    /// What goes along to the authorization endpoint, such as Google's `access_type=offline`.
    pub authorize: &'static [(&'static str, &'static str)],
}

/// One thing that a person must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blank {
    /// Its name, as it stands in braces and behind `--set`.
    pub name: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
    /// What it is when nobody says otherwise.
    pub default: Option<&'static str>,
}

impl Template {
    /// Of a provider about which nothing is known before a person names it.
    pub const UNKNOWN: Self = Self {
        blanks: &[],
        issuer: None,
        discovers: true,
        token: None,
        authorization: None,
        device_authorization: None,
        revocation: None,
        introspection: None,
        keys: None,
        api: None,
        authentication: ClientAuthentication::Basic,
        audience: None,
        scope: None,
        authorize: &[],
    };
}
