//! Where messages go: a webhook, a chat, a program. A sink is named by its kind and its number in the configuration;
//! its URL is a secret (whoever knows Slack's may write there), is read anew for each message, and stands in no log and
//! no error (law 10).
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | one attempt to deliver, and what came of it |
//! | [`signature`] | Standard Webhooks: what a webhook is signed with |
//! | `target` | a URL: where to, and the part that is nobody's business |
//! | `command` | a program, its time, and its end |

mod command;
pub mod signature;
mod target;

use super::alert::Message;
use crate::config;
use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use perennial::core::UnixTime;
use perennial::core::token_endpoint::{NoAnswer, Unreachable};
use perennial::http::Http;
use perennial::http::api::ApiError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long a receiver may take to answer; Standard Webhooks asks for 15 to 30 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a program may run.
const COMMAND_PATIENCE: Duration = Duration::from_secs(30);
/// So many messages wait for a webhook or a program at most.
const MOST_WAITING: usize = 1000;
/// And for a chat: after a long outage nobody reads more.
const MOST_WAITING_FOR_CHAT: usize = 100;
/// Slack takes one message a second.
const CHAT_PAUSE: Duration = Duration::from_secs(1);
/// A chat cuts longer texts in pieces; Slack at 4,000 characters.
const LONGEST_TEXT: usize = 3000;

/// A sink.
#[derive(Clone, Debug)]
pub struct Sink {
    /// What it is called in logs: `webhook 1`.
    pub name: String,
    /// What its files in the outbox are called: the same as long as it is configured the same, wherever it stands.
    pub(super) key: String,
    pub(super) config: config::Sink,
    /// How long it may take: shorter in tests.
    patience: Option<Duration>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has taken it.
    Delivered {
        /// What it said: an HTTP status, an exit code.
        status: i32,
    },
    /// It has not.
    Failed(Failure),
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words for a person, without the URL.
    pub what: String,
    /// What it said, if it said something.
    pub status: Option<i32>,
    /// It is about this message alone; others may pass.
    pub is_about_message: bool,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Failure {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), status: None, is_about_message: false, retry_after: None }
    }
}

impl Sink {
    /// The sinks of a configuration.
    #[must_use]
    pub fn all(config: &config::Alerts) -> Vec<Self> {
        let numbered = config.to.iter().enumerate();
        numbered.map(|(index, sink)| Self::new(index + 1, sink)).collect()
    }

    pub(super) fn new(number: usize, config: &config::Sink) -> Self {
        // Where a secret comes from is no secret: the key names the place, not what is in it.
        let (kind, from) = match config {
            config::Sink::Webhook { url, .. } => ("webhook", url.to_string()),
            config::Sink::Slack { url } => ("slack", url.to_string()),
            config::Sink::Command { command } => ("command", command.join("\0")),
        };
        let digest = Sha256::digest(from.as_bytes());
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self {
            name: format!("{kind} {number}"),
            key: format!("{kind}-{digits}"),
            config: config.clone(),
            patience: None,
        }
    }

