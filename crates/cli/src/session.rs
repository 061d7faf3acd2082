//! What most verbs begin with: the store, the keeper, the log; and how a command waits: for its own deadline, for
//! Ctrl-C, and never so that a request that is under way is dropped.

use crate::exit::Exit;
use crate::options::{Globals, LogFormat};
use crate::place::{Anew, Kind, Place};
use crate::printer::Printer;
use crate::signals::AskedToEnd;
use crate::stores::{self, Choice, Opened};
use crate::trouble::Trouble;
use perennial::seal::rescue::Places;
use perennial::seal::{KeySource, MasterKey};
use perennial::store::Standing;
use perennial::store::sap_sample::{CREDENTIALS_FILE, TOKEN_FILE};
use perennial::{Error, Keeper, Options, SqliteOptions, Store, http};
use std::cell::{Cell, RefCell};
use std::env;
use std::future::Future;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// A flight ends by its own deadlines; a caller who names none waits for them.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A command's surroundings.
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) printer: Printer,
    /// What hints name.
    place: RefCell<Place>,
    /// Master keys by their sources.
    keys: RefCell<Vec<MasterKey>>,
    /// A person has been told that the store is plain text.
    is_told_plain: Cell<bool>,
}

impl Session {
    pub(crate) fn new(globals: Globals) -> Self {
        let printer = Printer { json: globals.json, quiet: globals.quiet };
        let place = RefCell::new(globals.place());
        Self { globals, printer, place, keys: RefCell::default(), is_told_plain: Cell::default() }
    }

    /// What the next command must name again.
    pub(crate) fn place(&self) -> Place {
        self.place.borrow().clone()
    }

    /// From here on the command is about this connection, and hints name it.
    pub(crate) fn is_about(&self, connection: &str) {
        self.place.borrow_mut().connection = Some(connection.to_owned());
    }

    /// The same place as the hints of a trouble need it: with what obtains the grant anew. Only what the keeper said of a
    /// connection needs that, and only then is the store looked into again.
    pub(crate) fn place_for(&self, trouble: &Trouble) -> Place {
        let place = self.place();
        let about = place.connection.clone().filter(|_| trouble.is_about_a_grant());
        let anew = about.and_then(|name| {
            let store = self.store().ok()?.shared();
            Some(Anew::of(&store.read(&name).ok()?, &store.app(&name).ok()?))
        });
        Place { anew: anew.unwrap_or_default(), ..place }
    }

    /// From here on the command is about a directory, whatever store the options name.
    pub(crate) fn is_about_directory(&self, words: &str) {
        let mut place = self.place.borrow_mut();
        place.kind = Kind::SapSample;
        words.clone_into(&mut place.store);
    }

    /// The store that the options name. A database that is not there is made by the first write.
    pub(crate) fn store(&self) -> Result<Opened, Trouble> {
        let opened =
            self.globals.choice()?.open(|| self.sqlite_options(), self.globals.ca_cert.as_deref())?;
        if matches!(opened, Opened::SapSample(_)) && !self.is_told_plain.replace(true) {
            self.tell_that_it_is_plain();
        }
        Ok(opened)
    }

    /// Once a command, and to a person only: a script can do nothing about it, and somebody reads its stderr each day.
    fn tell_that_it_is_plain(&self) {
        if std::io::stderr().is_terminal() {
            self.printer.note(
                "SAP's two files are plain text; a database keeps the grant sealed: perennial import DIR --as NAME",
            );
        }
    }

    /// How a database is opened.
    pub(crate) fn sqlite_options(&self) -> Result<SqliteOptions, Trouble> {
        Ok(SqliteOptions::new(self.master_key()?).tenant(&self.globals.tenant))
    }

    /// The master key of a sealed store.
    pub(crate) fn master_key(&self) -> Result<MasterKey, Trouble> {
        let source = self.globals.master_key.clone().or_else(stores::standard_key).ok_or_else(|| {
            let hint = "name one: --master-key file:PATH";
            Trouble::usage("there is no home directory with a master key in it", hint)
        })?;
        Ok(self.key_from(source))
    }

