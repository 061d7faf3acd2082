//! A failure, in words that may be shown: what `status` prints of it and a store keeps.

use super::{Answered, Connection};
use crate::profile::{Profile, Purpose};
use crate::time::UnixTime;
use crate::token_endpoint::{Failure, NoAnswer, Refusal, Unreachable};
use crate::verdict::{Judgement, Verdict};

/// What went wrong last. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, by the server's clock.
    pub at: UnixTime,
    /// What was being done.
    pub purpose: Purpose,
    /// What it means.
    pub verdict: Verdict,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The provider's code.
    pub code: Option<u32>,
    /// The server's own words.
    pub description: Option<String>,
    /// What SAP's support asks for.
    pub correlation_id: Option<String>,
    /// What happened, in our words.
    pub message: String,
}

impl Fault {
    /// Puts a failure into words.
    #[must_use]
    pub fn of(
        failure: &Failure,
        judgement: &Judgement,
        purpose: Purpose,
        profile: &Profile,
        at: UnixTime,
    ) -> Self {
        let (status, code, description, correlation_id) = match failure {
            Failure::Refused(refusal) => (
                Some(refusal.status),
                refusal.code,
                refusal.description.clone().or_else(|| refusal.error.clone()),
                refusal.correlation_id.clone(),
            ),
            Failure::Foreign(foreign) => (Some(foreign.status), None, None, foreign.correlation_id.clone()),
            Failure::Unreachable(_) | Failure::NoAnswer(_) => (None, None, None, None),
        };
        let message = words(failure, profile);
        Self { at, purpose, verdict: judgement.verdict, status, code, description, correlation_id, message }
    }

    /// True when the server gave a code that its documents do not name.
    #[must_use]
    pub fn is_undocumented(&self) -> bool {
        self.verdict == Verdict::Unknown && self.code.is_some()
    }

    /// The answer was good, and is not used (law 13).
    #[must_use]
    pub fn disbelieved(message: String, answered: &Answered, own: &Connection) -> Self {
        Self {
            at: own.skew.server_time(answered.received_at),
            purpose: own.intent.as_ref().map_or(Purpose::Refresh, |intent| intent.purpose),
            verdict: Verdict::AskSupport,
            status: Some(200),
            code: None,
            description: None,
            correlation_id: own.intent.as_ref().map(|intent| intent.correlation_id.clone()),
            message,
        }
    }
}

/// One line, lower case, no full stop.
#[must_use]
pub fn words(failure: &Failure, profile: &Profile) -> String {
    match failure {
        Failure::Unreachable(unreachable) => match unreachable {
            Unreachable::Dns(detail) => format!("the host's name has no address ({detail})"),
            Unreachable::Connect(detail) => format!("no connection ({detail})"),
            Unreachable::Tls(detail) => format!("no TLS session ({detail})"),
            Unreachable::Proxy(detail) => format!("the proxy did not let the request through ({detail})"),
            Unreachable::TimedOut => "no connection in time".to_owned(),
        },
        Failure::NoAnswer(NoAnswer::TimedOut) => {
            "no answer in time; the request may have been carried out".to_owned()
        }
        Failure::NoAnswer(NoAnswer::Reset(detail)) => {
            format!(
                "the connection ended before an answer came ({detail}); the request may have been carried out"
            )
        }
        Failure::Refused(refusal) => refusal_words(refusal, profile),
        Failure::Foreign(foreign) => match foreign.status {
            429 => "HTTP 429: too many requests".to_owned(),
            503 => "HTTP 503: the service is unavailable".to_owned(),
            status => format!("HTTP {status}: the answer {}", foreign.oddity.words()),
        },
    }
}

fn refusal_words(refusal: &Refusal, profile: &Profile) -> String {
    let said = refusal.description.as_deref().or(refusal.error.as_deref()).unwrap_or("no reason given");
    match (refusal.code, profile.row(refusal)) {
        (Some(code), Some(known)) => format!("code {code}: {} (\"{said}\")", known.meaning),
        (None, Some(known)) => format!("{} (\"{said}\")", known.meaning),
        (Some(code), None) if profile.code_decides => {
            format!("code {code}, which is not documented (\"{said}\")")
        }
        (_, None) => format!("HTTP {}: \"{said}\"", refusal.status),
    }
}
