//! The OAuth 2.0 grants, and the form that each of them sends to the token endpoint.

use crate::connection::Obtaining;
use crate::secret::{ClientSecret, Credential, Fingerprint, RefreshToken, RequestToken};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// A sign-in in a browser (RFC 6749 section 4.1, with RFC 7636).
    AuthorizationCode {
        /// What the redirect brought back.
        code: Credential,
        /// Where it led, to the letter.
        redirect_uri: String,
        /// The secret behind the `code_challenge`, where one was sent.
        verifier: Option<Credential>,
        /// What the id_token must repeat; it is not sent here.
        nonce: Option<String>,
    },
    /// The resource owner's password (RFC 6749 section 4.3). RFC 9700 section 2.4 forbids it; Concur documents it.
    Password {
        /// Who.
        username: String,
        /// The password.
        password: Credential,
    },
    /// Concur's one-time password, which came by e-mail.
    OneTimePassword {
        /// The e-mail address that it went to.
        handle: String,
        /// The password.
        otp: Credential,
        /// What was sent along when it was asked for, all of it.
        parameters: Vec<(String, String)>,
    },
    /// A sign-in on another device (RFC 8628 section 3.4).
    DeviceCode {
        /// The code that only the client knows.
        device_code: Credential,
    },
    /// The app speaks for itself (RFC 6749 section 4.4).
    ClientCredentials,
    /// A signed statement about a subject (RFC 7523 section 2.1).
    JwtBearer {
        /// The statement.
        assertion: Credential,
    },
    /// A token of somebody else's (RFC 8693 section 2.1).
    TokenExchange {
        /// That token.
        subject_token: Credential,
        /// What it is: a URI such as `urn:ietf:params:oauth:token-type:access_token`.
        subject_token_type: String,
    },
    /// The refresh grant (RFC 6749 section 6). No scope is sent: Concur refuses any that it did not grant (54).
    Refresh {
        /// The connection's refresh token.
        refresh_token: RefreshToken,
    },
}

/// How the client proves who it is, in this very request.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Id and secret in the body. The only one that Concur takes: HTTP Basic is refused with code 62.
    Post,
    /// Id and secret in the Authorization header.
    Basic,
    /// A signed assertion in the body (RFC 7523 section 2.2).
    Assertion(Credential),
    /// Only the id: a public client.
    None,
}

/// A token request: its body, and its Authorization header where it has one.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The body.
    pub form: Form,
    /// The whole value of the Authorization header.
    pub authorization: Option<Credential>,
}

impl TokenRequest {
    /// A request of an authenticated client with these fields (also at the endpoints beside the token endpoint: RFC 7009,
    /// RFC 7662, RFC 8628).
    #[must_use]
    pub fn new<'a>(
        client: &Client,
        proof: &Proof,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        // One allocation that is large enough, so that no half-written copy of a secret is left behind by growth.
        let mut text = Serializer::new(String::with_capacity(16 * 1024));
        match proof {
            Proof::Post => {
                text.append_pair("client_id", &client.id)
                    .append_pair("client_secret", client.secret.expose());
            }
            Proof::Basic => {}
            Proof::Assertion(assertion) => {
                text.append_pair("client_id", &client.id)
                    .append_pair("client_assertion_type", ASSERTION_TYPE)
                    .append_pair("client_assertion", assertion.expose());
            }
            Proof::None => {
                text.append_pair("client_id", &client.id);
            }
        }
        text.extend_pairs(fields);
        let authorization = matches!(proof, Proof::Basic).then(|| basic(client));
        Self { form: Form(Zeroizing::new(text.finish().into_bytes())), authorization }
    }
}

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
fn basic(client: &Client) -> Credential {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(&client.id), encoded(client.secret.expose())));
    Credential::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

