//! `perennial doctor`: what is good, and what is not, with the exact next command.

use super::status::what_next;
use crate::exit::Exit;
use crate::place::Place;
use crate::session::Session;
use crate::stores::{Choice, Opened, of_server};
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::connection::{Aside, Intent};
use perennial::core::{Connection, State};
use perennial::manage::Outside;
use perennial::store::sap_sample::{ONLY_CONNECTION, TOKEN_FILE};
use perennial::store::try_room;
use perennial::{Keeper, Postgres, Sqlite};
use serde_json::{Value, json};
use std::path::Path;

/// Look at everything that a grant depends on, and say what to do about it
///
/// The store, its rights, its seal, its backup; what is kept outside it; clocks; connections that need a person. Nothing
/// is sent. Exit code 3 says that a person must act.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial doctor
  perennial doctor --json | jq -r '.[] | select(.good | not) | .remedy'
  perennial doctor --restore-backup   puts the last good copy of a damaged database in its place
  perennial doctor --accept-older     takes a database that was put back from an older copy for good")]
pub(crate) struct Doctor {
    /// Put the last good copy in the place of a damaged database, which is kept aside
    #[arg(long, conflicts_with = "accept_older")]
    restore_backup: bool,

    /// Take the database for good though it is an older copy of itself
    #[arg(long)]
    accept_older: bool,
}

/// What one refresh may take on the disk: its intent, and room for the answer.
const ROOM: usize = 128 * 1024;

/// From here on a clock is worth a word: what SAP's answers and NTP do not explain.
const NOTEWORTHY_SKEW: u64 = 60;

pub(crate) fn carry_out(session: &Session, doctor: &Doctor) -> Result<Exit, Trouble> {
    session.start_log();
    let mut report = Report { session, findings: Vec::new() };
    if doctor.restore_backup || doctor.accept_older {
        report.mend(doctor)?;
    }
    report.store()?;
    report.conclude()
}

/// One thing that was looked at.
struct Finding {
    what: String,
    is_good: bool,
    remedy: Option<String>,
}

