//! `perennial refresh --all`: many connections, eight at a time. Ctrl-C starts no new ones and sees the running ones
//! through; a second one abandons them, and their intents are on disk.

use super::refresh::Outcome;
use super::tell_warnings;
use crate::exit::Exit;
use crate::session::{Session, abandoned};
use crate::signals::AskedToEnd;
use crate::trouble::Trouble;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use perennial::store::{Standing, StoreError};
use perennial::{Error, HandOut, Keeper};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many at once: enough to hide the network, too few to be a burden to a server that answers slowly.
const AT_ONCE: usize = 8;

/// What came of one connection.
type Refreshed = Result<Option<HandOut>, Error>;

pub(super) fn carry_out(session: &Session, due: bool) -> Result<Exit, Trouble> {
    let keeper = Arc::new(session.keeper()?);
    keeper.drain();
    let names = keeper.names()?;
    if names.is_empty() {
        return Err(session.nothing_in(&keeper.store().address()));
    }
    // Else each of them would say so.
    if let Standing::Moved { to } = keeper.store().standing()? {
        return Err(StoreError::HandedOver { store: keeper.store().address(), to }.into());
    }
    let wave = Wave { session, keeper: &keeper, due, bar: bar(session, names.len()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, interrupted) = runtime.block_on(wave.fly(&names))?;
    wave.bar.finish_and_clear();
    wave.report(&names, &done, interrupted)
}

/// A bar where a person looks on, else nothing.
fn bar(session: &Session, length: usize) -> ProgressBar {
    let shown = std::io::stderr().is_terminal() && !session.globals.json && !session.globals.quiet;
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(u64::try_from(length).ok(), target);
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} {wide_msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"))
}

struct Wave<'a> {
    session: &'a Session,
    keeper: &'a Arc<Keeper>,
    due: bool,
    bar: ProgressBar,
}

/// One connection that is done with.
struct Done {
    name: String,
    result: Result<Option<HandOut>, Trouble>,
}

impl Wave<'_> {
    async fn fly(&self, names: &[String]) -> Result<(Vec<Done>, bool), Trouble> {
        let mut asked_to_end = AskedToEnd::listen()?;
        let (mut waiting, mut flying, mut done) = (names.iter(), JoinSet::new(), Vec::new());
        let mut interrupted = false;
        loop {
            while !interrupted && flying.len() < AT_ONCE {
                let Some(name) = waiting.next() else { break };
                flying.spawn(refresh(Arc::clone(self.keeper), name.clone(), self.due));
            }
            if flying.is_empty() {
                return Ok((done, interrupted));
            }
            tokio::select! {
                Some(landed) = flying.join_next() => {
                    let (name, result) =
                        landed.map_err(|error| Trouble::plain(Exit::Failed, error.to_string()))?;
                    done.push(self.landed(name, result));
                }
                () = asked_to_end.next() => {
                    if interrupted || self.keeper.ground() {
                        // What has been sent, if anything has, is abandoned; its intent is on disk.
                        return if interrupted { Err(abandoned()) } else { Ok((done, true)) };
                    }
                    interrupted = true;
                    self.bar.suspend(|| self.session.printer.note(
                        "no more are started; what is under way is seen through, so that no answer is lost; Ctrl-C abandons it",
                    ));
                }
            }
        }
    }

    /// A failure is told at once.
    fn landed(&self, name: String, result: Refreshed) -> Done {
        let place = self.session.place().with(&name);
        let result = result.map_err(|error| Trouble::of(error, &place).at(&place));
        self.bar.suspend(|| match &result {
            Err(trouble) if !self.session.globals.json => {
                self.session.printer.trouble(&trouble.clone().prefixed(&name));
            }
            Ok(Some(hand_out)) => tell_warnings(self.session, hand_out),
            _ => {}
        });
        self.bar.set_message(name.clone());
        self.bar.inc(1);
        Done { name, result }
    }

    fn report(&self, names: &[String], done: &[Done], interrupted: bool) -> Result<Exit, Trouble> {
        let (mut renewed, mut not_due, mut failed) = (0_usize, 0_usize, 0_usize);
        let mut exit = if interrupted { Exit::Interrupted } else { Exit::Done };
        for Done { result, .. } in done {
            match result {
                Ok(Some(_)) => renewed += 1,
                Ok(None) => not_due += 1,
                Err(trouble) => {
                    failed += 1;
                    exit = exit.graver(trouble.exit);
                }
            }
        }
        if self.session.globals.json {
            self.session.printer.json_data(&self.as_json(names, done)?)?;
            return Ok(exit);
        }
        let not_tried = names.len().saturating_sub(done.len());
        let counts =
            [("renewed", renewed), ("not due", not_due), ("failed", failed), ("not tried", not_tried)];
        let words: Vec<_> = counts
            .iter()
            .filter(|(word, count)| *count > 0 || *word == "renewed")
            .map(|(word, count)| format!("{word} {count}"))
            .collect();
        self.session.printer.note(&words.join(", "));
        Ok(exit)
    }

    fn as_json(&self, names: &[String], done: &[Done]) -> Result<Value, Trouble> {
        let mut list = Vec::new();
        for name in names {
            let found = done.iter().find(|done| done.name == *name);
            list.push(match found.map(|done| &done.result) {
                Some(Err(trouble)) => {
                    json!({"connection": name, "refreshed": false, "error": trouble.as_json()})
                }
                Some(Ok(hand_out)) => Outcome::read(self.keeper, name, hand_out.is_some())?.as_json(),
                None => json!({"connection": name, "refreshed": false, "not_tried": true}),
            });
        }
        Ok(Value::Array(list))
    }
}

async fn refresh(keeper: Arc<Keeper>, name: String, due: bool) -> (String, Refreshed) {
    let refreshed =
        if due { keeper.refresh_if_due(&name).await } else { keeper.refresh(&name).await.map(Some) };
    (name, refreshed)
}
