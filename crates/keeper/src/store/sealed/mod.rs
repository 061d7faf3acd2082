//! How a database of connections is sealed, whichever database it is. The SQL stands with each store; what is sealed,
//! under which key, and what it belongs to, stands here once (law 10).
//!
//! | module | what it is |
//! |---|---|
//! | [`keys`] | the data keys of a store, each wrapped by the master key |
//! | [`row`] | a connection's columns, sealed as a whole |
//! | [`record`] | what is in a connection, every secret sealed for itself |
//! | [`app`] | a client secret, bound to its app and its version |

pub(crate) mod app;
pub(crate) mod keys;
pub(crate) mod record;
pub(crate) mod row;

use crate::seal::{KeySource, SealError};
use perennial_core::token_endpoint::plain;

/// Why what a store holds cannot be handed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsealed {
    /// It does not open under the key that it names.
    #[error("what it holds of {0} was altered by something else than Perennial")]
    Altered(String),
    /// Nothing could be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Unsealed {
    fn connection(name: &str) -> Self {
        Self::Altered(format!("connection \"{}\"", plain(name)))
    }

    fn app(id: &str) -> Self {
        Self::Altered(format!("app \"{}\"", plain(id)))
    }
}

/// Why a database does not open with this master key.
pub(crate) fn closed_reason(source: &KeySource, error: SealError) -> String {
    match error {
        SealError::Closed | SealError::Foreign => {
            format!("the master key {source} is not the one that it was sealed under")
        }
        SealError::DamagedKey => {
            format!("the master key {source} is damaged: it must be 64 hexadecimal digits")
        }
        SealError::Io(error) => format!("the master key {source} could not be read or made: {error}"),
        SealError::NoKey(_) => {
            format!("the master key {source} is not there; put it back from where you keep a copy")
        }
        other => other.to_string(),
    }
}
