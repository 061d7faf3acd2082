//! `perennial key`: looks at master keys and data keys, replaces them, and lets old ones go.

use crate::exit::Exit;
use crate::session::Session;
use crate::stores::{self, Opened};
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::{self, counted};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use perennial::rekey::{Keyring, RekeyError, Step, Survey, Wanted};
use perennial::seal::{Asked, KeySource, MasterKey, SealError};
use perennial::store::rekey::DataKey;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;

/// Look at the keys that everything is sealed with, replace them, let old ones go
///
/// The master key wraps the store's data keys, and seals rescue files; a data key seals rows. A key file is a list, the
/// newest key first: that one seals, every one opens, so that nothing is ever unreadable in between.
#[derive(Args, Debug)]
pub(crate) struct Key {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    Check(Check),
    Rotate(Rotate),
    Forget(Forget),
}

/// Show all keys and what needs them, and open every secret
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial key check
  perennial key check --json | jq -r '.master_keys[]'
  perennial key check --master-key 'command:pass show perennial/master'")]
struct Check {}

/// Put a new master key in the place of the old one
///
/// Everything opens at every moment, for other processes too, and after being killed: run it again, and it does the
/// rest. The old key stays in its file until you say: perennial key forget. Where the key comes from elsewhere, or several
/// machines share a store on a server, put the new key (openssl rand -hex 32) in the first line in each place, and the
/// old one in the second; then rotate, once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial key rotate                       a new key in the key file
  perennial key rotate --data                and every row is sealed anew: after a key was stolen
  perennial key rotate --to passphrase       a passphrase from now on
  perennial key rotate --to 'command:op read op://vault/perennial/key'")]
struct Rotate {
    /// Take the master key from here from now on
    #[arg(long, value_name = "SOURCE")]
    to: Option<KeySource>,

    /// Seal every row anew, under a new data key
    #[arg(long)]
    data: bool,
}

/// Take old master keys out of the key file
///
/// It refuses while the store, its backup or a rescue file needs one. It cannot know what else you sealed with it: other
/// stores, and copies of this one.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial key forget                    all but the newest; asks first
  perennial key forget 0f3a9c51d2e8 --yes")]
