//! Where a database lies, and whether it may lie there: a file of ours, in a directory where nobody else can put
//! another in its place, on a disk of this machine.

use super::failure::At;
use super::mount;
use crate::seal::KeySource;
use crate::store::StoreError;
use crate::store::sealed::Unsealed;
use crate::unix::{self, Identity};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of one store.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The database, with no symbolic link in its path.
    pub(super) path: PathBuf,
    /// The directory that it lies in; it may not be there yet.
    pub(super) dir: PathBuf,
}

/// Which -wal and -shm files lie beside a database.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BesideIt([Option<Identity>; 2]);

/// The size of a page, in bytes: what databases are made with.
pub(super) const PAGE: u64 = 4096;

impl Place {
    /// Looks at what is there; writes nothing.
    pub(super) fn find(given: &Path) -> Result<Self, StoreError> {
        let given = std::path::absolute(given).map_err(StoreError::io("open", given))?;
        let (Some(name), Some(dir)) = (given.file_name(), given.parent()) else {
            return Err(no_file(&given));
        };
        let dir = real_directory(dir)?;
        let path = real_file(&dir, dir.join(name))?;
        let dir = path.parent().unwrap_or(&dir).to_owned();
        check_file_system(&dir)?;
        Ok(Self { path, dir })
    }

