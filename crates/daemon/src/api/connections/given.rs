//! The ways to obtain a grant, as a caller writes them: every row of Concur's table, and those of the RFCs.

use crate::problem::Problem;
use perennial::core::connection::Way;
use perennial::core::secret::{Credential, RequestToken};
use perennial::core::{Grant, grant::Principal};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How the grant is obtained.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum GrantGiven {
    /// Concur: with a company request token, which a Web Services Administrator made within the last 24 hours.
    Company {
        /// The company's UUID.
        #[schema(pattern = "^[A-Za-z0-9-]{1,64}$")]
        company: String,
        /// The request token.
        request_token: String,
    },
    /// A person signs in afterwards, in a browser, on another device, or with a one-time password: `POST …/sign-in`.
    SignIn {},
    /// With a person's password. RFC 9700 forbids it.
    Password {
        /// Who.
        username: String,
        /// The password.
        password: String,
        /// True: the caller knows that whoever hands a password to a program gives all of it away.
        #[serde(default)]
        i_know: bool,
    },
    /// Concur: with a one-time password that was sent already.
    OneTimePassword {
        /// The e-mail address that it went to.
        address: String,
        /// The password.
        otp: String,
        /// What was sent along when it was asked for.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
    /// The app speaks for itself: no person is needed, now or later.
    ClientCredentials {},
    /// The app signs a statement with its private key (RFC 7523): no person is needed, now or later.
    JwtBearer {
        /// For whom; the issuer when nothing is said.
        subject: Option<String>,
        /// Who signs; the client id when nothing is said.
        issuer: Option<String>,
    },
    /// With a token of somebody else's (RFC 8693).
    TokenExchange {
        /// That token.
        subject_token: String,
        /// What it is, such as `urn:ietf:params:oauth:token-type:access_token`.
        subject_token_type: String,
    },
    /// With a refresh token that something else has obtained.
    RefreshToken {
        /// The refresh token.
        refresh_token: String,
        /// Concur: where it is good.
        geolocation: Option<String>,
    },
}

/// What is to be done with it.
pub(super) enum Means {
    /// It is exchanged, once.
    Once(Grant),
    /// It is kept, and exchanged again where nobody holds a grant.
    Company(Option<Principal>, RequestToken),
    /// Nobody need do anything.
    Itself(Way),
    /// It is held already.
    Held {
        /// The refresh token.
        refresh_token: String,
        /// Where it is good.
        geolocation: Option<String>,
    },
    /// A person comes later.
    Later,
}

impl Means {
    /// How a connection that is added with it obtains its grants. At Concur nobody knows where a refresh token came from:
    /// most are a company's.
    pub(super) fn way(&self, is_concur: bool) -> Way {
        match self {
            Self::Itself(way) => way.clone(),
            Self::Company(..) => Way::Person,
            Self::Held { .. } if is_concur => Way::Person,
            Self::Once(_) | Self::Later | Self::Held { .. } => Way::SignIn,
        }
    }
}

impl GrantGiven {
    /// What it is, if a server of this kind takes such.
    pub(super) fn read(self, is_concur: bool) -> Result<Means, Problem> {
        let of_concur = |means: Means| if is_concur { Ok(means) } else { Err(only_concur()) };
        let of_others = |means: Means| if is_concur { Err(not_concur()) } else { Ok(means) };
        match self {
            Self::Company { company, request_token } => match Principal::named(&company) {
                Some(company) => of_concur(Means::Company(Some(company), RequestToken::new(request_token))),
                None => Err(Problem::bad_request("company is empty")),
            },
            Self::SignIn {} => Ok(Means::Later),
            Self::Password { i_know: false, .. } => Err(Problem::unknowing()),
            Self::Password { username, password, .. } => {
                Ok(Means::Once(Grant::Password { username, password: Credential::new(password) }))
            }
            Self::OneTimePassword { address, otp, parameters } => {
                of_concur(Means::Once(Grant::OneTimePassword {
                    handle: address,
                    otp: Credential::new(otp),
                    parameters: pairs(parameters)?,
                }))
            }
            Self::ClientCredentials {} => Ok(Means::Itself(Way::ClientCredentials)),
            Self::JwtBearer { subject, issuer } => {
                of_others(Means::Itself(Way::JwtBearer { issuer, subject }))
            }
            Self::TokenExchange { subject_token, subject_token_type } => {
                let subject_token = Credential::new(subject_token);
                of_others(Means::Once(Grant::TokenExchange { subject_token, subject_token_type }))
            }
            Self::RefreshToken { refresh_token, geolocation } => match (is_concur, geolocation.is_some()) {
                (true, false) => Err(Problem::bad_request("a refresh token of Concur needs its geolocation")),
                (false, true) => Err(only_concur()),
                _ => Ok(Means::Held { refresh_token, geolocation }),
            },
        }
    }
}

fn only_concur() -> Problem {
    Problem::bad_request("only Concur has that: leave the server out, or obtain the grant in another way")
}

fn not_concur() -> Problem {
    Problem::bad_request("Concur has no such grant: name a server, or obtain the grant in another way")
}

/// Names that are the protocol's own: a second one of them says something else than the first.
const OURS: &[&str] = &[
    "assertion",
    "channel_handle",
    "channel_type",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "credtype",
    "device_code",
    "grant_type",
    "nonce",
    "otp",
    "password",
    "redirect_uri",
    "refresh_token",
    "response_type",
    "scope",
    "state",
    "subject_token",
    "subject_token_type",
    "token",
    "username",
];

/// Further parameters, none of which is the protocol's own.
pub(super) fn pairs(parameters: BTreeMap<String, String>) -> Result<Vec<(String, String)>, Problem> {
    match parameters.keys().find(|name| OURS.contains(&name.as_str())) {
        Some(name) => Err(Problem::bad_request(format!("{name} is set here and is no further parameter"))),
        None => Ok(parameters.into_iter().collect()),
    }
}
