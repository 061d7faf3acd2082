//! `perennial recover`: shows what is kept of a grant, and tries it in the permitted order, a line for each try.

use crate::exit::Exit;
use crate::place::Place;
use crate::session::Session;
use crate::trouble::Trouble;
use crate::words::{moment, rfc3339};
use clap::Args;
use perennial::core::connection::{Aside, Candidate, Remedy};
use perennial::core::secret::{Fingerprint, RefreshToken};
use perennial::core::{Connection, State, UnixTime};
use perennial::recovery::Outcome;
use perennial::{HandOut, Keeper};
use serde_json::{Value, json};

/// Bring a grant back that was refused or is in doubt
///
/// What is kept is shown by fingerprint, never by value. Then it is tried, each only after the one before it was
/// refused: late answers, the refresh token in force, those that it replaced, and a request token that is kept and
/// young. What works is stored; a refusal deletes nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial recover acme
  perennial recover acme --dry-run    shows what is kept and what would be tried; sends nothing")]
pub(crate) struct Recover {
    /// The connection; may be left out where there is only one
    name: Option<String>,

    /// Send nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn carry_out(session: &Session, recover: &Recover) -> Result<Exit, Trouble> {
    session.start_log();
    let keeper = session.keeper()?;
    let name = session.name(&keeper, recover.name.as_deref())?;
    let mut recovery = keeper.recovery(&name);
    let remedies = recovery.remedies()?;
    let connection = keeper.connection(&name)?;
    let story = Story { session, keeper: &keeper, connection: &connection };
    story.show(&remedies)?;
    if recover.dry_run || remedies.is_empty() {
        return story.conclude(&remedies, recover.dry_run);
    }
    let mut tried = Vec::new();
    while let Some(remedy) = recovery.remedies()?.into_iter().next() {
        let outcome = session.wait(&keeper, recovery.try_remedy(&remedy));
        match outcome {
            Ok(Outcome::Recovered(hand_out)) => {
                tried.push(json!({"remedy": as_json(&remedy), "worked": true}));
                return story.recovered(&remedy, &hand_out, tried);
            }
            Ok(Outcome::Refused(error)) => {
                let trouble = Trouble::of(error, &session.place());
                session.printer.cross(&format!("{}: {}", words(&remedy), trouble.message))?;
                tried.push(json!({"remedy": as_json(&remedy), "worked": false, "error": trouble.as_json()}));
            }
            Err(trouble) => return Err(trouble.prefixed(&words(&remedy))),
        }
    }
    story.conclude_tries(tried)
}

struct Story<'a> {
    session: &'a Session,
    keeper: &'a Keeper,
    connection: &'a Connection,
}

impl Story<'_> {
    /// What is kept, and what the server last said.
    fn show(&self, remedies: &[Remedy]) -> Result<(), Trouble> {
        let (connection, now) = (self.connection, self.keeper.now());
        let printer = self.session.printer;
        let here = |at| moment(connection.skew.host_time(at), now);
        printer.line(&format!("{} is {}", connection.name, self.keeper.state(connection).as_str()))?;
        match &connection.last_fault {
            Some(fault) => {
                printer.line(&format!("  last fault      {}: {}", here(fault.at), fault.message))?
            }
            None => printer.line("  last fault      none")?,
        }
        let current = connection.held.as_ref().and_then(|held| Some((held, held.refresh.as_ref()?)));
        if let Some((held, refresh)) = current {
            let at = held.refreshed_at.map_or("not known when".to_owned(), here);
            printer.line(&format!(
                "  in force        {}, generation {}, issued {at}",
                refresh.fingerprint(),
                held.generation
            ))?;
        }
        for candidate in connection.candidates.iter().rev() {
            printer.line(&format!("  kept aside      {}", of_candidate(candidate, &here)))?;
        }
        for previous in connection.previous.iter().rev() {
            let (print, at) = (previous.refresh.fingerprint(), here(previous.replaced_at));
            printer.line(&format!(
                "  replaced        {print}, generation {}, replaced {at}",
                previous.generation
            ))?;
        }
        if let Some(intent) = &connection.intent {
            let (print, at) = (&intent.presented, here(intent.written_at));
            printer.line(&format!(
                "  without answer  {print}, sent {at}, correlation id {}",
                intent.correlation_id
            ))?;
        }
        for (number, remedy) in (1..).zip(remedies) {
            printer.line(&format!(
                "  {}{number}. {}",
                if number == 1 { "to try          " } else { "                " },
                words(remedy)
            ))?;
        }
        Ok(())
    }

    fn conclude(&self, remedies: &[Remedy], dry_run: bool) -> Result<Exit, Trouble> {
        let state = self.keeper.state(self.connection);
        if self.session.globals.json {
            self.session.printer.json_data(&json!({
                "connection": self.connection.name,
                "state": state.as_str(),
                "kept": kept_json(self.connection),
                "to_try": remedies.iter().map(as_json).collect::<Value>(),
            }))?;
        }
        if dry_run {
            self.session.printer.note("nothing was sent");
            return Ok(Exit::Done);
        }
        if state == State::Held || state == State::Refreshing {
            self.session.printer.note("nothing stands in the way; nothing was sent");
            return Ok(Exit::Done);
        }
        Err(nothing_left(self.connection, &self.session.place()))
    }

    fn recovered(&self, remedy: &Remedy, hand_out: &HandOut, tried: Vec<Value>) -> Result<Exit, Trouble> {
        super::tell_warnings(self.session, hand_out);
        let connection = self.keeper.connection(&self.connection.name)?;
        if self.session.globals.json {
            self.session.printer.json_data(&json!({
                "connection": connection.name,
                "recovered": true,
                "state": self.keeper.state(&connection).as_str(),
                "generation": hand_out.generation,
                "tried": tried,
                "kept": kept_json(&connection),
            }))?;
            return Ok(Exit::Done);
        }
        self.session.printer.step(&format!("{}: it works", words(remedy)))?;
        let name = &connection.name;
        self.session.printer.note(&format!("{name} is back, in generation {}", hand_out.generation));
        Ok(Exit::Done)
    }

    /// Nothing is left to be tried: all was refused, or somebody else has brought it back meanwhile.
    fn conclude_tries(&self, tried: Vec<Value>) -> Result<Exit, Trouble> {
        let state = self.keeper.state(&self.keeper.connection(&self.connection.name)?);
        let is_back = matches!(state, State::Held | State::Refreshing);
        if self.session.globals.json {
            self.session.printer.json_data(&json!({
                "connection": self.connection.name,
                "recovered": is_back,
                "tried": tried,
                "kept": kept_json(self.connection),
            }))?;
        }
        if is_back {
            self.session.printer.note(&format!("{} is held again by now", self.connection.name));
            return Ok(Exit::Done);
        }
        Err(nothing_left(self.connection, &self.session.place()))
    }
}

