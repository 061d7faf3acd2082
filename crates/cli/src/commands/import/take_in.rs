//! Takes item after item in, many in one transaction. What is there already, with the same tokens or newer ones of the
//! same grant, is left alone: so the command can be run again after whatever ended it.

use super::put_down;
use super::source::{Item, Source};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::session::Session;
use crate::signals::Bell;
use crate::trouble::Trouble;
use perennial::core::Connection;
use perennial::core::journal::{Entry, Event};
use perennial::store::{App, Parcel, StoreError};
use perennial::{Error, Keeper};
use std::collections::HashSet;
use std::fs::File;

/// So many are handed to the store at once: some transactions' worth, and a fraction of a second between two looks at
/// whether somebody wants to end.
const AT_ONCE: usize = 512;

/// What came of it.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) count: usize,
    pub(super) already: usize,
    pub(super) refused: usize,
    /// Those that were taken in.
    pub(super) names: Vec<String>,
    /// The first of those that were refused.
    pub(super) refusals: Vec<(String, Trouble)>,
    pub(super) interrupted: bool,
    pub(super) worst: Exit,
}

/// The work.
pub(super) struct TakingIn<'a> {
    pub(super) session: &'a Session,
    pub(super) keeper: &'a Keeper,
    pub(super) bell: &'a Bell,
    pub(super) dry_run: bool,
    pub(super) refusals: Option<File>,
}

/// What is known of one item.
enum Fate {
    TakenIn,
    AlreadyThere,
    Refused(Trouble),
}

impl TakingIn<'_> {
    pub(super) fn all(mut self, source: Source) -> Result<Taken, Trouble> {
        let progress = Progress::start(self.session, source.total);
        let how = format!("imported from {}", source.from);
        let mut taken = Taken::default();
        // Only a trial needs to know what an earlier item would have taken: else the store does.
        let mut would_be = HashSet::new();
        let mut items = source.items;
        loop {
            if self.bell.has_rung() {
                taken.interrupted = true;
                break;
            }
            let some: Vec<Item> = items.by_ref().take(AT_ONCE).collect();
            let Some(last) = some.last() else { break };
            let position = last.position;
            let fates =
                if self.dry_run { self.try_out(some, &mut would_be) } else { self.take_in(some, &how) };
            for (at, name, fate) in fates {
                self.count(&mut taken, at, name, fate)?;
            }
            let words = format!(
                "{} taken in, {} already there, {} refused",
                taken.count, taken.already, taken.refused
            );
            progress.at(position, &words);
        }
        progress.end();
        Ok(taken)
    }

    fn count(&mut self, taken: &mut Taken, at: String, name: String, fate: Fate) -> Result<(), Trouble> {
        match fate {
            Fate::TakenIn => {
                taken.count += 1;
                taken.names.push(name);
            }
            Fate::AlreadyThere => taken.already += 1,
            Fate::Refused(trouble) => {
                taken.refused += 1;
                taken.worst = taken.worst.graver(trouble.exit);
                if let Some(file) = &mut self.refusals {
                    put_down(file, &at, &trouble)?;
                }
                if taken.refusals.len() < super::SHOWN {
                    taken.refusals.push((at, trouble));
                }
            }
        }
        Ok(())
    }

    /// One transaction's worth.
    fn take_in(&self, items: Vec<Item>, how: &str) -> Vec<(String, String, Fate)> {
        let now = self.keeper.now();
        let (mut places, mut parcels) = (Vec::new(), Vec::new());
        let mut fates = Vec::new();
        for Item { at, parcel, .. } in items {
            match parcel {
                Ok(mut parcel) => {
                    let at_server = parcel.connection.skew.server_time(now);
                    let event = Event::Noted { what: how.to_owned() };
                    parcel.history.push(Entry { at: at_server, event, correlation_id: None });
                    if parcel.app.request_token.is_some() && parcel.app.known_since.is_none() {
                        parcel.app = parcel.app.known_since(now);
                    }
                    places.push(at);
                    parcels.push(parcel);
                }
                Err(trouble) => fates.push((at, String::new(), Fate::Refused(trouble))),
            }
        }
        let outcomes = self.keeper.store().add_all(&parcels);
        for ((at, parcel), outcome) in places.into_iter().zip(parcels).zip(outcomes) {
            let fate = match outcome {
                Ok(()) => Fate::TakenIn,
                Err(StoreError::NameTaken { .. }) => self.compare(&parcel),
                Err(error) => Fate::Refused(error.into()),
            };
            fates.push((at, parcel.connection.name, fate));
        }
        fates
    }

    /// What would come of it, as far as that can be seen without writing.
    fn try_out(&self, items: Vec<Item>, would_be: &mut HashSet<String>) -> Vec<(String, String, Fate)> {
        let fate = |Item { at, parcel, .. }: Item| {
            let parcel = match parcel {
                Ok(parcel) => parcel,
                Err(trouble) => return (at, String::new(), Fate::Refused(trouble)),
            };
            let name = parcel.connection.name.clone();
            let fate = match self.keeper.store().read(&name) {
                Ok(_) => self.compare(&parcel),
                Err(StoreError::NoSuchConnection { .. }) if would_be.insert(name.clone()) => Fate::TakenIn,
                Err(StoreError::NoSuchConnection { .. }) => {
                    Fate::Refused(taken("there is one of that name before it"))
                }
                Err(error) => Fate::Refused(error.into()),
            };
            (at, name, fate)
        };
        items.into_iter().map(fate).collect()
    }

    /// The name is taken: by this very connection?
    fn compare(&self, parcel: &Parcel) -> Fate {
        let name = &parcel.connection.name;
        let there = self.keeper.store();
        let (kept, app) = match there.read(name).and_then(|kept| Ok((kept, there.app(name)?))) {
            Ok(both) => both,
            Err(StoreError::NoSuchConnection { .. }) => {
                let message = "this connection is here already under another name, or was put away";
                let hint = "look for it: perennial list; or bring it back: perennial remove NAME --undo";
                return Fate::Refused(Trouble::new(Exit::PersonMustAct, message, hint));
            }
            Err(error) => return Fate::Refused(Error::from(error).into()),
        };
        if !is_same(parcel, &kept, &app) {
            return Fate::Refused(taken("there is a connection of that name already, with another grant"));
        }
        if kept.version().generation < parcel.connection.version().generation {
            let message = "this connection is here already, with older tokens of the same grant";
            let hint = "put the older one away, then import again: perennial remove NAME";
            return Fate::Refused(Trouble::new(Exit::PersonMustAct, message, hint));
        }
        Fate::AlreadyThere
    }
}

fn taken(message: &str) -> Trouble {
    let hint = "give one of the two another name: perennial rename NAME OTHER; or, for one alone: --as OTHER";
    Trouble::new(Exit::PersonMustAct, message, hint)
}

/// The same app, and the same connection or the same grant; before there is a grant, the same request token.
fn is_same(parcel: &Parcel, kept: &Connection, app: &App) -> bool {
    let grant = |connection: &Connection| connection.held.as_ref().map(|held| held.grant_id.clone());
    let refresh = |connection: &Connection| connection.version().refresh;
    let own = &parcel.connection;
    let same_grant = own.held.is_some() && (grant(own) == grant(kept) || refresh(own) == refresh(kept));
    let same_request = own.held.is_none()
        && parcel.app.request_token.is_some()
        && parcel.app.request_token == app.request_token;
    parcel.app.client.id == app.client.id && (own.id == kept.id || same_grant || same_request)
}
