//! Replacing the keys of a store while others use it (`perennial key`). Every step leaves a store, a backup and rescue
//! files in which everything opens; whoever dies between two steps is followed by somebody who does the rest (law 5).
//!
//! 1. A new master key is made durable, beside the old ones: it seals from then on, and they still open.
//! 2. The data keys are wrapped under it, in one transaction. To seal the data anew, that also draws a new data key.
//! 3. Rescue files are sealed under it, each under the claim of its connection: nobody takes one in meanwhile.
//! 4. Rows are sealed under the new data key, some at a time; the old data key goes when no row names it.
//! 5. The backup is made anew, and every secret is opened.
//!
//! The old master key stays in its file until a person lets it go.

use crate::failpoint;
use crate::seal::rescue::{Places, Rescue};
use crate::seal::{KeySource, MasterKey, SealError};
use crate::store::rekey::{DataKey, Position, Rekey};
use crate::store::{Store, StoreError};
use std::path::PathBuf;

/// How many rows one transaction seals anew: some tens of milliseconds in which others cannot write.
const ROWS_AT_ONCE: usize = 100;

/// What is to be done with the keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All rows are sealed anew, under a new data key.
    pub data: bool,
    /// The newest master key is new already: it comes from another source than the one before.
    pub is_moved: bool,
}

/// What has been done, as it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A new master key is there: its id.
    KeyMade(String),
    /// Somebody has begun this before, and it goes on.
    GoesOn,
    /// The source has no newer key than the one that is in use.
    NothingNewer,
    /// So many data keys are wrapped under the newest master key.
    Rewrapped(usize),
    /// So many rescue files are sealed under it.
    RescueFiles(usize),
    /// Rows that are sealed under the newest data key: so many of so many.
    Rows {
        /// So many.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// What was altered, and stays under its old data key.
    Altered(String),
    /// So many older data keys are not needed any more, and gone.
    Dropped(usize),
    /// The backup is made anew.
    BackupMade,
    /// Every secret of so many connections opens.
    Checked(u64),
}

/// A sealed file outside the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// Where it is.
    pub path: PathBuf,
    /// The id of the master key that sealed it; `None` where it names none.
    pub master_key: Option<String>,
}

/// All keys there are, and what needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The ids of the master keys, the newest first; none for a passphrase.
    pub master_keys: Vec<String>,
    /// The store's data keys, the newest last.
    pub data_keys: Vec<DataKey>,
    /// Those of its backup, or why they cannot be read.
    pub backup: Result<Vec<DataKey>, String>,
    /// Rescue files, of other stores too: they lie in one directory.
    pub rescue_files: Vec<SealedFile>,
}

/// Why keys could not be replaced. What was done until then stays done, and everything opens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key.
    #[error(transparent)]
    Key(#[from] SealError),
    /// A key is to go that is needed.
    #[error("the master key {id} is still needed: {by}")]
    Needed {
        /// Which.
        id: String,
        /// What needs it.
        by: String,
    },
    /// A key is to go that seals.
    #[error("the master key {0} is the newest: it seals")]
    Newest(String),
    /// A key is to go that is not there.
    #[error("there is no master key {0} in that file")]
    NoSuchKey(String),
    /// Only a file can be written here.
    #[error("the master key comes from {0}, which cannot be written from here")]
    Elsewhere(String),
}

/// The keys of one store.
pub struct Keyring<'a> {
    store: &'a dyn Store,
    master: MasterKey,
    places: Option<Places>,
}

impl<'a> Keyring<'a> {
    /// Of a store that is open, and of the rescue files in these places. A store that is not sealed has the latter.
    #[must_use]
    pub fn new(store: &'a dyn Store, master: MasterKey, places: Option<Places>) -> Self {
        Self { store, master, places }
    }

    /// Looks at all keys. Nothing is changed.
    ///
    /// # Errors
    /// When the master key or the store cannot be read.
    pub fn survey(&self) -> Result<Survey, RekeyError> {
        let master_keys = self.master.ids()?;
        let (data_keys, backup) = match self.store.rekey() {
            Some(rekey) => {
                (rekey.data_keys()?, rekey.data_keys_of_backup().map_err(|error| error.to_string()))
            }
            None => (Vec::new(), Ok(Vec::new())),
        };
        Ok(Survey { master_keys, data_keys, backup, rescue_files: self.rescue().sealed_files() })
    }

    /// Opens everything, and says how many connections that were.
    ///
    /// # Errors
    /// With the first that does not open.
    pub fn check(&self) -> Result<u64, RekeyError> {
        Ok(self.store.rekey().map_or(Ok(0), Rekey::open_all)?)
    }

    /// Replaces the master key, and the data key where that is wanted; or does what is left of it.
    ///
    /// # Errors
    /// When something does not open, or cannot be written. It may be called again.
    pub fn rotate(&self, wanted: Wanted, tell: &mut dyn FnMut(Step)) -> Result<(), RekeyError> {
        failpoint::pass("rotating");
        self.begin(wanted, tell)?;
        failpoint::pass("key_made");
        if let Some(rekey) = self.store.rekey() {
            rekey.rewrap(wanted.data)?;
            tell(Step::Rewrapped(rekey.data_keys()?.len()));
        }
        failpoint::pass("rewrapped");
        if self.rescue_files_have_this_key() {
            tell(Step::RescueFiles(self.rescue().seal_anew(self.store)?));
        }
        failpoint::pass("rescue_files_sealed");
        if let Some(rekey) = self.store.rekey() {
            if wanted.data {
                reseal_all(rekey, tell)?;
            }
            failpoint::pass("rows_sealed");
            tell(Step::Dropped(rekey.drop_data_keys()?));
            failpoint::pass("data_keys_dropped");
            if !rekey.data_keys()?.is_empty() && rekey.renew_backup()? {
                tell(Step::BackupMade);
            }
            failpoint::pass("backup_made");
            tell(Step::Checked(rekey.open_all()?));
        }
        Ok(())
    }

