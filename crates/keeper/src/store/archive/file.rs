//! An archive as a file: private, whole and opened again before it takes its name.

use super::{ArchiveError, Reader, Writer};
use crate::seal::MasterKey;
use crate::store::Parcel;
use crate::store::unfinished::Unfinished;
use perennial_core::UnixTime;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// An archive that is being written into a file. Dropping it leaves nothing behind.
pub struct ArchiveFile {
    writer: Writer<BufWriter<File>>,
    file: Unfinished,
    count: u64,
}

impl ArchiveFile {
    /// Begins it.
    ///
    /// # Errors
    /// When the file is there already or cannot be written, or the key cannot be had.
    pub fn begin(to: &Path, key: &MasterKey, now: UnixTime) -> Result<Self, ArchiveError> {
        let file = Unfinished::begin(to)?;
        let writer = Writer::begin(BufWriter::new(file.file().try_clone()?), key, now)?;
        Ok(Self { writer, file, count: 0 })
    }

    /// Writes a connection.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, parcel: &Parcel) -> Result<(), ArchiveError> {
        self.count += 1;
        self.writer.put(parcel)
    }

    /// Makes it durable, opens it again from its first byte to its last, and gives it its name. Returns how many
    /// connections are in it.
    ///
    /// # Errors
    /// When it cannot be written, or does not hold what was written.
    pub fn finish(self, key: &MasterKey) -> Result<u64, ArchiveError> {
        let Self { writer, file, count } = self;
        let written = writer.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        written.sync_all()?;
        let again = File::open(file.path())?;
        let mut read = 0;
        for parcel in Reader::open(BufReader::new(again), key)? {
            parcel?;
            read += 1;
        }
        if read != count {
            return Err(ArchiveError::Damaged(read));
        }
        file.finish()?;
        Ok(count)
    }
}
