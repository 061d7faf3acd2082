//! What a sealed store must do so that its keys can be replaced while it is in use. A data key seals rows; the master key
//! wraps data keys. Each method leaves a store in which everything opens, so that a process may die between any two.

use super::StoreError;
use crate::seal::MasterKey;
use perennial_core::UnixTime;

/// A store that is sealed.
pub trait Rekey: Send + Sync {
    /// What it is opened with.
    fn master_key(&self) -> &MasterKey;

    /// True when other machines open it too, each with a master key from a source of its own: a key that was made on one
    /// of them would be missing on the others.
    fn is_shared(&self) -> bool {
        false
    }

    /// Its data keys, the newest last; none where nothing was ever stored.
    ///
    /// # Errors
    /// When they cannot be read.
    fn data_keys(&self) -> Result<Vec<DataKey>, StoreError>;

    /// The same of the copy that the store keeps of itself; none where it keeps none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn data_keys_of_backup(&self) -> Result<Vec<DataKey>, StoreError> {
        Ok(Vec::new())
    }

    /// Wraps all data keys under the newest master key, in one transaction. With `and_draw` that transaction also draws
    /// a new data key, unless rows wait for one already: it seals what is written from then on.
    ///
    /// # Errors
    /// When they do not open, or cannot be written; then nothing has changed.
    fn rewrap(&self, and_draw: bool) -> Result<(), StoreError>;

    /// Seals some of what an older data key seals under the newest, at most `most` rows in one transaction. Rows that
    /// were altered stay as they are.
    ///
    /// # Errors
    /// When they cannot be written; then none of them has changed.
    fn reseal(&self, from: Position, most: usize) -> Result<Resealed, StoreError>;

    /// Lets go of data keys that nothing is sealed under any more, and says how many that were.
    ///
    /// # Errors
    /// When they cannot be written.
    fn drop_data_keys(&self) -> Result<usize, StoreError>;

    /// Makes the copy that the store keeps of itself anew; false where it keeps none.
    ///
    /// # Errors
    /// When it cannot be made.
    fn renew_backup(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Opens every secret there is, and says how many connections that were.
    ///
    /// # Errors
    /// With the first that does not open.
    fn open_all(&self) -> Result<u64, StoreError>;
}

/// A data key, as a person may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKey {
    /// Rows name it by this.
    pub number: i64,
    /// The id of the master key that wraps it; `None` where an earlier version wrote none down.
    pub master_key: Option<String>,
    /// True when that is the newest master key.
    pub is_newest: bool,
    /// Since when it has been there.
    pub made_at: UnixTime,
    /// How many rows are sealed under it.
    pub rows: u64,
}

/// How far sealing anew has come. Two tables are gone through for each older data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Connections under this key, behind this one.
    Connections {
        /// The data key, or the next after it.
        key: i64,
        /// The connection's number.
        after: i64,
    },
    /// Client secrets under this key, behind this one.
    Secrets {
        /// The data key.
        key: i64,
        /// The app's number, and the secret's version.
        after: (i64, i64),
    },
}

impl Position {
    /// Before the first row.
    #[must_use]
    pub fn start() -> Self {
        Self::Connections { key: 0, after: 0 }
    }
}

/// What came of one step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// How many rows are under the newest data key now.
    pub rows: u64,
    /// What was altered, and stays under its old key.
    pub altered: Vec<String>,
    /// Where to go on; `None` when it is through.
    pub next: Option<Position>,
}
