//! What can be chosen when a sandbox starts.

use serde::Deserialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// How a sandbox is to behave. The defaults follow what SAP documents.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes any free port. Only loopback addresses are accepted.
    pub listen: SocketAddr,
    /// Whether to speak TLS, with a certificate made for this run.
    pub tls: bool,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How long a refresh token lives, counted anew at every successful refresh.
    pub refresh_lifetime: Duration,
    /// Whether a refresh replaces the refresh token.
    pub rotate: Rotate,
    /// What a new company grant does to the one before it.
    pub regrant: Regrant,
    /// Makes the identifiers, the secrets and the rotations the same in every run.
    pub seed: Option<u64>,
    /// How many grants one request token is good for.
    pub request_token_uses: u32,
    /// How long a request token lives.
    pub request_token_lifetime: Duration,
    /// The redirect URIs of the app beside those of this machine (`http` on loopback), which are always taken.
    pub redirect_uris: Vec<String>,
    /// Where a second data centre, `eu2` beside `us2`, is to listen; port 0 takes any free port.
    pub second_listen: Option<SocketAddr>,
    /// Whether a refresh succeeds at the centre that the principal has left, and tells the new one in its answer;
    /// else it is refused with code 16.
    pub refresh_after_move: bool,
    /// Whether the first centre does not know the app (61), as elsewhere than at home for a migrated test tenant.
    pub migrated: bool,
    /// The app's landing page, to which the App Center's Connect button leads.
    pub landing: Option<String>,
    /// Whether the App Center writes `userID` in place of `userId`: SAP's documents have both.
    pub capital_user_id: bool,
    /// Whether clients may authenticate by HTTP Basic too, as at most servers and not at Concur's.
    pub generic: bool,
    /// How long a device has to wait between two questions; zero lets it ask as often as it likes.
    pub device_interval: Duration,
    /// How long a device may wait for a person.
    pub device_lifetime: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: true,
            access_lifetime: Duration::from_secs(3600),
            // "Six months"; no half of a year is longer than 184 days.
            refresh_lifetime: Duration::from_secs(183 * DAY),
            rotate: Rotate::Never,
            regrant: Regrant::Coexist,
            seed: None,
            request_token_uses: 5,
            request_token_lifetime: Duration::from_secs(DAY),
            redirect_uris: Vec::new(),
            second_listen: None,
            refresh_after_move: false,
            migrated: false,
            landing: None,
            capital_user_id: false,
            generic: false,
            // The interval that holds when a server names none (RFC 8628, section 3.2).
            device_interval: Duration::from_secs(5),
            device_lifetime: Duration::from_secs(900),
        }
    }
}

/// Whether a refresh replaces the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotate {
    /// The same value comes back every time.
    Never,
    /// One refresh in three brings a new value; the old one stays good until the new one has been used.
    Sometimes,
    /// Each value is good once, and a second use ends the whole grant (RFC 9700, section 4.14.2).
    Always,
}

/// What a new company grant does to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regrant {
    /// Both stay good.
    Coexist,
    /// The one before is revoked.
    Invalidate,
}

/// What [`Sandbox::expire`](crate::Sandbox::expire) ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expire {
    /// Every access token issued so far.
    Access,
    /// Every refresh token issued so far.
    Refresh,
    /// Every request token issued so far.
    RequestToken,
    /// Every authorization code issued so far.
    Code,
    /// Every one-time password sent so far.
    Otp,
    /// Every device code that waits for a person.
    DeviceCode,
}

/// A word that names none of the choices.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{given}` is none of: {choices}")]
pub struct UnknownChoice {
    given: String,
    choices: &'static str,
}

impl FromStr for Rotate {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, UnknownChoice> {
        match word {
            "never" => Ok(Rotate::Never),
            "sometimes" => Ok(Rotate::Sometimes),
            "always" => Ok(Rotate::Always),
            _ => Err(UnknownChoice { given: word.to_owned(), choices: "never, sometimes, always" }),
        }
    }
}

impl fmt::Display for Rotate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Rotate::Never => "never",
            Rotate::Sometimes => "sometimes",
            Rotate::Always => "always",
        })
    }
}

impl FromStr for Regrant {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, UnknownChoice> {
        match word {
            "coexist" => Ok(Regrant::Coexist),
            "invalidate" => Ok(Regrant::Invalidate),
            _ => Err(UnknownChoice { given: word.to_owned(), choices: "coexist, invalidate" }),
        }
    }
}

impl fmt::Display for Regrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Regrant::Coexist => "coexist",
            Regrant::Invalidate => "invalidate",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_read_what_they_print() {
        for rotate in [Rotate::Never, Rotate::Sometimes, Rotate::Always] {
            assert_eq!(rotate.to_string().parse::<Rotate>().unwrap(), rotate);
        }
        for regrant in [Regrant::Coexist, Regrant::Invalidate] {
            assert_eq!(regrant.to_string().parse::<Regrant>().unwrap(), regrant);
        }
        let unknown = "often".parse::<Rotate>().unwrap_err();
        assert_eq!(unknown.to_string(), "`often` is none of: never, sometimes, always");
    }
}
