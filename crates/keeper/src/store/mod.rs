//! Where connections are kept. A [`Store`] reads freely, and writes only under a [`Claim`]: the exclusive right to
//! present a connection's refresh token. Every write names the version that it was derived from, and is refused when
//! that has moved (law 8).
//!
//! | module | what it is |
//! |---|---|
//! | [`sqlite`] | many connections in one file, sealed |
//! | [`postgres`] | many connections in a database that many machines share, sealed |
//! | [`sap_sample`] | SAP's two JSON files in a directory |
//! | [`memory`] | nothing but memory: for tests, and for programs that keep tokens elsewhere |
//! | [`archive`] | many connections in one sealed file, to be carried elsewhere |
//! | [`document`] | a connection as JSON, as files and the rescue file hold it |
//! | [`interchange`] | a connection as a directory that can be carried elsewhere |
//! | [`rekey`] | what a sealed store must do so that its keys can be replaced |
//! | [`record`] | an entry of the journal as JSON |
//! | `error` | what a store says when it could not |
//! | [`standing`] | in use, a copy, or handed over |
//! | `agenda` | what is due, how urgent it is, and whether it may be tried |
//! | `sealed` | how a database of connections is sealed, whichever it is |
//! | `unfinished` | a new file that takes its name once it is whole |
//! | `durable` | a file that is replaced whole, durably, into room that was reserved before |

pub(crate) mod agenda;
pub mod archive;
pub mod document;
pub(crate) mod durable;
mod error;
pub mod interchange;
pub mod memory;
pub mod postgres;
pub mod record;
pub mod rekey;
pub mod sap_sample;
pub(crate) mod sealed;
pub mod sqlite;
pub mod standing;
pub(crate) mod unfinished;

use perennial_core::connection::Version;
use perennial_core::grant::{Client, Principal};
use perennial_core::journal::Entry;
use perennial_core::secret::RequestToken;
use perennial_core::{Connection, UnixTime};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub use durable::try_room;
pub use error::{StoreError, WriteError};
pub use interchange::Parcel;
pub use memory::Memory;
pub use postgres::{Postgres, PostgresOptions, ServerFailure};
pub use sap_sample::SapSample;
pub use sqlite::{Finding, Sqlite, SqliteOptions};
pub use standing::Standing;