    /// Where tokens go that a store will not take.
    pub(crate) fn places(&self) -> Option<Places> {
        self.places_with(None)
    }

    /// The same, where another master key may be named.
    pub(crate) fn places_with(&self, named: Option<&KeySource>) -> Option<Places> {
        let source = named.or(self.globals.master_key.as_ref()).cloned().or_else(stores::rescue_key)?;
        Some(Places { shelf: stores::shelf()?, master_key: self.key_from(source) })
    }

    /// One for each source, so that nobody is asked twice for a passphrase.
    pub(crate) fn key_from(&self, source: KeySource) -> MasterKey {
        let mut keys = self.keys.borrow_mut();
        if let Some(known) = keys.iter().find(|key| *key.source() == source) {
            return known.clone();
        }
        let key = stores::master_key(source);
        keys.push(key.clone());
        key
    }

    /// The keeper of the store that the options name, for a command that needs a connection.
    pub(crate) fn keeper(&self) -> Result<Keeper, Trouble> {
        if let Choice::Sqlite(file) = self.globals.choice()?
            && !file.exists()
        {
            return Err(self.nothing_in(&format!("sqlite:{}", file.display())));
        }
        self.keeper_of(&self.store()?)
    }

    /// The keeper of an open store.
    pub(crate) fn keeper_of(&self, store: &Opened) -> Result<Keeper, Trouble> {
        self.remark_on(store.shared().as_ref());
        self.keeper_quietly(store)
    }

    /// The same, for a command that tells by itself what the store is.
    pub(crate) fn keeper_quietly(&self, store: &Opened) -> Result<Keeper, Trouble> {
        Ok(Keeper::open_shared(store.shared(), self.options()?))
    }

    /// Says once a command that the store is a copy, or was handed over. What cannot be read is told by the command.
    fn remark_on(&self, store: &dyn Store) {
        let what = match store.standing() {
            Ok(Standing::Copy(of)) => format!(
                "{} is a copy: {of}; if this is the one in use from now on: perennial adopt",
                store.address()
            ),
            Ok(Standing::Moved { to }) => format!(
                "{} was handed over to {to}: it renews nothing any more; to take that back: perennial adopt",
                store.address()
            ),
            Ok(Standing::InUse) | Err(_) => return,
        };
        self.printer.warn(&self.place().complete(&what));
    }

    /// The keeper's options.
    pub(crate) fn options(&self) -> Result<Options, Trouble> {
        Ok(Options {
            base: self.globals.base()?,
            http: self.http_options(),
            places: self.places(),
            answer_within: self.globals.answer_within,
        })
    }

    pub(crate) fn http_options(&self) -> http::Options {
        http::Options {
            ca_cert: self.globals.ca_cert.clone(),
            resolve: self.globals.resolve.clone(),
            direct: false,
        }
    }

    /// The one connection of the store where no name was given.
    pub(crate) fn name(&self, keeper: &Keeper, given: Option<&str>) -> Result<String, Trouble> {
        if let Some(name) = given {
            self.is_about(name);
            return Ok(name.to_owned());
        }
        let names = keeper.names()?;
        match names.as_slice() {
            [only] => {
                self.is_about(only);
                Ok(only.clone())
            }
            [] => Err(self.nothing_in(&keeper.store().address())),
            many => {
                let some: Vec<_> = many.iter().take(8).map(String::as_str).collect();
                let more = if many.len() > some.len() { " … (perennial list)" } else { "" };
                Err(Trouble::usage("which connection?", format!("name one of: {}{more}", some.join(", "))))
            }
        }
    }

    /// What the keeper said of one of many connections.
    pub(crate) fn trouble_of(&self, name: &str, error: Error) -> Trouble {
        let trouble = Trouble::of(error, &self.place().with(name));
        let own = self.place.replace_with(|place| place.with(name));
        let place = self.place_for(&trouble);
        self.place.replace(own);
        trouble.at(&place)
    }

