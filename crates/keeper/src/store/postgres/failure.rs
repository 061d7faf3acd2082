//! What PostgreSQL and the network say, in our words. A text of the server's names tables and roles; its detail, where
//! values may stand, is left out (law 10).

use super::place::Place;
use crate::http;
use crate::store::StoreError;
use perennial_core::Connection;
use perennial_core::token_endpoint::plain;
use std::io;
use tokio_postgres::error::{DbError, SqlState};

/// What a database server did not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerFailure {
    /// Nobody answers there.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// Name, password, or the server's list of who may come.
    #[error("it refused the login: {0}")]
    Login(String),
    /// The server did not prove who it is.
    #[error("no TLS session that can be trusted: {0}")]
    Untrusted(String),
    /// Another database.
    #[error("it has no such database: {0}")]
    NoDatabase(String),
    /// Everybody is there already.
    #[error("it takes no more connections: {0}")]
    TooManyConnections(String),
    /// The statement timeout.
    #[error("it did not finish within {0} s")]
    TooSlow(u64),
    /// SQLSTATE 53100.
    #[error("its disk is full")]
    DiskFull,
    /// SQLSTATE 25006: a standby, as a rule.
    #[error("it only lets itself be read, so new tokens could not be stored")]
    ReadOnly,
    /// SQLSTATE 42501.
    #[error("this role lacks a right: {0}")]
    NoRight(String),
    /// There are no tables, and this role may not make them.
    #[error("it has no tables of Perennial's yet, and this role may not make them: {0}")]
    NotSetUp(String),
    /// A form of the tables that this version does not know.
    #[error("its tables were written by a newer Perennial (form {found}; this version knows {known})")]
    Newer {
        /// What is there.
        found: i32,
        /// What this version writes.
        known: i32,
    },
    /// The connection went in the middle of a write, and no other one told what came of it.
    #[error("the connection was cut while it wrote, and what came of that is not known yet: {0}")]
    Unknown(String),
    /// Anything else.
    #[error("{said} (SQLSTATE {code})")]
    Other {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        said: String,
    },
}

/// Why a piece of work ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection is gone, or nothing came over it in time: what was sent last may have been done.
    Cut(String),
    /// No connection came about.
    NoConnection(StoreError),
    /// The server undid it for the sake of somebody else: it may be tried again at once.
    Again(StoreError),
    /// It was refused, and nothing was done.
    Refused(StoreError),
    /// The row is another one by now (law 8).
    Moved(Box<Connection>),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl Place {
    pub(super) fn server(&self, failure: ServerFailure) -> StoreError {
        StoreError::Server { store: self.address.clone(), failure }
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.address.clone().into(), reason: reason.into(), backup: None }
    }

    /// What a statement came to.
    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> Stop {
        if let Some(said) = error.as_db_error() {
            return self.said(said);
        }
        if error.is_closed() || is_io(error) {
            return Stop::Cut(http::innermost(error));
        }
        Stop::Refused(
            self.damaged(format!("it holds what Perennial has not written ({})", http::innermost(error))),
        )
    }

    /// What an attempt to connect came to.
    pub(super) fn not_connected(&self, error: &tokio_postgres::Error) -> Stop {
        if let Some(said) = error.as_db_error() {
            return match self.said(said) {
                Stop::Cut(why) => Stop::NoConnection(self.server(ServerFailure::Unreachable(why))),
                Stop::Refused(error) | Stop::Again(error) => Stop::Refused(error),
                stop => stop,
            };
        }
        let text = error.to_string();
        if text.contains("TLS") {
            let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
            let why = io.map_or_else(|| http::innermost(error), http::tls_failure);
            return Stop::Refused(self.server(ServerFailure::Untrusted(why)));
        }
        if is_io(error) || error.is_closed() || text.contains("connecting") || text.contains("timeout") {
            return Stop::NoConnection(self.server(ServerFailure::Unreachable(http::innermost(error))));
        }
        Stop::Refused(self.server(ServerFailure::Login(http::innermost(error))))
    }

    fn said(&self, said: &DbError) -> Stop {
        let (code, text) = (said.code(), plain(said.message()));
        let failure = match *code {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                ServerFailure::Login(text.clone())
            }
            SqlState::INVALID_CATALOG_NAME => ServerFailure::NoDatabase(text.clone()),
            SqlState::TOO_MANY_CONNECTIONS => ServerFailure::TooManyConnections(text.clone()),
            SqlState::QUERY_CANCELED => ServerFailure::TooSlow(self.statement_timeout.as_secs()),
            SqlState::DISK_FULL => ServerFailure::DiskFull,
            SqlState::READ_ONLY_SQL_TRANSACTION => ServerFailure::ReadOnly,
            SqlState::INSUFFICIENT_PRIVILEGE => ServerFailure::NoRight(text.clone()),
            _ => ServerFailure::Other { code: code.code().to_owned(), said: text.clone() },
        };
        let error = self.server(failure);
        match code.code() {
            // The server is going down, or coming up; or the pool in front of it has lost it.
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "08006" | "08P01" | "08003" | "08001" => {
                Stop::Cut(text)
            }
            "40001" | "40P01" | "55P03" => Stop::Again(error),
            _ => Stop::Refused(error),
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<io::Error>)
}