struct Forget {
    /// The ids of the keys, as perennial key check shows them [default: all but the newest]
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn carry_out(session: &Session, key: &Key) -> Result<Exit, Trouble> {
    session.start_log();
    match &key.verb {
        KeyVerb::Check(Check {}) => check(session),
        KeyVerb::Rotate(wanted) => rotate(session, wanted),
        KeyVerb::Forget(wanted) => forget(session, wanted),
    }
}

/// Runs `work` with the keys of the store that the options name.
fn with_keyring<T>(
    session: &Session,
    master: &MasterKey,
    work: impl FnOnce(&Keyring<'_>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let options = || Ok(session.sqlite_options()?.with_key(master.clone()));
    let store = session.globals.choice()?.open(options, session.globals.ca_cert.as_deref())?;
    let mut places = session.places();
    let own = session.master_key()?;
    if let Some(places) = &mut places
        && places.master_key.source() == own.source()
    {
        places.master_key = master.clone();
    }
    // SAP's two files are plain; their rescue files are not.
    let master = match (&store, &places) {
        (Opened::SapSample(_), Some(places)) => places.master_key.clone(),
        _ => master.clone(),
    };
    let shared = store.shared();
    work(&Keyring::new(shared.as_ref(), master, places))
}

fn check(session: &Session) -> Result<Exit, Trouble> {
    let master = session.master_key()?;
    with_keyring(session, &master, |keyring| {
        let survey = keyring.survey().map_err(|error| trouble(session, error))?;
        let opened = keyring.check().map_err(|error| trouble(session, error))?;
        if session.globals.json {
            session.printer.json_data(&as_json(&survey, &master, opened))?;
            return Ok(Exit::Done);
        }
        show(session, &survey, &master)?;
        session.printer.step(&format!("every secret of {} opens", counted(opened, "connection")))?;
        Ok(Exit::Done)
    })
}

fn show(session: &Session, survey: &Survey, master: &MasterKey) -> Result<(), Trouble> {
    let printer = session.printer;
    let keys = &survey.master_keys;
    match keys.split_first() {
        Some((newest, older)) => {
            printer.step(&format!("{} seals with the master key {newest}", short(master)))?;
            for id in older {
                printer.line(&format!("  {id} is an older one, and opens what it sealed"))?;
            }
        }
        None => printer.step(&format!("{} is the master key", short(master)))?,
    }
    for key in &survey.data_keys {
        printer.step(&format!("data key {}", described(key)))?;
    }
    match &survey.backup {
        Ok(backup) => {
            for key in backup {
                printer.step(&format!("in the backup: data key {}", described(key)))?;
            }
        }
        Err(why) => printer.cross(&format!("the backup does not open: {why}"))?,
    }
    for file in &survey.rescue_files {
        let key = file.master_key.as_deref().unwrap_or("not named, by an earlier version");
        printer.line(&format!("  the rescue file {} is sealed under {key}", file.path.display()))?;
    }
    Ok(())
}

fn described(key: &DataKey) -> String {
    let wrapped = key.master_key.as_deref().map_or_else(
        || "an earlier version did not say by which master key".to_owned(),
        |id| format!("wrapped by the master key {id}"),
    );
    let age = if key.is_newest { "" } else { ", which is not the newest: perennial key rotate" };
    let since = words::rfc3339(key.made_at);
    format!("{} seals {} rows, since {since}; {wrapped}{age}", key.number, key.rows)
}

fn as_json(survey: &Survey, master: &MasterKey, opened: u64) -> Value {
    let key = |key: &DataKey| {
        json!({"number": key.number, "master_key": key.master_key, "newest": key.is_newest, "rows": key.rows,
               "made_at": words::rfc3339(key.made_at)})
    };
    let list = |keys: &[DataKey]| keys.iter().map(key).collect::<Value>();
    let files = survey
        .rescue_files
        .iter()
        .map(|file| json!({"path": file.path.display().to_string(), "master_key": file.master_key}));
    json!({
        "source": short(master),
        "master_keys": survey.master_keys,
        "data_keys": list(&survey.data_keys),
        "backup": survey.backup.as_ref().map_or_else(|why| json!({"error": why}), |keys| list(keys)),
        "rescue_files": files.collect::<Value>(),
        "connections_opened": opened,
    })
}

fn short(master: &MasterKey) -> String {
    master.source().in_short()
}

fn rotate(session: &Session, wanted: &Rotate) -> Result<Exit, Trouble> {
    let from = session.master_key()?;
    let to = target(wanted, &from);
    let is_moved = to.is_some();
    let master = match to {
        Some(to) => {
            // The old key first: a person types the passphrase in force before a new one.
            from.read().map_err(|error| trouble(session, error.into()))?;
            to.prepare().map_err(|error| trouble(session, error.into()))?;
            to.or(from)
        }
        None => from,
    };
    let mut told = Told::new(session);
    with_keyring(session, &master, |keyring| {
        let wanted = Wanted { data: wanted.data, is_moved };
        keyring.rotate(wanted, &mut |step| told.tell(step)).map_err(|error| trouble(session, error))
    })?;
    told.end(&master, is_moved)
}

/// Another source than the one before; a passphrase that is replaced is one.
fn target(wanted: &Rotate, from: &MasterKey) -> Option<MasterKey> {
    match &wanted.to {
        Some(KeySource::Passphrase) => Some(new_passphrase()),
        Some(to) if to == from.source() => None,
        Some(to) => Some(stores::master_key(to.clone())),
        None if *from.source() == KeySource::Passphrase => Some(new_passphrase()),
        None => None,
    }
}

fn new_passphrase() -> MasterKey {
    if !terminal::can_ask() {
        return KeySource::Passphrase.into();
    }
    MasterKey::asking(KeySource::Passphrase, |asked| match asked {
        Asked::New => terminal::ask_new_secret("New passphrase of the master key"),
        Asked::Known => terminal::ask_secret("New passphrase of the master key, once more"),
    })
}

/// Tells what is done as it is done; with `--json` at the end.
struct Told<'a> {
    session: &'a Session,
    bar: ProgressBar,
    /// How many tenths of the rows have been told where there is no bar.
    tenths: u64,
    all: Map<String, Value>,
}

impl<'a> Told<'a> {
    fn new(session: &'a Session) -> Self {
        let shown = std::io::stderr().is_terminal() && !session.globals.json && !session.globals.quiet;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:32} {pos}/{len} rows");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─");
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        Self { session, bar, tenths: 0, all: Map::new() }
    }

    fn tell(&mut self, step: Step) {
        let (name, value, text) = match step {
            Step::KeyMade(id) => {
                let text =
                    format!("a new master key {id} is in front of the key file, and seals from now on");
                ("new_master_key", json!(id), text)
            }
            Step::GoesOn => {
                ("goes_on", json!(true), "going on with a new master key that is there already".to_owned())
            }
            Step::NothingNewer => (
                "nothing_newer",
                json!(true),
                "no new key is made here, the newest in its source is taken; where several machines share the store, put a \
                 new one in the first line on each of them before"
                    .to_owned(),
            ),
            Step::Rewrapped(count) => {
                ("data_keys", json!(count), format!("wrapped under the newest master key: {}", counted(count, "data key")))
            }
            Step::RescueFiles(count) => {
                ("rescue_files", json!(count), format!("sealed under it: {}", counted(count, "rescue file")))
            }
            Step::Rows { done, of } => return self.rows(done, of),
            Step::Altered(what) => {
                let text = format!("{what} was altered, and stays as it is: perennial doctor");
                self.bar.suspend(|| self.session.printer.warn(&text));
                return;
            }
            Step::Dropped(0) => return,
            Step::Dropped(count) => {
                ("dropped", json!(count), format!("not needed any more: {}", counted(count, "data key")))
            }
            Step::BackupMade => ("backup", json!(true), "the backup is made anew".to_owned()),
            Step::Checked(count) => {
                ("connections_opened", json!(count), format!("every secret of {} opens", counted(count, "connection")))
            }
            _ => return,
        };
        self.all.insert(name.to_owned(), value);
        // A story on stdout; whoever does not read it loses nothing.
        let _ = self.bar.suspend(|| self.session.printer.step(&text));
    }

    /// A bar where a person looks on, else a line each tenth.
    fn rows(&mut self, done: u64, of: u64) {
        self.all.insert("rows".to_owned(), json!(done));
        self.bar.set_length(of);
        self.bar.set_position(done);
        let tenths = (done * 10).checked_div(of).unwrap_or(10);
        if self.bar.is_hidden() && tenths > self.tenths && !self.session.globals.json {
            self.session.printer.note(&format!("{done} of {of} rows are sealed anew"));
        }
        self.tenths = tenths;
        if done >= of {
            self.bar.finish_and_clear();
        }
    }

    fn end(&self, master: &MasterKey, is_moved: bool) -> Result<Exit, Trouble> {
        let printer = self.session.printer;
        if self.session.globals.json {
            printer.json_data(&Value::Object(self.all.clone()))?;
            return Ok(Exit::Done);
        }
        if is_moved {
            printer.note(&format!(
                "  from now on name it with each command: --master-key {}, or PERENNIAL_MASTER_KEY; keep the former one \
                 for copies that were made before",
                crate::options::quoted(&master.source().to_string())
            ));
        } else if matches!(master.source(), KeySource::File(_)) && master.ids().is_ok_and(|ids| ids.len() > 1)
        {
            printer.note(
                "  the old key stays in its file, for other stores and copies; this lets it go: perennial key forget",
            );
        }
        Ok(Exit::Done)
    }
}

