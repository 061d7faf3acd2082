//! `refreshTokenObjectFile.json`: read freely, written under a lock.

use super::super::document::{self, Read};
use super::super::durable::Durable;
use super::super::{Claim, StoreError, WriteError};
use super::credentials::object;
use super::journal_file::Journal;
use crate::unix;
use perennial_core::Connection;
use perennial_core::connection::Version;
use perennial_core::journal;
use perennial_core::token_endpoint::response::is_sendable;
use serde_json::{Map, Value};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// SAP's sample writes in place: who reads in that moment sees half a file. It is looked at again this often …
const LOOKS: u32 = 20;
/// … with this pause between two looks: a second in all.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub(super) struct TokenFile {
    file: Durable,
    fresh: Connection,
}

impl TokenFile {
    pub(super) fn new(file: Durable, fresh: Connection) -> Self {
        Self { file, fresh }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn read(&self) -> Result<Read, StoreError> {
        Ok(self.document(&self.members()?))
    }

    /// One look, for remarks: `None` when the file cannot be read at this moment.
    pub(super) fn glance(&self) -> Option<Read> {
        let bytes = self.file.read().ok()?;
        let members = parse(bytes.as_ref().map(|bytes| bytes.as_slice())).ok()?;
        Some(self.document(&members))
    }

    /// The file's members; none where there is no file.
    fn members(&self) -> Result<Map<String, Value>, StoreError> {
        let mut looks = 1;
        loop {
            let bytes = self.file.read().map_err(StoreError::io("read", self.path()))?;
            match parse(bytes.as_ref().map(|bytes| bytes.as_slice())) {
                Ok(members) if document::is_newer(&members) => return Err(self.newer()),
                Ok(members) => return Ok(members),
                Err(reason) if looks == LOOKS => {
                    return Err(StoreError::Unreadable { path: self.path().to_owned(), reason });
                }
                Err(_) => looks += 1,
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a program that takes no lock tells nobody that it is done"
            )]
            std::thread::sleep(PAUSE);
        }
    }
}

impl TokenFile {
    /// What a newer version keeps, this one would drop when it writes.
    fn newer(&self) -> StoreError {
        let remedy = "use that version, or a newer one".to_owned();
        StoreError::Unsafe {
            path: self.path().to_owned(),
            reason: "was written by a newer Perennial",
            remedy,
        }
    }
}

/// Reads the text of the token file; `None` is a file that is not there, and holds nothing.
///
/// # Errors
/// Why it cannot be understood, with line and column where they are known; never a value from it.
pub fn parse(bytes: Option<&[u8]>) -> Result<Map<String, Value>, String> {
    let Some(bytes) = bytes else { return Ok(Map::new()) };
    let members = object(bytes)?;
    let refresh_token = members.get("refresh_token").unwrap_or(&Value::Null);
    if !refresh_token.is_null() && !refresh_token.is_string() {
        return Err("its refresh_token is no text in quotes".to_owned());
    }
    if refresh_token.as_str().is_some_and(|token| !token.is_empty() && !is_sendable(token)) {
        return Err("its refresh_token holds characters that no token has".to_owned());
    }
    let ours = members.contains_key(document::BOOKKEEPING);
    let is_there = |name| members.get(name).and_then(Value::as_str).is_some_and(|token| !token.is_empty());
    let tokens = ["refresh_token", "access_token"].into_iter().any(is_there);
    if ours || tokens { Ok(members) } else { Err("it holds no tokens".to_owned()) }
}

/// A syntax error with its place. serde_json quotes no input in syntax errors; in others it might.
pub(super) fn syntax(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Syntax | serde_json::error::Category::Eof => {
            format!("not valid JSON: {error}")
        }
        _ => format!("not valid JSON at line {} column {}", error.line(), error.column()),
    }
}

/// A token file whose lock we hold. The kernel gives the lock back when the process dies.
#[derive(Debug)]
pub(super) struct Locked {
    token_file: TokenFile,
    /// Names the lock: the running kernel and the lock file itself.
    name: String,
    /// Held as long as it is open.
    _lock: File,
}

