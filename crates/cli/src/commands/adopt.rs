//! `perennial adopt`: this store is the one in use from now on.

use crate::exit::Exit;
use crate::session::Session;
use crate::stores::Choice;
use crate::trouble::Trouble;
use clap::Args;
use perennial::store::Standing;
use serde_json::json;

/// Name this store the one in use: after a restore, a copy to another machine, or a move that was taken back
///
/// A copied database hands out valid tokens, and renews nothing whose server takes a refresh token only once; one that
/// was handed over renews nothing at all. Two stores that present the same tokens drift apart, so make sure first that
/// the other one is used no more. From then on this one presents them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial adopt
  perennial adopt --store sqlite:/srv/perennial/perennial.db")]
pub(crate) struct Adopt {}

pub(crate) fn carry_out(session: &Session, _: &Adopt) -> Result<Exit, Trouble> {
    session.start_log();
    if let Choice::Sqlite(file) = session.globals.choice()?
        && !file.exists()
    {
        return Err(session.nothing_in(&format!("sqlite:{}", file.display())));
    }
    let store = session.store()?.shared();
    let (before, address) = (store.standing()?, store.address());
    let what = match &before {
        Standing::InUse => format!("{address} is the one in use already, as far as can be seen"),
        Standing::Copy(of) => format!("{address} is the one in use from now on ({of})"),
        Standing::Moved { to } => {
            format!("{address} is the one in use again; use what was made of it ({to}) no more")
        }
    };
    // Also where nothing is suspected: who says it may know more than the files show.
    store.adopt()?;
    if session.globals.json {
        let was = match before {
            Standing::InUse => "in_use",
            Standing::Copy(_) => "copy",
            Standing::Moved { .. } => "moved",
        };
        session.printer.json_data(&json!({"store": address, "was": was}))?;
    } else {
        session.printer.step(&what)?;
    }
    Ok(Exit::Done)
}
