//! `perennial rename`: another name for the same connection.

use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::Args;
use perennial::store::check_name;
use serde_json::json;

/// Give a connection another name; its identity and its history stay
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  perennial rename acme acme-west")]
pub(crate) struct Rename {
    /// What it is called now
    old: String,
    /// What to call it: letters, digits and . _ - @
    new: String,
}

pub(crate) fn carry_out(session: &Session, rename: &Rename) -> Result<Exit, Trouble> {
    let Rename { old, new } = rename;
    check_name(new)?;
    session.is_about(old);
    let keeper = session.keeper()?;
    keeper.rename(old, new)?;
    if session.globals.json {
        session.printer.json_data(&json!({"connection": new, "was": old}))?;
    } else {
        session.printer.step(&format!("{old} is called {new} now"))?;
    }
    Ok(Exit::Done)
}
