//! Whom a request is addressed to, and which web page has made it. A page that a browser has loaded may make its own
//! name stand for our address (DNS rebinding); its requests then carry that name, and are refused.

use super::From;
use crate::config::Listen;
use crate::problem::Problem;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use perennial::core::Origin;
use std::net::{IpAddr, SocketAddr};

/// The names that this daemon answers to.
#[derive(Debug)]
pub(crate) struct Names {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Names {
    pub(crate) fn new(listen: &Listen) -> Self {
        let mut hosts: Vec<String> = listen.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let mut origins = listen.origins.clone();
        if let Some(own) = listen.public_url.as_deref().and_then(|url| Origin::parse(url).ok()) {
            hosts.push(own.host().to_ascii_lowercase());
            origins.push(own.to_string());
        }
        Self { hosts, origins }
    }

    /// Over the unix socket no name is asked for: no page reaches it.
    pub(super) fn check(&self, from: &From, headers: &HeaderMap) -> Result<(), Problem> {
        if matches!(from, From::Tcp(_)) && !headers.get(HOST).is_some_and(|host| self.is_ours(host)) {
            return Err(Problem::not_addressed());
        }
        let (origin, host) = (headers.get(ORIGIN), headers.get(HOST));
        let is_known =
            |origin: &HeaderValue| self.origins.iter().any(|own| own.as_bytes() == origin.as_bytes());
        if origin.is_none_or(|origin| is_known(origin) || is_same(origin, host)) {
            Ok(())
        } else {
            Err(Problem::foreign_page())
        }
    }

    /// A name that we were given, this machine's own, or an address: none of these can be made to mislead a browser.
    fn is_ours(&self, host: &HeaderValue) -> bool {
        let Ok(host) = host.to_str() else { return false };
        if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = host
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok())
            .map_or(host, |(name, _)| name);
        name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// A page of our own: it names the very host and port that is called, and that is ours, as was seen before.
fn is_same(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let own = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    own.zip(host).is_some_and(|(own, host)| host.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(headers: &[(&'static str, &str)]) -> bool {
        let listen = Listen {
            public_url: Some("https://tokens.example.com".to_owned()),
            hosts: vec!["perennial.lan".to_owned()],
            ..Listen::default()
        };
        let headers = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        Names::new(&listen).check(&From::Tcp("127.0.0.1".parse().unwrap()), &headers.collect()).is_ok()
    }

    #[test]
    fn a_page_that_calls_us_by_its_own_name_is_refused() {
        for host in
            ["localhost:8470", "127.0.0.1:8470", "[::1]:8470", "PERENNIAL.lan", "tokens.example.com:443"]
        {
            assert!(is_let_in(&[("host", host)]), "{host}");
        }
        for host in ["evil.example.com", "evil.example.com:8470", "localhost.evil.example.com", ""] {
            assert!(!is_let_in(&[("host", host)]), "{host}");
        }
        assert!(!is_let_in(&[]));
        assert!(is_let_in(&[("host", "localhost"), ("origin", "https://tokens.example.com")]));
        assert!(!is_let_in(&[("host", "localhost"), ("origin", "https://evil.example.com")]));
        assert!(!is_let_in(&[("host", "localhost"), ("origin", "null")]));
        assert!(
            is_let_in(&[("host", "127.0.0.1:8470"), ("origin", "http://127.0.0.1:8470")]),
            "our own page"
        );
        assert!(
            !is_let_in(&[("host", "127.0.0.1:8470"), ("origin", "http://127.0.0.1:8471")]),
            "another program's"
        );
        assert!(!is_let_in(&[("host", "127.0.0.1:8470"), ("origin", "127.0.0.1:8470")]));
        assert!(!is_let_in(&[("host", "evil.example.com"), ("origin", "http://evil.example.com")]));
    }
}
