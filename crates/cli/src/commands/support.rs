//! `perennial support`: what SAP's support asks for, in a file that can be attached to a ticket. No secret is in it: of
//! a secret only the fingerprint is written, and all that are known are blotted out of the whole at the end (law 10).

use crate::exit::Exit;
use crate::files;
use crate::place::Kind;
use crate::session::Session;
use crate::trouble::Trouble;
use crate::words::rfc3339;
use clap::Args;
use perennial::core::connection::{Aside, Fault};
use perennial::core::secret::{Fingerprint, IdToken, RefreshToken, RequestToken};
use perennial::core::{Connection, Expiry, UnixTime};
use perennial::store::{App, Recorded};
use perennial::{Error, Keeper};
use serde_json::json;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How many lines of the journal go along.
const LINES: usize = 50;

/// Write what SAP's support asks for into a file, without any secret
///
/// Versions, times by both clocks, App ID, company, geolocation, state, expiries, the last fault and the last 50 events
/// with their correlation ids, and the network's settings. Look into it before you send it: it is plain text.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial support acme
  perennial support acme --output ticket.txt
  perennial support acme --output -            to stdout")]
pub(crate) struct Support {
    /// The connection; may be left out where there is only one
    name: Option<String>,

    /// Where to write it; - is stdout [default: perennial-support-NAME-TIME.txt in this directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn carry_out(session: &Session, support: &Support) -> Result<Exit, Trouble> {
    let keeper = session.keeper()?;
    let name = session.name(&keeper, support.name.as_deref())?;
    let connection = keeper.connection(&name)?;
    // What is wrong may be the app itself; the rest is worth telling all the same.
    let app = keeper.store().app(&name).ok();
    let text = Bundle { session, keeper: &keeper, connection: &connection, app: app.as_ref() }.text()?;
    let text = blotted(&text, &connection, app.as_ref());
    let path = match &support.output {
        Some(path) if path == Path::new("-") => {
            return Ok(session.printer.data(&text).map(|()| Exit::Done)?);
        }
        Some(path) => path.clone(),
        None => PathBuf::from(format!("perennial-support-{name}-{}.txt", stamp(keeper.now()))),
    };
    write(&path, &text)?;
    if session.globals.json {
        session.printer.json_data(&json!({"connection": name, "file": path}))?;
        return Ok(Exit::Done);
    }
    session.printer.data(&format!("{}\n", path.display()))?;
    session.printer.note("look into it before you send it; no secret is in it, but names and times are");
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    let written = files::create_private(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(Trouble::file("write", path)).map_err(|trouble| {
        trouble.hinting("nothing is overwritten; name another file, that you may write: --output FILE")
    })
}

/// `20261124T020000Z`.
fn stamp(at: UnixTime) -> String {
    rfc3339(at).chars().filter(|letter| !"-:".contains(*letter)).collect()
}

struct Bundle<'a> {
    session: &'a Session,
    keeper: &'a Keeper,
    connection: &'a Connection,
    app: Option<&'a App>,
}

