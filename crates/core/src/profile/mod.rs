//! What differs between authorization servers, as data. Nobody else in the core asks which provider it talks to.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | what a profile is |
//! | [`concur`] | SAP Concur |
//! | [`generic`] | any server that follows the RFCs, with the most careful rules |
//! | [`template`] | where a provider's endpoints are, with blanks to be filled in |
//! | [`fill`] | a person's answers in those blanks, as a server |
//! | [`file`](mod@file) | a profile written as TOML, and what is wrong with one |
//! | [`shipped`] | the files that come with Perennial |
//! | [`registry`] | the profiles that this process knows, by name |

pub mod concur;
pub mod file;
pub mod fill;
pub mod generic;
pub mod registry;
pub mod shipped;
pub mod template;

pub use fill::{FillError, FilledIn};
pub use template::{Blank, BlankKind, Template};

use crate::connection::Way;
use crate::origin::Origin;
use crate::time::{parse_duration, write_duration};
use crate::token_endpoint::Refusal;
use crate::verdict::Verdict;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Which grant a request carried: some codes mean another thing when refreshing than when obtaining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A person authorized anew: a request token (or code, or password) is exchanged for the first tokens.
    Obtain,
    /// A refresh token is presented.
    Refresh,
}

impl Purpose {
    /// `obtain` or `refresh`, as it is written into an intent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Obtain => "obtain",
            Self::Refresh => "refresh",
        }
    }
}

/// What may be done with a refresh token whose last presentation had an unknown outcome (law 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayRule {
    /// It may be presented again at once: the server usually returns the same token, or takes the old one too.
    Always,
    /// It may be presented again within this time of the first presentation.
    Within(Duration),
    /// A second presentation may revoke the whole grant: only as the last resort.
    Never,
}

impl fmt::Display for ReplayRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Within(time) => write!(f, "within:{}", write_duration(*time)),
            Self::Never => f.write_str("never"),
        }
    }
}

impl FromStr for ReplayRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => match other.strip_prefix("within:") {
                Some(time) => parse_duration(time).map(Self::Within),
                None => Err(format!("\"{text}\" is none of: always, never, within:30s")),
            },
        }
    }
}

/// Whether a refresh brings another refresh token. It decides nothing: what an answer carries counts, and what may be
/// presented twice is the [`ReplayRule`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// Each refresh brings another one.
    Always,
    /// Some do, or it is set for each app.
    Sometimes,
    /// The first one stays.
    Never,
    /// Nobody says.
    Unknown,
}

impl Rotation {
    /// All that a profile may say.
    pub const ALL: [Self; 4] = [Self::Always, Self::Sometimes, Self::Never, Self::Unknown];

    /// The word that files and `--json` use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
            Self::Never => "never",
            Self::Unknown => "unknown",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

/// A document that facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// How facts name it.
    pub key: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// Where it is; none where it has no one address.
    pub address: Option<&'static str>,
    /// What it was read for: the facts that name it. Empty where it is the source of all.
    pub supports: &'static [&'static str],
}

/// What a reader should know of a provider beyond what has a field of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirk {
    /// The fact that it is a note to; none where it stands for itself.
    pub about: Option<&'static str>,
    /// In a sentence or two.
    pub text: &'static str,
    /// The key of its source.
    pub source: &'static str,
}

/// One row of a provider's error table. It is meant when all that it names agrees with what the server said.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorCode {
    /// The number, as the body's `code` carries it (or the first of its `error_codes`).
    pub code: Option<u32>,
    /// The OAuth `error`. Where there is a number, it is only documented beside it, and need not agree.
    pub error: &'static str,
    /// The body's `suberror` or `error_subtype`.
    pub suberror: Option<&'static str>,
    /// A part of the `error_description`, in lower case.
    pub description: Option<&'static str>,
    /// What it means, in our words.
    pub meaning: &'static str,
    /// What a keeper does when it comes back from an obtaining request.
    pub obtaining: Verdict,
    /// What a keeper does when it comes back from a refresh.
    pub refreshing: Verdict,
    /// The key of its source.
    pub source: &'static str,
}

impl ErrorCode {
    fn is_meant_by(&self, refusal: &Refusal) -> bool {
        let agrees = |own: Option<&str>, said: &Option<String>| {
            own.is_none_or(|own| said.as_deref().is_some_and(|said| said.to_lowercase().contains(own)))
        };
        let by_name = match self.code {
            Some(code) => refusal.code == Some(code),
            None => self.error.is_empty() || refusal.error.as_deref() == Some(self.error),
        };
        by_name && agrees(self.suberror, &refusal.suberror) && agrees(self.description, &refusal.description)
    }
}

