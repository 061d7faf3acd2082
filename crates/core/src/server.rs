//! The endpoints of one authorization server, as they were discovered (RFC 8414, OpenID Connect Discovery) or named when
//! a connection was made. They stand with the connection: what it needs is known also where no network and no profile is
//! at hand, and no document that changes later can send its secrets elsewhere (law 10).

use crate::origin::{Origin, OriginError};
use std::fmt;
use url::Url;

/// The address of an endpoint: an origin, and the path with its query (RFC 6749 section 3.2 permits one, and no fragment).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    origin: Origin,
    path: String,
}

impl Endpoint {
    /// Takes an address of https, or of http on this machine.
    ///
    /// # Errors
    /// As [`Origin::parse`].
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let origin = Origin::parse(text)?;
        let url = Url::parse(text.trim()).map_err(|_| OriginError::NotAbsolute)?;
        let path =
            url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { origin, path })
    }

    /// The endpoint at `path` below a base.
    #[must_use]
    pub fn at(origin: Origin, path: impl Into<String>) -> Self {
        Self { origin, path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path, and the query if there is one: what a request line carries.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// How a client proves to the token endpoint who it is; the names are those of RFC 8414 and RFC 7591.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_post`: id and secret in the body (RFC 6749 section 2.3.1). The only one that Concur takes.
    #[default]
    Post,
    /// `client_secret_basic`: id and secret in the Authorization header, each form-encoded first.
    Basic,
    /// `private_key_jwt`: a signed assertion (RFC 7523 section 2.2). The client secret that is kept is the private key.
    PrivateKey,
    /// `none`: a public client, which has no secret.
    None,
}

impl ClientAuthentication {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Post, Self::Basic, Self::PrivateKey, Self::None];

    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "client_secret_post",
            Self::Basic => "client_secret_basic",
            Self::PrivateKey => "private_key_jwt",
            Self::None => "none",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// One authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its issuer identifier, to the letter: what `iss` must be.
    pub issuer: Option<String>,
    /// Where grants are exchanged.
    pub token: Endpoint,
    /// Where a person signs in.
    pub authorization: Option<Endpoint>,
    /// Where a sign-in on another device begins (RFC 8628).
    pub device_authorization: Option<Endpoint>,
    /// Where tokens are revoked (RFC 7009).
    pub revocation: Option<Endpoint>,
    /// Where tokens are asked about (RFC 7662).
    pub introspection: Option<Endpoint>,
    /// Where the keys stand that id_tokens are signed with.
    pub keys: Option<Endpoint>,
    /// True when every redirect back carries `iss` (RFC 9207): one without is refused.
    pub names_itself: bool,
    /// How the client proves who it is.
    pub authentication: ClientAuthentication,
    /// With [`ClientAuthentication::PrivateKey`]: the key's id (`kid`), where the server wants one.
    pub key_id: Option<String>,
    /// With [`ClientAuthentication::PrivateKey`]: whom the assertion is for; the issuer, else the token endpoint.
    pub audience: Option<String>,
    /// The base of the API that the tokens are for, where it is another than the token endpoint's.
    pub api: Option<Origin>,
}

impl Server {
    /// One of which nothing but the token endpoint is known.
    #[must_use]
    pub fn new(token: Endpoint) -> Self {
        Self {
            issuer: None,
            token,
            authorization: None,
            device_authorization: None,
            revocation: None,
            introspection: None,
            keys: None,
            names_itself: false,
            authentication: ClientAuthentication::default(),
            key_id: None,
            audience: None,
            api: None,
        }
    }

    /// One that has said nothing of itself: as RFC 6749 section 2.3.1 has it, it takes the client's secret by Basic.
    #[must_use]
    pub fn undescribed(token: Endpoint) -> Self {
        Self { authentication: ClientAuthentication::Basic, ..Self::new(token) }
    }

    /// The origins to which its secrets go: a person who names the server names them.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        let others = [&self.device_authorization, &self.revocation, &self.introspection];
        let endpoints = [Some(&self.token)].into_iter().chain(others.into_iter().map(Option::as_ref));
        endpoints.flatten().map(Endpoint::origin).chain(&self.api)
    }

    /// Whom an assertion of the client is for (RFC 7523 section 3): the issuer alone, where it is known, so that no other
    /// server can use it.
    #[must_use]
    pub fn assertion_audience(&self) -> String {
        let named = self.audience.as_ref().or(self.issuer.as_ref());
        named.cloned().unwrap_or_else(|| self.token.to_string())
    }

    /// What people call it: its issuer, where that is known.
    #[must_use]
    pub fn name(&self) -> String {
        self.issuer.clone().unwrap_or_else(|| self.token.to_string())
    }

    /// What tells apps of the same client id at different servers apart: where the app's secret goes. Whoever shares an
    /// app shares its secret, also one that is replaced later; so whoever merely says that a server is the same one, and
    /// has the secret sent elsewhere, has another app (law 10).
    #[must_use]
    pub fn identity(&self) -> String {
        let mut others: Vec<_> = [&self.device_authorization, &self.revocation, &self.introspection]
            .into_iter()
            .flatten()
            .map(|endpoint| endpoint.origin().to_string())
            .filter(|origin| *origin != self.token.origin().to_string())
            .collect();
        others.sort_unstable();
        others.dedup();
        [vec![self.token.to_string()], others].concat().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_keeps_its_path_and_its_query() {
        let endpoint = Endpoint::parse("https://login.example/oauth/token?tenant=a#x").unwrap();
        assert_eq!(endpoint.origin().to_string(), "https://login.example");
        assert_eq!(endpoint.path(), "/oauth/token?tenant=a");
        assert_eq!(endpoint.to_string(), "https://login.example/oauth/token?tenant=a");
        assert_eq!(Endpoint::parse("http://login.example/token"), Err(OriginError::PlainHttp));
    }

    #[test]
    fn an_assertion_is_for_the_issuer_alone() {
        let mut server = Server::new(Endpoint::parse("https://login.example/token").unwrap());
        assert_eq!(server.assertion_audience(), "https://login.example/token");
        server.issuer = Some("https://login.example".into());
        assert_eq!(server.assertion_audience(), "https://login.example");
    }

    #[test]
    fn law_10_who_has_the_secret_sent_elsewhere_has_another_app() {
        let at = |token: &str| Server::new(Endpoint::parse(token).unwrap());
        let revoking =
            |server: Server, at: &str| Server { revocation: Some(Endpoint::parse(at).unwrap()), ..server };
        let known = at("https://login.example/token");
        let claims_to_be =
            Server { issuer: Some("https://login.example".into()), ..at("https://evil.example/token") };
        assert_ne!(known.identity(), claims_to_be.identity());
        assert_ne!(known.identity(), revoking(known.clone(), "https://evil.example/revoke").identity());
        assert_eq!(known.identity(), revoking(known.clone(), "https://login.example/revoke").identity());
    }

    #[test]
    fn the_names_of_client_authentication_are_read_back() {
        for way in ClientAuthentication::ALL {
            assert_eq!(ClientAuthentication::parse(way.as_str()), Some(way));
        }
        assert_eq!(ClientAuthentication::parse("client_secret_jwt"), None);
    }
}
