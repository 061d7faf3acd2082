//! What differs between authorization servers, as data. Nobody else in the core asks which provider it talks to.

pub mod concur;

use crate::origin::Origin;
use crate::time::{parse_duration, write_duration};
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

/// One number of a provider's error table.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorCode {
    /// The number, as the body's `code` carries it.
    pub code: u32,
    /// The OAuth `error` that the provider documents beside it.
    pub error: &'static str,
    /// What it means, in our words.
    pub meaning: &'static str,
    /// What a keeper does when it comes back from an obtaining request.
    pub obtaining: Verdict,
    /// What a keeper does when it comes back from a refresh.
    pub refreshing: Verdict,
}

/// An authorization server's particulars.
#[derive(Debug)]
pub struct Profile {
    /// The name that connections and options carry.
    pub name: &'static str,
    /// The token endpoint's path below a base URI.
    pub token_path: &'static str,
    /// What may be done after a lost answer.
    pub replay: ReplayRule,
    /// How long an access token lives when the answer does not say.
    pub assumed_access_lifetime: Duration,
    /// How long a refresh token lives when the answer does not say.
    pub assumed_refresh_lifetime: Duration,
    /// Hosts that end in one of these (each starts with a dot) belong to the provider.
    pub host_suffixes: &'static [&'static str],
    /// What the provider wants a client to wait after a timeout or a 503.
    pub pause: Duration,
    /// How often one request token may be used.
    pub request_token_uses: u32,
    /// How long a request token lives.
    pub request_token_lifetime: Duration,
    /// Finds a code of the provider's error table.
    pub lookup: fn(u32) -> Option<&'static ErrorCode>,
}

impl Profile {
    /// The profile of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        (name == concur::CONCUR.name).then_some(&concur::CONCUR)
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
