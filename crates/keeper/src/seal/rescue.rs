//! The rescue file: where an answer goes, sealed and durable, when the store will not take it (law 1). Every start
//! drains it first. Answers that could not even be parsed are kept beside it (law 5).

use super::{SealError, Sealer};
use crate::store::document;
use crate::store::durable::Durable;
use crate::{random, unix};
use perennial_core::connection::Version;
use perennial_core::secret::Fingerprint;
use perennial_core::{Connection, UnixTime};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where rescue files and their key live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The directory of the rescue files; best on another disk than the store.
    pub rescue_dir: PathBuf,
    /// The file of the master key.
    pub master_key: PathBuf,
}

impl Places {
    /// The places of the XDG base directory specification, below `state_home` and `data_home`.
    #[must_use]
    pub fn below(state_home: &Path, data_home: &Path) -> Self {
        Self {
            rescue_dir: state_home.join("perennial").join("rescue"),
            master_key: data_home.join("perennial").join("master.key"),
        }
    }
}

/// The rescue files of one store.
#[derive(Debug)]
pub(crate) struct Rescue {
    places: Option<Places>,
    store: String,
}

/// Tokens that a store would not take.
#[derive(Debug)]
pub(crate) struct Rescued {
    pub(crate) file: PathBuf,
    pub(crate) name: String,
    pub(crate) from: Version,
    pub(crate) document: Map<String, Value>,
}

impl Rescue {
    pub(crate) fn new(places: Option<Places>, store: String) -> Self {
        Self { places, store }
    }

    /// True when there is something to drain: one look into one directory.
    pub(crate) fn is_needed(&self) -> bool {
        !self.files().is_empty()
    }

    /// Makes sure that the key is there before it is needed.
    pub(crate) fn prepare(&self) -> Result<(), SealError> {
        let places = self.places.as_ref().ok_or(SealError::NoPlace)?;
        unix::make_private_dir(&places.rescue_dir)?;
        Sealer::with_key_file(&places.master_key).map(|_| ())
    }

    /// Keeps tokens that were to replace those of version `from`.
    pub(crate) fn keep(&self, from: &Version, next: &Connection, at: UnixTime) -> Result<PathBuf, SealError> {
        let record = json!({
            "store": self.store,
            "name": next.name,
            "at": at.0,
            "from": {
                "grant_id": from.grant_id,
                "generation": from.generation,
                "refresh": from.refresh.as_ref().map(Fingerprint::as_str),
            },
            "document": document::write(next, &Map::new(), &unix::kernel_id()),
        });
        self.write("tokens", &record)
    }

    /// Keeps the body of a 200 that could not be parsed.
    pub(crate) fn keep_unparsed(&self, name: &str, body: &[u8], at: UnixTime) -> Result<PathBuf, SealError> {
        let mut record = json!({"store": self.store, "name": name, "at": at.0});
        // Not one byte may change: what looks like rubbish may be tokens in a coding that nobody here knows.
        match std::str::from_utf8(body) {
            Ok(text) => record["body"] = text.into(),
            Err(_) => {
                record["body_hex"] = body.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
            }
        }
        self.write("answer", &record)
    }

    /// Tokens that wait to be taken into the store; what does not open is told and left where it is.
    pub(crate) fn waiting(&self) -> Vec<Result<Rescued, (PathBuf, SealError)>> {
        let Some(places) = &self.places else { return Vec::new() };
        let open = |file: &PathBuf| -> Result<Rescued, SealError> {
            let sealer = Sealer::with_key_file(&places.master_key)?;
            let plain = sealer.open(&self.belongs_to("tokens"), &fs::read(file)?)?;
            rescued(file, &plain).ok_or(SealError::Foreign)
        };
        self.files().into_iter().map(|file| open(&file).map_err(|error| (file, error))).collect()
    }

    /// Forgets what the store has taken.
    pub(crate) fn done(&self, rescued: &Rescued) -> Result<(), SealError> {
        fs::remove_file(&rescued.file)?;
        Ok(unix::sync_dir(rescued.file.parent().unwrap_or(Path::new(".")))?)
    }

    fn write(&self, kind: &str, record: &Value) -> Result<PathBuf, SealError> {
        let places = self.places.as_ref().ok_or(SealError::NoPlace)?;
        unix::make_private_dir(&places.rescue_dir)?;
        let plain = Zeroizing::new(record.to_string());
        let sealed =
            Sealer::with_key_file(&places.master_key)?.seal(&self.belongs_to(kind), plain.as_bytes())?;
        let path = places.rescue_dir.join(format!("{}-{kind}-{}", self.prefix(), random::id()));
        Durable::new(path.clone()).replace(&sealed)?;
        Ok(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let Some(places) = &self.places else { return Vec::new() };
        let Ok(entries) = fs::read_dir(&places.rescue_dir) else { return Vec::new() };
        let prefix = format!("{}-tokens-", self.prefix());
        let mut files: Vec<_> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .collect();
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

fn rescued(file: &Path, plain: &[u8]) -> Option<Rescued> {
    let Ok(Value::Object(mut record)) = serde_json::from_slice(plain) else { return None };
    let from = record.get("from")?;
    let text = |name: &str| from.get(name).and_then(Value::as_str);
    let from = Version {
        grant_id: text("grant_id").map(str::to_owned),
        generation: from.get("generation")?.as_u64()?,
        refresh: text("refresh").and_then(Fingerprint::parse),
    };
    let name = record.get("name")?.as_str()?.to_owned();
    let Some(Value::Object(document)) = record.remove("document") else { return None };
    Some(Rescued { file: file.to_owned(), name, from, document })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_5_an_unparsed_answer_is_kept_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::below(&dir.path().join("state"), &dir.path().join("data"));
        let rescue = Rescue::new(Some(places.clone()), "store".to_owned());
        for (body, name, kept) in
            [(&b"<html>"[..], "body", "<html>"), (b"\x1f\x8b\xff", "body_hex", "1f8bff")]
        {
            let path = rescue.keep_unparsed("default", body, UnixTime(1)).unwrap();
            let sealer = Sealer::with_key_file(&places.master_key).unwrap();
            let plain = sealer.open("rescue answer store", &fs::read(path).unwrap()).unwrap();
            let record: Value = serde_json::from_slice(&plain).unwrap();
            assert_eq!(record[name], kept);
        }
        assert!(!rescue.is_needed(), "nobody can take it in without a person");
    }
}
