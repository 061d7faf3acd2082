//! The rescue file: where an answer goes, sealed and durable, when the store will not take it (law 1). Every start
//! drains it first. Answers that could not even be parsed are kept beside it (law 5).

use super::{KeySource, MasterKey, SealError, key_named_in, wiped};
use crate::rekey::SealedFile;
use crate::store::durable::Durable;
use crate::store::{Store, document};
use crate::unix;
use perennial_core::connection::Version;
use perennial_core::secret::Fingerprint;
use perennial_core::{Connection, UnixTime};
use serde_json::{Map, Value, json};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where rescue files and their key live.
#[derive(Clone, Debug)]
pub struct Places {
    /// Where the files lie; best on another disk than the store.
    pub shelf: Arc<dyn Shelf>,
    /// The master key.
    pub master_key: MasterKey,
}

impl Places {
    /// The places of the XDG base directory specification, below `state_home` and `config_home`.
    #[must_use]
    pub fn below(state_home: &Path, config_home: &Path) -> Self {
        Self {
            shelf: Arc::new(Directory(state_home.join("perennial").join("rescue"))),
            master_key: KeySource::File(config_home.join("perennial").join("master.key")).into(),
        }
    }
}

/// What files are there for.
const KINDS: [&str; 2] = ["tokens", "answer"];

/// A few named files. It is a trait so that a simulation can let it fail; programs use a [`Directory`].
pub trait Shelf: fmt::Debug + Send + Sync + 'static {
    /// Makes sure that something could be written.
    ///
    /// # Errors
    /// When the place cannot be made.
    fn prepare(&self) -> io::Result<()>;

    /// The names of all files there; none where nothing can be listed.
    fn names(&self) -> Vec<String>;

    /// The contents of one.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Writes one, durably.
    ///
    /// # Errors
    /// When it could not be made durable.
    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()>;

    /// Removes one, durably.
    ///
    /// # Errors
    /// When it could not be removed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// What a person would call the file.
    fn path(&self, name: &str) -> PathBuf;
}

/// A directory that only its owner may enter.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Shelf for Directory {
    fn prepare(&self) -> io::Result<()> {
        unix::make_private_dir(&self.0)
    }

    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.prepare()?;
        Durable::new(self.path(name)).replace(contents)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))?;
        unix::sync_dir(&self.0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The rescue files of one store.
#[derive(Debug)]
pub(crate) struct Rescue {
    places: Option<Places>,
    store: String,
}

/// Tokens that a store would not take. They are wiped when it is dropped, and never printed.
pub(crate) struct Rescued {
    pub(crate) file: String,
    pub(crate) path: PathBuf,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) from: Version,
    pub(crate) document: Map<String, Value>,
}

impl Drop for Rescued {
    fn drop(&mut self) {
        wiped::wipe_all(&mut self.document);
    }
}

impl Rescue {
    pub(crate) fn new(places: Option<Places>, store: String) -> Self {
        Self { places, store }
    }

    /// True when there is something to drain: one look into one directory.
    pub(crate) fn is_needed(&self) -> bool {
        !self.files("tokens").is_empty()
    }

    /// Makes sure that the key is there before it is needed.
    pub(crate) fn prepare(&self) -> Result<(), SealError> {
        let places = self.places.as_ref().ok_or(SealError::NoPlace)?;
        places.shelf.prepare()?;
        places.master_key.prepare()
    }

    /// Keeps tokens that were to replace those of version `from`.
    pub(crate) fn keep(
        &self,
        id: &str,
        from: &Version,
        next: &Connection,
        at: UnixTime,
    ) -> Result<PathBuf, SealError> {
        let record = json!({
            "store": self.store,
            "name": next.name,
            "id": next.id,
            "at": at.0,
            "from": document::write_version(from),
            "document": document::write(next, &Map::new()),
        });
        self.write("tokens", &format!("{}-{id}", Fingerprint::of(&next.id)), record)
    }

    /// Keeps the body of a 200 that could not be parsed.
    pub(crate) fn keep_unparsed(
        &self,
        id: &str,
        name: &str,
        body: &[u8],
        at: UnixTime,
    ) -> Result<PathBuf, SealError> {
        let mut record = json!({"store": self.store, "name": name, "at": at.0});
        // Not one byte may change: what looks like rubbish may be tokens in a coding that nobody here knows.
        match std::str::from_utf8(body) {
            Ok(text) => record["body"] = text.into(),
            Err(_) => {
                record["body_hex"] = body.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
            }
        }
        self.write("answer", id, record)
    }

    /// Tokens that wait to be taken into the store, of one connection by its id, or of all; what does not open is told
    /// and left where it is.
    pub(crate) fn waiting(&self, connection: Option<&str>) -> Vec<Result<Rescued, (PathBuf, SealError)>> {
        let Some(places) = &self.places else { return Vec::new() };
        let open = |file: &str| -> Result<Rescued, SealError> {
            let plain = places.master_key.open(&self.belongs_to("tokens"), &places.shelf.read(file)?)?;
            rescued(file, places.shelf.path(file), &plain).ok_or(SealError::Foreign)
        };
        let told = |file: String| open(&file).map_err(|error| (places.shelf.path(&file), error));
        let kind = connection.map_or_else(
            || "tokens".to_owned(),
            |connection| format!("tokens-{}", Fingerprint::of(connection)),
        );
        let files = self.files(&kind).into_iter().map(told);
        // One that is not there any more has been taken in by somebody else.
        let is_gone = |error: &SealError| matches!(error, SealError::Io(error) if error.kind() == io::ErrorKind::NotFound);
        files.filter(|file| !matches!(file, Err((_, error)) if is_gone(error))).collect()
    }

