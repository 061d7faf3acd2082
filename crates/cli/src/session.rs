//! What most verbs begin with: the store, the keeper, the log; and how a command waits: for its own deadline, for
//! Ctrl-C, and never so that a request that is under way is dropped.

use crate::exit::Exit;
use crate::hints::Trouble;
use crate::options::{Globals, LogFormat};
use crate::printer::Printer;
use crate::signals::AskedToEnd;
use perennial::http;
use perennial::seal::rescue::Places;
use perennial::{Error, Keeper, Options, SapSample};
use std::env;
use std::future::Future;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// A flight ends by its own deadlines; a caller who names none waits for them.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A command's surroundings.
pub(crate) struct Session {
    pub(crate) globals: Globals,
    pub(crate) printer: Printer,
}

impl Session {
    pub(crate) fn new(globals: Globals) -> Self {
        let printer = Printer { json: globals.json, quiet: globals.quiet };
        Self { globals, printer }
    }

    /// The store that the options name.
    pub(crate) fn store(&self) -> Result<SapSample, Trouble> {
        Ok(SapSample::open(self.globals.directory()?)?)
    }

    /// The keeper of the store that the options name.
    pub(crate) fn keeper(&self) -> Result<Keeper, Trouble> {
        Ok(Keeper::open(self.store()?, self.options()?))
    }

    /// The keeper's options.
    pub(crate) fn options(&self) -> Result<Options, Trouble> {
        Ok(Options {
            base: self.globals.base()?,
            http: self.http_options(),
            places: places(),
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
            return Ok(name.to_owned());
        }
        let names = keeper.names()?;
        match names.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(Trouble::usage("which connection?", format!("name one of: {}", names.join(", ")))),
        }
    }

    /// Starts the log. Only commands that reach for the network pay for it.
    pub(crate) fn start_log(&self) {
        let level = match (self.globals.quiet, self.globals.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
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

fn interruption() -> Trouble {
    Trouble::new(Exit::Interrupted, "interrupted", "nothing is lost")
}

fn abandoned() -> Trouble {
    let hint = "what was sent is noted in the store; the next command finds that note and deals with it";
    Trouble::new(Exit::Interrupted, "abandoned a request whose outcome is not known", hint)
}

/// Where tokens go that a store will not take: the XDG base directories.
pub(crate) fn places() -> Option<Places> {
    let home = env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let below = |variable: &str, rest: &str| {
        let set = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        set.or_else(|| home.as_ref().map(|home| home.join(rest)))
    };
    Some(Places::below(&below("XDG_STATE_HOME", ".local/state")?, &below("XDG_DATA_HOME", ".local/share")?))
}