impl Bundle<'_> {
    fn text(&self) -> Result<String, Trouble> {
        let parts =
            [self.program(), self.connection(), self.tokens(), self.fault(), self.network(), self.journal()?];
        Ok(parts.concat())
    }

    fn program(&self) -> String {
        let (now, skew) = (self.keeper.now(), self.connection.skew);
        let kind = match self.session.place().kind {
            Kind::SapSample => "sap-sample",
            Kind::Sqlite => "sqlite",
            Kind::Postgres => "postgres",
        };
        let system = format!("{} on {}", env::consts::OS, env::consts::ARCH);
        section(
            "Perennial: for SAP Concur support. No secret is in here; of secrets there are fingerprints.",
            &[
                ("program", format!("perennial {}, {system}", env!("CARGO_PKG_VERSION"))),
                ("store", kind.to_owned()),
                ("this host's time", rfc3339(now)),
                ("the server's time", rfc3339(skew.server_time(now))),
                ("measured skew", format!("{} s", skew.seconds)),
                (
                    "suspected skew",
                    skew.suspected.map_or("none".to_owned(), |seconds| format!("{seconds} s")),
                ),
            ],
        )
    }

    fn connection(&self) -> String {
        let connection = self.connection;
        let unknown = || "not known".to_owned();
        let policy: Vec<_> = connection
            .policy
            .overrides(connection.profile)
            .map(|(name, text)| format!("{name}={text}"))
            .collect();
        let permitted: Vec<_> = connection.permitted.iter().map(ToString::to_string).collect();
        section(
            "Connection",
            &[
                ("name", connection.name.clone()),
                ("id", connection.id.clone()),
                ("profile", connection.profile.name.to_owned()),
                ("App ID", self.app.map_or_else(unknown, |app| app.client.id.clone())),
                (
                    "company UUID",
                    self.app.and_then(|app| app.company.as_ref()).map_or_else(unknown, ToString::to_string),
                ),
                ("principal", connection.principal.as_ref().map_or_else(unknown, ToString::to_string)),
                ("state", self.keeper.state(connection).as_str().to_owned()),
                ("named origins", listed(&permitted)),
                ("policy overrides", listed(&policy)),
            ],
        )
    }

    fn tokens(&self) -> String {
        let connection = self.connection;
        let mut lines = Vec::new();
        if let Some(held) = &connection.held {
            let access = held.access.as_ref();
            lines.extend([
                ("geolocation", held.base.to_string()),
                ("generation", format!("{}, grant {}", held.generation, held.grant_id)),
                ("issued", held.refreshed_at.map_or("not known".to_owned(), rfc3339)),
                (
                    "access token",
                    access.map_or("none".to_owned(), |access| {
                        ended(&access.token.fingerprint(), Some(access.expiry))
                    }),
                ),
                (
                    "refresh token",
                    held.refresh
                        .as_ref()
                        .map_or("none".to_owned(), |token| ended(&token.fingerprint(), held.refresh_expiry)),
                ),
                ("scope", held.scope.clone().unwrap_or_else(|| "not told".to_owned())),
            ]);
        }
        for previous in &connection.previous {
            let (print, at) = (previous.refresh.fingerprint(), rfc3339(previous.replaced_at));
            lines.push(("replaced", format!("{print}, generation {}, on {at}", previous.generation)));
        }
        for candidate in &connection.candidates {
            let print = candidate.response.refresh_token.as_ref().map(RefreshToken::fingerprint);
            let reason = match candidate.reason {
                Aside::Late => "late",
                Aside::OtherPrincipal => "another principal's",
                Aside::Unbelieved => "not believed",
            };
            let print = print.map_or("none".to_owned(), |print| print.to_string());
            lines.push(("kept aside", format!("{print}, {reason}, on {}", rfc3339(candidate.received_at))));
        }
        if let Some(intent) = &connection.intent {
            lines.push((
                "open request",
                format!(
                    "{} of {} at {}, sent on {}, correlation id {}",
                    intent.purpose.as_str(),
                    intent.presented,
                    intent.base,
                    rfc3339(intent.written_at),
                    intent.correlation_id
                ),
            ));
        }
        if let Some(used) = &connection.request_token {
            let (print, uses, at) = (&used.fingerprint, used.uses, rfc3339(used.first_used_at));
            lines.push(("request token", format!("{print}, used {uses} times, first on {at}")));
        }
        section("Tokens, by fingerprint; times are the server's", &lines)
    }

    fn fault(&self) -> String {
        let Some(fault) = &self.connection.last_fault else { return section("Last fault: none", &[]) };
        let Fault { at, purpose, verdict, status, code, description, correlation_id, message } = fault;
        let none = || "none".to_owned();
        section(
            "Last fault",
            &[
                ("when", rfc3339(*at)),
                ("request", purpose.as_str().to_owned()),
                ("HTTP status", status.map_or_else(none, |status| status.to_string())),
                ("code", code.map_or_else(none, |code| code.to_string())),
                ("Concur said", description.clone().unwrap_or_else(none)),
                ("we say", message.clone()),
                ("verdict", verdict.as_str().to_owned()),
                ("correlation id", correlation_id.clone().unwrap_or_else(none)),
            ],
        )
    }

    fn network(&self) -> String {
        let globals = &self.session.globals;
        let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .iter()
            .find_map(|name| env::var(name).ok())
            .map_or("none".to_owned(), |address| proxy_host(&address));
        let named: Vec<_> = globals.resolve.iter().map(ToString::to_string).collect();
        section(
            "Network",
            &[
                ("proxy", proxy),
                (
                    "past the proxy",
                    env::var("NO_PROXY").or_else(|_| env::var("no_proxy")).unwrap_or_default(),
                ),
                ("own certificates", if globals.ca_cert.is_some() { "yes" } else { "no" }.to_owned()),
                ("own addresses", listed(&named)),
                ("answer within", format!("{} s", globals.answer_within.as_secs())),
            ],
        )
    }

    fn journal(&self) -> Result<String, Trouble> {
        let entries =
            self.keeper.store().journal(Some(&self.connection.name), None, LINES).map_err(Error::from)?;
        let line = |recorded: &Recorded| {
            let id = recorded.entry.correlation_id.as_ref().map_or_else(String::new, |id| format!(" [{id}]"));
            format!("{}  {}{id}\n", rfc3339(recorded.entry.at), recorded.entry.event)
        };
        let lines: String = entries.iter().map(line).collect();
        Ok(format!("The last {} events; times are the server's\n{lines}", entries.len()))
    }
}

