//! Pages for people: plain HTML that reads well aloud, loads nothing and runs nothing.

use crate::answer::Answer;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use std::fmt::Write as _;

const STYLE: &str = "body{font:1rem/1.5 sans-serif;max-width:30rem;margin:2rem auto;padding:0 1rem}\
    label{display:block;margin-top:1rem}input{font:inherit;width:100%;box-sizing:border-box;padding:.4rem}\
    button,.button{font:inherit;display:inline-block;margin:1rem 1rem 0 0;padding:.5rem 1rem;\
    border:2px solid #1a4f8b;border-radius:.3rem;background:#1a4f8b;color:#fff;text-decoration:none}\
    [role=alert]{border-left:4px solid #a00;padding-left:.7rem}";

/// A page with this title, which is its heading too. The body is HTML already.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Answer {
    let title = escaped(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} – sandbox</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         {body}</main>\n</body>\n</html>\n"
    );
    let mut answer = Answer::typed(status, "text/html; charset=utf-8", html);
    // No form-action: browsers would hold the redirect after the form against it.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
    answer.headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// A page that says what is wrong and leads nowhere.
pub(crate) fn problem(title: &str, text: &str) -> Answer {
    page(StatusCode::BAD_REQUEST, title, &alert(text))
}

pub(crate) fn alert(text: &str) -> String {
    format!("<p role=\"alert\">{}</p>\n", escaped(text))
}

/// The fields with which a person signs in and decides.
pub(crate) fn sign_in_fields() -> &'static str {
    "<label for=\"login\">Login</label>\n\
     <input id=\"login\" name=\"login\" autocomplete=\"username\" required>\n\
     <label for=\"password\">Password</label>\n\
     <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\n\
     <button name=\"decision\" value=\"approve\">Approve</button>\n\
     <button name=\"decision\" value=\"deny\" formnovalidate>Deny</button>\n"
}

pub(crate) fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">\n", escaped(name), escaped(value))
}

/// Leads the browser elsewhere, by GET.
pub(crate) fn see_other(address: &str) -> Answer {
    let Ok(location) = HeaderValue::try_from(address) else {
        return problem("This does not lead anywhere", "the address cannot stand in a header");
    };
    let mut answer = Answer::empty(StatusCode::SEE_OTHER);
    answer.headers.insert(LOCATION, location);
    answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // Writing to a String does not fail.
            '&' | '<' | '>' | '"' | '\'' => drop(write!(safe, "&#{};", u32::from(character))),
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_stays_text() {
        let field = hidden("state", r#""><script>alert('x')</script>&"#);
        assert_eq!(field.matches(['<', '>']).count(), 2, "{field}");
        assert_eq!(field.matches('"').count(), 6, "{field}");
    }
}
