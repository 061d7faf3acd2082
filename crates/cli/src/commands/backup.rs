//! `perennial backup` and `perennial restore`: a copy of the database to keep elsewhere, and its way back.

use crate::exit::Exit;
use crate::options::quoted;
use crate::place::Kind;
use crate::progress::Progress;
use crate::session::Session;
use crate::stores::{Choice, Opened};
use crate::trouble::Trouble;
use crate::words;
use clap::Args;
use perennial::Sqlite;
use perennial::store::StoreError;
use perennial::store::sqlite::Copied;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// Write a copy of the database, while it is in use
///
/// One state of it, checked by opening every secret before the file takes its name. It is sealed as the database is: it
/// opens with the same master key only, so keep a copy of that too, in another place.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial backup /mnt/backup/perennial-$(date +%F).db
  17 4 * * *  perennial backup --quiet /mnt/backup/perennial-$(date +\\%F).db    in a crontab

Its way back: perennial restore FILE")]
pub(crate) struct Backup {
    /// Where to; no file is overwritten
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

/// Put a copy that backup wrote into the database's place
///
/// The copy is checked first, by opening every secret; the database that is there is kept beside it under another name.
/// Tokens that were renewed since the copy was made are older in it than at the server, so the restored store is met as
/// any copy: perennial adopt names it the one in use.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial restore /mnt/backup/perennial-2026-11-25.db
  perennial restore backup.db --store sqlite:/srv/perennial/perennial.db \\
      --master-key file:/root/perennial.key

Then: perennial doctor, and perennial adopt once nothing else uses these grants.")]
pub(crate) struct Restore {
    /// A file that backup wrote
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

pub(crate) fn carry_out(session: &Session, backup: &Backup) -> Result<Exit, Trouble> {
    session.start_log();
    let file = database(session, "backup")?;
    if !file.exists() {
        return Err(session.nothing_in(&format!("sqlite:{}", file.display())));
    }
    let opened = session.store()?;
    let Opened::Sqlite(store) = opened else { return Err(no_file("backup", session.place().kind)) };
    let progress = Progress::start(session, 1000);
    let copied = store.backup(&backup.to, &mut |done, all| {
        progress.at(done.saturating_mul(1000) / all.max(1), "copied; then every secret is opened");
    });
    progress.end();
    let copied = copied.map_err(|error| of_backup(error, &backup.to))?;
    if session.globals.json {
        session.printer.json_data(&as_json(&backup.to, copied))?;
        return Ok(Exit::Done);
    }
    let to = backup.to.display();
    session.printer.step(&format!("{to}: {}, every secret opens", counted(copied)))?;
    let note = format!("  its way back: perennial restore {}", quoted(&backup.to.to_string_lossy()));
    session.printer.note(&session.place().complete(&note));
    Ok(Exit::Done)
}

pub(crate) fn restore(session: &Session, restore: &Restore) -> Result<Exit, Trouble> {
    session.start_log();
    let file = database(session, "restore")?;
    let options = session.sqlite_options()?;
    let (copied, aside) = Sqlite::restore_from(&file, &restore.from, &options).map_err(of_restore)?;
    if session.globals.json {
        let mut told = as_json(&file, copied);
        told["kept"] = json!(aside);
        session.printer.json_data(&told)?;
        return Ok(Exit::Done);
    }
    session.printer.step(&format!("{}: {}, every secret opens", file.display(), counted(copied)))?;
    if let Some(aside) = aside {
        session.printer.line(&format!("  what was there is kept as {}", aside.display()))?;
    }
    session.printer.note(&session.place().complete(
        "  it may hold refresh tokens that were replaced since; once nothing else uses these grants: perennial adopt",
    ));
    Ok(Exit::Done)
}

/// Only a database is copied so.
fn database(session: &Session, verb: &str) -> Result<PathBuf, Trouble> {
    match session.globals.choice()? {
        Choice::Sqlite(file) => Ok(file),
        other => Err(no_file(verb, other.kind())),
    }
}

fn no_file(verb: &str, kind: Kind) -> Trouble {
    let hint = match kind {
        Kind::Postgres => {
            "its administrator backs it up: pg_dump, or a base backup with the write-ahead log; the master key is not in it"
        }
        _ => "copy its directory while nothing runs, or take it into a database: perennial import DIR",
    };
    Trouble::usage(format!("perennial {verb} is about a database in a file, and this store is none"), hint)
}

fn counted(copied: Copied) -> String {
    format!("{}, {} KiB", words::counted(copied.connections, "connection"), copied.bytes / 1024)
}

fn as_json(file: &Path, copied: Copied) -> serde_json::Value {
    json!({"file": file, "connections": copied.connections, "bytes": copied.bytes})
}

fn of_backup(error: StoreError, to: &Path) -> Trouble {
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let hint = match &error {
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            "nothing is overwritten; name another file: perennial backup FILE".to_owned()
        }
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => format!(
            "the database is as it was; make room (df -h {}), or name another place",
            quoted(&dir.to_string_lossy())
        ),
        _ => return error.into(),
    };
    Trouble::from(error).hinting(hint)
}

fn of_restore(error: StoreError) -> Trouble {
    let hint = match &error {
        StoreError::Closed { .. } => {
            "nothing was changed; name the master key that it was sealed with: perennial restore FILE --master-key \
             file:PATH"
        }
        StoreError::Damaged { .. } => "nothing was changed; try an older copy: perennial restore FILE",
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "name a file that backup wrote: perennial restore FILE"
        }
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
            "nothing was changed; end what uses the database, then try again"
        }
        _ => return error.into(),
    };
    Trouble::from(error).hinting(hint)
}
