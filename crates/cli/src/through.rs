//! A daemon that is running is asked first, through its socket: it has the token in memory, and refreshes ahead. Where
//! there is none, or it serves another store, or it does not let us in, the command works alone; the store's claims see
//! to it that there is one presenter either way.

use crate::daemon;
use crate::env_vars;
use crate::exit::Exit;
use crate::session::Session;
use crate::stores::Choice;
use crate::trouble::Trouble;
use perennial::core::{AccessToken, Origin, UnixTime};
use perennial::{HandOut, Sqlite};
use serde_json::Value;
use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The daemon of the machine, beside a person's own.
const SYSTEM_SOCKET: &str = "/run/perennial/perennial.sock";

/// How much longer than the daemon waits for a refresh is waited for the daemon.
const MARGIN: Duration = Duration::from_secs(5);

/// As long as a refresh may take, where nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(65);

/// A daemon at the other end of a socket.
pub(crate) struct Through {
    socket: PathBuf,
    /// Which store is meant; whichever it serves where none is here.
    store: Option<String>,
    patience: Duration,
}

impl Through {
    /// Looks for one. SAP's two files are not its business, and a server's database is asked as quickly as a daemon.
    pub(crate) fn find(session: &Session) -> Option<Self> {
        let Choice::Sqlite(file) = session.globals.choice().ok()? else { return None };
        // Most of the time there is none, and what comes behind this costs more.
        let named = env::var_os(env_vars::SOCKET).map(PathBuf::from);
        let own = daemon::places().socket;
        let mut sockets = named.into_iter().chain(own).chain([PathBuf::from(SYSTEM_SOCKET)]);
        let socket = sockets.find(|path| path.exists())?;
        let store = match file.exists() {
            true => Some(Sqlite::address_of(&fs::canonicalize(file).ok()?, &session.globals.tenant)),
            false if session.globals.store.is_some() => return None,
            false => None,
        };
        let patience = session.globals.timeout.unwrap_or(PATIENCE);
        Some(Self { socket, store, patience })
    }

    /// A token. `None` where the command is to work alone.
    pub(crate) fn token(&self, name: Option<&str>, min_ttl: Duration) -> Result<Option<HandOut>, Trouble> {
        let Some(name) = name.map(str::to_owned).or_else(|| self.only_name()) else { return Ok(None) };
        let (min_ttl, wait) = (min_ttl.as_secs(), self.patience.as_secs().max(1));
        let path = format!("/v1/connections/{name}/token?min_ttl={min_ttl}s&wait={wait}s");
        self.hand_out("GET", &path, "")
    }

    /// Another token than the one that the API has rejected.
    pub(crate) fn rejected(&self, name: &str, token: &AccessToken) -> Result<Option<HandOut>, Trouble> {
        let body = Zeroizing::new(serde_json::json!({"access_token": token.expose()}).to_string());
        self.hand_out("POST", &format!("/v1/connections/{name}/rejected"), &body)
    }

    fn hand_out(&self, method: &str, path: &str, body: &str) -> Result<Option<HandOut>, Trouble> {
        let Some((status, answer)) = self.ask(method, path, body) else { return Ok(None) };
        match status {
            200 => Ok(hand_out(&answer)),
            // What a person must do, and what passes, is the same for who works alone; nothing is tried twice for it.
            409 | 503 | 504 if answer.get("type").is_some_and(|kind| kind != "/problems/store") => {
                Err(of_problem(status, &answer))
            }
            _ => Ok(None),
        }
    }

    fn only_name(&self) -> Option<String> {
        let (status, answer) = self.ask("GET", "/v1/connections?limit=2", "")?;
        match answer["connections"].as_array()?.as_slice() {
            [only] if status == 200 => only["connection"].as_str().map(str::to_owned),
            _ => None,
        }
    }

    /// One request on a connection of its own. `None` where there is nobody, or nobody who can be understood.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        let mut stream = connect(&self.socket)?;
        stream.set_read_timeout(Some(self.patience + MARGIN)).ok()?;
        let store =
            self.store.as_ref().map_or_else(String::new, |store| format!("perennial-store: {store}\r\n"));
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{store}{length}connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
        stream.read_to_end(&mut bytes).ok()?;
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = answer.parse(&bytes).ok()? else { return None };
        let status = answer.code?;
        Some((status, serde_json::from_slice(bytes.get(end..)?).unwrap_or(Value::Null)))
    }
}

fn connect(socket: &Path) -> Option<UnixStream> {
    UnixStream::connect(socket).ok()
}

fn hand_out(answer: &Value) -> Option<HandOut> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let expires_at: jiff::Timestamp = text("expires_at")?.parse().ok()?;
    Some(HandOut {
        id: String::new(),
        connection: text("connection")?,
        access_token: AccessToken::new(text("access_token")?),
        token_type: text("token_type")?,
        expires_at: UnixTime(expires_at.as_second()),
        expires_in: answer.get("expires_in")?.as_i64()?,
        refresh_at: None,
        scope: text("scope"),
        base: Origin::parse(&text("base_uri")?).ok()?,
        generation: answer.get("generation")?.as_u64()?,
        renewal_due: false,
        warnings: Vec::new(),
    })
}

fn of_problem(status: u16, problem: &Value) -> Trouble {
    let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
    let exit = if status == 409 { Exit::PersonMustAct } else { Exit::TryAgainLater };
    let mut trouble =
        Trouble::plain(exit, text("detail").unwrap_or_else(|| format!("the daemon answered {status}")));
    trouble.hint = text("next");
    trouble.code = problem.get("code").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
    trouble.correlation_id = text("correlation_id");
    trouble
}
