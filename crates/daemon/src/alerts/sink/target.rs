//! A receiver's URL: https, or plain http to this machine.

use http::Uri;
use perennial::core::Origin;
use zeroize::Zeroizing;

/// Where to.
pub(super) struct Target {
    pub(super) origin: Origin,
    /// Path and query: with chats the secret itself.
    pub(super) path: Zeroizing<String>,
}

impl Target {
    /// Reads it. What is refused is not shown.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let url = url.trim();
        let origin = Origin::parse(url).map_err(|error| format!("its URL {error}"))?;
        let uri: Uri = url.parse().map_err(|_| "its URL has a character that must be escaped".to_owned())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // Two parsers that read two hosts out of one text: one of them is being tricked.
        let host = uri.host().unwrap_or_default();
        if !host.eq_ignore_ascii_case(origin.host()) {
            return Err("its URL has a host that can be read in two ways".to_owned());
        }
        Ok(Self { origin, path: Zeroizing::new(path.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_its_query_are_kept() {
        let target = Target::parse("https://hooks.example.com/services/T0/B0?x=1\n").unwrap();
        assert_eq!(target.origin.to_string(), "https://hooks.example.com");
        assert_eq!(*target.path, "/services/T0/B0?x=1");
        assert_eq!(*Target::parse("http://127.0.0.1:9").unwrap().path, "/");
    }

    #[test]
    fn law_10_what_is_no_safe_url_is_refused_and_not_shown() {
        for url in [
            "http://example.com/canary",
            "https://user:canary@example.com/",
            "/canary",
            "https://example.com/can ary-canary",
            "https:\\\\example.com/canary",
            "ftp://example.com/canary",
        ] {
            let refused = Target::parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(!refused.contains("canary"), "{refused}");
        }
    }
}
