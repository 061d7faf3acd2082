//! `perennial revoke`: gives a grant back. The server ends it; what is held here is kept, marked, and of no more use.

use crate::exit::Exit;
use crate::options::quoted;
use crate::session::Session;
use crate::terminal;
use crate::trouble::Trouble;
use clap::Args;
use perennial::Keeper;
use perennial::core::Connection;
use perennial::revoke::Revoked;
use serde_json::json;

/// Give a grant back: the server ends it
///
/// At SAP Concur this revokes every refresh token that this principal has for the app, on this machine and on every other
/// one; elsewhere the grant of this connection (RFC 7009). It cannot be taken back: a person must authorize anew. Access
/// tokens that were handed out before may live on until they end.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial revoke acme
  perennial revoke acme --yes             asks nothing: for scripts
  perennial remove acme --revoke          revokes, then puts it away")]
pub(crate) struct Revoke {
    /// The connection; may be left out where there is only one
    name: Option<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn carry_out(session: &Session, revoke: &Revoke) -> Result<Exit, Trouble> {
    session.start_log();
    let keeper = session.keeper()?;
    let name = session.name(&keeper, revoke.name.as_deref())?;
    session.is_about(&name);
    let seen = keeper.connection(&name)?;
    if !revoke.yes && !agreed(session, &seen)? {
        session.printer.note(&format!("{name} stays as it is"));
        return Ok(Exit::Done);
    }
    let revoked = give_back(session, &keeper, &name)?;
    if session.globals.json {
        session.printer.json_data(&json!({
            "connection": name,
            "revoked": true,
            "whole_principal": revoked.whole_principal,
            "correlation_id": revoked.correlation_id,
        }))?;
        return Ok(Exit::Done);
    }
    session.printer.step(&format!("{name}: {}", what_ended(&revoked, &seen)))?;
    let next = session.place().complete(&format!("perennial remove {}", quoted(&name)));
    session.printer.note(&format!("  what is held of it is kept; this puts it away: {next}"));
    Ok(Exit::Done)
}

/// Has the server end it, and says where nobody may be asked any more.
pub(super) fn give_back(session: &Session, keeper: &Keeper, name: &str) -> Result<Revoked, Trouble> {
    session.wait(keeper, keeper.revoke(name, "by a person")).map_err(|trouble| {
        let words = format!("{name} is not revoked");
        trouble.prefixed(&words)
    })
}

/// What a person is about to do.
pub(super) fn warning(seen: &Connection) -> String {
    let whose = seen.principal.as_ref().map_or_else(String::new, |principal| format!(" {principal}"));
    if Keeper::revokes_whole_principal(seen) {
        format!("every refresh token that the principal{whose} has for this app ends, wherever it is kept")
    } else {
        "its grant ends".to_owned()
    }
}

fn what_ended(revoked: &Revoked, seen: &Connection) -> String {
    if revoked.whole_principal {
        format!("revoked; {}", warning(seen))
    } else {
        "revoked; its grant has ended".to_owned()
    }
}

fn agreed(session: &Session, seen: &Connection) -> Result<bool, Trouble> {
    let name = &seen.name;
    if session.globals.json || !terminal::is_there() {
        return Err(Trouble::usage(
            format!("nobody is there to be asked whether {name} is to be revoked"),
            format!("say so: perennial revoke {} --yes", quoted(name)),
        ));
    }
    let failed = |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
    let question = format!("Revoke {name}? Then {}, and a person must authorize anew [y/N]", warning(seen));
    let answer = terminal::ask(&question).map_err(failed)?;
    Ok(answer.is_some_and(|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str())))
}
