//! A copy of the database for a place of its own, made while others write: one state of it, page by page, checked before
//! it takes its name. A process that dies at it leaves `.NAME.unfinished`, which the next one takes over.

use super::backup;
use super::database::Database;
use super::place::Place;
use super::schema;
use crate::store::StoreError;
use crate::unix;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Pages that are copied between two words about it: 4 MiB.
const STEP: i32 = 1024;

/// What was written, and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many connections are in it, those included that were put away.
    pub connections: u64,
    /// Its length.
    pub bytes: u64,
}

pub(super) fn write(
    place: &Place,
    database: &Database,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, StoreError> {
    let to = std::path::absolute(to).map_err(StoreError::io("write", to))?;
    refuse_if_there(&to)?;
    let unfinished = unfinished(&to);
    let io = |error| StoreError::io("write", &unfinished)(error);
    let file = unix::open_private(&unfinished).map_err(io)?;
    file.try_lock().map_err(|error| io(error.into()))?;
    let made = file
        .set_len(0)
        .map_err(io)
        .and_then(|()| fill(place, &unfinished, progress))
        .and_then(|()| file.sync_all().map_err(io))
        .and_then(|()| backup::check(place, &database.ring, &unfinished))
        .and_then(|connections| {
            let bytes = file.metadata().map_err(io)?.len();
            put_in_place(&unfinished, &to).map_err(StoreError::io("write", &to))?;
            Ok(Copied { connections, bytes })
        });
    if made.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    made
}

fn refuse_if_there(to: &Path) -> Result<(), StoreError> {
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("write", to)(error)),
        Ok(_) => {
            let there = io::Error::new(io::ErrorKind::AlreadyExists, "it is there already");
            Err(StoreError::io("write", to)(there))
        }
    }
}

fn unfinished(to: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".unfinished");
    to.with_file_name(name)
}

/// A reader that keeps its look at the database open sees one state of it, whatever others write meanwhile: the copy
/// never begins anew.
fn fill(place: &Place, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
    let reader = schema::connect_to_read(place)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let there = Place { path: to.to_owned(), dir: to.parent().unwrap_or(Path::new("/")).to_owned() };
    let at = there.at("write");
    let mut copy = Connection::open_with_flags(to, flags).map_err(|error| at.failed(error))?;
    let mut fill = || -> rusqlite::Result<()> {
        // What is not finished is worth nothing: it is made durable as a whole in the end.
        copy.execute_batch("PRAGMA synchronous = OFF")?;
        reader.sql.execute_batch("BEGIN; SELECT changes FROM meta")?;
        let backup = Backup::new(&reader.sql, &mut copy)?;
        loop {
            let step = backup.step(STEP)?;
            let pages = backup.progress();
            let [all, left] =
                [pages.pagecount, pages.remaining].map(|pages| u64::try_from(pages).unwrap_or(0));
            progress(all.saturating_sub(left), all);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(rusqlite::Error::SqliteFailure(busy(), None)),
            }
        }
        drop(backup);
        // One file, which needs no other beside it.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
    };
    fill().map_err(|error| at.failed(error))?;
    copy.close().map_err(|(_, error)| at.failed(error))
}

fn busy() -> rusqlite::ffi::Error {
    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY)
}

fn put_in_place(unfinished: &Path, to: &Path) -> io::Result<()> {
    unix::take_free_name(unfinished, to)?;
    to.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}
