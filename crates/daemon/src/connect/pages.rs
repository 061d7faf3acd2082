//! The pages: templates that a directory of the partner's may replace one by one, and the headers that keep a page to
//! itself. They work without script, and are read by a screen reader in the order in which they are seen.
//!
//! A template of the partner's that does not work is told to the log, and the built-in one takes its place: nobody who
//! wants to connect must stand before an empty page.

use super::Place;
use super::trouble::Trouble;
use super::visits::Visit;
use crate::config;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use minijinja::{Environment, Value, context};
use std::fs;
use std::path::Path;

/// No script, nothing from elsewhere, in no frame; forms go to us alone.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A template of the partner's is no larger: what is larger is none.
const LARGEST: u64 = 256 * 1024;

const BUILT_IN: [(&str, &str); 6] = [
    ("page.html", include_str!("templates/page.html")),
    ("confirm.html", include_str!("templates/confirm.html")),
    ("sign-in.html", include_str!("templates/sign-in.html")),
    ("working.html", include_str!("templates/working.html")),
    ("connected.html", include_str!("templates/connected.html")),
    ("failed.html", include_str!("templates/failed.html")),
];

/// A page.
pub(super) enum Page<'a> {
    /// The person is asked.
    Confirm(&'a Visit),
    /// The person goes to the partner's page.
    SignIn(&'a Visit),
    /// The exchange is under way.
    Working(&'a Visit),
    /// It is done.
    Connected(&'a Visit),
    /// It is not.
    Failed {
        trouble: &'a Trouble,
        correlation_id: &'a str,
        /// Where another try is of use.
        again: Option<Again<'a>>,
    },
}

/// How the person tries again.
pub(super) enum Again<'a> {
    /// The exchange, once more.
    Exchange(&'a Visit),
    /// The sign-in, once more.
    SignIn(&'a Visit),
}

impl Page<'_> {
    pub(super) fn show(self, place: &Place, status: StatusCode) -> Response {
        let text = self.render(&place.app, &place.config);
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        // The form's Origin is only sent where a Referer could be (Fetch standard, "append a request Origin header").
        guard(headers, "same-origin");
        if let Self::Failed { trouble: Trouble::TooOften(wait), .. } = &self {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }

    fn render(&self, app: &str, config: &config::Connect) -> String {
        let (name, own) = (self.template(), self.context());
        let common = context! {
            app,
            title => config.title.as_str(),
            terms => config.terms.as_str(),
            privacy => config.privacy.as_str(),
            support => config.support.as_str(),
        };
        let context = context! { ..own, ..common };
        if let Some(dir) = &config.templates {
            match render(&with_own(dir), name, &context) {
                Ok(text) => return text,
                Err(error) => {
                    tracing::error!(dir = %dir.display(), name, %error, "a template does not work; the built-in one is shown");
                }
            }
        }
        render(&built_in(), name, &context).unwrap_or_else(|error| {
            tracing::error!(name, %error, "a built-in template does not work");
            "The page could not be shown.".to_owned()
        })
    }

    fn template(&self) -> &'static str {
        match self {
            Self::Confirm(_) => "confirm.html",
            Self::SignIn(_) => "sign-in.html",
            Self::Working(_) => "working.html",
            Self::Connected(_) => "connected.html",
            Self::Failed { .. } => "failed.html",
        }
    }

    fn context(&self) -> Value {
        match self {
            Self::Confirm(visit) | Self::SignIn(visit) | Self::Working(visit) | Self::Connected(visit) => {
                of_visit(visit)
            }
            Self::Failed { trouble, correlation_id, again } => {
                let words = trouble.words();
                let told = context! {
                    trouble => trouble.name(),
                    heading => words.title,
                    what => words.what,
                    next => words.next,
                    correlation_id => *correlation_id,
                };
                let (how, visit) = match again {
                    Some(Again::Exchange(visit)) => (context! { try_again => true }, visit),
                    Some(Again::SignIn(visit)) => (context! { sign_in_again => true }, visit),
                    None => return told,
                };
                context! { ..told, ..how, ..of_visit(visit) }
            }
        }
    }
}

fn of_visit(visit: &Visit) -> Value {
    context! {
        company => visit.attempt.company.as_str(),
        user => visit.attempt.user.as_deref(),
        reference => visit.attempt.reference.as_str(),
        path => visit.path(),
        csrf => visit.csrf(),
    }
}

fn built_in() -> Environment<'static> {
    let mut environment = Environment::new();
    for (name, text) in BUILT_IN {
        if let Err(error) = environment.add_template(name, text) {
            tracing::error!(name, %error, "a built-in template does not work");
        }
    }
    environment
}

/// Read anew for each page: a change is seen at once, and nothing of it is kept.
fn with_own(dir: &Path) -> Environment<'static> {
    let mut environment = built_in();
    for (name, _) in BUILT_IN {
        let path = dir.join(name);
        if fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST)
            && let Ok(text) = fs::read_to_string(&path)
            && let Err(error) = environment.add_template_owned(name, text)
        {
            tracing::error!(file = %path.display(), %error, "a template does not work; the built-in one is shown");
        }
    }
    environment
}

fn render(environment: &Environment<'_>, name: &str, context: &Value) -> Result<String, minijinja::Error> {
    environment.get_template(name)?.render(context)
}

/// The headers of everything that is shown here.
pub(super) fn guard(headers: &mut HeaderMap, referrer: &'static str) {
    let guards: [(HeaderName, &'static str); 5] = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, referrer),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in guards {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_template_is_a_template() {
        let environment = built_in();
        for (name, _) in BUILT_IN {
            assert!(environment.get_template(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_stands_in_a_page_is_escaped() {
        let context = context! { title => "<script>alert(1)</script>", heading => "\"><img src=x>" };
        let page = render(&built_in(), "failed.html", &context).unwrap();
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }
}
