//! `perennial run`: SAP's tutorial "Refresh Token Management Automation", every step of it, on the same two files.

use super::{status, tell_warnings};
use crate::exit::Exit;
use crate::options::quoted;
use crate::session::Session;
use crate::stores::Choice;
use crate::trouble::Trouble;
use crate::words::moment;
use clap::Args;
use perennial::core::profile::Purpose;
use perennial::core::{Connection, Expiry, State};
use perennial::store::StoreError;
use perennial::store::sap_sample::{CREDENTIALS_FILE, Credentials, ONLY_CONNECTION, TOKEN_FILE};
use perennial::{Error, HandOut, Keeper, SapSample};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Obtain a refresh token and keep it: SAP's tutorial, step by step
///
/// Works on credentials.json and refreshTokenObjectFile.json as SAP's Node sample names, shapes and fills them. Run it
/// once to get a template, fill that in, run it again to obtain a refresh token; from then on each run finds it valid,
/// and renews it long before it ends.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial run                       in this directory, at the global landing zone
  perennial run --dir acme            in another one, made if it is not there
  perennial run --datacenter us-impl  a test tenant on the implementation hosts")]
pub(crate) struct Run {}

pub(crate) fn carry_out(session: &Session, _: &Run) -> Result<Exit, Trouble> {
    session.start_log();
    let dir = session.globals.directory()?;
    if !is_the_store(session, &dir) {
        // What comes next must name the directory: it is not the store of a person who names none.
        session.is_about_directory(&format!(" --dir {}", quoted(&dir.to_string_lossy())));
    }
    let store = open(&dir)?;
    for notice in store.notices() {
        session.printer.warn(&notice);
    }
    let keeper = Keeper::open(store, session.options()?);
    let ended = Tutorial { session, keeper: &keeper, dir: &dir }.follow()?;
    if !is_the_store(session, &dir) {
        session.printer.note(&session.place().complete("  next: perennial token"));
    }
    if session.globals.json {
        let connection = keeper.connection(ONLY_CONNECTION)?;
        session.printer.json_data(&Value::Array(vec![status::as_json(&keeper, &connection)]))?;
    }
    Ok(ended)
}

const REFUSED: &str = "the stored refresh token was refused; it is kept, and a new grant is obtained";

fn is_the_store(session: &Session, dir: &Path) -> bool {
    matches!(session.globals.choice(), Ok(Choice::SapSample(chosen)) if chosen == dir)
}

