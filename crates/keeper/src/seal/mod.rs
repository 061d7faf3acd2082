//! Encryption at rest (law 10). What is sealed names what it belongs to as associated data, so that one sealed text put
//! in another's place does not open. It seals the secrets of databases, and what must outlive a store that fails: the
//! [`rescue`] file. SAP's own two files are plain on purpose.
//!
//! | module | what it tells |
//! |---|---|
//! | `source` | where a master key comes from, and what its text looks like |
//! | `command` | a key that a command gives |
//! | `key_file` | the file that a key lies in: made, given a new key, rid of old ones |
//! | `passphrase` | a key that a person knows by heart |
//! | `master` | the master key, opened: what it seals, and what it opens |
//! | `sealer` | one key, and what is sealed under it |
//! | `wiped` | JSON with secrets in it, written once and wiped |
//! | [`rescue`] | the rescue file |

mod command;
mod key_file;
mod master;
mod passphrase;
pub mod rescue;
pub(crate) mod sealer;
mod source;
pub(crate) mod wiped;

pub use master::{Asked, MasterKey, key_named_in};
pub(crate) use sealer::{KEY, Sealer};
pub use source::KeySource;

use std::io;
use std::path::PathBuf;

/// Why something does not open, or cannot be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file system, or the system's source of randomness.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The key text holds something else than keys.
    #[error("the master key is damaged: it must be 64 hexadecimal digits, on each line")]
    DamagedKey,
    /// The variable that should hold the key is not set.
    #[error("the environment variable {0}, which should hold the master key, is not set")]
    NoVariable(String),
    /// The key file that sealed this is not there any more. None is made in its place.
    #[error("the master key {} is not there", .0.display())]
    NoKey(PathBuf),
    /// systemd has handed over no such credential.
    #[error("systemd has handed over no credential {0}, which should hold the master key")]
    NoCredential(String),
    /// The command that should give the key did not.
    #[error("the command that should give the master key did not: {program} {why}")]
    Command {
        /// Its first word.
        program: String,
        /// What it did instead.
        why: String,
    },
    /// A passphrase is wanted, and nobody is there to type it.
    #[error("nobody can be asked for the passphrase here")]
    NobodyToAsk,
    /// A person left the question open.
    #[error("no passphrase was given")]
    NoPassphrase,
    /// Another passphrase was typed than the one that sealed this.
    #[error("the passphrase is not the one that it was sealed under")]
    WrongPassphrase,
    /// Nobody has named a place to keep it.
    #[error("there is no home directory to keep it in")]
    NoPlace,
    /// Not something that was sealed here.
    #[error("this was not sealed by Perennial, or by a newer version of it")]
    Foreign,
    /// The key that it names is not at hand.
    #[error(
        "it was sealed under the master key {needs}, which is not among those that {source_name} holds ({holds})"
    )]
    OtherKey {
        /// The key's id.
        needs: String,
        /// Where keys come from.
        source_name: String,
        /// The ids of the keys that it holds.
        holds: String,
    },
    /// The key that it names is at hand, and it does not open.
    #[error("it was altered: its master key is the right one, and it does not open")]
    Altered,
    /// Another key, another place, or altered bytes.
    #[error("this does not open: it was sealed under another key, or it was altered")]
    Closed,
}
