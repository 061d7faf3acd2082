//! The OAuth 2.0 grants, and the form that each of them sends to the token endpoint.

use crate::secret::{ClientSecret, RefreshToken, RequestToken};
use std::fmt;
use url::form_urlencoded::{self, Serializer};
use zeroize::Zeroizing;

/// Who a grant was made for: at Concur the UUID of a company or a user, the `sub` of its id_token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(String);

impl Principal {
    /// Takes the identifier as the server or the credentials name it; UUIDs compare without regard to case.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into().trim().to_owned())
    }

    /// The same, but a text that says nothing names nobody: everybody would be a stranger to it (law 13).
    #[must_use]
    pub fn named(id: &str) -> Option<Self> {
        Some(Self::new(id)).filter(|principal| !principal.0.is_empty())
    }

    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when both name the same principal (law 13).
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A registered OAuth client: Concur's App ID and client secret (RFC 6749 section 2.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`.
    pub secret: ClientSecret,
}

/// One way to ask the token endpoint for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grant {
    /// Concur's company grant: the password grant (RFC 6749 section 4.3) with `credtype=authtoken`, a company UUID for
    /// the user name and a company request token for the password.
    Company {
        /// The company UUID.
        company: Principal,
        /// The company request token.
        request_token: RequestToken,
    },
    /// The refresh grant (RFC 6749 section 6). No scope is sent: Concur refuses any that it did not grant (54).
    Refresh {
        /// The connection's refresh token.
        refresh_token: RefreshToken,
    },
}

impl Grant {
    /// The body of the token request, as `application/x-www-form-urlencoded`. Client id and secret travel in the
    /// body: Concur does not accept HTTP Basic (62).
    #[must_use]
    pub fn form(&self, client: &Client) -> Form {
        // One allocation that is large enough, so that no half-written copy of a secret is left behind by growth.
        let mut text = Serializer::new(String::with_capacity(8 * 1024));
        text.append_pair("client_id", &client.id).append_pair("client_secret", client.secret.expose());
        match self {
            Self::Company { company, request_token } => text
                .append_pair("grant_type", "password")
                .append_pair("username", company.as_str())
                .append_pair("password", request_token.expose())
                .append_pair("credtype", "authtoken"),
            Self::Refresh { refresh_token } => text
                .append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", refresh_token.expose()),
        };
        Form(Zeroizing::new(text.finish().into_bytes()))
    }

    /// Blots every secret that this request sends out of a text that the server sent back: some servers repeat what
    /// they were given in their error descriptions (law 10).
    #[must_use]
    pub fn redact(&self, client: &Client, text: &str) -> String {
        let secrets = self.secrets(client).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| {
            let text = text.replace(secret, "[redacted]");
            // As it stood in the form, which some servers repeat whole.
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            text.replace(&encoded, "[redacted]")
        })
    }

    /// True when a secret that this request sends stands in `text`, in whatever case: host names lose theirs.
    #[must_use]
    pub fn occurs_in(&self, client: &Client, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.secrets(client).any(|secret| !secret.is_empty() && text.contains(&secret.to_ascii_lowercase()))
    }

    fn secrets<'a>(&'a self, client: &'a Client) -> impl Iterator<Item = &'a str> {
        let own = match self {
            Self::Company { request_token, .. } => request_token.expose(),
            Self::Refresh { refresh_token } => refresh_token.expose(),
        };
        [own, client.secret.expose()].into_iter()
    }
}

/// A token request's body. It is full of secrets, so it cannot be printed and is wiped on drop.
#[derive(Clone)]
pub struct Form(Zeroizing<Vec<u8>>);

impl Form {
    /// What Concur wants to see, to the letter: a `; charset=` behind it is refused with code 135.
    pub const CONTENT_TYPE: &'static str = "application/x-www-form-urlencoded";

    /// The bytes, for the one place that sends them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Form([redacted; {} bytes])", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client { id: "app".into(), secret: ClientSecret::new("s&cret") }
    }

    #[test]
    fn the_company_grant_sends_what_concur_documents() {
        let grant = Grant::Company {
            company: Principal::new("company"),
            request_token: RequestToken::new("request"),
        };
        assert_eq!(
            std::str::from_utf8(grant.form(&client()).expose()).unwrap(),
            "client_id=app&client_secret=s%26cret&grant_type=password&username=company&password=request&credtype=authtoken"
        );
    }

    #[test]
    fn the_refresh_grant_sends_no_scope() {
        let grant = Grant::Refresh { refresh_token: RefreshToken::new("refresh") };
        assert_eq!(
            std::str::from_utf8(grant.form(&client()).expose()).unwrap(),
            "client_id=app&client_secret=s%26cret&grant_type=refresh_token&refresh_token=refresh"
        );
    }

    #[test]
    fn law_10_a_form_does_not_print_and_echoes_are_blotted() {
        let grant = Grant::Refresh { refresh_token: RefreshToken::new("canary") };
        assert!(!format!("{:?} {grant:?}", grant.form(&client())).contains("canary"));
        assert_eq!(
            grant.redact(&client(), "bad token canary of s&cret, client_secret=s%26cret"),
            "bad token [redacted] of [redacted], client_secret=[redacted]"
        );
    }

    #[test]
    fn law_13_principals_compare_without_case() {
        assert!(Principal::new(" AB-1 ").is(&Principal::new("ab-1")));
    }
}