    /// Answers that nobody could read: for a person.
    pub(crate) fn answers(&self) -> Vec<PathBuf> {
        let Some(places) = &self.places else { return Vec::new() };
        self.files("answer").iter().map(|file| places.shelf.path(file)).collect()
    }

    /// True while tokens still wait in there: another process may have been quicker.
    pub(crate) fn still_waits(&self, rescued: &Rescued) -> bool {
        self.files("tokens").contains(&rescued.file)
    }

    /// Forgets what the store has taken.
    pub(crate) fn done(&self, rescued: &Rescued) -> Result<(), SealError> {
        let places = self.places.as_ref().ok_or(SealError::NoPlace)?;
        Ok(places.shelf.remove(&rescued.file)?)
    }

    /// All sealed files there, of other stores too, and the master keys that they name.
    pub(crate) fn sealed_files(&self) -> Vec<SealedFile> {
        let Some(places) = &self.places else { return Vec::new() };
        let is_ours = |name: &String| KINDS.iter().any(|kind| name.contains(&format!("-{kind}-")));
        let mut names: Vec<_> = places.shelf.names().into_iter().filter(is_ours).collect();
        names.sort();
        let described = |name: String| {
            // One that is not there any more has been taken in by somebody else.
            let sealed = places.shelf.read(&name).ok()?;
            Some(SealedFile { path: places.shelf.path(&name), master_key: key_named_in(&sealed) })
        };
        names.into_iter().filter_map(described).collect()
    }

    /// Seals this store's files under the newest master key, and says how many that were. Tokens are sealed under the
    /// claim of their connection, so that nobody takes them in meanwhile; those of one that is busy stay as they are.
    pub(crate) fn seal_anew(&self, store: &dyn Store) -> Result<usize, SealError> {
        let mut count = 0;
        for file in self.files("answer") {
            count += usize::from(self.seal_file_anew("answer", &file)?);
        }
        for rescued in self.waiting(None).into_iter().flatten() {
            let Ok(Some(_claim)) = store.try_claim(&rescued.name) else { continue };
            if self.still_waits(&rescued) {
                count += usize::from(self.seal_file_anew("tokens", &rescued.file)?);
            }
        }
        Ok(count)
    }

    /// False for a file that is under the newest key, or does not open: it stays as it is.
    fn seal_file_anew(&self, kind: &str, file: &str) -> Result<bool, SealError> {
        let places = self.places.as_ref().ok_or(SealError::NoPlace)?;
        let sealed = places.shelf.read(file)?;
        if places.master_key.is_newest_of(&sealed)? {
            return Ok(false);
        }
        let Ok(plain) = places.master_key.open(&self.belongs_to(kind), &sealed) else { return Ok(false) };
        places.shelf.write(file, &places.master_key.seal(&self.belongs_to(kind), &plain)?)?;
        Ok(true)
    }

    fn write(&self, kind: &str, id: &str, record: Value) -> Result<PathBuf, SealError> {
        let places = self.places.as_ref().ok_or(SealError::NoPlace)?;
        let sealed = places.master_key.seal(&self.belongs_to(kind), &wiped::text(record))?;
        let name = format!("{}-{kind}-{id}", self.prefix());
        places.shelf.write(&name, &sealed)?;
        Ok(places.shelf.path(&name))
    }

    /// One look into one directory.
    fn files(&self, kind: &str) -> Vec<String> {
        let Some(places) = &self.places else { return Vec::new() };
        let prefix = format!("{}-{kind}-", self.prefix());
        let mut files = places.shelf.names();
        files.retain(|name| name.starts_with(&prefix));
        files.sort();
        files
    }

    fn prefix(&self) -> String {
        Fingerprint::of(&self.store).to_string()
    }

    fn belongs_to(&self, kind: &str) -> String {
        format!("rescue {kind} {}", self.store)
    }
}

fn rescued(file: &str, path: PathBuf, plain: &[u8]) -> Option<Rescued> {
    let Ok(Value::Object(mut record)) = serde_json::from_slice(plain) else { return None };
    let from = document::read_version(record.get("from")?)?;
    let name = record.get("name")?.as_str()?.to_owned();
    let id = record.get("id")?.as_str()?.to_owned();
    let Some(Value::Object(document)) = record.remove("document") else { return None };
    Some(Rescued { file: file.to_owned(), path, id, name, from, document })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_5_an_unparsed_answer_is_kept_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(&dir.path().join("state"), &dir.path().join("config"));
        let rescue = Rescue::new(Some(places.clone()), "store".to_owned());
        for (body, name, kept) in
            [(&b"<html>"[..], "body", "<html>"), (b"\x1f\x8b\xff", "body_hex", "1f8bff")]
        {
            let path = rescue.keep_unparsed("id", "default", body, UnixTime(1)).unwrap();
            let plain = places.master_key.open("rescue answer store", &fs::read(path).unwrap()).unwrap();
            let record: Value = serde_json::from_slice(&plain).unwrap();
            assert_eq!(record[name], kept);
        }
        assert!(!rescue.is_needed(), "nobody can take it in without a person");
    }
}
