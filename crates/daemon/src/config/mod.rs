//! What a daemon is told: one TOML file, every option of which stands in [`EXAMPLE`]. Texts become types while they are
//! read, so that a mistake is told with its line and column; what several options must agree on is looked at in
//! `check`.
//!
//! No secret stands in the file itself: each is named by where it comes from.

mod check;
mod connect;
mod overrides;
mod values;

pub use check::Mistake;
pub use connect::{Connect, Partner, SignIn, Webhook};
pub use overrides::{Setting, SettingError};
pub use values::{Bytes, Glob, Life, Methods, Secret, SecretSource, Site};

use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every option, with what it means and what it is when nobody sets it.
pub const EXAMPLE: &str = include_str!("example.toml");

/// What a daemon is told.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where connections are kept, as `--store` takes it.
    pub store: Option<String>,
    /// What secrets are sealed with, as `--master-key` takes it.
    pub master_key: Option<String>,
    /// Whose connections, where several share one store.
    pub tenant: Option<String>,
    /// Where a grant is obtained.
    pub base_uri: Option<String>,
    /// Certificates to trust beside those of this machine.
    pub ca_cert: Option<PathBuf>,
    /// Addresses of names that are not asked of the resolver: `HOST:PORT:ADDRESS`.
    pub resolve: Vec<String>,
    /// How long one token request may take before its outcome counts as unknown.
    pub answer_within: Option<Life>,
    /// What is written about what happens.
    pub log: Log,
    /// Where it listens.
    pub listen: Listen,
    /// Who may do what.
    pub access: Access,
    /// What it bounds.
    pub limits: Limits,
    /// How grants are kept alive.
    pub keep_alive: KeepAlive,
    /// What it forwards.
    pub proxy: Proxy,
    /// Whom it tells of trouble.
    pub alerts: Alerts,
    /// The apps that companies connect in SAP's App Center.
    pub connect: BTreeMap<String, Connect>,
}

/// What is written about what happens.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// In which form.
    pub format: Format,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What a person must look at.
    Error,
    /// What may become trouble.
    Warn,
    /// Each refresh, and each change of the daemon's own state.
    #[default]
    Info,
    /// Each request.
    Debug,
    /// Everything.
    Trace,
}

/// In which form is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Where it listens.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// The unix socket; the standard place where nothing is said, none where it is empty.
    pub unix: Option<PathBuf>,
    /// Mode bits of the socket, in octal; who may do what is decided by the peer's uid and gid.
    pub unix_mode: Option<String>,
    /// TCP addresses. Beyond this machine only with TLS.
    pub tcp: Vec<SocketAddr>,
    /// The certificate chain, as a PEM file.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as a PEM file.
    pub tls_key: Option<PathBuf>,
    /// How clients beyond this machine call it: the issuer of RFC 8414.
    pub public_url: Option<String>,
    /// Names by which it may be called over TCP, beside the addresses that it listens on (DNS rebinding).
    pub hosts: Vec<String>,
    /// Web pages that may call it; none where it is empty.
    pub origins: Vec<String>,
}

/// Who may do what.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// The file with the hashes of client keys; in the standard place where nothing is said.
    pub clients: Option<PathBuf>,
    /// So many failed authentications of one address in a minute, and it is turned away for the rest of it.
    pub failures_per_minute: u32,
    /// Authorization servers of this machine or this network, and bases beyond the provider's own, that client keys may
    /// name.
    pub servers_inside: Vec<Site>,
    /// Who may do what over the unix socket. Where there is none: the daemon's own user and root, everything.
    pub peer: Vec<Peer>,
}

impl Default for Access {
    fn default() -> Self {
        Self { clients: None, failures_per_minute: 10, servers_inside: Vec::new(), peer: Vec::new() }
    }
}

/// Who calls over the unix socket, and what they may do.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The user's name or number.
    pub user: Option<String>,
    /// The group's name or number.
    pub group: Option<String>,
    /// Which connections.
    #[serde(default = "all_names")]
    pub allow: Vec<Glob>,
    /// What they may do with them.
    pub may: Vec<Right>,
    /// Which requests may be forwarded for them.
    #[serde(default)]
    pub forward: Vec<Methods>,
}

