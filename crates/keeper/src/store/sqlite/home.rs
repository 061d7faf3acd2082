//! Where a database is in use: on which machine, and as which file. It is put down with the first write and compared
//! whenever somebody asks; `cp` and a restored backup make another file, `mv` within a file system does not.
//!
//! A machine is known by `/etc/machine-id`, hashed with the store's id, so that nobody learns it from a database. A file
//! is known by its number and the moment of its making, where the file system keeps that; else by its number and its
//! device, which may change when disks are found in another order.

use crate::store::standing::Origin;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A place of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Where it is known.
    machine: Option<String>,
    file: u64,
    /// In nanoseconds since 1970, where it is known.
    made_at: Option<String>,
    device: u64,
}

impl Home {
    /// The place of the database that lies there now.
    pub(super) fn here(path: &Path, store: &str) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let made_at = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Some(Self {
            machine: machine(store),
            file: metadata.ino(),
            made_at: made_at.map(|since| since.as_nanos().to_string()),
            device: metadata.dev(),
        })
    }

    /// As it stands in `meta`.
    pub(super) fn write(&self) -> String {
        let Self { machine, file, made_at, device } = self;
        json!({"machine": machine, "file": file, "made_at": made_at, "device": device}).to_string()
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        Some(Self {
            machine: text("machine"),
            file: number("file")?,
            made_at: text("made_at"),
            device: number("device").unwrap_or(0),
        })
    }

    /// What tells the two apart; what is not known of one of them tells nothing.
    pub(super) fn differs(&self, here: &Self) -> Option<Origin> {
        let other_machine = self.machine.as_ref().zip(here.machine.as_ref()).is_some_and(|(a, b)| a != b);
        if other_machine {
            return Some(Origin::OtherMachine);
        }
        let other_file = self.file != here.file
            || match (&self.made_at, &here.made_at) {
                (Some(then), Some(now)) => then != now,
                _ => self.device != here.device,
            };
        other_file.then_some(Origin::OtherFile)
    }
}

/// What `meta` says: where the database is in use, and where it was handed over to.
pub(super) fn kept(sql: &Connection) -> rusqlite::Result<(Option<String>, Option<String>)> {
    sql.prepare_cached("SELECT home, closed FROM meta WHERE one = 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

const MACHINE: &str = "/etc/machine-id";

fn machine(store: &str) -> Option<String> {
    let id = fs::read_to_string(MACHINE).ok()?;
    let id = id.trim();
    if id.is_empty() || id == "uninitialized" {
        return None;
    }
    let digest = Sha256::digest(json!(["perennial", store, id]).to_string());
    Some(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        Home { machine: Some("a".into()), file: 7, made_at: Some("1".into()), device: 3 }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Home::read(&home().write()), Some(home()));
        assert_eq!(Home::read("scribble"), None);
    }

    #[test]
    fn another_machine_or_another_file_is_told_and_the_unknown_is_not() {
        let with = |change: fn(&mut Home)| {
            let mut other = home();
            change(&mut other);
            home().differs(&other)
        };
        assert_eq!(with(|_| {}), None);
        assert_eq!(with(|home| home.machine = Some("b".into())), Some(Origin::OtherMachine));
        assert_eq!(with(|home| home.machine = None), None);
        assert_eq!(with(|home| home.file = 8), Some(Origin::OtherFile));
        assert_eq!(with(|home| home.made_at = Some("2".into())), Some(Origin::OtherFile));
        assert_eq!(with(|home| home.device = 4), None, "disks may be found in another order");
        let unborn = |device| Home { made_at: None, device, ..home() };
        assert_eq!(unborn(3).differs(&unborn(4)), Some(Origin::OtherFile));
        assert_eq!(unborn(3).differs(&unborn(3)), None);
    }
}
