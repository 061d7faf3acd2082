//! What a person does with connections beside asking for tokens. Each leaves a line in the journal.

use crate::error::Error;
use crate::keeper::Keeper;
use crate::kit::blocking;
use crate::store::{App, Parcel, WriteError, agenda};
use perennial_core::connection::Condition;
use perennial_core::journal::{Entry, Event};
use perennial_core::secret::RequestToken;
use perennial_core::verdict::Verdict;
use perennial_core::{Connection, Policy};
use std::path::PathBuf;

/// What is kept outside the store, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The file.
    pub path: PathBuf,
    /// Tokens that the store would not take; else an answer that nobody could read.
    pub is_tokens: bool,
    /// Why it does not open, where that was tried.
    pub problem: Option<String>,
}

impl Keeper {
    /// What is kept outside the store: tokens that wait for it, and answers that wait for a person (law 5).
    #[must_use]
    pub fn outside(&self) -> Vec<Outside> {
        let rescue = &self.kit().rescue;
        let tokens = rescue.waiting(None).into_iter().map(|waiting| match waiting {
            Ok(rescued) => Outside { path: rescued.path.clone(), is_tokens: true, problem: None },
            Err((path, error)) => Outside { path, is_tokens: true, problem: Some(error.to_string()) },
        });
        let answers =
            rescue.answers().into_iter().map(|path| Outside { path, is_tokens: false, problem: None });
        tokens.chain(answers).collect()
    }

    /// Takes a new connection in; `how` is its first line in the journal, behind what it brings along.
    ///
    /// # Errors
    /// When the name is taken, or the store takes none.
    pub fn add(
        &self,
        connection: &Connection,
        app: &App,
        history: &[Entry],
        how: impl Into<String>,
    ) -> Result<(), Error> {
        let kit = self.kit();
        blocking(|| kit.store.add(connection, app))?;
        for entry in history {
            if let Err(error) = blocking(|| kit.store.note(&connection.name, entry)) {
                tracing::warn!(%error, "a line of its history could not be taken along");
            }
        }
        kit.note(connection, Event::Noted { what: how.into() });
        Ok(())
    }

    /// The same for who cannot know what secret the app has: one that is not the one in force is refused, because all
    /// connections of the app share it.
    ///
    /// # Errors
    /// When the name is taken, the store takes none, or the secret is another one
    /// ([`OtherSecret`](crate::store::StoreError::OtherSecret)).
    pub fn add_to_app(
        &self,
        connection: &Connection,
        app: &App,
        how: impl Into<String>,
    ) -> Result<(), Error> {
        let kit = self.kit();
        let at = connection.skew.server_time(kit.now());
        let entry = Entry { at, event: Event::Noted { what: how.into() }, correlation_id: None };
        let parcel = Parcel { connection: connection.clone(), app: app.clone(), history: vec![entry] };
        let outcome = blocking(|| kit.store.add_all(std::slice::from_ref(&parcel))).pop();
        let silent = || Error::Internal("the store said nothing of a new connection".to_owned());
        Ok(outcome.ok_or_else(silent)??)
    }

    /// The server calls the client secret wrong that a person has given: the one before is in force again, because all
    /// connections of the app share it. What else was given stays.
    ///
    /// # Errors
    /// When there is no such connection, or a person edits the file.
    pub fn put_back_secret(&self, name: &str, before: &App, given: &App) -> Result<(), Error> {
        let app = App { client: before.client.clone(), ..given.clone() };
        self.put_app(name, &app, "the client secret before is in force again")
    }

    /// Replaces what a person gives to obtain a grant with; the next flight reads it anew (law 6).
    ///
    /// # Errors
    /// When there is no such connection, or a person edits the file.
    pub fn put_app(&self, name: &str, app: &App, how: impl Into<String>) -> Result<(), Error> {
        let kit = self.kit();
        blocking(|| kit.store.put_app(name, app))?;
        kit.note(&kit.read(name)?, Event::Noted { what: how.into() });
        Ok(())
    }

