//! `perennial import`: takes connections in, from wherever they are kept now. Nothing is sent, and the source is left as
//! it is.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the verb, and what it says in the end |
//! | `take_in` | takes item after item in, many in one transaction; restartable |
//! | `source` | directories, stores, archives, lists: item after item |
//! | `list`, `grants` | CSV, JSON lines, a Postman environment; a row of them as a connection |

mod grants;
mod list;
pub(super) mod source;
mod take_in;

use super::add;
use crate::exit::Exit;
use crate::files;
use crate::secret_input::PassphraseSource;
use crate::session::Session;
use crate::signals::Bell;
use crate::trouble::Trouble;
use clap::Args;
use grants::Defaults;
use perennial::Keeper;
use perennial::seal::KeySource;
use perennial::store::check_name;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use take_in::{Taken, TakingIn};

/// Take in connections from SAP's two files, another store, a list, Postman, or an archive
///
/// Nothing is sent: no token is tried, none is spent. The source is left as it is; use it no more, for two keepers of
/// one grant drift apart. Each connection is taken in whole or not at all, and one that is refused keeps no other from
/// it. Whatever ends the command, run it again and it goes on: what is there already is left alone.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial import ~/acme                  SAP's two files, as acme
  perennial import ~/acme --as west
  perennial import ~/customers             each directory in it, by its name
  perennial import grants.csv --dry-run    a list: says what would be taken in
  perennial import grants.jsonl --errors refused.txt
  perennial import Concur.postman_environment.json --as acme
  perennial import grants.perennial        an archive that export wrote
  perennial import sqlite:old.db --from-master-key file:old.key

A list is CSV with a header, or JSON with an object on each line. Its columns, in
any order: name, client_id, client_secret or client_secret_file, refresh_token or
refresh_token_file, geolocation, company_uuid, refresh_expires_at, refreshed_at,
access_token, expires_at, scope, id_token, request_token.

Exit codes: 0 all is there, 3 some were refused, 130 interrupted.")]
pub(crate) struct Import {
    /// A directory, a list, a Postman environment, an archive, or a store (sqlite:FILE, sap-sample:DIR)
    #[arg(value_name = "FROM")]
    from: PathBuf,

    /// What to call it, where it is one [default: its own name]
    #[arg(long = "as", alias = "name", value_name = "NAME")]
    name: Option<String>,

    /// Say what would be taken in, and take nothing in
    #[arg(long)]
    dry_run: bool,

    /// Write all that was refused into this new file, a line each
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,

    /// What the store or archive is sealed with, where it is another key than the one in use here
    #[arg(long, value_name = "SOURCE")]
    from_master_key: Option<KeySource>,

    /// Whose connections of the other store [default: the tenant in use here]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    from_tenant: Option<String>,

    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// Of so many that were refused the reasons are told at once.
const SHOWN: usize = 20;

pub(crate) fn carry_out(session: &Session, import: &Import) -> Result<Exit, Trouble> {
    session.start_log();
    if let Some(name) = &import.name {
        check_name(name)?;
    }
    let store = session.store()?;
    let keeper = session.keeper_of(&store)?;
    let defaults = Defaults { base: session.globals.base()?, now: keeper.now() };
    let source = source::open(session, import, defaults)?;
    let refusals = import.errors.as_deref().map(new_file).transpose()?;
    let bell = Bell::hang()?;
    let goes_on = source.goes_on;
    let remark = source.remark.clone();
    let taking = TakingIn { session, keeper: &keeper, bell: &bell, dry_run: import.dry_run, refusals };
    let taken = taking.all(source)?;
    if let Some(remark) = remark {
        session.printer.note(&remark);
    }
    if goes_on && !import.dry_run && taken.count > 0 {
        warn_of_two_keepers(session, &import.from);
    }
    report(session, &keeper, import, &taken)
}

/// A list of what was refused goes over no file that is there: it might be the list of grants itself.
fn new_file(path: &Path) -> Result<std::fs::File, Trouble> {
    files::create_private(path).map_err(|error| {
        Trouble::file("write", path)(error).hinting("name a file that is not there yet: --errors FILE")
    })
}

fn report(session: &Session, keeper: &Keeper, import: &Import, taken: &Taken) -> Result<Exit, Trouble> {
    let exit = if taken.interrupted { Exit::Interrupted } else { taken.worst };
    if session.globals.json {
        let refusal = |(at, trouble): &(String, Trouble)| json!({"at": at, "message": trouble.message, "hint": trouble.hint});
        let refusals: Vec<_> = taken.refusals.iter().map(refusal).collect();
        session.printer.json_data(&json!({
            "dry_run": import.dry_run,
            "taken_in": taken.count,
            "already_there": taken.already,
            "refused": taken.refused,
            "connections": taken.names,
            "refusals": refusals,
            "interrupted": taken.interrupted,
        }))?;
        return Ok(exit);
    }
    let all = taken.count + taken.already + taken.refused;
    if let ([only], 1, false) = (taken.names.as_slice(), all, import.dry_run) {
        session.is_about(only);
        return add::report(session, keeper, only, "imported").map(|_| exit);
    }
    for (at, trouble) in &taken.refusals {
        let place = session.place();
        // An archive that is damaged names itself.
        let trouble = trouble.clone();
        let trouble = if at.is_empty() { trouble } else { trouble.prefixed(at) };
        session.printer.trouble(&trouble.at(&place));
    }
    let more = taken.refused.saturating_sub(taken.refusals.len());
    if more > 0 {
        let all = import.errors.as_ref().map_or_else(
            || "; all of them: --errors FILE".to_owned(),
            |path| format!("; all of them: {}", path.display()),
        );
        session.printer.note(&format!("and {more} more were refused{all}"));
    }
    session.printer.step(&summary(import, taken))?;
    if taken.interrupted {
        session.printer.note(&session.place().complete(&format!(
            "  interrupted; what was taken in stays, and this goes on: perennial import {}",
            crate::options::quoted(&import.from.to_string_lossy())
        )));
    } else if !import.dry_run && taken.count > 0 {
        session.printer.note(&session.place().complete("  next: perennial list"));
    }
    Ok(exit)
}

fn summary(import: &Import, taken: &Taken) -> String {
    let begin = if import.dry_run {
        format!("would take in {}", taken.count)
    } else {
        format!("taken in {}", taken.count)
    };
    let others = [("already there", taken.already), ("refused", taken.refused)];
    let others =
        others.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!(", {word} {count}"));
    begin + &others.collect::<String>()
}

/// The source goes on working, which is the danger.
pub(super) fn warn_of_two_keepers(session: &Session, from: &Path) {
    session.printer.warn(&format!(
        "{} still holds what was taken in; use it no more, for two keepers of one grant drift apart",
        from.display()
    ));
}

/// One directory, for `perennial add --from-dir`.
pub(super) fn take_in_directory(
    session: &Session,
    keeper: &Keeper,
    dir: &Path,
    name: &str,
) -> Result<(), Trouble> {
    session.is_about(name);
    let parcel = source::read_directory(&session.options()?, dir, name)?;
    let from = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let app = parcel.app.known_since(keeper.now());
    keeper.add(&parcel.connection, &app, &parcel.history, format!("imported from {}", from.display()))?;
    Ok(())
}

/// Writes a line about one that was refused.
fn put_down(refusals: &mut std::fs::File, at: &str, trouble: &Trouble) -> std::io::Result<()> {
    writeln!(refusals, "{at}: {}", trouble.message)
}