impl Locked {
    pub(super) fn try_lock(token_file: &TokenFile) -> Result<Option<Self>, StoreError> {
        let path = token_file.path();
        if fs::metadata(path).is_ok_and(|metadata| unix::is_read_only(&metadata)) {
            let reason = "is read-only, so new tokens could not be stored";
            let remedy = format!("allow it: chmod u+w {}", path.display());
            return Err(StoreError::Unsafe { path: path.to_owned(), reason, remedy });
        }
        let lock_path = lock_path(path);
        let lock = unix::open_private(&lock_path).map_err(StoreError::io("write", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::Io { action: "lock", path: lock_path, source });
            }
        }
        let name = unix::lock_name(&lock).map_err(StoreError::io("lock", &lock_path))?;
        let locked = Self { token_file: token_file.clone(), name, _lock: lock };
        locked.token_file.file.forget_unfinished();
        locked.finish_what_died()?;
        Ok(Some(locked))
    }

    /// A process may have died when its commit was on disk but for the last rename. What it wrote is not lost: if it
    /// was derived from what stands here now, the rename is done for it; if not, it is kept under its own name.
    fn finish_what_died(&self) -> Result<(), StoreError> {
        let durable = &self.token_file.file;
        let path = self.token_file.path();
        let Some(left) = durable.left_in_reserved().map_err(StoreError::io("read", path))? else {
            return Ok(());
        };
        // What cannot be read is a person's matter first; until then, all stays where it is.
        let Ok(now) = self.token_file.read() else { return Ok(()) };
        let left = parse(Some(left.as_slice())).unwrap_or_default();
        if derived_from(&left).as_ref() == Some(&now.connection.version()) {
            tracing::info!("a commit that was cut short is completed");
            durable.finish_reserved().map_err(StoreError::io("replace", path))?;
            let finished = self.token_file.document(&left).connection;
            self.token_file.journal().append_all(&journal::between(&now.connection, &finished));
            return Ok(());
        }
        let kept = durable.move_reserved_aside("kept").map_err(StoreError::io("keep aside", path))?;
        tracing::warn!(path = %kept.display(), "an answer of a process that died is kept aside");
        Ok(())
    }

    /// Somebody may have deleted the lock file, and somebody else may hold another one of its name by now: then ours
    /// keeps nobody out, and nothing may be sent under it (law 2).
    fn is_still_the_lock(&self) -> Result<bool, StoreError> {
        let path = lock_path(self.token_file.path());
        match File::open(&path).and_then(|file| unix::lock_name(&file)) {
            Ok(name) => Ok(name == self.name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }

    fn write(&mut self, from: &Version, next: &Connection, intended: bool) -> Result<(), WriteError> {
        let file = &self.token_file.file;
        // What could not be looked at when the lock was taken must not be written over now.
        if self.is_still_the_lock().unwrap_or(false) {
            self.finish_what_died()?;
        }
        let members = match self.token_file.members() {
            Ok(members) => members,
            // Tokens are at stake now: what cannot be read is kept under another name, and makes room (law 5).
            Err(StoreError::Unreadable { .. }) if !intended => {
                file.move_aside("unreadable").map_err(StoreError::io("keep aside", file.path()))?;
                Map::new()
            }
            Err(error) => return Err(error.into()),
        };
        let now = self.token_file.document(&members).connection;
        let has_moved = !members.is_empty() && now.version() != *from;
        // Where that cannot be told an answer is written as if somebody else held the lock.
        let is_still_the_lock =
            self.is_still_the_lock().or_else(|error| if intended { Err(error) } else { Ok(false) })?;
        if has_moved || (intended && !is_still_the_lock) {
            return Err(WriteError::Moved(Box::new(now)));
        }
        let mut document = document::write(next, &members);
        if !intended {
            note_derivation(&mut document, from);
        }
        let text = render(&document);
        let written = if intended {
            // Room first: where there is none, nothing has changed.
            file.reserve(text.len()).and_then(|()| file.replace(&text))
        } else if is_still_the_lock {
            file.replace_in_reserved(&text)
        } else {
            // The room is somebody else's by now.
            file.replace_by(&format!("late-{}", std::process::id()), &text)
        };
        written.map_err(StoreError::io("write", file.path()))?;
        self.token_file.journal().append_all(&journal::between(&now, next));
        Ok(())
    }
}

impl TokenFile {
    /// What happened to the tokens in it: a file beside it.
    pub(super) fn journal(&self) -> Journal {
        Journal::beside(self.path())
    }

    fn document(&self, members: &Map<String, Value>) -> Read {
        document::read(members, self.fresh.clone())
    }
}

impl Claim for Locked {
    fn lock(&self) -> &str {
        &self.name
    }

    fn read(&self) -> Result<Connection, StoreError> {
        Ok(self.token_file.read()?.connection)
    }

    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(from, next, true)
    }

    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(from, next, false)
    }

    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        match self.token_file.members() {
            Err(StoreError::Unreadable { path, .. }) => self
                .token_file
                .file
                .move_aside("unreadable")
                .map(Some)
                .map_err(StoreError::io("keep aside", path)),
            Err(error) => Err(error),
            Ok(_) => Ok(None),
        }
    }
}

impl Drop for Locked {
    /// Gives back room that was reserved and not used. What a commit left there has been renamed by now.
    fn drop(&mut self) {
        let is_ours = matches!(self.is_still_the_lock(), Ok(true));
        if is_ours && matches!(self.token_file.file.left_in_reserved(), Ok(None)) {
            let _ = self.token_file.file.release();
        }
    }
}

const DERIVED_FROM: &str = "derived_from";

/// Which version a commit replaces: a successor that finds it unfinished can tell whether it still applies.
fn note_derivation(document: &mut Map<String, Value>, from: &Version) {
    if let Some(Value::Object(own)) = document.get_mut(document::BOOKKEEPING) {
        own.insert(DERIVED_FROM.to_owned(), document::write_version(from));
    }
}

fn derived_from(document: &Map<String, Value>) -> Option<Version> {
    document::read_version(document.get(document::BOOKKEEPING)?.get(DERIVED_FROM)?)
}

fn render(document: &Map<String, Value>) -> Zeroizing<Vec<u8>> {
    // Room for a whole document at once, so that growing leaves no copies of tokens behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    if serde_json::to_writer_pretty(&mut *text, document).is_ok() {
        text.push(b'\n');
    }
    text
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    path.with_file_name(name)
}
