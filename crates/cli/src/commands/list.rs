//! `perennial list`: every connection in a line.

use crate::exit::Exit;
use crate::printer::{GREEN_TEXT, RED_TEXT, YELLOW_TEXT};
use crate::session::Session;
use crate::table::{self, Cell, Column, Last};
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::{about, day, rfc3339};
use anstyle::Style;
use clap::Args;
use perennial::core::{Connection, Expiry, State, UnixTime};
use perennial::store::Recorded;
use perennial::{Error, Keeper};
use serde_json::{Value, json};

/// List all connections, one a line
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial list
  perennial list --json | jq -r '.[] | select(.state != \"held\") | .connection'")]
pub(crate) struct List {}

const COLUMNS: [Column; 7] = [
    Column { head: "NAME", worth: 0 },
    Column { head: "STATE", worth: 0 },
    Column { head: "ACCESS", worth: 2 },
    Column { head: "REFRESH UNTIL", worth: 1 },
    Column { head: "PRINCIPAL", worth: 5 },
    Column { head: "WHEN", worth: 4 },
    Column { head: "LAST EVENT", worth: 3 },
];

pub(crate) fn carry_out(session: &Session, _: &List) -> Result<Exit, Trouble> {
    session.start_log();
    let keeper = session.keeper_of(&session.store()?)?;
    keeper.drain();
    let rows: Vec<_> = keeper
        .names()?
        .into_iter()
        .map(|name| Row::read(&keeper, &name).map_err(|error| (name, error)))
        .collect();
    if session.globals.json {
        session
            .printer
            .json_data(&rows.iter().map(|row| as_json(session, &keeper, row)).collect::<Value>())?;
    } else if rows.is_empty() {
        let nothing = session.nothing_in(&keeper.store().address());
        let hint = nothing.hint.map(|hint| session.place().complete(&hint)).unwrap_or_default();
        session.printer.note(&format!("{}; {hint}", nothing.message));
    } else {
        let cells: Vec<_> = rows.iter().map(|row| cells(&keeper, row)).collect();
        session.printer.styled(&table::render(&COLUMNS, &cells, terminal::width(), Last::Cut))?;
    }
    let unreadable = rows.into_iter().filter_map(Result::err);
    Ok(unreadable.fold(Exit::Done, |exit, (name, error)| exit.graver(session.tell_of(&name, error))))
}

/// A row that cannot be read is named, and the others go on.
type Read = Result<Row, (String, Error)>;

fn as_json(session: &Session, keeper: &Keeper, row: &Read) -> Value {
    match row {
        Ok(row) => row.as_json(keeper),
        Err((name, error)) => {
            json!({"connection": name, "state": null, "error": session.trouble_of(name, error.clone()).as_json()})
        }
    }
}

fn cells(keeper: &Keeper, row: &Read) -> Vec<Cell> {
    match row {
        Ok(row) => row.cells(keeper),
        Err((name, _)) => vec![Cell::new(name), Cell::styled("unreadable", RED_TEXT)],
    }
}

struct Row {
    connection: Connection,
    last: Option<Recorded>,
}

impl Row {
    fn read(keeper: &Keeper, name: &str) -> Result<Self, Error> {
        let connection = keeper.connection(name)?;
        let last = keeper.store().journal(Some(name), None, 1)?.pop();
        Ok(Self { connection, last })
    }

    fn access(&self) -> Option<UnixTime> {
        let access = self.connection.held.as_ref()?.access.as_ref()?;
        Some(self.here(access.expiry.at()))
    }

    fn refresh(&self) -> Option<UnixTime> {
        let held = self.connection.held.as_ref()?;
        Some(self.here(held.refresh_expiry.map(Expiry::at)?))
    }

    fn here(&self, at: UnixTime) -> UnixTime {
        self.connection.skew.host_time(at)
    }

    fn as_json(&self, keeper: &Keeper) -> Value {
        let mut row = super::status::as_json(keeper, &self.connection);
        row["last_event"] = self.last.as_ref().map_or(Value::Null, |last| {
            json!({"at": rfc3339(self.here(last.entry.at)), "event": last.entry.event.as_str(),
                "text": last.entry.event.to_string()})
        });
        row
    }

    fn cells(&self, keeper: &Keeper) -> Vec<Cell> {
        let now = keeper.now();
        let state = keeper.state(&self.connection);
        let principal = self.connection.principal.as_ref().map(ToString::to_string);
        vec![
            Cell::new(&self.connection.name),
            Cell::styled(state.as_str(), style_of(state)),
            self.access_cell(now),
            self.refresh_cell(now),
            Cell::new(principal.unwrap_or_else(|| "-".to_owned())),
            self.last
                .as_ref()
                .map_or_else(Cell::default, |last| Cell::new(about(self.here(last.entry.at), now))),
            self.last.as_ref().map_or_else(Cell::default, |last| Cell::new(last.entry.event.to_string())),
        ]
    }

    fn access_cell(&self, now: UnixTime) -> Cell {
        match self.access() {
            None => Cell::new("-"),
            Some(at) if at <= now => Cell::new("ended"),
            Some(at) => Cell::new(about(at, now)),
        }
    }

    fn refresh_cell(&self, now: UnixTime) -> Cell {
        let held = self.connection.held.as_ref().is_some_and(|held| held.refresh.is_some());
        match self.refresh() {
            Some(at) if at <= now => Cell::styled(format!("ended {}", day(at)), YELLOW_TEXT),
            Some(at) => Cell::new(day(at)),
            None if held => Cell::new("unknown"),
            None => Cell::new("-"),
        }
    }
}

/// Colour says: all is well, it passes by itself, a person must act.
pub(super) fn style_of(state: State) -> Style {
    match state {
        State::Held | State::Refreshing => GREEN_TEXT,
        State::BackingOff | State::Uncertain | State::Unsaved => YELLOW_TEXT,
        _ => RED_TEXT,
    }
}
