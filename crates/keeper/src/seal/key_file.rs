//! The file that a master key lies in: made on first use, changed as a whole and durably, readable for its owner alone.
//! A lock beside it keeps two processes from changing it at once.

use super::source::{KeyList, parse, to_line};
use super::{KEY, SealError};
use crate::store::durable::Durable;
use crate::unix;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Makes a key, unless somebody else is quicker. Returns the file's text.
pub(super) fn make(path: &Path) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    unix::make_private_dir(dir)?;
    let _turn = turn(path)?;
    if let Ok(bytes) = fs::read(path) {
        return Ok(Zeroizing::new(bytes));
    }
    let text = write(path, &[draw()?])?;
    Ok(text)
}

/// Puts a new key in front of those that are there: it seals from now on, and they open.
pub(super) fn put_in_front(path: &Path) -> Result<(), SealError> {
    let path = behind_links(path);
    let _turn = turn(&path)?;
    let mut keys = parse(&Zeroizing::new(fs::read(&path)?))?;
    keys.insert(0, draw()?);
    write(&path, &keys).map(drop)
}

/// Takes keys out of the list. The newest stays whatever `is_wanted` says.
pub(super) fn retain(path: &Path, mut is_wanted: impl FnMut(&[u8; KEY]) -> bool) -> Result<(), SealError> {
    let path = behind_links(path);
    let _turn = turn(&path)?;
    let keys = parse(&Zeroizing::new(fs::read(&path)?))?;
    let (newest, older) = keys.split_first().ok_or(SealError::DamagedKey)?;
    let older = older.iter().filter(|key| is_wanted(key));
    let kept: KeyList = std::iter::once(newest).chain(older).cloned().collect();
    write(&path, &kept).map(drop)
}

fn turn(path: &Path) -> io::Result<File> {
    let lock = unix::open_private(&path.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// The file itself: replaced under the name of a link, it would stay where the link leads.
fn behind_links(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn draw() -> Result<Zeroizing<[u8; KEY]>, SealError> {
    let mut key = Zeroizing::new([0; KEY]);
    getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
    Ok(key)
}

fn write(path: &Path, keys: &[Zeroizing<[u8; KEY]>]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut text = Zeroizing::new(Vec::with_capacity((2 * KEY + 1) * keys.len()));
    for key in keys {
        text.extend_from_slice(to_line(key).as_bytes());
    }
    Durable::new(path.to_owned()).replace(&text)?;
    Ok(text)
}