/// Where connections are kept. Methods are synchronous and short; what waits, waits outside.
pub trait Store: Send + Sync + 'static {
    /// Names the store in messages and in the rescue file: the same text for the same store, always.
    fn address(&self) -> String;

    /// The names of all connections.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn names(&self) -> Result<Vec<String>, StoreError>;

    /// The names of connections behind `after`, in the order of their bytes, at most `limit` of them: many are gone
    /// through page by page.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn names_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut names = self.names()?;
        names.sort_unstable();
        names.retain(|name| after.is_none_or(|after| name.as_str() > after));
        names.truncate(limit);
        Ok(names)
    }

    /// One connection as it is kept now, without a claim.
    ///
    /// # Errors
    /// When there is none of that name, or the store cannot be read.
    fn read(&self, name: &str) -> Result<Connection, StoreError>;

    /// The app of a connection: read anew at each call, because a person may just have put it right (law 6).
    ///
    /// # Errors
    /// When it cannot be read, or is not filled in.
    fn app(&self, name: &str) -> Result<App, StoreError>;

    /// Takes the claim if nobody holds it; `None` when somebody does.
    ///
    /// # Errors
    /// When the store cannot be written: a store that cannot write spends no token (law 4).
    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError>;

    /// How its keys are replaced, where it is sealed.
    fn rekey(&self) -> Option<&dyn rekey::Rekey> {
        None
    }

    /// The names of the connections whose renewal is due at `at`, by the server's clock.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn due(&self, at: UnixTime) -> Result<Vec<String>, StoreError> {
        let mut due = Vec::new();
        for name in self.names()? {
            if self.read(&name)?.renew_at().is_some_and(|renew_at| renew_at <= at) {
                due.push(name);
            }
        }
        Ok(due)
    }

    /// The names of connections whose renewal is due at `at` and may be tried then, the most urgent first: those whose
    /// refresh token ends soonest. At most `limit` of them, and none that is named in `but`: somebody in this process is
    /// at work on it. What backs off, or waits for a person, is not among them, as far as the store can tell; who
    /// gets them decides again. Several keepers of one store get different ones where the store can do that.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn due_batch(
        &self,
        at: UnixTime,
        limit: usize,
        but: &BTreeSet<String>,
    ) -> Result<Vec<String>, StoreError> {
        let mut due = Vec::new();
        for name in self.names()?.into_iter().filter(|name| !but.contains(name)) {
            let connection = match self.read(&name) {
                Err(StoreError::NoSuchConnection { .. }) => continue, // It was renamed or put away just now.
                read => read?,
            };
            if let Some(renew_at) = connection.renew_at().filter(|renew_at| *renew_at <= at)
                && agenda::may_be_tried(&connection, at)
            {
                due.push((agenda::urgency(&connection, renew_at), name));
            }
        }
        due.sort_unstable();
        due.truncate(limit);
        Ok(due.into_iter().map(|(_, name)| name).collect())
    }

    /// How many connections' renewal is due at `at`, whatever stands in their way; no more than [`MOST_COUNTED`] are
    /// counted. For a gauge: what is asked often must be cheap.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn backlog(&self, at: UnixTime) -> Result<u64, StoreError> {
        Ok((self.due(at)?.len() as u64).min(MOST_COUNTED))
    }

    /// When the next connection's renewal is due behind `after`, by the server's clock, so that an idle keeper knows
    /// how long there is nothing to do. `None` where none is.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn next_due(&self, after: UnixTime) -> Result<Option<UnixTime>, StoreError> {
        let mut next: Option<UnixTime> = None;
        for name in self.names()? {
            let renew_at = self.read(&name)?.renew_at().filter(|at| *at > after);
            next = next.into_iter().chain(renew_at).min();
        }
        Ok(next)
    }

    /// Since when the connection that has been due longest waits, of those that may be tried at `at`: how far whoever
    /// keeps this store's grants alive lags behind. `None` where none is due; one of which nobody knows since when does
    /// not count. For a gauge: what is asked often must be cheap.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn longest_due(&self, at: UnixTime) -> Result<Option<UnixTime>, StoreError> {
        let mut longest: Option<UnixTime> = None;
        for name in self.names()? {
            let connection = match self.read(&name) {
                Err(StoreError::NoSuchConnection { .. }) => continue, // It was renamed or put away just now.
                read => read?,
            };
            let due = connection.renew_at().filter(|renew_at| renew_at.0 > 0 && *renew_at <= at);
            if let Some(renew_at) = due.filter(|_| agenda::may_be_tried(&connection, at)) {
                longest = longest.into_iter().chain([renew_at]).min();
            }
        }
        Ok(longest)
    }

    /// How many refresh tokens end within each of `bounds` (seconds from `at`, by the server's clock, ascending), of as
    /// many connections as can be looked at in a moment, behind those of the page before. Ask again with what comes
    /// beside it, for as long as something does, and add the pages up: for what is counted once in an hour, and slowly.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ends(
        &self,
        at: UnixTime,
        bounds: &[i64],
        after: Option<u64>,
    ) -> Result<(Ends, Option<u64>), StoreError> {
        let _ = after;
        Ok((agenda::ends(self, at, bounds)?, None))
    }

    /// Which connections may have changed since `since`, a mark that this store gave out: their tokens, their state,
    /// their names, or that they are there at all. With `None` the mark of now, and no names. A mark is good for this
    /// store object alone.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn changes(&self, since: Option<u64>) -> Result<Changes, StoreError> {
        let _ = since;
        Ok(Changes::Unknown)
    }

    /// How long whoever finds a claim taken waits before he asks for it again: no lock tells that it is free, and what
    /// asking costs decides.
    fn claim_pause(&self) -> Duration {
        Duration::from_millis(15)
    }

    /// Entries of the journal behind number `after`, oldest first, at most `limit` of them: the newest ones where
    /// `after` is none. Of one connection, or of all.
    ///
    /// # Errors
    /// When it cannot be read.
    fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// Puts an entry down that belongs to no write.
    ///
    /// # Errors
    /// When it cannot be written. Nobody may fail for that alone.
    fn note(&self, name: &str, entry: &Entry) -> Result<(), StoreError>;

    /// Takes a new connection in, with its app, and with tokens if it has any.
    ///
    /// # Errors
    /// When the name is taken or no name, or the store takes none ([`StoreError::Fixed`]).
    fn add(&self, connection: &Connection, app: &App) -> Result<(), StoreError>;

    /// Takes many in, each with its history: one outcome for each, in their order. All of a parcel is taken in, or
    /// nothing of it, and one that is refused keeps no other from it. Stores that can share transactions do.
    fn add_all(&self, parcels: &[Parcel]) -> Vec<Result<(), StoreError>> {
        let add = |parcel: &Parcel| {
            self.add(&parcel.connection, &parcel.app)?;
            parcel.history.iter().try_for_each(|entry| self.note(&parcel.connection.name, entry))
        };
        parcels.iter().map(add).collect()
    }

    /// Replaces what a person gives: client secret, company, request token (law 6: the next flight reads it anew).
    ///
    /// # Errors
    /// When there is no such connection, or a person edits the file ([`StoreError::Fixed`]).
    fn put_app(&self, name: &str, app: &App) -> Result<(), StoreError>;

    /// Gives a connection another name; its identity and its history stay, and a line of it tells of this, in the same
    /// write, so that nobody misses it ([`Self::changes`]).
    ///
    /// # Errors
    /// When there is no such connection, or the new name is taken, or the store takes none.
    fn rename(&self, name: &str, to: &str) -> Result<(), StoreError>;

    /// Is this the store in use? Asked before each presentation; a store that cannot tell is.
    ///
    /// # Errors
    /// When it cannot be read.
    fn standing(&self) -> Result<Standing, StoreError> {
        Ok(Standing::InUse)
    }

    /// Makes this the store in use, whatever it was, and says what that is.
    ///
    /// # Errors
    /// When it cannot be written.
    fn adopt(&self) -> Result<Standing, StoreError> {
        self.standing()
    }

    /// Hands the store over: from here on no intent is taken any more, and [`Self::standing`] says where it went.
    ///
    /// # Errors
    /// When it cannot be written, or the store cannot be handed over ([`StoreError::Fixed`]).
    fn close(&self, to: &str) -> Result<(), StoreError> {
        let _ = to;
        Err(StoreError::Fixed {
            store: self.address(),
            cannot: "cannot be handed over",
            instead: "export it, then use it no more: perennial export --all --to FILE",
        })
    }

    /// Puts a connection away, with all that is held of it: nobody is served from it any more (law 5: a person may
    /// have erred). In the same write, a line of the journal tells of it.
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot do it.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Puts a connection away that somebody made up and no server took, and forgets the one for good that was discarded
    /// before it, if nothing is held of that: however many are made up, one of them stays. (The newest must, for who
    /// follows [`Self::changes`] counts by it.) Where a store cannot forget, it is put away.
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot do it.
    fn discard(&self, name: &str) -> Result<(), StoreError> {
        self.remove(name)
    }

    /// Brings back what was last put away under this name. In the same write, a line of the journal tells of it.
    ///
    /// # Errors
    /// When nothing was, or the name is taken again.
    fn restore(&self, name: &str) -> Result<(), StoreError>;
}

