//! What came back from a token endpoint: bytes in, a token response or a failure out. Every oddity of the wire ends
//! here; inside, types are strict.
//!
//! | file | what it reads |
//! |---|---|
//! | `mod.rs` | the answer as a whole: is it a token response, a refusal, or something foreign |
//! | [`response`] | the members of a token response, and of a file that keeps one |
//! | [`wire`] | a number that may stand in quotes, an expiry that may count milliseconds |
//! | [`jwt`] | the claims of a JWT, unverified |

pub mod jwt;
pub mod response;
pub mod wire;

pub use response::TokenResponse;

use crate::origin::Origin;
use crate::time::UnixTime;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// The largest body that is read; what is longer is cut there and judged as it stands. A real answer takes 2–6 KB.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// As the headers had promised.
    Whole,
    /// At [`BODY_LIMIT`]; the rest was not read.
    TooLong,
    /// The connection ended, or the deadline came, in the middle.
    Cut,
}

/// An HTTP answer of a token endpoint, as the shell received it (content codings already undone).
#[derive(Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header (RFC 9110 section 10.2.3).
    pub retry_after: Option<String>,
    /// The `Date` header.
    pub date: Option<String>,
    /// Concur's `concur-correlationid`: what SAP's support asks for.
    pub correlation_id: Option<String>,
    /// The body: it may hold tokens, so it is wiped on drop.
    pub body: Zeroizing<Vec<u8>>,
    /// How the body ended.
    pub end: BodyEnd,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply {{ status: {}, body: [redacted; {} bytes], .. }}", self.status, self.body.len())
    }
}

/// Why a token request brought no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about, so nothing was sent.
    Unreachable(Unreachable),
    /// The request was sent, and no answer came back.
    NoAnswer(NoAnswer),
    /// The server refused, in OAuth's words (RFC 6749 section 5.2) or Concur's.
    Refused(Refusal),
    /// Something answered that does not speak OAuth.
    Foreign(Foreign),
}

/// The step at which connecting failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host's name has no address.
    Dns(String),
    /// No TCP connection.
    Connect(String),
    /// No TLS session: most often a certificate that is not trusted here.
    Tls(String),
    /// The proxy would not let us through.
    Proxy(String),
    /// There was no time left to connect in.
    TimedOut,
}

/// What came instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The deadline of the intent.
    TimedOut,
    /// The end of the connection.
    Reset(String),
}

/// An error response. The texts are the server's, as they came: [`Refusal::blotted`] makes them fit to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The provider's own number, Concur's `code`.
    pub code: Option<u32>,
    /// RFC 6749's `error`.
    pub error: Option<String>,
    /// What Entra calls `suberror` and Google `error_subtype`.
    pub suberror: Option<String>,
    /// RFC 6749's `error_description`.
    pub description: Option<String>,
    /// With Concur's code 16: where the principal lives. Not yet checked against what is permitted.
    pub geolocation: Option<Origin>,
    /// The pause that the server asks for.
    pub retry_after: Option<Duration>,
    /// What SAP's support asks for.
    pub correlation_id: Option<String>,
}

impl Refusal {
    /// Its texts without the secrets that `redact` knows, and then as [`plain`] text: a secret that was cut in the
    /// middle would not be recognized any more (law 10).
    #[must_use]
    pub fn blotted(mut self, redact: impl Fn(&str) -> String) -> Self {
        let shown = |text: String| plain(&redact(&text));
        self.description = self.description.map(shown);
        let shown = |text: String| plain(&redact(&text));
        self.error = self.error.map(shown);
        let shown = |text: String| plain(&redact(&text));
        self.suberror = self.suberror.map(shown);
        self
    }
}

/// An answer that is neither a token response nor an error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The HTTP status.
    pub status: u16,
    /// What is odd about it.
    pub oddity: Oddity,
    /// The pause that the server asks for.
    pub retry_after: Option<Duration>,
    /// What SAP's support asks for.
    pub correlation_id: Option<String>,
}

/// What is odd about a foreign answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// An empty body.
    Empty,
    /// An HTML page: a proxy, a maintenance page.
    Html,
    /// Not JSON, or JSON cut off in the middle.
    NotJson,
    /// A body beyond [`BODY_LIMIT`].
    TooLong,
    /// A redirect; it is not followed with secrets.
    Redirect,
    /// JSON without the members that a token response needs.
    NoTokens,
}

impl Oddity {
    /// The oddity, in words that follow "the answer".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Html => "is an HTML page",
            Self::NotJson => "is not JSON, or was cut off",
            Self::TooLong => "is longer than 1 MiB",
            Self::Redirect => "is a redirect, which is not followed with secrets",
            Self::NoTokens => "is JSON, but neither tokens nor an error",
        }
    }
}

/// Reads an answer. `now` is this host's time, for a `Retry-After` that names a date.
///
/// # Errors
/// [`Failure::Refused`] or [`Failure::Foreign`]; the other two never reach a body.
pub fn read(reply: &Reply, now: UnixTime) -> Result<TokenResponse, Failure> {
    let retry_after =
        reply.retry_after.as_deref().and_then(|text| wire::retry_after(text, reply.date.as_deref(), now));
    let foreign = |oddity| {
        let correlation_id = reply.correlation_id.clone();
        Failure::Foreign(Foreign { status: reply.status, oddity, retry_after, correlation_id })
    };
    if (300..400).contains(&reply.status) {
        return Err(foreign(Oddity::Redirect));
    }
    let body = reply.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reply.body);
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) else {
        return Err(foreign(oddity_of(body, reply.end)));
    };
    if (200..300).contains(&reply.status)
        && let Some(response) = TokenResponse::from_members(&members)
    {
        return Ok(response);
    }
    match refusal(&members, reply, retry_after) {
        Some(refusal) => Err(Failure::Refused(refusal)),
        None => Err(foreign(Oddity::NoTokens)),
    }
}

