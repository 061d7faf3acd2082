//! `perennial client`: who may ask the daemon for what, over TCP and with OAuth libraries.

use crate::daemon::{self, ConfigOptions};
use crate::exit::Exit;
use crate::session::Session;
use crate::table::{self, Cell, Column, Last};
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::{self, parse_duration, rfc3339};
use clap::{Args, Subcommand};
use perennial::core::UnixTime;
use perennial_daemon::access::clients::{Client, ClientFile, ClientsError, NewClient};
use perennial_daemon::config::{Glob, Methods, Right};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Say who may ask the daemon for what
#[derive(Args, Debug)]
pub(crate) struct ClientArgs {
    #[command(subcommand)]
    verb: ClientVerb,
}

#[derive(Debug, Subcommand)]
enum ClientVerb {
    Add(Add),
    List(List),
    Revoke(Revoke),
}

/// Make a client key; it is shown once
///
/// A program shows it as `Authorization: Bearer KEY`. An OAuth client library takes NAME as client id and the key as
/// client secret. A running daemon knows it within a second.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial client add billing --allow 'acme*'
  perennial client add reports --allow acme --may proxy --forward 'GET /expensereports/*'
  perennial client add ops --may token,proxy,admin --expires 720h")]
struct Add {
    /// What to call it
    name: String,

    /// Which connections, with * for any characters; may be repeated, or several by comma
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "*")]
    allow: Vec<Glob>,

    /// What it may do
    #[arg(long, value_name = "RIGHT", value_delimiter = ',', default_value = "token")]
    #[arg(value_parser = ["token", "proxy", "admin"])]
    may: Vec<String>,

    /// Which requests may be forwarded for it, as method (or *) and path; may be repeated [default: all]
    #[arg(long, value_name = "METHOD PATH")]
    forward: Vec<Methods>,

    /// For how long it is good [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,

    #[command(flatten)]
    config: ConfigOptions,
}

/// List clients, and when each was last seen
#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    config: ConfigOptions,
}

/// Take every right from a client, within a second
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial client revoke billing")]
struct Revoke {
    /// The client
    name: String,

    #[command(flatten)]
    config: ConfigOptions,
}

const COLUMNS: [Column; 5] = [
    Column { head: "NAME", worth: 0 },
    Column { head: "STATE", worth: 4 },
    Column { head: "MAY", worth: 2 },
    Column { head: "LAST SEEN", worth: 1 },
    Column { head: "CONNECTIONS", worth: 3 },
];

pub(crate) fn carry_out(session: &Session, args: &ClientArgs) -> Result<Exit, Trouble> {
    match &args.verb {
        ClientVerb::Add(add) => add.carry_out(session),
        ClientVerb::List(list) => list.carry_out(session),
        ClientVerb::Revoke(revoke) => revoke.carry_out(session),
    }
}

fn file(config: &ConfigOptions) -> Result<ClientFile, Trouble> {
    let named = config.read()?.access.clients.or(daemon::places().clients);
    named.map(ClientFile::at).ok_or_else(|| {
        Trouble::usage(
            "there is no home directory with client keys in it",
            "name the file: --set access.clients=FILE",
        )
    })
}

impl Add {
    fn carry_out(&self, session: &Session) -> Result<Exit, Trouble> {
        perennial::store::check_name(&self.name)?;
        let right = |word: &String| match word.as_str() {
            "proxy" => Right::Proxy,
            "admin" => Right::Admin,
            _ => Right::Token,
        };
        let may: Vec<Right> = self.may.iter().map(right).collect();
        if !self.forward.is_empty() && !may.contains(&Right::Proxy) {
            return Err(Trouble::usage(
                "--forward names requests to forward, and this client may not forward any",
                "let it: --may proxy",
            ));
        }
        let (file, now) = (file(&self.config)?, now());
        let client = NewClient {
            name: self.name.clone(),
            may,
            allow: self.allow.clone(),
            forward: self.forward.clone(),
            expires_at: self.expires.map(|life| now.after(life)),
        };
        let expires_at = client.expires_at;
        let key = file.add(client, now).map_err(|error| of_clients(&error))?;
        if session.globals.json {
            session.printer.json_data(&json!({
                "client_id": self.name,
                "client_secret": key.expose(),
                "expires_at": expires_at.map(rfc3339),
            }))?;
            return Ok(Exit::Done);
        }
        session.printer.data(&format!("{}\n", key.expose()))?;
        session
            .printer
            .note("This key is shown once and kept as a hash. To take it back: perennial client revoke NAME");
        Ok(Exit::Done)
    }
}

