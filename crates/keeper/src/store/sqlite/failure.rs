//! What SQLite says, as a [`StoreError`]: damage is told from a disk that is full, and from a file that may not be
//! written. A text of SQLite's names tables and columns, never a value.

use super::place::Place;
use crate::store::StoreError;
use rusqlite::{Error, ErrorCode, ffi};
use rustix::fs::{Access, access, statvfs};
use std::io;
use std::path::Path;

/// What was being done when SQLite failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) place: &'a Place,
    pub(super) action: &'static str,
}

impl At<'_> {
    pub(super) fn failed(self, error: Error) -> StoreError {
        let Error::SqliteFailure(failure, said) = error else {
            // A value of another type than was written, a row that is not there: nobody but us writes here.
            return self.place.damaged(format!("it holds what Perennial has not written ({error})"));
        };
        let said = said.unwrap_or_else(|| failure.to_string());
        if is_damage(failure) {
            return self.place.damaged(said);
        }
        let path = self.place.path.clone();
        StoreError::Io { action: self.action, path, source: self.source(failure, said) }
    }

    /// SQLite keeps the system's own number to itself; its kind is found again where it matters for a hint.
    fn source(self, failure: ffi::Error, said: String) -> io::Error {
        let os = io::Error::from;
        match failure.code {
            ErrorCode::DiskFull => os(rustix::io::Errno::NOSPC),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
                self.what_the_system_says().unwrap_or_else(|| io::Error::other(said))
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another process has been writing for too long")
            }
            ErrorCode::OutOfMemory => io::ErrorKind::OutOfMemory.into(),
            ErrorCode::SystemIoFailure => {
                self.what_the_system_says().unwrap_or_else(|| os(rustix::io::Errno::IO))
            }
            _ => io::Error::other(said),
        }
    }

    /// Tries, without changing anything, what SQLite may have been refused.
    fn what_the_system_says(self) -> Option<io::Error> {
        let Place { path, dir } = self.place;
        // Asked, and not opened: closing the file would take this process's locks from SQLite.
        let tried = if self.action == "read" {
            access(path, Access::READ_OK)
        } else {
            access(path, Access::WRITE_OK).and_then(|()| access(dir, Access::WRITE_OK))
        };
        let refused = tried.err().or_else(|| is_full(dir).then_some(rustix::io::Errno::NOSPC));
        refused.map(io::Error::from)
    }
}

/// True when the disk has no block, or no file, to give.
fn is_full(dir: &Path) -> bool {
    statvfs(dir).is_ok_and(|disk| {
        // Where files are made at will, there is no number of them.
        disk.f_bavail == 0 || (disk.f_files > 0 && disk.f_favail == 0)
    })
}

fn is_damage(failure: ffi::Error) -> bool {
    let odd = [ffi::SQLITE_IOERR_SHORT_READ, ffi::SQLITE_IOERR_CORRUPTFS, ffi::SQLITE_IOERR_DATA];
    // "No such table" is SQLite's plain error: the file has other tables than it should.
    matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        || odd.contains(&failure.extended_code)
}