fn section(title: &str, lines: &[(&str, String)]) -> String {
    let lines: String = lines.iter().map(|(label, text)| format!("  {label:<18}{text}\n")).collect();
    format!("{title}\n{lines}\n")
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn ended(print: &Fingerprint, expiry: Option<Expiry>) -> String {
    let end = expiry.map_or("an unknown end".to_owned(), |expiry| {
        format!("until {} ({})", rfc3339(expiry.at()), expiry.basis())
    });
    format!("{print}, {end}")
}

/// Scheme, host and port: name and password of a proxy are a secret.
fn proxy_host(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// Whatever else it may be in: no secret that is known goes along, and a home directory names a person.
fn blotted(text: &str, connection: &Connection, app: Option<&App>) -> String {
    let mut secrets: Vec<&str> = Vec::new();
    if let Some(app) = app {
        secrets.push(app.client.secret.expose());
        secrets.extend(app.request_token.as_ref().map(RequestToken::expose));
    }
    if let Some(held) = &connection.held {
        secrets.extend(held.refresh.as_ref().map(RefreshToken::expose));
        secrets.extend(held.access.as_ref().map(|access| access.token.expose()));
        secrets.extend(held.id_token.as_ref().map(IdToken::expose));
    }
    secrets.extend(connection.previous.iter().map(|previous| previous.refresh.expose()));
    for response in connection.candidates.iter().map(|candidate| &candidate.response) {
        secrets.push(response.access_token.expose());
        secrets.extend(response.refresh_token.as_ref().map(RefreshToken::expose));
        secrets.extend(response.id_token.as_ref().map(IdToken::expose));
    }
    let known = secrets.into_iter().filter(|secret| !secret.is_empty());
    let text = known.fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"));
    match env::var("HOME") {
        Ok(home) if home.len() > 1 => text.replace(&home, "~"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_10_a_proxy_gives_its_host_and_not_its_password() {
        for (address, host) in [
            ("http://user:p%40ss@proxy.example:8080/", "http://proxy.example:8080"),
            ("user:p@ss@proxy.example:8080", "http://proxy.example:8080"),
            ("http://proxy.example", "http://proxy.example"),
        ] {
            assert_eq!(proxy_host(address), host);
        }
    }
}
