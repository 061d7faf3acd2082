//! `refreshTokenObjectFile.json.journal`: what happened to the tokens, one JSON object a line, appended under the lock.
//! It holds no secret, and nobody fails because it cannot be written.

use super::super::record;
use super::super::{Recorded, StoreError};
use super::ONLY_CONNECTION;
use crate::unix;
use perennial_core::journal::Entry;
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// When the file grows beyond this, its older half is let go: some ten thousand entries stay, which at one refresh an
/// hour is more than a year (SAP's certification asks for seven days of logs).
const MOST_BYTES: u64 = 4 * 1024 * 1024;

pub(super) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(super) fn beside(token_file: &Path) -> Self {
        let mut name = token_file.file_name().unwrap_or_default().to_owned();
        name.push(".journal");
        Self { path: token_file.with_file_name(name) }
    }

    /// Appends, and merely warns where that fails.
    pub(super) fn append_all(&self, entries: &[Entry]) {
        if let Err(error) = self.append(entries) {
            tracing::warn!(path = %self.path.display(), %error, "the journal could not be written");
        }
    }

    pub(super) fn append(&self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut lines: String =
            entries.iter().map(|entry| format!("{}\n", Value::Object(record::write(entry)))).collect();
        let mut file = unix::append_private(&self.path)?;
        let length = file.metadata()?.len();
        if length > 0 && !self.ends_a_line()? {
            // A process died in the middle of its line.
            lines.insert(0, '\n');
        }
        file.write_all(lines.as_bytes())?;
        if length > MOST_BYTES { self.let_the_older_half_go() } else { Ok(()) }
    }

    pub(super) fn read(&self, after: Option<u64>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        let text = match fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &self.path)(error)),
        };
        let entries = (1..).zip(text.lines()).filter_map(|(number, line)| {
            let members: Map<String, Value> = serde_json::from_str(line).ok()?;
            let entry = record::read(&members)?;
            Some(Recorded { number, connection: ONLY_CONNECTION.to_owned(), entry })
        });
        let mut entries: Vec<_> =
            entries.filter(|recorded| after.is_none_or(|after| recorded.number > after)).collect();
        match after {
            Some(_) => entries.truncate(limit),
            None => drop(entries.drain(..entries.len().saturating_sub(limit))),
        }
        Ok(entries)
    }

    fn ends_a_line(&self) -> io::Result<bool> {
        use std::io::{Read, Seek, SeekFrom};
        let mut last = [0];
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }

    fn let_the_older_half_go(&self) -> io::Result<()> {
        let text = fs::read(&self.path)?;
        let half = text.len() / 2;
        let line = text[half..].iter().position(|byte| *byte == b'\n').map_or(half, |at| half + at + 1);
        super::super::durable::Durable::new(self.path.clone()).replace(&text[line..])
    }
}
