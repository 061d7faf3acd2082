//! `perennial refresh`: renews now, or what is due.

use super::tell_warnings;
use crate::exit::Exit;
use crate::hints::Trouble;
use crate::session::Session;
use crate::words::{moment, rfc3339};
use clap::Args;
use perennial::Keeper;
use perennial::core::Expiry;
use serde_json::json;

/// Renew the tokens now, or only when they are due
///
/// The refresh token is renewed with them: a line in cron or the Task Scheduler keeps a grant alive for ever.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial refresh                                 now
  perennial refresh --due                           when due: every 7 days at least
  17 3 * * *  perennial refresh --due -q --dir DIR  a line for cron")]
pub(crate) struct Refresh {
    /// The connection; may be left out where there is only one
    name: Option<String>,

    /// Only when renewal is due
    #[arg(long)]
    due: bool,
}

pub(crate) fn carry_out(session: &Session, refresh: &Refresh) -> Result<Exit, Trouble> {
    session.start_log();
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
    let connection = keeper.connection(name)?;
    let (skew, now) = (connection.skew, keeper.now());
    let expiry = connection.held.as_ref().and_then(|held| held.refresh_expiry).map(Expiry::at);
    let expiry = expiry.map(|at| skew.host_time(at));
    let due = connection.renew_at().map(|at| skew.host_time(at));
    if session.globals.json {
        session.printer.json_data(&json!({
            "connection": name,
            "refreshed": refreshed,
            "generation": connection.held.as_ref().map(|held| held.generation),
            "refresh_expires_at": expiry.map(rfc3339),
            "renewal_due_at": due.map(rfc3339),
        }))?;
        return Ok(Exit::Done);
    }
    let until = expiry.map_or("an unknown date".to_owned(), |at| moment(at, now));
    session.printer.note(&match (refreshed, due) {
        (true, _) => format!("{name}: renewed; the refresh token is good until {until}"),
        (false, Some(due)) => {
            format!("{name}: not due before {}; the refresh token is good until {until}", moment(due, now))
        }
        (false, None) => format!("{name}: nothing to renew"),
    });
    Ok(Exit::Done)
}