fn forget(session: &Session, wanted: &Forget) -> Result<Exit, Trouble> {
    let master = session.master_key()?;
    with_keyring(session, &master, |keyring| {
        let survey = keyring.survey().map_err(|error| trouble(session, error))?;
        let going = keyring.going(&wanted.ids, &survey).map_err(|error| trouble(session, error))?;
        if !going.is_empty() && !wanted.yes && !agreed(session, &going)? {
            session.printer.note("all keys stay");
            return Ok(Exit::Done);
        }
        let gone = if going.is_empty() { Ok(going) } else { keyring.forget(&going) };
        let gone = gone.map_err(|error| trouble(session, error))?;
        if session.globals.json {
            session.printer.json_data(&json!({"forgotten": gone}))?;
        } else if gone.is_empty() {
            session.printer.note("there is no older key");
        } else {
            session.printer.step(&format!("forgotten: {}", gone.join(", ")))?;
        }
        Ok(Exit::Done)
    })
}

const UNKNOWN: &str = "what cannot be seen from here: other stores with this key file, databases that were kept aside, and \
                       copies of this one";

fn agreed(session: &Session, going: &[String]) -> Result<bool, Trouble> {
    let keys = going.join(", ");
    if session.globals.json || !terminal::is_there() {
        return Err(Trouble::usage(
            format!("nobody is there to be asked whether {keys} may go"),
            format!(
                "nothing here needs it; {UNKNOWN}; if those do not need it either: perennial key forget --yes"
            ),
        ));
    }
    session.printer.note(&format!("Nothing here needs {keys}. {}.", capitalized(UNKNOWN)));
    let failed = |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
    let answer = terminal::ask("What one of them sealed there never opens again. Forget them? [y/N]");
    Ok(answer.map_err(failed)?.is_some_and(|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str())))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What a person is told when keys stay as they are.
fn trouble(session: &Session, error: RekeyError) -> Trouble {
    let message = error.to_string();
    let hint = match error {
        RekeyError::Store(error) => return perennial::Error::from(error).into(),
        RekeyError::Key(SealError::NoPassphrase) => {
            return Trouble::new(Exit::Interrupted, message, "nothing was changed");
        }
        RekeyError::Key(SealError::NobodyToAsk) => {
            "run it on a terminal, or name another source: --master-key file:PATH"
        }
        RekeyError::Key(SealError::NoKey(_)) => {
            "put it back from where you keep a copy, or name another: --master-key file:PATH"
        }
        RekeyError::Key(_) => "look at where the key comes from, or name another: --master-key file:PATH",
        RekeyError::Needed { .. } => "first put the newest key in its place: perennial key rotate",
        RekeyError::Newest(_) => "first put a new one in its place: perennial key rotate",
        RekeyError::NoSuchKey(_) => {
            return Trouble::usage(message, "this shows which there are: perennial key check")
                .at(&session.place());
        }
        RekeyError::Elsewhere(_) => {
            "take the old key out of its source yourself, once nothing needs it: perennial key check"
        }
        _ => "look at what there is: perennial key check",
    };
    Trouble::new(Exit::PersonMustAct, message, hint).at(&session.place())
}