    /// The same, told at once: the others go on. With `--json` it stands in the data.
    pub(crate) fn tell_of(&self, name: &str, error: Error) -> Exit {
        let trouble = self.trouble_of(name, error);
        if self.globals.json { trouble.exit } else { self.printer.trouble(&trouble.prefixed(name)) }
    }

    /// Whoever has worked with SAP's two files here, and no store yet, most likely means those.
    pub(crate) fn nothing_in(&self, store: &str) -> Trouble {
        let message = format!("there are no connections in {store} yet");
        let files = [CREDENTIALS_FILE, TOKEN_FILE].iter().any(|name| Path::new(name).exists());
        let hint = if files && self.globals.store.is_none() {
            "this directory holds SAP's two files; use them: perennial token --dir .; or take them in: perennial add \
             NAME --from-dir ."
        } else {
            "this adds one: perennial add NAME"
        };
        Trouble::new(Exit::PersonMustAct, message, hint)
    }

    /// Starts the log. Only commands that reach for the network pay for it.
    pub(crate) fn start_log(&self) {
        self.start_log_from(LevelFilter::WARN);
    }

    /// The same, for a command that tells more by itself.
    pub(crate) fn start_log_from(&self, usual: LevelFilter) {
        let level = match (self.globals.quiet, self.globals.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => usual,
            (false, 1) => LevelFilter::INFO,
            (false, 2) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        let log =
            tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
        let colours = std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
        // A second start is no harm: the first one stays.
        let _ = match self.globals.log_format {
            LogFormat::Text if !self.globals.json => log.without_time().with_ansi(colours).try_init(),
            _ => log.json().try_init(),
        };
    }

    /// Waits for `work`, at most `--timeout`; Ctrl-C and the deadline leave at once while nothing has been sent, and
    /// see a request through that is under way. A second Ctrl-C abandons it: its intent is on disk.
    pub(crate) fn wait<T>(
        &self,
        keeper: &Keeper,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        self.wait_at_most(self.globals.timeout.unwrap_or(FOR_EVER), keeper, work)
    }

    /// Waits for work that nothing is lost with: Ctrl-C ends it.
    pub(crate) fn wait_alone<T>(&self, work: impl Future<Output = T>) -> Result<T, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let patience = self.globals.timeout.unwrap_or(FOR_EVER);
        runtime.block_on(async {
            let mut asked_to_end = AskedToEnd::listen()?;
            tokio::select! {
                result = work => Ok(result),
                () = tokio::time::sleep(patience) => Err(Trouble::from(Error::Deadline)),
                () = asked_to_end.next() => Err(interruption()),
            }
        })
    }

    /// The same, with a patience of its own.
    pub(crate) fn wait_at_most<T>(
        &self,
        patience: Duration,
        keeper: &Keeper,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::pin!(work);
            // One for both Ctrl-C: the second may come before the first one's remark is written.
            let mut asked_to_end = AskedToEnd::listen()?;
            let interrupted = tokio::select! {
                result = &mut work => return result.map_err(Trouble::from),
                () = tokio::time::sleep(patience) => false,
                () = asked_to_end.next() => true,
            };
            let left = if interrupted { interruption() } else { Trouble::from(Error::Deadline) };
            if keeper.ground() {
                return Err(left);
            }
            self.printer.note("a request is under way and is seen through, so that its answer is not lost; Ctrl-C abandons it");
            tokio::select! {
                // Whoever waited too long still gets what came of it.
                result = &mut work => if interrupted { Err(left) } else { result.map_err(Trouble::from) },
                () = asked_to_end.next() => Err(abandoned()),
            }
        })
    }
}

pub(crate) fn interruption() -> Trouble {
    Trouble::new(Exit::Interrupted, "interrupted", "nothing is lost")
}

pub(crate) fn abandoned() -> Trouble {
    let hint = "what was sent is noted in the store; the next command finds that note and deals with it";
    Trouble::new(Exit::Interrupted, "abandoned a request whose outcome is not known", hint)
}