fn all_names() -> Vec<Glob> {
    vec![Glob::all()]
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Get access tokens.
    Token,
    /// Have API calls forwarded.
    Proxy,
    /// Add, read, refresh, suspend, reauthorize, remove.
    Admin,
}

/// What the daemon bounds.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Sockets at a time; some file descriptors are always left for the keeping of grants.
    pub sockets: usize,
    /// A TLS handshake, and the body of a request that is for the daemon itself, must be there within this time.
    pub slow_client: Life,
    /// A socket on which no whole request head has arrived for this long is closed.
    pub idle: Life,
    /// The largest body of a request that is for the daemon itself.
    pub body: Bytes,
    /// Connections whose tokens are kept in memory, in the order of use; all others are read from the store.
    pub resident: usize,
    /// How long a request for a token waits for a refresh, unless it says otherwise.
    pub patience: Life,
    /// How long a daemon that is asked to end waits for what is under way.
    pub drain: Life,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets: 16_384,
            slow_client: Life(Duration::from_secs(10)),
            idle: Life(Duration::from_secs(75)),
            body: Bytes(64 * 1024),
            resident: 100_000,
            patience: Life(Duration::from_secs(65)),
            drain: Life(Duration::from_secs(75)),
        }
    }
}

/// How grants are kept alive.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct KeepAlive {
    /// False for a daemon that only hands out: another one keeps the grants of its store alive.
    pub enabled: bool,
    /// Renew access tokens that are in use before they end.
    pub ahead: bool,
    /// Refreshes at a time, for each authorization server.
    pub at_a_time: usize,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { enabled: true, ahead: true, at_a_time: 32 }
    }
}

/// What is forwarded.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// How long the API may take to begin its answer.
    pub patience: Life,
    /// A body up to this size is kept until the answer has come, so that the request can be sent again with a new token.
    pub replayable: Bytes,
    /// Connections to one API host that are kept open while nothing is asked.
    pub idle_connections: usize,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { patience: Life(Duration::from_secs(90)), replayable: Bytes(64 * 1024), idle_connections: 64 }
    }
}

/// Whom it tells of trouble.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// What has not been delivered yet is kept in this directory; in the standard place where nothing is said.
    pub outbox: Option<PathBuf>,
    /// Days before a refresh token ends.
    pub dies_in_days: Option<Vec<u32>>,
    /// What is told; everything where nothing is said.
    pub events: Option<Vec<AlertEvent>>,
    /// Which connections; all where nothing is said.
    pub connections: Option<Vec<Glob>>,
    /// To whom.
    pub to: Vec<Sink>,
}

/// What may be told.
#[derive(Clone, Copy, Debug, Deserialize, serde::Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum AlertEvent {
    /// A refresh token ends soon.
    RefreshTokenDies,
    /// A connection needs a person, or is well again.
    StateChanged,
    /// An authorization server fails for all.
    ServerFails,
    /// The store takes no writes.
    StoreNotWritable,
    /// The clock of this machine is wrong.
    ClockWrong,
}

/// To whom it is told.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "kind")]
pub enum Sink {
    /// JSON by POST, signed as Standard Webhooks says.
    Webhook {
        /// Where to.
        url: Secret,
        /// What it is signed with: `whsec_…`.
        secret: Secret,
    },
    /// A text for a chat, as Slack and those like it take it.
    Slack {
        /// The incoming webhook: whoever knows it may write there.
        url: Secret,
    },
    /// A program, which gets the JSON on its stdin.
    Command {
        /// Program and arguments; no shell.
        command: Vec<String>,
    },
}

impl Config {
    /// Reads a file and looks whether it makes sense.
    ///
    /// # Errors
    /// All mistakes that were found, each with its line.
    pub fn read(path: &Path, settings: &[Setting]) -> Result<Self, Vec<Mistake>> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![Mistake::whole(format!("cannot be read: {error}"))])?;
        Self::parse(&text, settings)
    }

    /// The same for a text. Settings come from flags and variables, and stand above it.
    ///
    /// # Errors
    /// All mistakes that were found, each with its line.
    pub fn parse(text: &str, settings: &[Setting]) -> Result<Self, Vec<Mistake>> {
        let written: Self = toml::from_str(text).map_err(|error| vec![Mistake::of_toml(text, &error)])?;
        let config = if settings.is_empty() { written } else { overrides::apply(text, settings)? };
        let mistakes = check::check(&config, text);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }
}
