//! Scheme, host and port. A geolocation is data from the network: everything behind the origin is dropped on the way
//! in, and nothing but https leaves this machine (law 10).

use std::fmt;
use url::{Host, Url};

/// Where an authorization server lives: `https://us2.api.concursolutions.com`, without path, user or query.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// Why a text is no origin that secrets may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// Not an absolute address with a host.
    #[error("is not an absolute address such as https://us2.api.concursolutions.com")]
    NotAbsolute,
    /// Neither https nor http.
    #[error("has a scheme other than https")]
    Scheme,
    /// Plain http to another machine: secrets would travel in the open.
    #[error("is plain http to another machine; only https is used beyond this one")]
    PlainHttp,
    /// `https://user:password@host` is refused: the part before the @ is either a secret or a trick.
    #[error("has a user name in it")]
    UserInfo,
}

impl Origin {
    /// Takes an address, keeps scheme, host and port, drops the rest: Concur sends its geolocation with and without
    /// a path such as `/oauth2/v0/token` behind it.
    ///
    /// # Errors
    /// When the text is no absolute http(s) address, names a user, or is plain http to another machine than this one.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text.trim()).map_err(|_| OriginError::NotAbsolute)?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(OriginError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OriginError::UserInfo);
        }
        let host = url.host().ok_or(OriginError::NotAbsolute)?;
        if !secure && !is_loopback(&host) {
            return Err(OriginError::PlainHttp);
        }
        let port = url.port_or_known_default().ok_or(OriginError::NotAbsolute)?;
        Ok(Self { secure, host: host.to_string(), port })
    }

    /// True for https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host as it stands in an address: IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where it is the scheme's own.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host`, or `host:port` where the port is not the scheme's own: what a `Host` header carries.
    #[must_use]
    pub fn authority(&self) -> String {
        let own = if self.secure { 443 } else { 80 };
        if self.port == own { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_behind_the_base_is_dropped() {
        let origin = Origin::parse("https://us2.api.concursolutions.com/oauth2/v0/token?x=1#y").unwrap();
        assert_eq!(origin.to_string(), "https://us2.api.concursolutions.com");
    }

    #[test]
    fn ports_are_kept_and_the_schemes_own_is_silent() {
        assert_eq!(Origin::parse("https://127.0.0.1:8443/").unwrap().to_string(), "https://127.0.0.1:8443");
        assert_eq!(Origin::parse("https://EU2.api.concursolutions.com:443").unwrap().port(), 443);
        assert_eq!(Origin::parse("http://[::1]:80").unwrap().to_string(), "http://[::1]");
    }

    #[test]
    fn law_10_plain_http_is_for_loopback_only() {
        assert_eq!(Origin::parse("http://us2.api.concursolutions.com"), Err(OriginError::PlainHttp));
        assert_eq!(Origin::parse("http://127.0.0.1.example.com"), Err(OriginError::PlainHttp));
        assert!(Origin::parse("http://localhost:9").is_ok());
    }

    #[test]
    fn tricks_are_refused() {
        assert_eq!(
            Origin::parse("https://us2.api.concursolutions.com@evil.example"),
            Err(OriginError::UserInfo)
        );
        assert_eq!(Origin::parse("/oauth2/v0/token"), Err(OriginError::NotAbsolute));
        assert_eq!(Origin::parse("ftp://example.com"), Err(OriginError::Scheme));
        assert_eq!(Origin::parse("data:text/plain,x"), Err(OriginError::Scheme));
    }
}