struct Report<'a> {
    session: &'a Session,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn good(&mut self, what: impl Into<String>) {
        self.findings.push(Finding { what: what.into(), is_good: true, remedy: None });
    }

    fn bad(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        let remedy = Some(self.session.place().complete(&remedy.into()));
        self.findings.push(Finding { what: what.into(), is_good: false, remedy });
    }

    fn trouble(&mut self, trouble: Trouble) {
        let trouble = trouble.at(&self.session.place());
        let remedy = trouble.hint.unwrap_or_else(|| "please report it".to_owned());
        self.findings.push(Finding { what: trouble.message, is_good: false, remedy: Some(remedy) });
    }

    /// Only a database can be put back, or taken for good.
    fn mend(&mut self, doctor: &Doctor) -> Result<(), Trouble> {
        let hint = "name the database: perennial doctor --store sqlite:FILE";
        let none = |what: &str| Err(Trouble::usage(what, hint));
        let file = match self.session.globals.choice()? {
            Choice::Sqlite(file) => file,
            Choice::SapSample(_) => return none("SAP's two files have no backup"),
            Choice::Postgres(_) => return none("backups of a database on a server are its administrator's"),
        };
        if doctor.restore_backup {
            let aside = Sqlite::restore_backup(&file)?;
            self.good(format!(
                "the last good copy is in place; what was there is kept as {}",
                aside.display()
            ));
        } else {
            Sqlite::accept_older(&file)?;
            self.good(format!("{} is taken for good as it is", file.display()));
        }
        Ok(())
    }

    /// What depends on an open store is looked at only where it opens.
    fn store(&mut self) -> Result<(), Trouble> {
        let choice = self.session.globals.choice()?;
        match &choice {
            Choice::SapSample(_) => {}
            Choice::Sqlite(file) => self.found(Sqlite::examine(file, &self.session.sqlite_options()?)),
            Choice::Postgres(url) => {
                let ca_cert = self.session.globals.ca_cert.as_deref();
                let options = of_server(self.session.sqlite_options()?, ca_cert);
                self.found(Postgres::examine(url, &options));
            }
        }
        self.room(&choice);
        let is_explained = self.findings.iter().any(|finding| !finding.is_good);
        let store = match self.session.store() {
            Ok(store) => store,
            Err(_) if is_explained => return Ok(()),
            Err(trouble) => {
                self.trouble(trouble);
                return Ok(());
            }
        };
        if matches!(choice, Choice::SapSample(_)) {
            self.good(format!("{} opens", store.shared().address()));
            self.files(&store);
            self.lock(&store);
        }
        match self.session.keeper_of(&store) {
            Ok(keeper) => self.keeper(&keeper),
            Err(trouble) => self.trouble(trouble),
        }
        Ok(())
    }

    fn found(&mut self, findings: Vec<perennial::store::Finding>) {
        for found in findings {
            let remedy = found.remedy.map(|remedy| self.session.place().complete(&remedy));
            self.findings.push(Finding { what: found.what, is_good: found.is_good, remedy });
        }
    }

    /// A store that cannot write spends no token: is there room for what a refresh writes?
    fn room(&mut self, choice: &Choice) {
        let (file, bytes) = match choice {
            Choice::SapSample(dir) => (dir.join(TOKEN_FILE), ROOM),
            Choice::Sqlite(file) => (file.clone(), 4 * ROOM),
            // Nobody can look at a server's disk from here.
            Choice::Postgres(_) => return,
        };
        // What is not there yet, or may not be written, is told by others.
        let is_explained = self.findings.iter().any(|finding| !finding.is_good);
        if is_explained || !file.parent().is_some_and(Path::is_dir) {
            return;
        }
        match try_room(&file, bytes) {
            Ok(()) => self.good("there is room for the next tokens"),
            Err(error) => self.trouble(error.into()),
        }
    }

    fn files(&mut self, store: &Opened) {
        let notices = store.notices();
        if notices.is_empty() {
            self.good("its files can be read by their owner alone");
        }
        for notice in notices {
            let (what, remedy) = notice.split_once("; ").unwrap_or((&notice, "look into it"));
            self.bad(what, remedy);
        }
    }

    /// Whoever cannot take the lock cannot store new tokens either.
    fn lock(&mut self, store: &Opened) {
        match store.shared().try_claim(ONLY_CONNECTION) {
            Ok(Some(_)) => self.good("its lock can be taken, and new tokens could be stored"),
            Ok(None) => self.good("another process holds its lock, and is at work"),
            Err(error) => self.trouble(error.into()),
        }
    }

    fn keeper(&mut self, keeper: &Keeper) {
        keeper.drain();
        self.outside(&keeper.outside());
        let names = match keeper.names() {
            Ok(names) => names,
            Err(error) => return self.trouble(error.into()),
        };
        for name in &names {
            self.session.is_about(name);
            match keeper.connection(name) {
                Ok(connection) => self.connection(keeper, &connection),
                Err(error) => self.trouble(error.into()),
            }
        }
        if names.is_empty() {
            self.good("there are no connections yet");
        }
    }

    fn outside(&mut self, outside: &[Outside]) {
        for Outside { path, is_tokens, problem } in outside {
            let path = path.display();
            match (is_tokens, problem) {
                (true, None) => self.bad(
                    format!("tokens wait in {path} for the store"),
                    "the next command takes them in, once the store can be written: perennial status",
                ),
                (true, Some(problem)) => self.bad(
                    format!("tokens wait in {path}, and it does not open: {problem}"),
                    "name the master key that it was sealed with: perennial doctor --master-key file:PATH",
                ),
                (false, _) => self.bad(
                    format!("an answer that nobody could read is kept in {path}; tokens may be in it"),
                    "keep it until the connection works again; then it may be deleted",
                ),
            }
        }
        if outside.is_empty() {
            self.good("nothing waits outside the store");
        }
    }

    fn connection(&mut self, keeper: &Keeper, connection: &Connection) {
        let (name, now) = (&connection.name, keeper.now());
        let place = self.session.place();
        let state = keeper.state(connection);
        match (state, what_next(connection, now, &place)) {
            (State::Held | State::Refreshing | State::Unsaved, _) | (_, None) => {
                self.good(format!("{name} is {}", state.as_str()));
            }
            // It passes by itself.
            (State::BackingOff | State::Uncertain, Some(next)) => {
                self.good(format!("{name} is {}: {next}", state.as_str()));
            }
            (_, Some(next)) => self.bad(of_state(connection, state), next),
        }
        self.aside(connection, &place);
        self.intent(connection, keeper);
        self.app(keeper, name);
        self.clock(connection);
    }

    fn aside(&mut self, connection: &Connection, place: &Place) {
        let name = &connection.name;
        let count =
            |reason| connection.candidates.iter().filter(|candidate| candidate.reason == reason).count();
        match count(Aside::OtherPrincipal) {
            0 => {}
            strangers => self.bad(
                format!("{name}: {strangers} answers are kept aside that name another principal"),
                format!("look at them: {} --dry-run", place.about("recover")),
            ),
        }
        match count(Aside::Late) {
            0 => {}
            late => self.good(format!(
                "{name}: {late} late answers are kept until the tokens in force have refreshed"
            )),
        }
    }

    fn intent(&mut self, connection: &Connection, keeper: &Keeper) {
        let Some(Intent { deadline, presented, .. }) = &connection.intent else { return };
        let passed = connection.skew.host_time(*deadline) <= keeper.now();
        let words =
            if passed { "has no known outcome; the next command deals with it" } else { "is under way" };
        self.good(format!("{}: a request with {presented} {words}", connection.name));
    }

    fn app(&mut self, keeper: &Keeper, name: &str) {
        if let Err(error) = keeper.store().app(name) {
            self.trouble(error.into());
        }
    }

    fn clock(&mut self, connection: &Connection) {
        let seconds = connection.skew.seconds;
        if seconds.unsigned_abs() >= NOTEWORTHY_SKEW {
            let (name, way) = (&connection.name, if seconds > 0 { "behind" } else { "ahead of" });
            self.bad(
                format!(
                    "{name}: this host's clock is {} s {way} the server's; it is reckoned with",
                    seconds.abs()
                ),
                "set the clock: timedatectl set-ntp true",
            );
        }
    }

    fn conclude(&self) -> Result<Exit, Trouble> {
        let printer = self.session.printer;
        let exit = if self.findings.iter().all(|finding| finding.is_good) {
            Exit::Done
        } else {
            Exit::PersonMustAct
        };
        if self.session.globals.json {
            let all = self.findings.iter().map(
                |Finding { what, is_good, remedy }| json!({"what": what, "good": is_good, "remedy": remedy}),
            );
            printer.json_data(&all.collect::<Value>())?;
            return Ok(exit);
        }
        for Finding { what, is_good, remedy } in &self.findings {
            if *is_good {
                printer.step(what)?
            } else {
                printer.cross(what)?
            }
            if let Some(remedy) = remedy {
                printer.line(&format!("  {remedy}"))?;
            }
        }
        Ok(exit)
    }
}

fn of_state(connection: &Connection, state: State) -> String {
    let fault =
        connection.last_fault.as_ref().map_or_else(String::new, |fault| format!(": {}", fault.message));
    format!("{} is {}{fault}", connection.name, state.as_str())
}
