//! `perennial export`: connections with all that belongs to them, in a sealed archive; in the clear only where a person
//! insists.

use super::import::source;
use super::plain_export as plain;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::secret_input::PassphraseSource;
use crate::session::{Session, interruption};
use crate::signals::Bell;
use crate::stores;
use crate::trouble::Trouble;
use crate::words::counted;
use clap::Args;
use perennial::seal::{KeySource, MasterKey};
use perennial::store::archive::{ArchiveError, ArchiveFile};
use perennial::store::{Standing, Store, StoreError};
use perennial::{Error, Keeper};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Write connections into a sealed archive, to be taken in elsewhere
///
/// Tokens, app, bookkeeping and history come along. The archive is opened again, from its first byte to its last, before
/// it takes its name. It is sealed with a passphrase, or with a master key: this store's where nothing is said. The
/// connections stay here too; with --move this store is closed, and renews nothing from then on.
///
/// With --plain everything is written in the clear: whoever reads it has the grants.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial export acme --to acme.perennial --passphrase
  perennial export --all --to all.perennial            sealed with this store's master key
  perennial export --move --to all.perennial --passphrase-file words.txt
  perennial export acme --plain --to-dir ~/acme        SAP's two files
  perennial export --all --plain --to grants.jsonl     a list, an object on each line

Its way back: perennial import FILE")]
pub(crate) struct Export {
    /// The connections; may be left out where there is only one
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub(super) names: Vec<String>,

    /// All connections
    #[arg(long)]
    pub(super) all: bool,

    /// Where to; no file is overwritten
    #[arg(long, value_name = "FILE", required_unless_present = "to_dir")]
    pub(super) to: Option<PathBuf>,

    /// Write SAP's two files into this directory; with --all into a directory for each. In the clear
    #[arg(long, value_name = "DIR", conflicts_with_all = ["to", "hand_over"])]
    pub(super) to_dir: Option<PathBuf>,

    /// Write in the clear: asks twice
    #[arg(long)]
    pub(super) plain: bool,

    /// Answer the questions of --plain with yes
    #[arg(long)]
    pub(super) yes: bool,

    /// Hand all connections over, and close this store: it renews nothing from then on
    #[arg(long = "move", conflicts_with_all = ["plain", "names"])]
    pub(super) hand_over: bool,

    /// Seal the archive with this master key [default: the store's]
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["plain", "passphrase", "passphrase_file", "passphrase_env"])]
    archive_key: Option<KeySource>,

    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// How often a flight that is under way is looked after while a store is handed over.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn carry_out(session: &Session, export: &Export) -> Result<Exit, Trouble> {
    session.start_log();
    let keeper = session.keeper()?;
    keeper.drain();
    let names = names(session, &keeper, export)?;
    match (&export.to, &export.to_dir) {
        (None, Some(dir)) => plain::directories(session, &keeper, export, &names, dir),
        (Some(file), _) if export.plain => plain::list(session, &keeper, export, &names, file),
        (Some(file), _) if export.hand_over => hand_over(session, &keeper, export, &names, file),
        (Some(file), _) => {
            let (count, exit) = write(session, &keeper, export, &names, file, false)?;
            if count > 0 {
                session.printer.warn(
                    "the connections stay here too; use only one of the two from now on, for two keepers of one grant drift \
                     apart (export --move closes this store)",
                );
            }
            told(session, file, count)?;
            Ok(exit)
        }
        (None, None) => Err(Trouble::usage("where to?", "name a file: --to FILE")),
    }
}

fn names(session: &Session, keeper: &Keeper, export: &Export) -> Result<Vec<String>, Trouble> {
    if export.all || export.hand_over {
        return Ok(keeper.names()?);
    }
    match export.names.as_slice() {
        [] => Ok(vec![session.name(keeper, None)?]),
        [only] => Ok(vec![session.name(keeper, Some(only))?]),
        many => Ok(many.to_vec()),
    }
}

/// The archive. A connection that cannot be read keeps no other out of it, unless all are to be `whole`.
fn write(
    session: &Session,
    keeper: &Keeper,
    export: &Export,
    names: &[String],
    file: &Path,
    whole: bool,
) -> Result<(u64, Exit), Trouble> {
    let key = export.key(session)?;
    let bell = Bell::hang()?;
    let failed = |error| of_archive(error, file);
    let mut archive = ArchiveFile::begin(file, &key, keeper.now()).map_err(failed)?;
    let progress = Progress::start(session, u64::try_from(names.len()).unwrap_or(0));
    let mut exit = Exit::Done;
    for (number, name) in (1..).zip(names) {
        if bell.has_rung() {
            return Err(interruption().hinting("nothing was written"));
        }
        match source::parcel(keeper.store().as_ref(), name) {
            Ok(parcel) => archive.put(&parcel).map_err(failed)?,
            Err(error) if whole || names.len() == 1 => {
                session.is_about(name);
                return Err(error.into());
            }
            Err(error) => exit = exit.graver(session.tell_of(name, error.into())),
        }
        progress.at(number, "written; then the archive is opened again");
    }
    let count = archive.finish(&key).map_err(failed)?;
    progress.end();
    // Of a hundred thousand nobody reads the journal for that, and each line is a write.
    if let [only] = names {
        keeper.note(only, format!("exported to {}", file.display()));
    }
    Ok((count, exit))
}

