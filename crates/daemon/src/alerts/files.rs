//! Files that are there whole or not at all, for their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What a file is called before it is whole.
const UNFINISHED: &str = "new";

/// Makes a directory, and those above it.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file beside its place, makes it durable and gives it its name. The name itself is durable after
/// [`sync_dir`]: several files need it once.
pub(super) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension(UNFINISHED);
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| {
        // Half a file is of no use, and on a full disk in the way.
        let _ = fs::remove_file(&beside);
    })
}

/// A file to append to.
pub(super) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// True for what a process had begun to write when it died.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == UNFINISHED)
}