    /// Gives a connection another name; its identity and its history stay.
    ///
    /// # Errors
    /// When there is none, or the new name is taken, or the store takes none.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), Error> {
        Ok(blocking(|| self.kit().store.rename(name, to))?)
    }

    /// Puts a connection away with all that is held of it (law 5).
    ///
    /// # Errors
    /// When there is none, or the store cannot do it.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.kit().store.read(name)?;
        Ok(blocking(|| self.kit().store.remove(name))?)
    }

    /// Takes a connection out again whose first exchange was refused, with this request token: it holds nothing, and
    /// whoever made the token up leaves nothing behind. What holds anything, is being worked on, or has been given another
    /// token since, stays. Says whether it went.
    ///
    /// # Errors
    /// When there is none, or the store cannot do it.
    pub fn discard(&self, name: &str, refused: &RequestToken) -> Result<bool, Error> {
        let kit = self.kit();
        let Some(claim) = blocking(|| kit.store.try_claim(name))? else { return Ok(false) };
        let seen = kit.look(claim.as_ref())?;
        let is_refused = kit.store.app(name)?.request_token.as_ref() == Some(refused);
        if !is_refused || agenda::holds_anything(&seen) {
            return Ok(false);
        }
        blocking(|| kit.store.discard(name))?;
        Ok(true)
    }

    /// Brings back what was last put away under this name.
    ///
    /// # Errors
    /// When nothing was, or the name is taken again.
    pub fn restore(&self, name: &str) -> Result<(), Error> {
        Ok(blocking(|| self.kit().store.restore(name))?)
    }

    /// Puts a line into a connection's journal; nobody fails for that.
    pub fn note(&self, name: &str, what: impl Into<String>) {
        if let Ok(seen) = self.kit().read(name) {
            self.kit().note(&seen, Event::Noted { what: what.into() });
        }
    }

    /// Stops a connection's refreshes until [`Self::resume`]. An access token that lives is handed out to its end (law 9).
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot be written.
    pub async fn suspend(&self, name: &str, how: impl Into<String>) -> Result<Connection, Error> {
        self.change(name, |next| next.condition = Condition::Suspended, how).await
    }

    /// Lets a connection that was suspended be refreshed again.
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot be written.
    pub async fn resume(&self, name: &str, how: impl Into<String>) -> Result<Connection, Error> {
        let sound = |next: &mut Connection| {
            if next.condition == Condition::Suspended {
                next.condition = Condition::Sound;
            }
        };
        self.change(name, sound, how).await
    }

    /// Changes the numbers that a connection is kept by, under its claim: a flight that is under way is waited for.
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot be written.
    pub async fn set_policy(
        &self,
        name: &str,
        change: impl Fn(&mut Policy),
        how: impl Into<String>,
    ) -> Result<Connection, Error> {
        self.change(name, |next| change(&mut next.policy), how).await
    }

    /// Says which scope a connection asks for from now on; none leaves it to the server. What is held stays as it is.
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot be written.
    pub async fn set_scope(
        &self,
        name: &str,
        scope: Option<String>,
        how: impl Into<String>,
    ) -> Result<Connection, Error> {
        self.change(name, |next| next.obtaining.scope.clone_from(&scope), how).await
    }

    /// Puts the scope back that was asked for `before`, since no grant came of another one: what the refusal of that one
    /// has stopped goes on.
    ///
    /// # Errors
    /// When there is no such connection, or the store cannot be written.
    pub async fn put_back_scope(&self, name: &str, before: &Connection) -> Result<Connection, Error> {
        let back = |next: &mut Connection| {
            next.obtaining.scope.clone_from(&before.obtaining.scope);
            let is_about_it =
                next.last_fault.as_ref().is_some_and(|fault| fault.verdict == Verdict::FixScope);
            if next.condition == Condition::Suspended && is_about_it {
                next.condition = before.condition;
            }
        };
        self.change(name, back, "no grant came of it: the scope of before is asked for again").await
    }

    pub(crate) async fn change(
        &self,
        name: &str,
        change: impl Fn(&mut Connection),
        how: impl Into<String>,
    ) -> Result<Connection, Error> {
        let kit = self.kit();
        let mut claim = kit.claim(name).await?;
        loop {
            let seen = kit.look(claim.as_ref())?;
            let mut next = seen.clone();
            change(&mut next);
            match kit.commit(claim.as_mut(), &seen.version(), &next) {
                Ok(()) => {
                    kit.note(&next, Event::Noted { what: how.into() });
                    return Ok(next);
                }
                // Somebody who takes no claim has written: what stands there now is changed.
                Err(WriteError::Moved(_)) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
    }
}