    /// A file beside the database: its name with an ending.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(ending);
        self.dir.join(name)
    }

    /// The same, hidden: for what is not finished.
    pub(super) fn unfinished(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(ending);
        self.dir.join(name)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.beside(".lock")
    }

    pub(super) fn wal(&self) -> PathBuf {
        self.beside("-wal")
    }

    pub(super) fn shm(&self) -> PathBuf {
        self.beside("-shm")
    }

    pub(super) fn backup(&self) -> PathBuf {
        self.beside(".backup")
    }

    /// Which database stands there now; `None` where there is none.
    pub(super) fn identity(&self) -> Result<Option<Identity>, StoreError> {
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(Some(unix::identity(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", &self.path)(error)),
        }
    }

    /// Which files stand beside it under the names that SQLite keeps changes and their index under.
    pub(super) fn beside_it(&self) -> BesideIt {
        BesideIt([self.wal(), self.shm()].map(|path| fs::metadata(path).ok().as_ref().map(unix::identity)))
    }

    /// The master key must not travel with what it opens.
    pub(super) fn check_key(&self, key: &KeySource) -> Result<(), StoreError> {
        let KeySource::File(key) = key else { return Ok(()) };
        let key = std::path::absolute(key).map_err(StoreError::io("open", key))?;
        let beside = key.parent().map(|dir| fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned()));
        if beside.as_deref() != Some(self.dir.as_path()) {
            return Ok(());
        }
        Err(StoreError::Unsafe {
            path: key,
            reason: "lies beside the database that it opens: whoever copies the directory has both",
            remedy: "keep the master key in another directory: --master-key file:PATH".to_owned(),
        })
    }

    /// A database is whole pages, and one at least: databases are put into their place complete, so that an empty file
    /// is a damaged one. How many pages there should be, SQLite knows.
    ///
    /// The file is looked at and not opened: closing it would take this process's locks from SQLite.
    pub(super) fn check_shape(&self) -> Result<(), StoreError> {
        let length = fs::metadata(&self.path).map_err(StoreError::io("read", &self.path))?.len();
        // While the -wal file holds changes, the last page may be there in part.
        let is_at_rest = fs::metadata(self.wal()).map_or(0, |wal| wal.len()) == 0;
        if length < PAGE || (is_at_rest && !length.is_multiple_of(PAGE)) {
            return Err(self.damaged(format!("it has been cut to {length} bytes")));
        }
        Ok(())
    }

    /// What was being done with the database, for what SQLite says of it.
    pub(super) fn at(&self, action: &'static str) -> At<'_> {
        At { place: self, action }
    }

    pub(super) fn unsealed(&self, error: Unsealed) -> StoreError {
        match error {
            Unsealed::Altered(_) => self.damaged(error.to_string()),
            Unsealed::Seal(error) => self.closed(error.to_string()),
        }
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> StoreError {
        let backup = Some(self.backup()).filter(|backup| backup.exists());
        StoreError::Damaged { path: self.path.clone(), reason: reason.into(), backup }
    }

    pub(super) fn closed(&self, reason: impl Into<String>) -> StoreError {
        let remedy = "look into the master key: perennial key check".to_owned();
        StoreError::Closed { path: self.path.clone(), reason: reason.into(), remedy }
    }
}

fn no_file(path: &Path) -> StoreError {
    let remedy = format!("name a file: --store sqlite:{}", path.join("perennial.db").display());
    StoreError::Unsafe { path: path.to_owned(), reason: "is not a file", remedy }
}

/// The directory without symbolic links; of one that is not there yet, what is there of it.
fn real_directory(dir: &Path) -> Result<PathBuf, StoreError> {
    let there = dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let rest = dir.strip_prefix(there).unwrap_or(Path::new(""));
    let real = fs::canonicalize(there).map_err(StoreError::io("open", there))?;
    let metadata = fs::metadata(&real).map_err(StoreError::io("open", &real))?;
    if !metadata.is_dir() {
        let remedy = "name a file in a directory: --store sqlite:FILE".to_owned();
        return Err(StoreError::Unsafe { path: real, reason: "is not a directory", remedy });
    }
    // A directory that is yet to be made will be ours alone; there the sticky bit is enough.
    let is_new = rest != Path::new("");
    check_rights(&real, is_new)?;
    Ok(if is_new { real.join(rest) } else { real })
}

fn check_rights(dir: &Path, is_new: bool) -> Result<(), StoreError> {
    let metadata = fs::metadata(dir).map_err(StoreError::io("open", dir))?;
    let open = if is_new { unix::is_open_to_all(&metadata) } else { unix::is_writable_by_all(&metadata) };
    if !open {
        return Ok(());
    }
    let remedy = format!(
        "take that right away (chmod o-w {0}), or name a file in a directory of your own: --store \
         sqlite:{0}/perennial/perennial.db",
        dir.display()
    );
    Err(StoreError::Unsafe { path: dir.to_owned(), reason: "can be written by everybody", remedy })
}

/// A symbolic link is followed once, here: lock and journal must stand beside the real file, or one database that is
/// reached by two names would have two locks. Nobody else can have planted it: the directory is not theirs.
fn real_file(dir: &Path, path: PathBuf) -> Result<PathBuf, StoreError> {
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    if metadata.is_dir() {
        return Err(no_file(&path));
    }
    if metadata.is_file() {
        return Ok(path);
    }
    if !metadata.is_symlink() {
        let remedy = "name another file: --store sqlite:FILE".to_owned();
        return Err(StoreError::Unsafe { path, reason: "is no regular file", remedy });
    }
    let real = fs::canonicalize(&path).map_err(StoreError::io("follow", &path))?;
    let real_dir = real.parent().unwrap_or(dir);
    check_rights(real_dir, false)?;
    real_file(real_dir, real.clone())
}

/// The type of the file system that a directory lies on, where that can be found out.
pub(super) fn file_system(dir: &Path) -> Option<String> {
    mount::file_system(&fs::read_to_string(MOUNTS).ok()?, dir)
}

const MOUNTS: &str = "/proc/self/mountinfo";

fn check_file_system(dir: &Path) -> Result<(), StoreError> {
    let Ok(mounts) = fs::read_to_string(MOUNTS) else { return Ok(()) };
    let Some(kind) = mount::network_file_system(&mounts, dir) else { return Ok(()) };
    Err(StoreError::Unsafe {
        path: dir.to_owned(),
        reason: "lies on a network file system, whose locks do not keep other machines out",
        remedy: format!("keep the database on a disk of this machine (this is {kind}): --store sqlite:FILE"),
    })
}