    /// A key that somebody has made before, and that not everything is sealed under, is new enough.
    fn begin(&self, wanted: Wanted, tell: &mut dyn FnMut(Step)) -> Result<(), RekeyError> {
        self.master.prepare()?;
        let survey = self.survey()?;
        if wanted.is_moved {
            return Ok(());
        }
        if survey.is_unfinished(wanted.data) {
            tell(Step::GoesOn);
            return Ok(());
        }
        let is_shared = self.store.rekey().is_some_and(Rekey::is_shared);
        if is_shared || !matches!(self.master.source(), KeySource::File(_)) {
            tell(Step::NothingNewer);
            return Ok(());
        }
        self.master.renew()?;
        tell(Step::KeyMade(self.master.ids()?.first().cloned().unwrap_or_default()));
        Ok(())
    }

    /// Takes old master keys out of their file: those that are named, or all but the newest. Returns their ids.
    ///
    /// # Errors
    /// When something that can be seen from here needs one of them, or may need it; then all stay.
    pub fn forget(&self, named: &[String]) -> Result<Vec<String>, RekeyError> {
        if !matches!(self.master.source(), KeySource::File(_)) {
            return Err(RekeyError::Elsewhere(self.master.source().in_short()));
        }
        let going = self.going(named, &self.survey()?)?;
        self.master.forget(&going)?;
        Ok(going)
    }

    /// Which keys would go.
    ///
    /// # Errors
    /// As [`Self::forget`].
    pub fn going(&self, named: &[String], survey: &Survey) -> Result<Vec<String>, RekeyError> {
        let Some((newest, older)) = survey.master_keys.split_first() else { return Ok(Vec::new()) };
        let going = if named.is_empty() { older.to_vec() } else { named.to_vec() };
        for id in &going {
            if id == newest {
                return Err(RekeyError::Newest(id.clone()));
            }
            if !older.contains(id) {
                return Err(RekeyError::NoSuchKey(id.clone()));
            }
            if let Some(by) = survey.needs(id, &self.store.address()) {
                return Err(RekeyError::Needed { id: id.clone(), by });
            }
        }
        Ok(going)
    }

    fn rescue(&self) -> Rescue {
        Rescue::new(self.places.clone(), self.store.address())
    }

    /// Earlier versions kept a key of their own for them; that one is not replaced.
    fn rescue_files_have_this_key(&self) -> bool {
        self.places.as_ref().is_some_and(|places| places.master_key.source() == self.master.source())
    }
}

/// Seals all rows under the newest data key.
fn reseal_all(rekey: &dyn Rekey, tell: &mut dyn FnMut(Step)) -> Result<(), StoreError> {
    let keys = rekey.data_keys()?;
    let of = keys.iter().rev().skip(1).map(|key| key.rows).sum();
    let (mut done, mut next) = (0, Some(Position::start()));
    tell(Step::Rows { done, of });
    while let Some(from) = next {
        let resealed = rekey.reseal(from, ROWS_AT_ONCE)?;
        failpoint::pass("some_rows_sealed");
        done += resealed.rows;
        next = resealed.next;
        resealed.altered.into_iter().for_each(|what| tell(Step::Altered(what)));
        // Others write meanwhile, and what they write is under the newest key without us.
        tell(Step::Rows { done, of: of.max(done) });
    }
    Ok(())
}

impl Survey {
    /// True when not everything is under the newest keys.
    fn is_unfinished(&self, data: bool) -> bool {
        let newest = self.master_keys.first();
        // Earlier versions named no key: where there is only one, it is that one, and nobody has begun anything.
        let is_old =
            |key: &DataKey| !key.is_newest && (key.master_key.is_some() || self.master_keys.len() > 1);
        self.data_keys.iter().any(is_old)
            || self.backup.as_ref().is_ok_and(|keys| keys.iter().any(is_old))
            || (data && self.data_keys.len() > 1)
            // A key was made, and nothing is under it yet.
            || (self.data_keys.is_empty()
                && self.rescue_files.iter().any(|file| file.master_key.as_ref() != newest))
    }

    /// What needs a master key, or may need it.
    fn needs(&self, id: &str, store: &str) -> Option<String> {
        let may_need = |key: &Option<String>| key.as_deref().is_none_or(|named| named == id);
        if self.data_keys.iter().any(|key| may_need(&key.master_key)) {
            return Some(format!("{store} opens with it"));
        }
        match &self.backup {
            Ok(keys) if !keys.iter().any(|key| may_need(&key.master_key)) => {}
            Ok(_) => return Some(format!("the backup of {store} opens with it")),
            Err(why) => {
                return Some(format!("the backup of {store} may open with it, and cannot be read: {why}"));
            }
        }
        let file = self.rescue_files.iter().find(|file| may_need(&file.master_key))?;
        Some(format!("the rescue file {} opens with it", file.path.display()))
    }
}
