//! `NAME.lock`: a permanent file beside the database, never renamed and never removed. It carries two things, slot by
//! slot, one slot of 16 bytes for each connection and slot 0 for the store:
//!
//! - the kernel's lock of a slot's first byte is the claim of that connection (law 2);
//! - what stands in it is the *mark*: the number of the last change that was durable. A database that knows less is
//!   older than what was written last: its -wal file was deleted, or an older copy was put in its place.
//!
//! A process that dies between its commit and the mark leaves a mark that is too low, which is harmless.

use crate::unix::{self, ByteLock};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SLOT: u64 = 16;
/// The store's own slot.
pub(super) const STORE: i64 = 0;

/// Bytes of the store's slot whose locks mean something.
const IN_USE: u64 = 1;
const MARKS: u64 = 2;
const COPY: u64 = 3;

/// How often the lock of the marks is tried; whoever has it holds it for two short writes.
const TRIES: u32 = 1000;

/// The lock file, opened once: locks taken through it belong to this opening.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    /// Opens it for claims and marks; makes it if it is not there.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = unix::open_private(&path)?;
        Ok(Self { path, file })
    }

    /// Opens it to look; `None` where there is none, or it may not be read.
    pub(super) fn look(path: PathBuf) -> Option<Self> {
        let file = OpenOptions::new().read(true).open(&path).ok()?;
        Some(Self { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Names the lock: the running kernel and this very file.
    pub(super) fn name(&self) -> io::Result<String> {
        unix::lock_name(&self.file)
    }

    /// Somebody may have deleted the lock file: then ours keeps nobody out.
    pub(super) fn is_still_there(&self) -> io::Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(unix::identity(&metadata) == unix::identity(&self.file.metadata()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a connection's claim; false when another opening holds it.
    pub(super) fn try_claim(&self, number: i64) -> io::Result<bool> {
        unix::try_lock_byte(&self.file, slot(number)?, ByteLock::Exclusive)
    }

    /// True when another opening holds the claim.
    pub(super) fn is_claimed(&self, number: i64) -> io::Result<bool> {
        unix::is_byte_locked(&self.file, slot(number)?)
    }

    /// Says that the database is in use, for as long as this is open; false while somebody replaces it.
    pub(super) fn try_use(&self) -> io::Result<bool> {
        unix::try_lock_byte(&self.file, IN_USE, ByteLock::Shared)
    }

    /// Takes the whole store for oneself; false when anybody uses it.
    pub(super) fn try_use_alone(&self) -> io::Result<bool> {
        unix::try_lock_byte(&self.file, IN_USE, ByteLock::Exclusive)
    }

    /// The right to make a backup; false when somebody else is at it.
    pub(super) fn try_copy(&self) -> io::Result<bool> {
        unix::try_lock_byte(&self.file, COPY, ByteLock::Exclusive)
    }

    /// A slot's mark; 0 where there is none, or none that is whole.
    pub(super) fn mark(&self, number: i64) -> io::Result<i64> {
        let mut bytes = [0; SLOT as usize];
        let place = slot(number)?;
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], place + read as u64)? {
                0 => return Ok(0),
                more => read += more,
            }
        }
        let [mark, check] = [0, 8].map(|at| bytes[at..at + 8].try_into().map_or(0, i64::from_le_bytes));
        Ok(if check == checked(mark) { mark } else { 0 })
    }

    /// Raises marks to `change`; none is ever lowered.
    pub(super) fn raise(&self, numbers: impl IntoIterator<Item = i64>, change: i64) -> io::Result<()> {
        self.lock_marks()?;
        let raised = numbers.into_iter().try_for_each(|number| {
            if self.mark(number)? >= change { Ok(()) } else { self.write(number, change) }
        });
        unix::try_lock_byte(&self.file, MARKS, ByteLock::None)?;
        raised
    }

    /// Forgets all marks but the store's, which becomes `change`: a person has said which database is to be gone on
    /// from.
    pub(super) fn begin_anew(&self, change: i64) -> io::Result<()> {
        self.lock_marks()?;
        let forgotten = self.file.set_len(0).and_then(|()| self.write(STORE, change));
        unix::try_lock_byte(&self.file, MARKS, ByteLock::None)?;
        forgotten
    }

    fn write(&self, number: i64, mark: i64) -> io::Result<()> {
        let bytes = [mark.to_le_bytes(), checked(mark).to_le_bytes()].concat();
        self.file.write_all_at(&bytes, slot(number)?)
    }

    fn lock_marks(&self) -> io::Result<()> {
        for _ in 0..TRIES {
            if unix::try_lock_byte(&self.file, MARKS, ByteLock::Exclusive)? {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "somebody holds the marks"))
    }
}

/// A mark of which only half was written does not count.
fn checked(mark: i64) -> i64 {
    mark ^ i64::from_le_bytes(*b"perennia")
}

fn slot(number: i64) -> io::Result<u64> {
    u64::try_from(number)
        .ok()
        .and_then(|number| number.checked_mul(SLOT))
        .ok_or_else(|| io::Error::other("no slot"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> (tempfile::TempDir, LockFile) {
        let dir = tempfile::tempdir().unwrap();
        let lock = LockFile::open(dir.path().join("db.lock")).unwrap();
        (dir, lock)
    }

    #[test]
    fn law_2_a_claim_excludes_other_openings_and_ends_with_its_own() {
        let (_dir, lock) = lock();
        let other = LockFile::open(lock.path().to_owned()).unwrap();
        assert!(lock.try_claim(1).unwrap());
        assert!(!other.try_claim(1).unwrap());
        assert!(other.is_claimed(1).unwrap());
        assert!(other.try_claim(2).unwrap(), "another connection's");
        drop(lock);
        assert!(other.try_claim(1).unwrap());
    }

    #[test]
    fn marks_only_rise_and_half_a_mark_is_none() {
        let (_dir, lock) = lock();
        assert_eq!(lock.mark(7).unwrap(), 0);
        lock.raise([STORE, 7], 5).unwrap();
        lock.raise([7], 3).unwrap();
        assert_eq!((lock.mark(STORE).unwrap(), lock.mark(7).unwrap(), lock.mark(6).unwrap()), (5, 5, 0));
        lock.file.write_all_at(&[9], slot(7).unwrap()).unwrap();
        assert_eq!(lock.mark(7).unwrap(), 0);
        lock.begin_anew(9).unwrap();
        assert_eq!(lock.mark(STORE).unwrap(), 9);
    }

    #[test]
    fn a_store_in_use_is_not_taken_away() {
        let (_dir, lock) = lock();
        let other = LockFile::open(lock.path().to_owned()).unwrap();
        assert!(lock.try_use().unwrap() && other.try_use().unwrap());
        let third = LockFile::open(lock.path().to_owned()).unwrap();
        assert!(!third.try_use_alone().unwrap());
        drop((lock, other));
        assert!(third.try_use_alone().unwrap());
    }
}
