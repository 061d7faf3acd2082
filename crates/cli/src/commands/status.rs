//! `perennial status`: how every connection is. Never a secret.

use crate::exit::Exit;
use crate::place::{Kind, Place};
use crate::session::Session;
use crate::table::wrapped;
use crate::trouble::Trouble;
use crate::words::{moment, rfc3339};
use clap::Args;
use perennial::Keeper;
use perennial::core::connection::{Condition, Fault};
use perennial::core::{Connection, Expiry, State, UnixTime};
use serde_json::{Value, json};

/// Show state, principal, geolocation and expiries of every connection
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial status
  perennial status --json | jq -r '.[].refresh_expires_at'")]
pub(crate) struct Status {
    /// Only this connection
    name: Option<String>,
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
    let names = status.name.as_ref().map_or_else(|| keeper.names(), |name| Ok(vec![name.clone()]))?;
    if names.is_empty() {
        session.printer.note(&session.nothing_in(&keeper.store().address()).message);
    }
    if let [only] = names.as_slice() {
        // Nobody else is there to go on.
        keeper.connection(only)?;
    }
    let (mut objects, mut blocks, mut exit) = (Vec::new(), Vec::new(), Exit::Done);
    for name in &names {
        match keeper.connection(name) {
            Ok(connection) => {
                objects.push(as_json(&keeper, &connection));
                blocks.push(as_text(&keeper, &connection, &session.place()));
            }
            Err(error) => {
                let trouble = session.trouble_of(name, error.clone());
                objects.push(json!({"connection": name, "state": null, "error": trouble.as_json()}));
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

/// One element of the array that `status --json` prints. Times are this host's.
pub(crate) fn as_json(keeper: &Keeper, connection: &Connection) -> Value {
    let times = Times::of(connection);
    json!({
        "connection": connection.name,
        "profile": connection.profile.name,
        "state": keeper.state(connection).as_str(),
        "principal": connection.principal.as_ref().map(ToString::to_string),
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
        line("geolocation", held.base.to_string());
        line("access token", times.access.map_or_else(none, |expiry| until(expiry, now)));
        line(
            "refresh token",
            match (&held.refresh, times.refresh) {
                (None, _) => none(),
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
        (_, State::AwaitingGrant) => place.obtain(),
        (Condition::NeedsReauthorization | Condition::Revoked, _) => match place.kind {
            Kind::SapSample => {
                "a new company request token in credentials.json, then: perennial run".to_owned()
            }
            Kind::Sqlite | Kind::Postgres => format!(
                "{}; else, with a new company request token: {}",
                place.about("recover"),
                place.obtain()
            ),
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
