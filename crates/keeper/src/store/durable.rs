//! A file that is replaced whole, durably. The new contents are written beside it, made durable, and renamed over it;
//! a reader sees the old contents or the new ones, whenever the power fails.
//!
//! The room for the next contents can be reserved before (law 4: "padded to the room that the commit will need"), so
//! that a disk that fills up in between cannot refuse them.

use super::StoreError;
use crate::random;
use crate::unix;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How much is reserved at least: a token response takes 2–6 KB, and its successor may bring a longer one.
const ROOM: usize = 64 * 1024;

/// A file, and the name beside it under which its next contents grow. Whoever writes holds a lock.
#[derive(Clone, Debug)]
pub(crate) struct Durable {
    path: PathBuf,
}

impl Durable {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The contents; `None` when there is no file.
    pub(crate) fn read(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        read_if_there(&self.path)
    }

    /// Replaces the contents, durably, without touching reserved room.
    pub(crate) fn replace(&self, contents: &[u8]) -> io::Result<()> {
        self.replace_by("new", contents)
    }

    /// The same through a name beside it that ends like this.
    pub(crate) fn replace_by(&self, ending: &str, contents: &[u8]) -> io::Result<()> {
        let beside = self.beside(ending);
        let written = fill(&beside, contents).and_then(|()| self.take_the_place(&beside));
        if written.is_err() {
            // Half a file of secrets is of no use, and on a full disk in the way.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Forgets contents that a process had begun to write with [`Self::replace`] when it died. They never took their
    /// place, and who wrote them had sent nothing yet.
    pub(crate) fn forget_unfinished(&self) {
        let _ = fs::remove_file(self.beside("new"));
    }

    /// Reserves room for the next contents, at least twice what is there.
    pub(crate) fn reserve(&self, expected: usize) -> io::Result<()> {
        fill(&self.reserved(), &vec![b' '; ROOM.max(expected.saturating_mul(2))])
    }

    /// Replaces the contents, durably, in the room that was reserved.
    pub(crate) fn replace_in_reserved(&self, contents: &[u8]) -> io::Result<()> {
        fill(&self.reserved(), contents)?;
        self.take_the_place(&self.reserved())
    }

    /// What stands in the reserved room: blanks, or the contents of a process that died before the last step.
    pub(crate) fn left_in_reserved(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let left = read_if_there(&self.reserved())?;
        Ok(left.filter(|bytes| !bytes.trim_ascii().is_empty()))
    }

    /// Takes the last steps for a process that died before them; it may not have got as far as to sync.
    pub(crate) fn finish_reserved(&self) -> io::Result<()> {
        fs::File::open(self.reserved())?.sync_all()?;
        self.take_the_place(&self.reserved())
    }

    /// Gives reserved room back.
    pub(crate) fn release(&self) -> io::Result<()> {
        match fs::remove_file(self.reserved()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Moves the file out of the way under a name that tells why, and returns that name.
    pub(crate) fn move_aside(&self, why: &str) -> io::Result<PathBuf> {
        self.keep_aside(&self.path, why)
    }

    /// Moves what stands in the reserved room out of the way.
    pub(crate) fn move_reserved_aside(&self, why: &str) -> io::Result<PathBuf> {
        self.keep_aside(&self.reserved(), why)
    }

    fn keep_aside(&self, what: &Path, why: &str) -> io::Result<PathBuf> {
        for number in 1_u32.. {
            let name = self.named(&format!("{why}-{number}"));
            if name.try_exists()? {
                continue;
            }
            // Whoever does this holds the lock, so nobody takes the name in between.
            fs::rename(what, &name)?;
            unix::sync_dir(self.dir())?;
            return Ok(name);
        }
        Err(io::Error::other("no free name"))
    }

    fn take_the_place(&self, beside: &Path) -> io::Result<()> {
        fs::rename(beside, &self.path)?;
        unix::sync_dir(self.dir())
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn reserved(&self) -> PathBuf {
        self.beside("next")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.dir().join(format!(".{name}.{ending}"))
    }

    fn named(&self, ending: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.dir().join(format!("{name}.{ending}"))
    }
}

/// Whether so many bytes could be written beside a file now: they are, under a name of their own, and removed again.
///
/// # Errors
/// When they could not.
pub fn try_room(file: &Path, bytes: usize) -> Result<(), StoreError> {
    let path = file.with_file_name(format!(".perennial-room-{}", random::id()));
    let tried = fill(&path, &vec![b' '; bytes]);
    let _ = fs::remove_file(&path);
    tried.map_err(StoreError::io("keep room beside", file))
}

/// Writes into a file's own blocks, from its start, and cuts it to length only then.
fn fill(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = unix::open_private(path)?;
    file.rewind()?;
    file.write_all(contents)?;
    file.set_len(contents.len() as u64)?;
    file.sync_all()
}

fn read_if_there(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