/// A directory that is not there is made: whoever starts anew expects no less.
fn open(dir: &Path) -> Result<SapSample, Trouble> {
    if !dir.exists() {
        let failed = |source| StoreError::Io { action: "make", path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    Ok(SapSample::open(dir)?)
}

/// The tutorial's steps, in its order.
pub(crate) struct Tutorial<'a> {
    pub(crate) session: &'a Session,
    pub(crate) keeper: &'a Keeper,
    pub(crate) dir: &'a Path,
}

impl Tutorial<'_> {
    pub(crate) fn follow(&self) -> Result<Exit, Trouble> {
        self.keeper.drain();
        let stored = self.keeper.connection(ONLY_CONNECTION);
        let held = stored.as_ref().is_ok_and(has_refresh_token);
        let path = self.dir.join(CREDENTIALS_FILE);
        let read = if held { Credentials::read(&path) } else { Credentials::read_to_obtain(&path) };
        match read {
            Err(StoreError::NoCredentials { .. }) => return self.write_template(&path),
            Err(error) => return Err(error.into()),
            Ok(credentials) => check_company(&credentials, &stored)?,
        }
        self.say(&format!("{CREDENTIALS_FILE} is filled in"))?;
        let connection = self.readable(stored)?;
        if has_refresh_token(&connection) { self.use_stored(&connection) } else { self.obtain(&connection) }
    }

    fn write_template(&self, path: &Path) -> Result<Exit, Trouble> {
        Credentials::write_template(path)?;
        let message = format!("there was no {}, so a template was written", path.display());
        let hint = "fill in appID, clientSecret, companyUUID and companyRequestToken, then: perennial run\n      A Web \
                    Services Administrator (Standard edition: Can Administer) makes the last two at\n      \
                    https://www.concursolutions.com/nui/authadmin/companytokens for the same App ID; they are good for \
                    24 hours";
        Err(Trouble::new(Exit::PersonMustAct, message, hint))
    }

    /// A file that cannot be read is kept aside, as it is about to be replaced.
    fn readable(&self, stored: Result<Connection, Error>) -> Result<Connection, Trouble> {
        match stored {
            Ok(connection) => Ok(connection),
            Err(Error::Store(error)) if matches!(*error, StoreError::Unreadable { .. }) => {
                let aside = self.keeper.set_unreadable_aside(ONLY_CONNECTION)?;
                let place = aside
                    .as_ref()
                    .map_or(String::new(), |path: &PathBuf| format!("; it is kept as {}", path.display()));
                self.session.printer.warn(&format!("{error}{place}"));
                Ok(self.keeper.connection(ONLY_CONNECTION)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `seen` is what the decision was made upon: what somebody else has obtained since is not obtained again.
    fn obtain(&self, seen: &Connection) -> Result<Exit, Trouble> {
        self.say("no valid refresh token is stored")?;
        self.tell(&format!(
            "  exchanging the company request token at {} …",
            self.keeper.obtaining_base(seen)?
        ))?;
        let hand_out = self.session.wait(self.keeper, self.keeper.obtain(seen))?;
        self.report(&hand_out, "refresh token received and stored")
    }

    fn use_stored(&self, connection: &Connection) -> Result<Exit, Trouble> {
        let now = self.keeper.now();
        let looks_expired = connection.refresh_token_looks_expired(now);
        let given_up = connection.state(now) == State::NeedsReauthorization;
        if given_up {
            self.tell(
                "  the stored refresh token was refused before; it is kept, and a new grant is obtained",
            )?;
            return self.obtain(connection);
        }
        if looks_expired {
            self.tell("  the stored refresh token's date has passed; it is tried all the same, as a clock may be wrong")?;
        } else {
            self.say(&format!("the stored refresh token is valid {}", until(connection, now)))?;
        }
        match self.session.wait(self.keeper, self.renew(looks_expired)) {
            Ok(None) => match connection.last_fault.as_ref().filter(|_| connection.state(now) != State::Held)
            {
                None => {
                    self.tell("  nothing to do: it is used for API calls, and renewed when that is due")?;
                    Ok(Exit::Done)
                }
                Some(fault) => {
                    let text = format!(
                        "the last refresh failed: {}; to try again: perennial refresh",
                        fault.message
                    );
                    self.session.printer.warn(&text);
                    Ok(Exit::Done)
                }
            },
            Ok(Some(hand_out)) if self.is_another_grant(connection)? => {
                self.session.printer.note(REFUSED);
                self.report(&hand_out, "refresh token received and stored")
            }
            Ok(Some(hand_out)) => self.report(&hand_out, "renewed by a refresh grant"),
            // The keeper has tried a young request token by itself, and it was refused as well.
            Err(trouble) if trouble.verdict == Some("grant_gone") && !self.was_to_obtain()? => {
                self.session.printer.note(REFUSED);
                self.obtain(connection)
            }
            Err(trouble) if looks_expired || trouble.exit == Exit::Interrupted => Err(trouble),
            Err(trouble) => {
                self.session.printer.warn(&format!("renewal is due and did not work: {}", trouble.message));
                Ok(Exit::Done)
            }
        }
    }

    fn is_another_grant(&self, before: &Connection) -> Result<bool, Trouble> {
        let grant = |connection: &Connection| connection.held.as_ref().map(|held| held.grant_id.clone());
        Ok(grant(&self.keeper.connection(ONLY_CONNECTION)?) != grant(before))
    }

    /// What failed last was an obtaining request.
    fn was_to_obtain(&self) -> Result<bool, Trouble> {
        let fault = self.keeper.connection(ONLY_CONNECTION)?.last_fault;
        Ok(fault.is_some_and(|fault| fault.purpose == Purpose::Obtain))
    }

    async fn renew(&self, looks_expired: bool) -> Result<Option<HandOut>, Error> {
        if looks_expired {
            return self.keeper.refresh(ONLY_CONNECTION).await.map(Some);
        }
        self.keeper.refresh_if_due(ONLY_CONNECTION).await
    }

    fn report(&self, hand_out: &HandOut, what: &str) -> Result<Exit, Trouble> {
        tell_warnings(self.session, hand_out);
        let connection = self.keeper.connection(ONLY_CONNECTION)?;
        let until = until(&connection, self.keeper.now());
        self.say(&format!("{what} in {TOKEN_FILE}, valid {until}"))?;
        self.tell(&format!("  its geolocation is {}", hand_out.base))?;
        Ok(Exit::Done)
    }

    fn say(&self, text: &str) -> Result<(), Trouble> {
        Ok(self.session.printer.step(text)?)
    }

    fn tell(&self, text: &str) -> Result<(), Trouble> {
        Ok(self.session.printer.line(text)?)
    }
}

fn has_refresh_token(connection: &Connection) -> bool {
    connection.held.as_ref().is_some_and(|held| held.refresh.is_some())
}

/// One directory, one company: else a valid token of one would be taken for the other's.
fn check_company(credentials: &Credentials, stored: &Result<Connection, Error>) -> Result<(), Trouble> {
    let Ok(Connection { held: Some(_), principal: Some(principal), .. }) = stored else { return Ok(()) };
    if principal.is(credentials.company()) {
        return Ok(());
    }
    let (credentials, held) = (credentials.company().to_string(), principal.to_string());
    Err(Error::OtherCompany { credentials, held }.into())
}

fn until(connection: &Connection, now: perennial::core::UnixTime) -> String {
    let expiry = connection.held.as_ref().and_then(|held| held.refresh_expiry);
    let Some(expiry) = expiry else { return "for a time that nobody has told".to_owned() };
    let assumed = if matches!(expiry, Expiry::Assumed(_)) { ", as far as can be assumed" } else { "" };
    format!("until {}{assumed}", moment(connection.skew.host_time(expiry.at()), now))
}
