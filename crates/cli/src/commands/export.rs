//! `perennial export`: a connection as SAP's two files, with our bookkeeping and the journal.

use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::Args;
use perennial::Keeper;
use perennial::store::StoreError;
use perennial::store::interchange::{self, Parcel};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Write a connection as SAP's two files, with bookkeeping and history
///
/// The files are plain: whoever reads them has the grant. The connection stays here too; use one of the two only, for
/// two keepers of one grant drift apart.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial export acme --to-dir ~/acme
  perennial export --all --to-dir /mnt/usb/perennial    a directory for each")]
pub(crate) struct Export {
    /// The connection; may be left out where there is only one
    #[arg(conflicts_with = "all")]
    name: Option<String>,

    /// Each connection, into a directory of its name
    #[arg(long)]
    all: bool,

    /// Where to; it is made if it is not there, and no file is overwritten
    #[arg(long, value_name = "DIR")]
    to_dir: PathBuf,
}

pub(crate) fn carry_out(session: &Session, export: &Export) -> Result<Exit, Trouble> {
    let keeper = session.keeper()?;
    keeper.drain();
    let names =
        if export.all { keeper.names()? } else { vec![session.name(&keeper, export.name.as_deref())?] };
    let (mut written, mut exit) = (Vec::new(), Exit::Done);
    for name in &names {
        session.is_about(name);
        let dir = if export.all { export.to_dir.join(name) } else { export.to_dir.clone() };
        if let Err(trouble) = write(&keeper, name, &dir) {
            if names.len() == 1 {
                return Err(trouble);
            }
            exit = exit.graver(session.printer.trouble(&trouble.prefixed(name).at(&session.place())));
            continue;
        }
        session.printer.step(&format!("{name}: written to {}", dir.display()))?;
        written.push(json!({"connection": name, "directory": dir}));
    }
    if session.globals.json {
        session.printer.json_data(&Value::Array(written.clone()))?;
    }
    if !written.is_empty() {
        session.printer.warn(
            "these files are plain: whoever reads them has the grant; and use only one of the two from now on, for two \
             keepers of one grant drift apart",
        );
    }
    Ok(exit)
}

fn write(keeper: &Keeper, name: &str, dir: &Path) -> Result<(), Trouble> {
    let store = keeper.store();
    let history = interchange::history(store.as_ref(), name)?;
    let parcel = Parcel { connection: keeper.connection(name)?, app: store.app(name)?, history };
    interchange::write(dir, &parcel).map_err(|error| match &error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Trouble::from(error).hinting("nothing is overwritten; name another directory: --to-dir DIR")
        }
        _ => error.into(),
    })?;
    let whole = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    keeper.note(name, format!("exported to {}", whole.display()));
    Ok(())
}