    /// The same with another patience.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// What it is: `webhook`, `slack`, `command`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.config {
            config::Sink::Webhook { .. } => "webhook",
            config::Sink::Slack { .. } => "slack",
            config::Sink::Command { .. } => "command",
        }
    }

    pub(super) fn most_waiting(&self) -> usize {
        if self.is_chat() { MOST_WAITING_FOR_CHAT } else { MOST_WAITING }
    }

    /// How long it is left alone after each message.
    pub(super) fn pause(&self) -> Duration {
        if self.is_chat() { CHAT_PAUSE } else { Duration::ZERO }
    }

    fn is_chat(&self) -> bool {
        matches!(self.config, config::Sink::Slack { .. })
    }

    /// One attempt to deliver. It may be dropped at any time: what it started ends with it.
    pub async fn send(&self, message: &Message, http: &Http, now: UnixTime) -> Outcome {
        let sent = match &self.config {
            config::Sink::Webhook { url, secret } => self.webhook(url, secret, message, http, now).await,
            config::Sink::Slack { url } => self.chat(url, message, http).await,
            config::Sink::Command { command } => {
                let patience = self.patience.unwrap_or(COMMAND_PATIENCE);
                command::run(command, &line(&message.body), patience).await
            }
        };
        sent.map_or_else(Outcome::Failed, |status| Outcome::Delivered { status })
    }

    async fn webhook(
        &self,
        url: &config::Secret,
        secret: &config::Secret,
        message: &Message,
        http: &Http,
        now: UnixTime,
    ) -> Result<i32, Failure> {
        let body = line(&message.body);
        let secrets = secret.read().map_err(Failure::new)?;
        let signatures = signature::sign(&secrets, &message.id, now, &body).map_err(Failure::new)?;
        let mut headers = json_headers();
        for (name, value) in [
            ("webhook-id", message.id.as_str()),
            ("webhook-timestamp", &now.0.to_string()),
            ("webhook-signature", &signatures),
        ] {
            let value = HeaderValue::try_from(value)
                .map_err(|_| Failure::new(format!("{name} fits into no header")))?;
            headers.insert(name, value);
        }
        self.post(url, headers, body, http).await
    }

    async fn chat(&self, url: &config::Secret, message: &Message, http: &Http) -> Result<i32, Failure> {
        let body = line(&json!({"text": chat_text(&message.text)}));
        self.post(url, json_headers(), body, http).await
    }

    async fn post(
        &self,
        url: &config::Secret,
        headers: HeaderMap,
        body: Bytes,
        http: &Http,
    ) -> Result<i32, Failure> {
        let url = url.read().map_err(Failure::new)?;
        let target = target::Target::parse(&url).map_err(Failure::new)?;
        let patience = self.patience.unwrap_or(PATIENCE);
        let posted = http.post(&target.origin, &target.path, &headers, body, patience).await;
        let posted = posted.map_err(|error| Failure::new(words(&error)))?;
        let status = posted.status;
        if status.is_success() {
            return Ok(i32::from(status.as_u16()));
        }
        let what = match status.is_redirection() {
            true => format!("HTTP {}: it sends elsewhere, which is not followed", status.as_u16()),
            false => format!("HTTP {}", status.as_u16()),
        };
        let retry_after = posted.retry_after;
        let status_code = Some(i32::from(status.as_u16()));
        Err(Failure { what, status: status_code, is_about_message: is_about_message(status), retry_after })
    }
}

/// The receiver understood who we are, and does not like this message.
fn is_about_message(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

fn json_headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(CONTENT_TYPE, json.clone()), (ACCEPT, json)])
}

fn line(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// As Slack wants it: three characters have a meaning there, and `<!channel>` would wake everybody.
fn chat_text(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_TEXT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn words(error: &ApiError) -> String {
    match error {
        ApiError::Unreachable(why) => match why {
            Unreachable::Dns(detail) => format!("its host has no address ({detail})"),
            Unreachable::Connect(detail) => format!("no connection ({detail})"),
            Unreachable::Tls(detail) => format!("no TLS session ({detail})"),
            Unreachable::Proxy(detail) => format!("the proxy did not let it through ({detail})"),
            Unreachable::TimedOut => "no connection in time".to_owned(),
        },
        ApiError::NoAnswer(NoAnswer::TimedOut) => "no answer in time".to_owned(),
        ApiError::NoAnswer(NoAnswer::Reset(detail)) => {
            format!("the connection ended before an answer came ({detail})")
        }
        ApiError::Request(what) => what.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_text_wakes_nobody_and_is_bounded() {
        assert_eq!(chat_text("a < b & <!channel>"), "a &lt; b &amp; &lt;!channel&gt;");
        assert_eq!(chat_text(&"é".repeat(5000)).chars().count(), LONGEST_TEXT + 1);
    }

    #[test]
    fn law_10_a_sinks_name_and_key_say_nothing_of_its_url() {
        let url: config::Secret = "env:CANARY_URL".parse().unwrap();
        let sinks =
            Sink::all(&config::Alerts { to: vec![config::Sink::Slack { url }], ..Default::default() });
        assert_eq!(sinks[0].name, "slack 1");
        assert!(!sinks[0].key.contains("CANARY"));
    }
}
