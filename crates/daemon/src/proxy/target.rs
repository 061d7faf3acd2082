//! Which path is meant. It goes out exactly as it is checked: whatever a server might read as another path (dot
//! segments, slashes in disguise, backslashes) is refused and not put right.

use crate::problem::Problem;
use http::Uri;
use percent_encoding::{percent_decode, percent_decode_str};
use std::borrow::Cow;

/// How often a segment is decoded in search of another meaning: some servers decode twice.
const LAYERS: usize = 3;

/// The connection's name, and path and query at its geolocation.
pub(super) fn of(uri: &Uri) -> Result<(String, Uri), Problem> {
    let wrong = |what: &str| Problem::bad_request(format!("the path behind /proxy {what}"));
    let rest = uri.path().strip_prefix("/v1/connections/").unwrap_or_default();
    let (name, rest) = rest.split_once('/').unwrap_or_default();
    let name =
        percent_decode_str(name).decode_utf8().map_err(|_| wrong("has no name before it"))?.into_owned();
    perennial::store::check_name(&name).map_err(|_| Problem::no_such_connection(&name))?;
    let path = rest.strip_prefix("proxy").filter(|path| path.starts_with('/'));
    let path = path.ok_or_else(|| wrong("must begin with a slash"))?;
    if path.contains("//") {
        return Err(wrong("has an empty segment in it"));
    }
    if path.split('/').any(is_misleading) {
        return Err(wrong("may be read as another one"));
    }
    let whole = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let target = whole.parse().map_err(|_| wrong("is none"))?;
    Ok((name, target))
}

fn is_misleading(segment: &str) -> bool {
    let mut text = Cow::Borrowed(segment.as_bytes());
    // A percent sign that was escaped itself need not be followed by anything.
    if !is_well_escaped(&text) {
        return true;
    }
    for _ in 0..LAYERS {
        let name = text.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_odd = |byte: &u8| matches!(byte, b'/' | b'\\') || byte.is_ascii_control();
        // No UTF-8 is a way to write a dot or a slash in more bytes than it needs (RFC 3629 section 10).
        if matches!(name, b"." | b"..") || text.iter().any(is_odd) || str::from_utf8(&text).is_err() {
            return true;
        }
        let decoded = match Cow::from(percent_decode(&text)) {
            Cow::Borrowed(_) => return false,
            Cow::Owned(decoded) => decoded,
        };
        text = Cow::Owned(decoded);
    }
    true
}

/// Each percent sign has two hexadecimal digits behind it.
fn is_well_escaped(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'%')) {
        at += found + 1;
        if !text.get(at..at + 2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<String> {
        let uri: Uri = format!("/v1/connections/acme/proxy{path}").parse().ok()?;
        of(&uri).ok().map(|(_, target)| target.to_string())
    }

    #[test]
    fn a_path_goes_out_as_it_came() {
        for path in [
            "/",
            "/profile/identity/v4/Users",
            "/a%20b/c?d=e%2Ff&g=..",
            "/a.b/..c/d..",
            "/a/",
            "/100%25/x",
            "/caf%C3%A9/a%2520b",
        ] {
            assert_eq!(target(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_may_be_read_as_another_path_is_refused() {
        for path in [
            "",
            "x",
            "/../x",
            "/a/..",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a/%252e%252e/b",
            "/a/%25252e./b",
            "//evil.example.com/x",
            "/a//b",
            "/a%2fb",
            "/a%5c..%5cb",
            "/a%252fb",
            "/a/..;x/b",
            "/a/%252e%252e;%25/b",
            "/a/%c0%ae%c0%ae/b",
            "/a/..%c0%afb",
            "/a/%25c0%25af/b",
            "/a/%u002e%u002e/b",
            "/a/.%09./b",
            "/a/%2e%2e;/b",
            "/a%00b",
            "/a%0d%0ab",
            "/a%zz",
            "/a%2",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }
}
