//! `perennial refresh`: renews now, or what is due.

use super::{refresh_all, tell_warnings};
use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use crate::words::{moment, rfc3339};
use clap::Args;
use perennial::core::{Expiry, UnixTime};
use perennial::{Error, Keeper};
use serde_json::{Value, json};

/// Renew the tokens now, or only when they are due
///
/// The refresh token is renewed with them: a line in cron or the Task Scheduler keeps a grant alive for ever.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial refresh acme                        now
  perennial refresh acme --due                  when due: every 7 days at least
  perennial refresh --all --due                 every connection, eight at a time
  17 3 * * *  perennial refresh --all --due -q  a line for cron")]
pub(crate) struct Refresh {
    /// The connection; may be left out where there is only one
    #[arg(conflicts_with = "all")]
    name: Option<String>,

    /// Every connection; the exit code is the gravest
    #[arg(long)]
    all: bool,

    /// Only when renewal is due
    #[arg(long)]
    due: bool,
}

pub(crate) fn carry_out(session: &Session, refresh: &Refresh) -> Result<Exit, Trouble> {
    session.start_log();
    if refresh.all {
        return refresh_all::carry_out(session, refresh.due);
    }
    let keeper = session.keeper()?;
    let name = session.name(&keeper, refresh.name.as_deref())?;
    let refreshed = if refresh.due {
        session.wait(&keeper, keeper.refresh_if_due(&name))?
    } else {
        Some(session.wait(&keeper, keeper.refresh(&name))?)
    };
    if let Some(hand_out) = &refreshed {
        tell_warnings(session, hand_out);
    }
    report(session, &keeper, &name, refreshed.is_some())
}

fn report(session: &Session, keeper: &Keeper, name: &str, refreshed: bool) -> Result<Exit, Trouble> {
    let outcome = Outcome::read(keeper, name, refreshed)?;
    if session.globals.json {
        session.printer.json_data(&outcome.as_json())?;
    } else {
        session.printer.note(&outcome.as_text(keeper.now()));
    }
    Ok(Exit::Done)
}

/// What stands in the store after a refresh. Times are this host's.
pub(super) struct Outcome {
    name: String,
    refreshed: bool,
    generation: Option<u64>,
    expiry: Option<UnixTime>,
    due: Option<UnixTime>,
}

impl Outcome {
    pub(super) fn read(keeper: &Keeper, name: &str, refreshed: bool) -> Result<Self, Error> {
        let connection = keeper.connection(name)?;
        let here = |at| connection.skew.host_time(at);
        let held = connection.held.as_ref();
        Ok(Self {
            name: name.to_owned(),
            refreshed,
            generation: held.map(|held| held.generation),
            expiry: held.and_then(|held| held.refresh_expiry).map(Expiry::at).map(here),
            due: connection.renew_at().map(here),
        })
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "connection": self.name,
            "refreshed": self.refreshed,
            "generation": self.generation,
            "refresh_expires_at": self.expiry.map(rfc3339),
            "renewal_due_at": self.due.map(rfc3339),
        })
    }

    fn as_text(&self, now: UnixTime) -> String {
        let name = &self.name;
        let good = |at| format!("; the refresh token is good until {}", moment(at, now));
        let until = self.expiry.map_or_else(String::new, good);
        match (self.refreshed, self.due) {
            (true, _) => format!("{name}: renewed{until}"),
            (false, Some(due)) => {
                format!("{name}: not due before {}{until}", moment(due, now))
            }
            (false, None) => format!("{name}: nothing to renew"),
        }
    }
}