/// Everything was refused, or there is nothing to try.
fn nothing_left(connection: &Connection, place: &Place) -> Trouble {
    let message = if connection.held.is_some() {
        format!("{}: nothing that is kept works; all of it is still kept", connection.name)
    } else {
        format!("{}: there are no tokens, and no request token that may be used", connection.name)
    };
    Trouble::new(Exit::PersonMustAct, message, crate::hints::new_request_token(place))
}

fn words(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Adopt(print) => format!("the late answer with {print}"),
        Remedy::Current(print) => format!("the refresh token in force, {print}"),
        Remedy::Previous(print) => format!("the replaced refresh token {print}"),
        Remedy::Obtain => "the company request token that is kept".to_owned(),
    }
}

fn as_json(remedy: &Remedy) -> Value {
    let (what, print): (_, Option<&Fingerprint>) = match remedy {
        Remedy::Adopt(print) => ("late_answer", Some(print)),
        Remedy::Current(print) => ("in_force", Some(print)),
        Remedy::Previous(print) => ("replaced", Some(print)),
        Remedy::Obtain => ("request_token", None),
    };
    json!({"what": what, "fingerprint": print.map(Fingerprint::as_str)})
}

fn of_candidate(candidate: &Candidate, here: &impl Fn(UnixTime) -> String) -> String {
    let print = offered(candidate).map_or("no refresh token".to_owned(), |print| print.to_string());
    let reason = match candidate.reason {
        Aside::Late => "a late answer",
        Aside::OtherPrincipal => "another principal's, never used",
        Aside::Unbelieved => "not believed, never used",
    };
    format!("{print}, {reason} to generation {}, came {}", candidate.generation, here(candidate.received_at))
}

fn offered(candidate: &Candidate) -> Option<Fingerprint> {
    candidate.response.refresh_token.as_ref().map(RefreshToken::fingerprint)
}

/// Fingerprints and times, never a secret; times are the server's, as RFC 3339.
fn kept_json(connection: &Connection) -> Value {
    let held = connection.held.as_ref();
    json!({
        "in_force": held.map(|held| json!({
            "fingerprint": held.refresh.as_ref().map(|token| token.fingerprint().to_string()),
            "generation": held.generation,
            "issued_at": held.refreshed_at.map(rfc3339),
        })),
        "replaced": connection.previous.iter().rev().map(|previous| json!({
            "fingerprint": previous.refresh.fingerprint().as_str(),
            "generation": previous.generation,
            "replaced_at": rfc3339(previous.replaced_at),
        })).collect::<Value>(),
        "aside": connection.candidates.iter().rev().map(|candidate| json!({
            "fingerprint": offered(candidate).map(|print| print.to_string()),
            "reason": candidate.reason.as_str(),
            "generation": candidate.generation,
            "received_at": rfc3339(candidate.received_at),
        })).collect::<Value>(),
    })
}