impl List {
    fn carry_out(&self, session: &Session) -> Result<Exit, Trouble> {
        let file = file(&self.config)?;
        let clients = file.clients().map_err(|error| of_clients(&error))?;
        let (uses, now) = (file.uses(), now());
        let last = |client: &Client| uses.get(&client.key_id).copied().map(UnixTime);
        if session.globals.json {
            let object = |client: &Client| as_json(client, last(client));
            session.printer.json_data(&Value::Array(clients.iter().map(object).collect()))?;
            return Ok(Exit::Done);
        }
        if clients.is_empty() {
            session
                .printer
                .note("there are no clients yet; this makes a key for one: perennial client add NAME");
            return Ok(Exit::Done);
        }
        let row = |client: &Client| {
            let joined = |words: Vec<String>| words.join(" ");
            vec![
                Cell::new(client.name.clone()),
                Cell::new(state(client, now)),
                Cell::new(joined(client.may.iter().map(right_word).collect())),
                Cell::new(last(client).map_or_else(|| "never".to_owned(), |at| words::about(at, now))),
                Cell::new(joined(client.allow.iter().map(ToString::to_string).collect())),
            ]
        };
        let rows: Vec<_> = clients.iter().map(row).collect();
        session.printer.styled(&table::render(&COLUMNS, &rows, terminal::width(), Last::Cut))?;
        Ok(Exit::Done)
    }
}

impl Revoke {
    fn carry_out(&self, session: &Session) -> Result<Exit, Trouble> {
        file(&self.config)?.revoke(&self.name, now()).map_err(|error| of_clients(&error))?;
        session
            .printer
            .step(&format!("{}: revoked; a running daemon refuses it within a second", self.name))?;
        Ok(Exit::Done)
    }
}

fn right_word(right: &Right) -> String {
    match right {
        Right::Token => "token",
        Right::Proxy => "proxy",
        Right::Admin => "admin",
    }
    .to_owned()
}

fn state(client: &Client, now: UnixTime) -> String {
    match (client.revoked_at, client.expires_at.map(UnixTime)) {
        (Some(_), _) => "revoked".to_owned(),
        (None, Some(at)) if at <= now => "expired".to_owned(),
        (None, Some(at)) => format!("good, ends {}", words::about(at, now)),
        (None, None) => "good".to_owned(),
    }
}

fn as_json(client: &Client, last: Option<UnixTime>) -> Value {
    let time = |at: Option<i64>| at.map(|at| rfc3339(UnixTime(at)));
    json!({
        "name": client.name,
        "key_id": client.key_id,
        "may": client.may,
        "allow": client.allow,
        "forward": client.forward,
        "created_at": rfc3339(UnixTime(client.created_at)),
        "expires_at": time(client.expires_at),
        "revoked_at": time(client.revoked_at),
        "last_used_at": last.map(rfc3339),
    })
}

fn of_clients(error: &ClientsError) -> Trouble {
    let hint = match error {
        ClientsError::NameTaken(name) => {
            format!("take that key back first: perennial client revoke {name}; or choose another name")
        }
        ClientsError::NoSuchClient(_) => "this shows what there is: perennial client list".to_owned(),
        ClientsError::Unreadable { .. } => {
            "it has not been touched; mend it, or put a good copy in its place".to_owned()
        }
        ClientsError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
            "nothing has changed; make room, then try again".to_owned()
        }
        _ => "name a file that you may write: --set access.clients=FILE".to_owned(),
    };
    Trouble::new(Exit::Failed, error.to_string(), hint)
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
