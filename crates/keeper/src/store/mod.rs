//! Where connections are kept. A [`Store`] reads freely, and writes only under a [`Claim`]: the exclusive right to
//! present a connection's refresh token. Every write names the version that it was derived from, and is refused when
//! that has moved (law 8).
//!
//! | module | what it is |
//! |---|---|
//! | [`sap_sample`] | SAP's two JSON files in a directory |
//! | [`document`] | a connection as JSON, as files and the rescue file hold it |
//! | `durable` | a file that is replaced whole, durably, into room that was reserved before |

pub mod document;
pub(crate) mod durable;
pub mod sap_sample;

use perennial_core::Connection;
use perennial_core::connection::Version;
use perennial_core::grant::{Client, Principal};
use perennial_core::secret::RequestToken;
use std::io;
use std::path::PathBuf;

pub use sap_sample::SapSample;

/// Where connections are kept. Methods are synchronous and short; what waits, waits outside.
pub trait Store: Send + Sync + 'static {
    /// Names the store in messages and in the rescue file: the same text for the same store, always.
    fn address(&self) -> String;

    /// The names of all connections.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn names(&self) -> Result<Vec<String>, StoreError>;

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
}

/// The exclusive right to present a connection's refresh token. Dropping it gives it back; so does dying.
pub trait Claim: Send + Sync {
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
pub struct App {
    /// The OAuth client.
    pub client: Client,
    /// The company to obtain a grant for.
    pub company: Option<Principal>,
    /// The request token to obtain it with, where one is filled in.
    pub request_token: Option<RequestToken>,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no connection of that name.
    #[error("there is no connection named \"{name}\" in {store}")]
    NoSuchConnection {
        /// The name.
        name: String,
        /// The store.
        store: String,
    },
    /// A file is there and cannot be understood. It has not been touched.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why, with line and column where they are known; never a value.
        reason: String,
    },
    /// The credentials are absent.
    #[error("there is no {}", path.display())]
    NoCredentials {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The credentials are there, and are not (rightly) filled in.
    #[error("{} is not filled in: {}", path.display(), problems.join("; "))]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// One text for each field.
        problems: Vec<String>,
    },
    /// Others may tamper with the directory, or a file is protected against us.
    #[error("{} {reason}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// What puts it right: a command, as a rule.
        remedy: String,
    },
    /// The operating system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was being done, in the infinitive.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else has replaced the tokens; here is what is there now.
    #[error("the tokens were replaced by somebody else in the meantime")]
    Moved(Box<Connection>),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}
