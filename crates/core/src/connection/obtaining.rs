//! How a connection's grant is obtained. Most need a person: a request token, a sign-in, a password. An app that speaks for
//! itself needs none, and has no refresh token as a rule: its access token is fetched anew when it is asked for and has
//! ended.

use super::Connection;

/// How a grant is obtained, and what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obtaining {
    /// The way.
    pub way: Way,
    /// The scope that is asked for; none leaves it to the server.
    pub scope: Option<String>,
    /// Further parameters of the token request, such as `audience` or `resource` (RFC 8707). No secrets.
    pub parameters: Vec<(String, String)>,
}

/// Who must act when a grant is to be obtained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// A person: with a company request token, or nobody knows how (the grant came from elsewhere).
    #[default]
    Person,
    /// A person who signs in, as a rule in a browser; with a password, a one-time password, another token.
    SignIn,
    /// A person who signs in on another device (RFC 8628): the client may have no page to come back to.
    Device,
    /// Nobody: the app speaks for itself (RFC 6749 section 4.4).
    ClientCredentials,
    /// Nobody: the app signs a statement about a subject with its private key (RFC 7523 section 2.1).
    JwtBearer {
        /// Who signs; the client id when nobody is named.
        issuer: Option<String>,
        /// For whom; the issuer when nobody is named.
        subject: Option<String>,
    },
}

impl Way {
    /// The name that JSON carries.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::SignIn => "sign_in",
            Self::Device => "device",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer { .. } => "jwt_bearer",
        }
    }

    /// True when a person must sign in.
    #[must_use]
    pub fn is_sign_in(&self) -> bool {
        matches!(self, Self::SignIn | Self::Device)
    }
}

impl Obtaining {
    /// True when the app signs a statement for each grant.
    #[must_use]
    pub fn is_by_statement(&self) -> bool {
        matches!(self.way, Way::JwtBearer { .. })
    }
}

impl Connection {
    /// True when a grant can be obtained without a person, any time.
    #[must_use]
    pub fn obtains_itself(&self) -> bool {
        matches!(self.obtaining.way, Way::ClientCredentials | Way::JwtBearer { .. })
    }

    /// True when its grant ends with the access token: the server gave no refresh token, and a person must come for the
    /// next one.
    #[must_use]
    pub fn ends_with_its_access_token(&self) -> bool {
        !self.obtains_itself() && self.held.as_ref().is_some_and(|held| held.refresh.is_none())
    }

    /// True when it has nothing to refresh with, and obtains its next access token instead.
    #[must_use]
    pub fn obtains_instead(&self) -> bool {
        self.obtains_itself() && self.held.as_ref().is_none_or(|held| held.refresh.is_none())
    }
}