/// No more are counted by [`Store::backlog`].
pub const MOST_COUNTED: u64 = 100_000;

/// When refresh tokens end: what [`Store::ends`] counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// How many end within each of the bounds that were asked for: cumulative. What has ended already is within all.
    pub within: Vec<u64>,
    /// How many there are whose end is known.
    pub known: u64,
    /// The seconds that these have left, in all; none for what has ended.
    pub seconds: u64,
}

impl Ends {
    /// Of no connection.
    #[must_use]
    pub fn none(bounds: usize) -> Self {
        Self { within: vec![0; bounds], ..Self::default() }
    }

    /// With those of another page.
    #[must_use]
    pub fn and(mut self, page: &Self) -> Self {
        self.known += page.known;
        self.seconds = self.seconds.saturating_add(page.seconds);
        self.within.iter_mut().zip(&page.within).for_each(|(count, more)| *count += more);
        self
    }
}

/// What [`Store::changes`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// This store cannot tell, or not since that mark: look at each connection, and ask for a new mark before that.
    Unknown,
    /// These may have changed, and no others.
    Named {
        /// Their names today, also of those that were put away. Each once.
        names: Vec<String>,
        /// What to ask with next.
        mark: u64,
        /// True when there are more behind it: ask again at once.
        more: bool,
    },
}

