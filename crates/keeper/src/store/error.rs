//! What a store says when it could not do what it was asked: what, with which file or server, and never a secret.

use super::{ServerFailure, standing};
use perennial_core::Connection;
use std::io;
use std::path::PathBuf;

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
    /// The file is a store's, and has been damaged: cut short, overwritten, or an older copy of itself.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The newest good copy of it, where there is one.
        backup: Option<PathBuf>,
    },
    /// What is sealed there does not open with this master key.
    #[error("{} does not open: {reason}", path.display())]
    Closed {
        /// The store's file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What puts it right.
        remedy: String,
    },
    /// Two connections cannot have one name.
    #[error("there is a connection named \"{name}\" already in {store}")]
    NameTaken {
        /// The name.
        name: String,
        /// The store.
        store: String,
    },
    /// A name that would be trouble in a shell or in a file name.
    #[error("\"{name}\" is no name for a connection")]
    BadName {
        /// The name, as far as it may be shown.
        name: String,
    },
    /// This store has what it has.
    #[error("{store} {cannot}")]
    Fixed {
        /// The store.
        store: String,
        /// What it does not do.
        cannot: &'static str,
        /// What a person does instead.
        instead: &'static str,
    },
    /// Another store is in use in this one's stead.
    #[error("{store} was handed over to {to}, and presents no token any more")]
    HandedOver {
        /// The store.
        store: String,
        /// Where it went.
        to: String,
    },
    /// The server ends a grant whose refresh token comes twice, and what this was copied from may present it too.
    #[error(
        "{store} is a copy ({of}), and the refresh token of \"{name}\" may be presented from one place only"
    )]
    IsCopy {
        /// The store.
        store: String,
        /// How that is known.
        of: standing::Origin,
        /// The connection.
        name: String,
    },
    /// An app has one client secret for all its connections: a list does not replace it.
    #[error("the client secret is another than the one that is kept for this app")]
    OtherSecret,
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
    /// An address that cannot be used. It is not shown: it may hold a password.
    #[error("{what}")]
    BadAddress {
        /// What is wrong with it.
        what: String,
        /// What a person writes instead.
        remedy: String,
    },
    /// The database server could not be reached, or refused.
    #[error("{store}: {failure}")]
    Server {
        /// The store.
        store: String,
        /// Why.
        failure: ServerFailure,
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