/// The store is closed first: from then on nobody presents what the archive holds. Whoever dies in between leaves a store
/// that renews nothing and says so; `perennial adopt` takes that back.
fn hand_over(
    session: &Session,
    keeper: &Keeper,
    export: &Export,
    names: &[String],
    file: &Path,
) -> Result<Exit, Trouble> {
    let store = keeper.store().as_ref();
    match store.standing()? {
        Standing::InUse => {}
        Standing::Moved { to } => return Err(StoreError::HandedOver { store: store.address(), to }.into()),
        Standing::Copy(of) => {
            let message =
                format!("{} is a copy ({of}), and only the store in use is handed over", store.address());
            return Err(Trouble::new(
                Exit::PersonMustAct,
                message,
                "if this is the one in use: perennial adopt",
            ));
        }
    }
    if keeper.outside().iter().any(|outside| outside.is_tokens) {
        let message = "newer tokens than the store's wait outside it, and would be left behind";
        return Err(Trouble::new(Exit::PersonMustAct, message, "to see why: perennial doctor"));
    }
    let to = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    store.close(&format!("{} (which is not finished)", to.display()))?;
    let written = wait_for_flights(session, store, names)
        .and_then(|()| write(session, keeper, export, names, file, true))
        .and_then(|written| Ok(store.close(&to.display().to_string()).map(|()| written)?));
    match written {
        Ok((count, _)) => {
            told(session, file, count)?;
            session.printer.line(&format!("  {} is closed: it renews nothing any more", store.address()))?;
            session.printer.note(&session.place().complete("  to take that back: perennial adopt"));
            Ok(Exit::Done)
        }
        Err(trouble) => {
            store.adopt()?;
            Err(trouble)
        }
    }
}

/// A request that was under way when the store was closed is seen through: its answer belongs into the archive. A sender
/// that died leaves an open intent, which goes along, and whose deadline is waited out by whoever takes it in (law 2).
fn wait_for_flights(session: &Session, store: &dyn Store, names: &[String]) -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let deadline = tokio::time::Instant::now();
    let deadline = deadline + perennial::core::connection::Intent::LONGEST_PATIENCE;
    for name in names {
        if store.read(name).is_ok_and(|connection| connection.intent.is_none()) {
            continue;
        }
        while store.try_claim(name)?.is_none() {
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::Busy.into());
            }
            session.is_about(name);
            runtime.block_on(async { tokio::time::sleep(LOOK).await });
        }
    }
    Ok(())
}

fn told(session: &Session, file: &Path, count: u64) -> Result<(), Trouble> {
    if session.globals.json {
        session.printer.json_data(&json!({"file": file, "connections": count}))?;
        return Ok(());
    }
    let file = file.display();
    session.printer.step(&format!("{file}: {}, sealed; it opens again", counted(count, "connection")))?;
    Ok(())
}

impl Export {
    fn key(&self, session: &Session) -> Result<MasterKey, Trouble> {
        if self.passphrase.is_named() {
            return Ok(MasterKey::of_passphrase(self.passphrase.choose()?));
        }
        let key =
            self.archive_key.clone().or(session.globals.master_key.clone()).or_else(stores::standard_key);
        key.map(|source| session.key_from(source))
            .ok_or_else(|| Trouble::usage("with which key is the archive sealed?", "name one: --passphrase"))
    }
}

/// What is wrong with an archive, and what a person does about it.
pub(super) fn of_archive(error: ArchiveError, file: &Path) -> Trouble {
    let path = file.display();
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let hint = match &error {
        ArchiveError::Io(io) if io.kind() == io::ErrorKind::AlreadyExists => {
            "nothing is overwritten; name another file: --to FILE".to_owned()
        }
        ArchiveError::Io(io) if io.kind() == io::ErrorKind::StorageFull => format!(
            "nothing was written; make room (df -h {}), or name another place",
            crate::options::quoted(&dir.to_string_lossy())
        ),
        ArchiveError::Io(_) => "choose a place that you may read and write".to_owned(),
        ArchiveError::NoArchive | ArchiveError::Newer => {
            "name an archive that perennial export wrote; a newer one wants that version".to_owned()
        }
        ArchiveError::WrongKey("passphrase") => {
            "type it again, or name where it is: --passphrase-file FILE".to_owned()
        }
        ArchiveError::OtherKind("passphrase") => "name it: --passphrase-file FILE".to_owned(),
        ArchiveError::WrongKey(_) | ArchiveError::OtherKind(_) | ArchiveError::Key(_) => {
            "name the master key that it was sealed with: --from-master-key file:PATH".to_owned()
        }
        _ => "what came before it is good; have the archive written or copied again".to_owned(),
    };
    Trouble::new(Exit::PersonMustAct, format!("{path}: {error}"), hint)
}
