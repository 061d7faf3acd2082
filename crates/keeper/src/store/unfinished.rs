//! A file that takes its name only once it is whole and durable, and never takes another's (law 5). Until then it is
//! called `.NAME.unfinished`; who dies at it leaves that behind, and the next one takes it over.

use crate::unix;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file under way. Dropping it takes it away.
#[derive(Debug)]
pub(crate) struct Unfinished {
    to: PathBuf,
    path: PathBuf,
    file: File,
    is_finished: bool,
}

impl Unfinished {
    /// Begins an empty file, readable for its owner only.
    ///
    /// # Errors
    /// When `to` is there, cannot be written, or somebody else is at it.
    pub(crate) fn begin(to: &Path) -> io::Result<Self> {
        let to = std::path::absolute(to)?;
        refuse_if_there(&to)?;
        let mut name = OsString::from(".");
        name.push(to.file_name().unwrap_or_default());
        name.push(".unfinished");
        let path = to.with_file_name(name);
        let file = unix::open_private(&path)?;
        file.try_lock()
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it"))?;
        file.set_len(0)?;
        Ok(Self { to, path, file, is_finished: false })
    }

    /// Where it is for now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable, and gives it its name.
    ///
    /// # Errors
    /// When that cannot be done, or something has the name by now.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        unix::take_free_name(&self.path, &self.to)?;
        self.is_finished = true;
        self.to.parent().map_or(Ok(()), unix::sync_dir)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refuse_if_there(to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already")),
    }
}
