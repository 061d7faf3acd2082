//! A copy of the database for a place of its own, made while others write: one state of it, page by page, checked before
//! it takes its name.

use super::backup;
use super::database::Database;
use super::place::Place;
use super::schema;
use crate::store::StoreError;
use crate::store::unfinished::Unfinished;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

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
    let file = Unfinished::begin(to).map_err(StoreError::io("write", to))?;
    fill(place, file.path(), progress)?;
    file.file().sync_all().map_err(StoreError::io("write", to))?;
    let connections = backup::check(place, &database.ring, file.path())?;
    let bytes = file.file().metadata().map_err(StoreError::io("read", to))?.len();
    file.finish().map_err(StoreError::io("write", to))?;
    Ok(Copied { connections, bytes })
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