fn oddity_of(body: &[u8], end: BodyEnd) -> Oddity {
    let start = body.trim_ascii_start();
    match (end, start.first()) {
        (BodyEnd::TooLong, _) => Oddity::TooLong,
        (_, None) => Oddity::Empty,
        (_, Some(b'<')) => Oddity::Html,
        _ => Oddity::NotJson,
    }
}

fn refusal(members: &Map<String, Value>, reply: &Reply, retry_after: Option<Duration>) -> Option<Refusal> {
    // Not cut or cleaned yet: whoever knows the secrets blots them out first, while they are whole.
    let says_something = |text: &&str| !plain(text).is_empty();
    let text =
        |name: &str| members.get(name).and_then(Value::as_str).filter(says_something).map(str::to_owned);
    // Concur's member, and Entra's list of them.
    let first = members.get("error_codes").and_then(Value::as_array).and_then(|codes| codes.first());
    let code =
        members.get("code").or(first).and_then(wire::integer).and_then(|code| u32::try_from(code).ok());
    let error = text("error");
    if code.is_none() && error.is_none() {
        return None;
    }
    Some(Refusal {
        status: reply.status,
        code,
        error,
        suberror: text("suberror").or_else(|| text("error_subtype")),
        description: text("error_description"),
        geolocation: members
            .get("geolocation")
            .and_then(Value::as_str)
            .and_then(|base| Origin::parse(base).ok()),
        retry_after,
        correlation_id: reply.correlation_id.clone(),
    })
}

/// A server's text, fit for one line on a terminal: no control characters, none that turn the direction of writing, at
/// most 300 characters.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || turns_writing(c) { ' ' } else { c })
        .take(300)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Unicode's directional marks, embeddings and isolates: with them a line can read otherwise than it is.
fn turns_writing(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &[u8]) -> Reply {
        Reply {
            status,
            retry_after: None,
            date: None,
            correlation_id: Some("id-1".into()),
            body: Zeroizing::new(body.to_vec()),
            end: BodyEnd::Whole,
        }
    }

    fn oddity(status: u16, body: &[u8]) -> Oddity {
        match read(&reply(status, body), UnixTime(0)) {
            Err(Failure::Foreign(foreign)) => foreign.oddity,
            other => panic!("expected a foreign answer, got {other:?}"),
        }
    }

    #[test]
    fn foreign_answers_are_told_apart() {
        assert_eq!(oddity(200, b""), Oddity::Empty);
        assert_eq!(oddity(503, b"  <html>down</html>"), Oddity::Html);
        assert_eq!(oddity(200, b"{\"access_token\":\"a"), Oddity::NotJson);
        assert_eq!(oddity(200, b"{\"access_token\":\"\xff\xfe\"}"), Oddity::NotJson);
        assert_eq!(oddity(200, b"{}"), Oddity::NoTokens);
        assert_eq!(oddity(200, b"null"), Oddity::NotJson);
        assert_eq!(oddity(307, b"{\"access_token\":\"a\"}"), Oddity::Redirect);
    }

    #[test]
    fn a_refusal_keeps_its_code_and_correlation_id() {
        let body = br#"{"code":"108","error":"invalid_grant","error_description":"bad\r\ntoken"}"#;
        let Err(Failure::Refused(refusal)) = read(&reply(400, body), UnixTime(0)) else { panic!() };
        assert_eq!(refusal.code, Some(108));
        let shown = refusal.clone().blotted(|text| text.replace("token", "[redacted]"));
        assert_eq!(shown.description.as_deref(), Some("bad  [redacted]"));
        assert_eq!(refusal.correlation_id.as_deref(), Some("id-1"));
    }

    #[test]
    fn law_10_a_secret_that_would_be_cut_in_the_middle_is_blotted_whole() {
        let secret = "canary-9dbf83ec-e0eb-4e19-b0db-6d1ef9971400";
        let description = Some(format!("{}{secret}", "x".repeat(280)));
        let refusal = Refusal { description, ..Refusal::default() };
        let shown = refusal.blotted(|text| text.replace(secret, "[redacted]")).description.unwrap();
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_text_that_says_nothing_is_none() {
        let body = br#"{"error":"invalid_grant","error_description":" \n"}"#;
        let Err(Failure::Refused(refusal)) = read(&reply(400, body), UnixTime(0)) else { panic!() };
        assert_eq!((refusal.error.as_deref(), refusal.description), (Some("invalid_grant"), None));
        assert_eq!(oddity(400, br#"{"error":""}"#), Oddity::NoTokens);
    }

    #[test]
    fn a_200_with_an_error_body_is_a_refusal() {
        let body = br#"{"code":61,"error":"invalid_client"}"#;
        assert!(matches!(read(&reply(200, body), UnixTime(0)), Err(Failure::Refused(_))));
    }

    #[test]
    fn tokens_under_a_400_are_not_handed_out() {
        let body = br#"{"access_token":"a","error":"invalid_grant"}"#;
        assert!(matches!(read(&reply(400, body), UnixTime(0)), Err(Failure::Refused(_))));
    }

    #[test]
    fn law_10_a_reply_does_not_print() {
        assert!(!format!("{:?}", reply(200, b"canary")).contains("canary"));
    }
}
