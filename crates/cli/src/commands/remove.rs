//! `perennial remove`: puts a connection away, and brings it back.

use crate::exit::Exit;
use crate::options::quoted;
use crate::session::Session;
use crate::terminal;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::Connection;
use serde_json::json;

/// Put a connection away; nothing is lost, and nothing is revoked unless you say so
///
/// Nobody is served from it any more. What is held of it is kept, sealed, and --undo brings it back.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial remove acme
  perennial remove acme --yes     asks nothing: for scripts
  perennial remove acme --revoke  has the server end its grant first
  perennial remove --undo acme    brings it back")]
pub(crate) struct Remove {
    /// The connection
    name: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Have the server end the grant first (see perennial revoke); where that fails, nothing is put away
    #[arg(long, conflicts_with = "undo")]
    revoke: bool,

    /// Bring back what was last put away under this name
    #[arg(long)]
    undo: bool,
}

pub(crate) fn carry_out(session: &Session, remove: &Remove) -> Result<Exit, Trouble> {
    let name = &remove.name;
    session.is_about(name);
    let keeper = session.keeper()?;
    if remove.undo {
        keeper.restore(name)?;
        return told(session, name, "restored", &format!("{name} is back"));
    }
    let connection = keeper.connection(name)?;
    if !remove.yes && !agreed(session, &connection, remove.revoke)? {
        session.printer.note(&format!("{name} stays"));
        return Ok(Exit::Done);
    }
    let revokes = remove.revoke && connection.held.is_some();
    if revokes {
        session.start_log();
        super::revoke::give_back(session, &keeper, name)?;
    }
    keeper.remove(name)?;
    told(session, name, "removed", &format!("{name} is put away"))?;
    let undo = session.place().complete(&format!("perennial remove --undo {}", quoted(name)));
    let grant = match connection.held {
        Some(_) if revokes => ", and its grant was revoked",
        Some(_) => ", and its grant was not revoked",
        None => "",
    };
    session.printer.note(&format!("  what is held of it is kept{grant}; this brings it back: {undo}"));
    Ok(Exit::Done)
}

fn told(session: &Session, name: &str, what: &str, text: &str) -> Result<Exit, Trouble> {
    if session.globals.json {
        session.printer.json_data(&json!({"connection": name, what: true}))?;
    } else {
        session.printer.step(text)?;
    }
    Ok(Exit::Done)
}

fn agreed(session: &Session, seen: &Connection, revokes: bool) -> Result<bool, Trouble> {
    let name = &seen.name;
    if session.globals.json || !terminal::is_there() {
        return Err(Trouble::usage(
            format!("nobody is there to be asked whether {name} is to be put away"),
            format!("say so: perennial remove {} --yes", quoted(name)),
        ));
    }
    let failed = |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
    let revoked = if revokes { format!(", and {}", super::revoke::warning(seen)) } else { String::new() };
    let question = format!("Put {name} away? Nobody is served from it any more{revoked} [y/N]");
    let answer = terminal::ask(&question).map_err(failed)?;
    Ok(answer.is_some_and(|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str())))
}
