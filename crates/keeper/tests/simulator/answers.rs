//! What reaches the sender: the server's answer, altered on the way, or somebody else's in its place; and what a client
//! must make of it, told from the documents of SAP and RFC 9110 alone, so that the engine's own reading can be checked.

use crate::clocks::{Moment, unix};
use crate::network::{Fate, RetryAfter};
use crate::server::{self, Said, Server};
use perennial::core::token_endpoint::{BodyEnd, NoAnswer, Reply};
use std::time::{Duration, UNIX_EPOCH};

/// What SAP asks a client to wait after a timeout, a 5xx, or announced maintenance.
pub(crate) const PAUSE: u64 = 300;
/// The longest Retry-After that is honoured.
pub(crate) const LONGEST_PAUSE: u64 = 24 * 3600;

/// An answer as it arrives, and what it means.
pub(crate) struct Altered {
    pub(crate) reply: Result<Reply, NoAnswer>,
    pub(crate) heard: Heard,
    /// When its `Date` was written, and how far off that is, in seconds.
    pub(crate) dated: Option<(Moment, i64)>,
}

/// What a sender knows after an answer, or instead of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Tokens that can be read.
    Tokens { issue: usize },
    /// The server refused, and nothing was spent.
    Refused { code: u32, pause: u64, is_terminal: bool },
    /// Nobody can tell what came of it; and how long to wait.
    Unknown { pause: u64 },
}

impl Heard {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Tokens { issue } => format!("tokens at-{issue:05}"),
            Self::Refused { code: 0, pause, .. } => format!("a refusal; it should wait {pause} s"),
            Self::Refused { code, .. } => format!("a refusal, code {code}"),
            Self::Unknown { .. } => "nothing that it can read".to_owned(),
        }
    }
}

/// It may have held tokens, or stand in the place of some.
const UNREADABLE: Heard = Heard::Unknown { pause: 1 };

/// What is answered before the server has seen the request.
pub(crate) fn instead(fate: Fate, connection: usize, server: &mut Server, now: Moment) -> Option<Altered> {
    match fate {
        Fate::ResetBefore => Some(reset()),
        Fate::Status { status, retry_after, after: false } => Some(unavailable(status, retry_after, now)),
        Fate::Html { status, after: false } => Some(page(status, now)),
        Fate::Refused(code) => Some(told(&server::refused(code, "invalid_grant"), now, 0)),
        Fate::EvilHome => Some(told(&server::elsewhere("https://evil.example"), now, 0)),
        Fate::Stranger => Some(told(&server.issue_strangers(connection, now), now, 0)),
        _ => None,
    }
}

/// What becomes of the server's answer on its way back.
pub(crate) fn after(fate: Fate, said: Said, now: Moment) -> Altered {
    match fate {
        Fate::ResetAfter => reset(),
        Fate::AnswerCut => {
            let body = said.body.to_string();
            let half = body[..body.len() * 2 / 3].to_owned();
            whole(reply(said.status, half, now, 0, BodyEnd::Cut), UNREADABLE, now, 0)
        }
        Fate::Garbage => {
            let body = format!("tokens follow: {}", said.body);
            whole(reply(said.status, body, now, 0, BodyEnd::Whole), UNREADABLE, now, 0)
        }
        Fate::Status { status, retry_after, .. } => unavailable(status, retry_after, now),
        Fate::Html { status, .. } => page(status, now),
        Fate::EvilGeolocation if said.issue.is_some() => {
            let mut said = said;
            said.body["geolocation"] = "https://evil.example".into();
            told(&said, now, 0)
        }
        Fate::WrongDate(by) => told(&said, now, by),
        _ => told(&said, now, 0),
    }
}

fn told(said: &Said, now: Moment, date_off: i64) -> Altered {
    let code = said.body["code"].as_u64().and_then(|code| u32::try_from(code).ok()).unwrap_or(0);
    let heard = match said.issue {
        Some(issue) => Heard::Tokens { issue },
        None => Heard::Refused {
            code,
            pause: if code == 134 { PAUSE } else { 1 },
            is_terminal: is_terminal(code),
        },
    };
    whole(reply(said.status, said.body.to_string(), now, date_off, BodyEnd::Whole), heard, now, date_off)
}

fn whole(reply: Reply, heard: Heard, now: Moment, date_off: i64) -> Altered {
    Altered { reply: Ok(reply), heard, dated: Some((now, date_off)) }
}

/// Codes that no waiting mends; see SAP's table. What stands in no table (9999) may pass.
fn is_terminal(code: u32) -> bool {
    !matches!(code, 16 | 134 | 9999)
}

fn reset() -> Altered {
    let reply = Err(NoAnswer::Reset("connection reset by peer".to_owned()));
    Altered { reply, heard: Heard::Unknown { pause: PAUSE }, dated: None }
}

fn unavailable(status: u16, retry_after: Option<RetryAfter>, now: Moment) -> Altered {
    let mut reply = reply(status, "{\"message\":\"unavailable\"}".to_owned(), now, 0, BodyEnd::Whole);
    reply.retry_after = retry_after.map(|retry_after| match retry_after {
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::Date(seconds) => http_date(unix(now) + i64::try_from(seconds).unwrap_or(0)),
    });
    let asked = retry_after.map(|retry_after| retry_after.seconds().min(LONGEST_PAUSE));
    let heard = match status {
        429 => Heard::Refused { code: 0, pause: asked.unwrap_or(1), is_terminal: false },
        _ => Heard::Unknown { pause: asked.unwrap_or(PAUSE) },
    };
    whole(reply, heard, now, 0)
}

fn page(status: u16, now: Moment) -> Altered {
    let page = "<html><body>Please stand by.</body></html>".to_owned();
    let heard = Heard::Unknown { pause: if status >= 500 { PAUSE } else { 1 } };
    whole(reply(status, page, now, 0, BodyEnd::Whole), heard, now, 0)
}

fn reply(status: u16, body: String, now: Moment, date_off: i64, end: BodyEnd) -> Reply {
    Reply {
        status,
        retry_after: None,
        date: Some(http_date(unix(now) + date_off)),
        correlation_id: None,
        body: body.into_bytes().into(),
        end,
    }
}

fn http_date(unix: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(u64::try_from(unix).unwrap_or(0)))
}