/// An authorization server's particulars.
#[derive(Debug)]
pub struct Profile {
    /// The name that connections and options carry.
    pub name: &'static str,
    /// What people call the provider.
    pub title: &'static str,
    /// The token endpoint's path below a base URI, where a connection names no endpoints of its own.
    pub token_path: &'static str,
    /// What may be done after a lost answer.
    pub replay: ReplayRule,
    /// Whether a refresh brings another refresh token.
    pub rotation: Rotation,
    /// How long an access token lives when the answer does not say.
    pub assumed_access_lifetime: Duration,
    /// How long a refresh token lives from each refresh on when the answer does not say; none where it does not end by
    /// itself.
    pub assumed_refresh_lifetime: Option<Duration>,
    /// How long a grant lives at most from the sign-in on, however often it is refreshed; none where there is no such end.
    pub longest_grant: Option<Duration>,
    /// True when `refresh_expires_in` is a point in time, as at Concur, and false when it is a number of seconds, as at
    /// Keycloak and whoever else sends it.
    pub refresh_expiry_is_absolute: bool,
    /// Hosts that end in one of these (each starts with a dot) belong to the provider.
    pub host_suffixes: &'static [&'static str],
    /// What the provider wants a client to wait after a timeout or a 503.
    pub pause: Duration,
    /// How often one request token may be used.
    pub request_token_uses: u32,
    /// How long a request token lives.
    pub request_token_lifetime: Duration,
    /// The provider's error table; the first row that is meant counts.
    pub errors: &'static [ErrorCode],
    /// True when a code that the table does not know says nothing, whatever the OAuth `error` beside it; false when that
    /// `error` can be believed then.
    pub code_decides: bool,
    /// True when the server knows a client by its certificate: a signed assertion names it by thumbprint (`x5t#S256`, RFC
    /// 7515 section 4.1.8), and RSA signs with PS256.
    pub names_certificate: bool,
    /// The member of an answer that names the base of the API, such as Salesforce's `instance_url`.
    pub api_member: Option<&'static str>,
    /// Where its endpoints are.
    pub template: Template,
    /// What else a reader should know.
    pub quirks: &'static [Quirk],
    /// Where its facts come from.
    pub sources: &'static [Source],
}

impl Profile {
    /// The profile of that name, where this process knows it.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        registry::named(name)
    }

    /// The scope that is asked for: the one that was named, if only as nothing; else, for a sign-in, the one that brings a
    /// refresh token.
    #[must_use]
    pub fn scope(&self, named: Option<String>, way: &Way) -> Option<String> {
        let usual = || self.template.scope.filter(|_| way.is_sign_in()).map(str::to_owned);
        named.or_else(usual).filter(|scope| !scope.is_empty())
    }

    /// The row of the error table that is meant by what the server said.
    #[must_use]
    pub fn row(&self, refusal: &Refusal) -> Option<&'static ErrorCode> {
        self.errors.iter().find(|row| row.is_meant_by(refusal))
    }

    /// True when secrets may go to `origin`: the provider's own hosts over https at their own port, and whatever the
    /// person named when the grant was obtained (law 10).
    #[must_use]
    pub fn permits(&self, origin: &Origin, named: &[Origin]) -> bool {
        let theirs = origin.is_secure()
            && origin.port() == 443
            && self.host_suffixes.iter().any(|suffix| origin.host().ends_with(suffix));
        theirs || named.contains(origin)
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Profile {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_10_only_the_providers_hosts_and_named_origins_are_permitted() {
        let permits = |text: &str| concur::CONCUR.permits(&Origin::parse(text).unwrap(), &[]);
        assert!(permits("https://us2.api.concursolutions.com"));
        assert!(permits("https://www-eu2.api.concursolutions.com/x"));
        assert!(!permits("https://us2.api.concursolutions.com:8443"));
        assert!(!permits("https://concursolutions.com.evil.example"));
        assert!(!permits("https://evilconcursolutions.com"));
        assert!(!permits("http://127.0.0.1:80"));
        let named = Origin::parse("https://127.0.0.1:8443").unwrap();
        assert!(concur::CONCUR.permits(&named, std::slice::from_ref(&named)));
    }
}
