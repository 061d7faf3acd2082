//! What pages load from their own origin: the style sheet, and files such as a logo that lie in the partner's directory of
//! templates. Nothing here is anybody's secret; a name leads to no other directory.

use super::Place;
use super::pages::guard;
use super::trouble::Trouble;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use std::fs;

const STYLE: &str = include_str!("templates/style.css");

/// A logo is no larger.
const LARGEST: u64 = 1 << 20;

/// What a browser is told of a file, by the end of its name. Others are not shown.
const KINDS: [(&str, &str); 6] = [
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
];

pub(super) async fn show(place: Place, Path((_, file)): Path<(String, String)>) -> Response {
    let Some(kind) = kind(&file) else { return place.failed(&Trouble::NotFromSap, None) };
    let path = place.config.templates.as_ref().map(|dir| dir.join(&file));
    let own =
        path.filter(|path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= LARGEST));
    let body = match own.and_then(|path| fs::read(path).ok()) {
        Some(bytes) => Body::from(bytes),
        None if file == "style.css" => Body::from(STYLE),
        None => return place.failed(&Trouble::NotFromSap, None),
    };
    let mut response = Response::new(body);
    guard(response.headers_mut(), "no-referrer");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn kind(file: &str) -> Option<&'static str> {
    let (stem, end) = file.rsplit_once('.')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_plain = !stem.is_empty() && stem.bytes().all(plain);
    KINDS.iter().find(|(own, _)| is_plain && *own == end).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert_eq!(kind("logo.svg"), Some("image/svg+xml"));
        for file in
            ["../secret.css", "..css", ".css", "a/b.css", "page.html", "a.b.css", "style", "style.CSS"]
        {
            assert_eq!(kind(file), None, "{file}");
        }
    }
}