/// An entry of the journal, as it stands in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Grows from entry to entry; what `after` counts by.
    pub number: u64,
    /// The connection's name today.
    pub connection: String,
    /// What happened.
    pub entry: Entry,
}

/// Names are typed, and stand in messages and file names: letters, digits and `. _ - @`, at most 128 of them, and no
/// dot or dash in front.
///
/// # Errors
/// When this is none.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = |c: char| c.is_alphanumeric() || "._-@".contains(c);
    let good = !name.is_empty()
        && name.chars().count() <= 128
        && name.chars().all(plain)
        && !name.starts_with(['.', '-']);
    if good { Ok(()) } else { Err(StoreError::BadName { name: perennial_core::token_endpoint::plain(name) }) }
}

/// The exclusive right to present a connection's refresh token. Dropping it gives it back; so does dying.
pub trait Claim: Send + Sync {
    /// Names the lock that stands behind it. Whoever finds an open intent under the same lock knows that its sender is
    /// dead, for else he would not hold it; under any other lock the sender may live, and its deadline is waited out
    /// (law 2).
    fn lock(&self) -> &str;

    /// Looks again (law 3).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read(&self) -> Result<Connection, StoreError>;

    /// Writes a connection that carries an intent, durably, and reserves the room that the commit will need (law 4).
    ///
    /// # Errors
    /// When it could not be made durable; then nothing may be sent.
    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError>;

    /// Writes the outcome, durably.
    ///
    /// # Errors
    /// [`WriteError::Moved`] when somebody else has replaced the tokens since `from`.
    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError>;

    /// Moves what could not be read out of the way under a new name, which it returns (law 5). `None` when there was
    /// nothing, or it can be read.
    ///
    /// # Errors
    /// When it could not be moved.
    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError>;
}

/// An app, and what a person has given to obtain a grant with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct App {
    /// The OAuth client.
    pub client: Client,
    /// The company to obtain a grant for.
    pub company: Option<Principal>,
    /// The request token to obtain it with, where one is filled in.
    pub request_token: Option<RequestToken>,
    /// Since when the request token has been known here, by this host's clock: it is at least this old.
    pub known_since: Option<UnixTime>,
}

impl App {
    /// An app with a grant to be obtained, or none yet.
    #[must_use]
    pub fn new(client: Client, company: Option<Principal>, request_token: Option<RequestToken>) -> Self {
        Self { client, company, request_token, known_since: None }
    }

    /// The same, with the time since when the request token has been known.
    #[must_use]
    pub fn known_since(self, at: UnixTime) -> Self {
        Self { known_since: Some(at), ..self }
    }
}