impl Grant {
    /// The token request: the client's proof, the grant's own fields, and with all but a refresh what was asked for. The
    /// scope of a sign-in was asked for where the person signed in (RFC 6749 section 4.1.3, RFC 8628 section 3.4).
    #[must_use]
    pub fn request(&self, client: &Client, proof: &Proof, asked: &Obtaining) -> TokenRequest {
        let mut fields = self.fields();
        let is_sign_in = matches!(self, Self::AuthorizationCode { .. } | Self::DeviceCode { .. });
        if !matches!(self, Self::Refresh { .. }) {
            fields.extend(asked.scope.as_deref().filter(|_| !is_sign_in).map(|scope| ("scope", scope)));
            fields.extend(asked.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        TokenRequest::new(client, proof, fields)
    }

    /// The grant's own fields.
    fn fields(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Company { company, request_token } => vec![
                ("grant_type", "password"),
                ("username", company.as_str()),
                ("password", request_token.expose()),
                ("credtype", "authtoken"),
            ],
            Self::AuthorizationCode { code, redirect_uri, verifier, .. } => {
                let mut fields = vec![
                    ("grant_type", "authorization_code"),
                    ("code", code.expose()),
                    ("redirect_uri", redirect_uri.as_str()),
                ];
                fields.extend(verifier.as_ref().map(|verifier| ("code_verifier", verifier.expose())));
                fields
            }
            Self::Password { username, password } => vec![
                ("grant_type", "password"),
                ("username", username.as_str()),
                ("password", password.expose()),
            ],
            Self::OneTimePassword { handle, otp, parameters } => {
                let mut fields = vec![
                    ("grant_type", "otp"),
                    ("channel_handle", handle.as_str()),
                    ("channel_type", "email"),
                    ("otp", otp.expose()),
                ];
                fields.extend(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                fields
            }
            Self::DeviceCode { device_code } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", device_code.expose()),
            ],
            Self::ClientCredentials => vec![("grant_type", "client_credentials")],
            Self::JwtBearer { assertion } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", assertion.expose()),
            ],
            Self::TokenExchange { subject_token, subject_token_type } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token", subject_token.expose()),
                ("subject_token_type", subject_token_type.as_str()),
            ],
            Self::Refresh { refresh_token } => {
                vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())]
            }
        }
    }

    /// What is presented, recognizable but not readable; of an app that speaks for itself, its secret. What people make up
    /// or type has too few bits: it could be guessed from its fingerprint, so that the fingerprint is its owner's.
    #[must_use]
    pub fn fingerprint(&self, client: &Client) -> Fingerprint {
        match self {
            Self::Password { username: owner, .. } | Self::OneTimePassword { handle: owner, .. } => {
                Fingerprint::of(owner)
            }
            _ => Fingerprint::of(self.presented().unwrap_or_else(|| client.secret.expose())),
        }
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
        let verifier = match self {
            Self::AuthorizationCode { verifier, .. } => verifier.as_ref().map(Credential::expose),
            _ => None,
        };
        [self.presented(), verifier, Some(client.secret.expose())].into_iter().flatten()
    }

    /// The secret that the grant rests on.
    fn presented(&self) -> Option<&str> {
        match self {
            Self::Company { request_token, .. } => Some(request_token.expose()),
            Self::Refresh { refresh_token } => Some(refresh_token.expose()),
            Self::AuthorizationCode { code: given, .. }
            | Self::Password { password: given, .. }
            | Self::OneTimePassword { otp: given, .. }
            | Self::DeviceCode { device_code: given }
            | Self::JwtBearer { assertion: given }
            | Self::TokenExchange { subject_token: given, .. } => Some(given.expose()),
            Self::ClientCredentials => None,
        }
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

    /// What is sent of a connection that asks for a scope.
    fn whole(grant: &Grant) -> String {
        let asked = Obtaining { scope: Some("read write".into()), ..Obtaining::default() };
        let request = grant.request(&client(), &Proof::Post, &asked);
        String::from_utf8(request.form.expose().to_vec()).unwrap()
    }

    /// The same without the scope.
    fn sent(grant: &Grant) -> String {
        whole(grant).replace("&scope=read+write", "")
    }

    #[test]
    fn the_company_grant_sends_what_concur_documents() {
        let grant = Grant::Company {
            company: Principal::new("company"),
            request_token: RequestToken::new("request"),
        };
        assert_eq!(
            sent(&grant),
            "client_id=app&client_secret=s%26cret&grant_type=password&username=company&password=request&credtype=authtoken"
        );
    }

    #[test]
    fn the_refresh_grant_sends_no_scope() {
        let grant = Grant::Refresh { refresh_token: RefreshToken::new("refresh") };
        assert_eq!(
            whole(&grant),
            "client_id=app&client_secret=s%26cret&grant_type=refresh_token&refresh_token=refresh"
        );
    }

    #[test]
    fn a_client_proves_who_it_is_in_four_ways() {
        let client = Client { id: "a:b".into(), secret: ClientSecret::new("s&cret") };
        let ask = |proof: &Proof| Grant::ClientCredentials.request(&client, proof, &Obtaining::default());
        let body = |proof: &Proof| String::from_utf8(ask(proof).form.expose().to_vec()).unwrap();
        assert_eq!(body(&Proof::Basic), "grant_type=client_credentials");
        let header = ask(&Proof::Basic).authorization.unwrap();
        assert_eq!(header.expose(), format!("Basic {}", STANDARD.encode("a%3Ab:s%26cret")));
        assert_eq!(body(&Proof::None), "client_id=a%3Ab&grant_type=client_credentials");
        let assertion = body(&Proof::Assertion(Credential::new("x.y.z")));
        assert!(
            assertion.contains("client_assertion_type=urn%3Aietf")
                && assertion.contains("&client_assertion=x.y.z&")
        );
        assert!(
            ask(&Proof::Post).authorization.is_none()
                && body(&Proof::Post).contains("client_secret=s%26cret")
        );
    }

    #[test]
    fn what_is_asked_for_goes_along_with_all_but_a_refresh() {
        let asked = Obtaining {
            scope: Some("read".into()),
            parameters: vec![("audience".into(), "api".into())],
            ..Obtaining::default()
        };
        let body = |grant: &Grant| {
            let request = grant.request(&client(), &Proof::None, &asked);
            String::from_utf8(request.form.expose().to_vec()).unwrap()
        };
        assert!(body(&Grant::ClientCredentials).ends_with("&scope=read&audience=api"));
        assert!(!body(&Grant::Refresh { refresh_token: RefreshToken::new("r") }).contains("scope"));
    }

    #[test]
    fn law_10_a_form_does_not_print_and_echoes_are_blotted() {
        let grant = Grant::Refresh { refresh_token: RefreshToken::new("canary") };
        let request = grant.request(&client(), &Proof::Basic, &Obtaining::default());
        let printed = format!("{request:?} {grant:?}");
        assert!(!printed.contains("canary") && !printed.contains("YXBw"), "{printed}");
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
