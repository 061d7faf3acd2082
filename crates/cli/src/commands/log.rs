//! `perennial log`: what happened, one line an event. Never a secret.

use crate::exit::Exit;
use crate::printer::{DIM_TEXT, GREEN_TEXT, RED_TEXT, YELLOW_TEXT};
use crate::session::Session;
use crate::signals::AskedToEnd;
use crate::trouble::Trouble;
use crate::words::{parse_duration, rfc3339};
use anstyle::Style;
use clap::Args;
use perennial::core::journal::Event;
use perennial::core::time::Skew;
use perennial::core::{Connection, UnixTime};
use perennial::store::{Recorded, record};
use perennial::{Error, Keeper};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a store that tells nobody of its writes is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Entries read at once.
const PAGE: usize = 1000;

/// Tell what happened: obtained, refreshed, refused, recovered, with correlation ids
///
/// One line an event, oldest first, by this host's clock. Ctrl-C ends --follow.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial log                        the last 50 events of all connections
  perennial log acme --since 7d
  perennial log --follow
  perennial log acme --json --limit 1000 | jq 'select(.event == \"refused\")'")]
pub(crate) struct Log {
    /// Only this connection
    name: Option<String>,

    /// Go on, as things happen
    #[arg(short, long)]
    follow: bool,

    /// At most this many, the newest ones [default: 50, or all with --since]
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<usize>,

    /// Only what happened within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
}

pub(crate) fn carry_out(session: &Session, log: &Log) -> Result<Exit, Trouble> {
    let keeper = session.keeper()?;
    if let Some(name) = &log.name {
        session.is_about(name);
        keeper.connection(name)?;
    }
    let mut reader = Reader { session, keeper: &keeper, log, skews: BTreeMap::new(), width: 0 };
    let shown = reader.past()?;
    if !log.follow {
        return Ok(Exit::Done);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(reader.follow(shown))
}

struct Reader<'a> {
    session: &'a Session,
    keeper: &'a Keeper,
    log: &'a Log,
    /// How far the server's clock is from this host's, for each connection.
    skews: BTreeMap<String, Skew>,
    /// Of the longest name so far: texts stand below each other.
    width: usize,
}

/// Names that are longer push their text aside.
const WIDEST: usize = 24;

impl Reader<'_> {
    /// Shows what has happened, and returns the number of the last entry.
    fn past(&mut self) -> Result<u64, Trouble> {
        let usual = if self.log.since.is_some() { usize::MAX } else { 50 };
        let limit = self.log.limit.unwrap_or(usual);
        let entries = match self.log.since {
            None => self.read(None, limit)?,
            Some(since) => {
                let (since, now) = (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), self.keeper.now());
                let mut entries = self.whole()?;
                let mut within = Vec::new();
                for recorded in entries.drain(..) {
                    if now.since(self.here(&recorded)) <= since {
                        within.push(recorded);
                    }
                }
                within.split_off(within.len().saturating_sub(limit))
            }
        };
        // What is not shown is past too: who follows wants what comes.
        let newest = self.read(None, 1)?.last().map_or(0, |recorded| recorded.number);
        self.show(&entries)?;
        Ok(entries.last().map_or(newest, |recorded| recorded.number))
    }

    async fn follow(&mut self, mut shown: u64) -> Result<Exit, Trouble> {
        let mut asked_to_end = AskedToEnd::listen()?;
        loop {
            tokio::select! {
                () = asked_to_end.next() => return Ok(Exit::Interrupted),
                () = tokio::time::sleep(LOOK) => {}
            }
            let new = self.read(Some(shown), PAGE)?;
            self.show(&new)?;
            shown = new.last().map_or(shown, |recorded| recorded.number);
        }
    }

    fn whole(&self) -> Result<Vec<Recorded>, Error> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.read(Some(after), PAGE)?;
            let Some(last) = page.last() else { return Ok(all) };
            after = last.number;
            all.extend(page);
        }
    }

    fn read(&self, after: Option<u64>, limit: usize) -> Result<Vec<Recorded>, Error> {
        Ok(self.keeper.store().journal(self.log.name.as_deref(), after, limit)?)
    }

    /// When it happened, by this host's clock.
    fn here(&mut self, recorded: &Recorded) -> UnixTime {
        let keeper = self.keeper;
        let skew = self.skews.entry(recorded.connection.clone()).or_insert_with(|| {
            let connection: Option<Connection> = keeper.connection(&recorded.connection).ok();
            connection.map(|connection| connection.skew).unwrap_or_default()
        });
        skew.host_time(recorded.entry.at)
    }

    fn show(&mut self, entries: &[Recorded]) -> Result<(), Trouble> {
        let longest = entries.iter().map(|recorded| recorded.connection.chars().count()).max();
        self.width = self.width.max(longest.unwrap_or(0)).min(WIDEST);
        for recorded in entries {
            let at = self.here(recorded);
            if self.session.globals.json {
                self.session.printer.data(&format!("{}\n", as_json(recorded, at)))?;
            } else {
                self.session.printer.styled(&as_text(recorded, at, self.width))?;
            }
        }
        Ok(())
    }
}

/// One object a line: the journal's own members, with the name and the time in words.
fn as_json(recorded: &Recorded, at: UnixTime) -> Value {
    let mut line = json!({
        "number": recorded.number,
        "time": rfc3339(at),
        "connection": recorded.connection,
        "text": recorded.entry.event.to_string(),
    });
    if let Some(members) = line.as_object_mut() {
        members.extend(record::write(&recorded.entry));
    }
    line
}

fn as_text(recorded: &Recorded, at: UnixTime, width: usize) -> String {
    let Recorded { connection, entry, .. } = recorded;
    let style = style_of(&entry.event);
    let id =
        entry.correlation_id.as_ref().map_or_else(String::new, |id| format!(" {DIM_TEXT}[{id}]{DIM_TEXT:#}"));
    format!(
        "{DIM_TEXT}{}{DIM_TEXT:#}  {connection:<width$}  {style}{}{style:#}{id}\n",
        rfc3339(at),
        entry.event
    )
}

/// Colour says: it works, it passes, a person must act; all else is plain.
fn style_of(event: &Event) -> Style {
    match event {
        Event::Obtained { .. } | Event::Recovered => GREEN_TEXT,
        Event::Refused { .. }
        | Event::IntentFound { .. }
        | Event::Replayed { .. }
        | Event::SetAside { .. } => YELLOW_TEXT,
        Event::Suspended | Event::NeedsReauthorization | Event::Revoked => RED_TEXT,
        _ => Style::new(),
    }
}
