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

use crate::seal::{KeySource, MasterKey, SealError};
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

/// Why the data keys of a store do not open.
pub(crate) enum Closed {
    /// Something is wrong with the master key; what, and what puts it right.
    Key { reason: String, remedy: String },
    /// The master key is the right one.
    Damage(String),
}

/// Another key, a missing one, an unreadable one and a damaged store are four things, and want four remedies.
pub(crate) fn closed(master: &MasterKey, error: SealError) -> Closed {
    let source = master.source().in_short();
    let another = "name the master key that it was sealed with: --master-key file:PATH";
    let (reason, remedy) = match error {
        SealError::Altered => return Closed::Damage("its data key was altered".to_owned()),
        SealError::OtherKey { needs, holds, .. } => (
            format!(
                "the master key {source} is not the one that it was sealed under: that is {needs}, this is {holds}"
            ),
            another.to_owned(),
        ),
        SealError::Closed | SealError::Foreign => (
            format!("the master key {source} is not the one that it was sealed under"),
            format!(
                "{another}; if this is that key, the database is damaged: perennial doctor --restore-backup"
            ),
        ),
        SealError::WrongPassphrase => (
            "the passphrase is not the one that it was sealed under".to_owned(),
            "type it again, or name another source: --master-key file:PATH".to_owned(),
        ),
        SealError::DamagedKey => (
            format!("the master key {source} is damaged: it must be 64 hexadecimal digits, on each line"),
            "put the key back from where you keep a copy, or name another: --master-key file:PATH".to_owned(),
        ),
        SealError::NoKey(_) => (
            format!("the master key {source} is not there; put it back from where you keep a copy"),
            format!("put it back, or {another}"),
        ),
        SealError::Io(error) => (
            format!("the master key {source} could not be read or made: {error}"),
            match master.source() {
                KeySource::File(path) => {
                    format!("give the user who runs this the right to read it: chmod u+r {}", path.display())
                }
                _ => "put that right, then: perennial key check".to_owned(),
            },
        ),
        SealError::NoVariable(name) => (
            SealError::NoVariable(name.clone()).to_string(),
            format!("set {name} to 64 hexadecimal digits, or {another}"),
        ),
        SealError::NoCredential(name) => (
            SealError::NoCredential(name.clone()).to_string(),
            format!("give it to the unit: LoadCredentialEncrypted={name}:/etc/credstore.encrypted/{name}"),
        ),
        SealError::NobodyToAsk => (
            "the passphrase that it was sealed under cannot be asked for: there is no terminal".to_owned(),
            "run this on a terminal, or move to another source there: perennial key rotate --to file:PATH"
                .to_owned(),
        ),
        SealError::Command { .. } => {
            (error.to_string(), "run the command by itself, and see what it says".to_owned())
        }
        other => (other.to_string(), "look into the master key: perennial key check".to_owned()),
    };
    Closed::Key { reason, remedy }
}
