//! `perennial status`: how every connection is. Never a secret.

use crate::exit::Exit;
use crate::place::{Kind, Place};
use crate::session::Session;
use crate::signals::AskedToEnd;
use crate::table::wrapped;
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::{moment, parse_duration, rfc3339};
use clap::Args;
use perennial::core::connection::{Condition, Fault, Way};
use perennial::core::{Connection, Expiry, Server, State, UnixTime};
use perennial::{Error, Keeper};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// How often --watch looks, unless somebody says otherwise.
const INTERVAL: Duration = Duration::from_secs(2);

/// A look may take a fifth of the time: who watches many connections does not keep others from them.
const SHARE: u32 = 4;

/// To the upper left corner, and nothing behind it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show state, principal, geolocation and expiries of every connection
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial status
  perennial status --watch
  perennial status --json | jq -r '.[].refresh_expires_at'
  perennial status --json --watch      one line for each connection, and for each change of one")]
pub(crate) struct Status {
    /// Only this connection
    name: Option<String>,

    /// Go on, and show what changes; Ctrl-C ends it
    #[arg(short, long)]
    watch: bool,

    /// How often to look, with --watch [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "watch")]
    interval: Option<Duration>,
}

pub(crate) fn carry_out(session: &Session, status: &Status) -> Result<Exit, Trouble> {
    session.start_log();
    let store = session.store()?;
    for notice in store.notices() {
        session.printer.warn(&notice);
    }
    let keeper = session.keeper_of(&store)?;
    keeper.drain();
    if let Some(name) = &status.name {
        session.is_about(name);
    }
    let names = names(&keeper, status)?;
    if let [only] = names.as_slice()
        && !status.watch
    {
        // Nobody else is there to go on.
        keeper.connection(only)?;
    }
    if status.watch {
        if let Some(name) = &status.name {
            keeper.connection(name)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(watch(session, &keeper, status));
    }
    if names.is_empty() {
        session.printer.note(&session.nothing_in(&keeper.store().address()).message);
    }
    let (mut objects, mut blocks, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
    for name in &names {
        match keeper.connection(name) {
            Ok(connection) => {
                objects.push(as_json(&keeper, &connection));
                blocks.push(as_text(&keeper, &connection, &session.place()));
            }
            Err(error) => {
                objects.push(broken(session, name, &error));
                exit = exit.graver(session.tell_of(name, error));
            }
        }
    }
    if session.globals.json {
        session.printer.json_data(&Value::Array(objects))?;
    } else {
        session.printer.data(&blocks.join("\n"))?;
    }
    Ok(exit)
}

fn names(keeper: &Keeper, status: &Status) -> Result<Vec<String>, Error> {
    status.name.as_ref().map_or_else(|| keeper.names(), |name| Ok(vec![name.clone()]))
}

/// One that cannot be read stands among the others.
fn broken(session: &Session, name: &str, error: &Error) -> Value {
    json!({"connection": name, "state": null, "error": session.trouble_of(name, error.clone()).as_json()})
}

/// Looks again and again until somebody asks it to end. A store that is gone may come back.
async fn watch(session: &Session, keeper: &Keeper, status: &Status) -> Result<Exit, Trouble> {
    let mut asked_to_end = AskedToEnd::listen()?;
    let interval = status.interval.unwrap_or(INTERVAL).max(Duration::from_secs(1));
    let (mut known, mut shown, mut told) = (BTreeMap::new(), String::new(), String::new());
    loop {
        let begun = Instant::now();
        match names(keeper, status) {
            Ok(names) if session.globals.json => show_lines(session, keeper, &names, &mut known)?,
            Ok(names) => show_screen(session, keeper, &names, interval, &mut shown)?,
            Err(error) => {
                let trouble = Trouble::from(error).message;
                if trouble != told {
                    session.printer.warn(&trouble);
                }
                told = trouble;
            }
        }
        let pause = interval.max(begun.elapsed() * SHARE);
        tokio::select! {
            () = asked_to_end.next() => return Ok(Exit::Interrupted),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One line for each connection that is another than at the last look; what is not there any more has no state.
fn show_lines(
    session: &Session,
    keeper: &Keeper,
    names: &[String],
    known: &mut BTreeMap<String, Value>,
) -> Result<(), Trouble> {
    let mut lines = String::new();
    let mut now = BTreeMap::new();
    for name in names {
        let object = match keeper.connection(name) {
            Ok(connection) => as_json(keeper, &connection),
            Err(error) => broken(session, name, &error),
        };
        if known.get(name) != Some(&object) {
            let _ = writeln!(lines, "{object}");
        }
        now.insert(name.clone(), object);
    }
    for name in known.keys().filter(|name| !now.contains_key(*name)) {
        let _ = writeln!(lines, "{}", json!({"connection": name, "state": null, "removed": true}));
    }
    *known = now;
    Ok(session.printer.data(&lines)?)
}

/// On a terminal the picture is drawn anew, as much of it as there is room for; elsewhere it is written once more when
/// it is another one.
fn show_screen(
    session: &Session,
    keeper: &Keeper,
    names: &[String],
    interval: Duration,
    shown: &mut String,
) -> Result<(), Trouble> {
    let block = |name: &String| match keeper.connection(name) {
        Ok(connection) => as_text(keeper, &connection, &session.place()),
        Err(error) => format!("{name}: {}\n", session.trouble_of(name, error).message),
    };
    let mut text = names.iter().map(block).collect::<Vec<_>>().join("\n");
    if names.is_empty() {
        text = format!("{}\n", session.nothing_in(&keeper.store().address()).message);
    }
    if let Some(rows) = terminal::height() {
        let head = format!("{}  every {} s; Ctrl-C ends it", rfc3339(keeper.now()), interval.as_secs());
        session.printer.data(&format!("{CLEAR}{head}\n\n{}", cut(&text, rows.saturating_sub(4))))?;
    } else if text != *shown {
        session.printer.data(if shown.is_empty() { "" } else { "\n" })?;
        session.printer.data(&text)?;
    }
    *shown = text;
    Ok(())
}

/// As many lines as there is room for, and how many more there are.
fn cut(text: &str, room: usize) -> String {
    let (lines, room) = (text.lines().count(), room.max(1));
    if lines <= room {
        return text.to_owned();
    }
    let some: Vec<_> = text.lines().take(room).collect();
    format!("{}\n… and {} more lines: perennial status NAME --watch\n", some.join("\n"), lines - room)
}

/// One element of the array that `status --json` prints. Times are this host's.
pub(crate) fn as_json(keeper: &Keeper, connection: &Connection) -> Value {
    let times = Times::of(connection);
    json!({
        "connection": connection.name,
        "profile": connection.profile.name,
        "state": keeper.state(connection).as_str(),
        "principal": connection.principal.as_ref().map(ToString::to_string),
        "way": connection.obtaining.way.as_str(),
        "issuer": connection.server.as_ref().map(Server::name),
        "base_uri": connection.held.as_ref().map(|held| held.base.to_string()),
        "access_expires_at": times.access.map(|expiry| rfc3339(expiry.at())),
        "refresh_expires_at": times.refresh.map(|expiry| rfc3339(expiry.at())),
        "refresh_expiry": times.refresh.map(Expiry::basis),
        "generation": connection.held.as_ref().map_or(0, |held| held.generation),
        "refreshed_at": times.refreshed.map(rfc3339),
        "last_fault": connection.last_fault.as_ref().map(|fault| fault_json(connection, fault)),
    })
}

fn fault_json(connection: &Connection, fault: &Fault) -> Value {
    json!({
        "at": rfc3339(connection.skew.host_time(fault.at)),
        "purpose": fault.purpose.as_str(),
        "verdict": fault.verdict.as_str(),
        "status": fault.status,
        "code": fault.code,
        "message": fault.message,
        "correlation_id": fault.correlation_id,
    })
}

fn as_text(keeper: &Keeper, connection: &Connection, place: &Place) -> String {
    let (now, times) = (keeper.now(), Times::of(connection));
    let mut lines = vec![format!("{}: {}", connection.name, keeper.state(connection).as_str())];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<15}{text}"));
    let none = || "none".to_owned();
    line(
        "principal",
        connection.principal.as_ref().map_or_else(|| "not known yet".to_owned(), ToString::to_string),
    );
    if let Some(held) = &connection.held {
        let label = if connection.server.is_none() { "geolocation" } else { "server" };
        line(label, held.base.to_string());
        line("access token", times.access.map_or_else(none, |expiry| until(expiry, now)));
        line(
            "refresh token",
            match (&held.refresh, times.refresh) {
                (None, _) if connection.obtains_itself() => {
                    "none; the app obtains each access token itself".to_owned()
                }
                (None, _) => {
                    "none: the server gave none, and the grant ends with the access token".to_owned()
                }
                (Some(_), None) => "held; its end is not known".to_owned(),
                (Some(_), Some(expiry)) => until(expiry, now),
            },
        );
        line("generation", held.generation.to_string());
        let written_elsewhere = || "not known: something else wrote these tokens".to_owned();
        line("last refresh", times.refreshed.map_or_else(written_elsewhere, |at| moment(at, now)));
    }
    match &connection.last_fault {
        None => line("last fault", none()),
        Some(fault) => {
            line("last fault", moment(connection.skew.host_time(fault.at), now));
            for part in wrapped(&fault.message, 64) {
                line("", part);
            }
            if let Some(id) = &fault.correlation_id {
                line("", format!("correlation id {id}"));
            }
        }
    }
    if let Some(next) = what_next(connection, now, &place.with(&connection.name)) {
        lines.push(format!("  {:<15}{next}", "what next"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What happens by itself, or what a person does, where something stands in the way.
pub(crate) fn what_next(connection: &Connection, now: UnixTime, place: &Place) -> Option<String> {
    let next = match (connection.condition, connection.state(now)) {
        (Condition::BackingOff { until, .. } | Condition::Uncertain { until, .. }, _) => {
            let at = moment(connection.skew.host_time(until), now);
            format!("tried again from {at} on; at once: {}", place.refresh())
        }
        (Condition::Suspended, _) => format!("put right what the fault names, then: {}", place.refresh()),
        (Condition::Sound, State::AwaitingGrant | State::NeedsReauthorization) => place.obtain(),
        (Condition::NeedsReauthorization | Condition::Revoked, _) => match place.kind {
            Kind::SapSample => {
                "a new company request token in credentials.json, then: perennial run".to_owned()
            }
            Kind::Sqlite | Kind::Postgres => {
                let by_token = connection.server.is_none() && connection.obtaining.way == Way::Person;
                let how = if by_token { ", with a new company request token" } else { "" };
                format!("{}; else{how}: {}", place.about("recover"), place.obtain())
            }
        },
        _ => return None,
    };
    Some(place.complete(&next))
}

fn until(expiry: Expiry, now: UnixTime) -> String {
    let verb = if expiry.at() > now { "until" } else { "ended" };
    format!("{verb} {} ({})", moment(expiry.at(), now), expiry.basis())
}

/// A connection's times by this host's clock.
struct Times {
    access: Option<Expiry>,
    refresh: Option<Expiry>,
    refreshed: Option<UnixTime>,
}

impl Times {
    fn of(connection: &Connection) -> Self {
        let here = |at: UnixTime| connection.skew.host_time(at);
        let expiry = |expiry| match expiry {
            Expiry::Stated(at) => Expiry::Stated(here(at)),
            Expiry::Assumed(at) => Expiry::Assumed(here(at)),
        };
        let held = connection.held.as_ref();
        Self {
            access: held.and_then(|held| held.access.as_ref()).map(|access| expiry(access.expiry)),
            refresh: held.and_then(|held| held.refresh_expiry).map(expiry),
            refreshed: held.and_then(|held| held.refreshed_at).map(here),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_picture_fits_its_terminal() {
        assert_eq!(cut("one\ntwo\n", 2), "one\ntwo\n");
        assert!(cut("one\ntwo\nthree\n", 2).starts_with("one\ntwo\n… and 1 more lines"));
        assert!(cut("one\ntwo\n", 0).starts_with("one\n"), "however small it is");
    }
}
