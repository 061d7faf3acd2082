//! The SQLite store, where it is more than a store: sealed, damaged, killed, crowded, on a full disk.
//!
//! | file | its stories |
//! |---|---|
//! | `main.rs` | a store in a directory of its own, and how a test runs itself as another process |
//! | `sealing.rs` | no secret is found, nothing opens in another's place (law 10) |
//! | `damage.rs` | cut, altered, older, closed: told, and no token spent |
//! | `doctor.rs` | what is found, and what mends it |
//! | `crash.rs` | killed while it writes; many writers, few transactions |
//! | `killed.rs` | killed at every call of the system that changes a file |
//! | `room.rs` | a disk that fills up (law 4) |
//! | `moving.rs` | backups, handing over, many at once |
//! | `places.rs` | where a database may lie |
//! | `upgrade.rs` | a database that an earlier version wrote |

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod crash;
mod damage;
mod doctor;
#[expect(dead_code, reason = "only token files are needed here")]
#[path = "../wire_properties/generators.rs"]
mod generators;
mod killed;
mod moving;
mod places;
mod room;
#[path = "../store_conformance/sample.rs"]
mod sample;
mod sealing;
mod upgrade;

use perennial::core::Connection;
use perennial::seal::KeySource;
use perennial::store::{Store, StoreError};
use perennial::{Sqlite, SqliteOptions};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory with a database and, elsewhere, its key.
struct World {
    root: TempDir,
}

impl World {
    /// Nothing is there yet.
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// With `acme` and `globex` in it, both holding tokens.
    fn filled() -> Self {
        let world = Self::new();
        let store = world.open();
        store.add(&sample::full("acme"), &sample::app("app-1", "one")).unwrap();
        let globex = sample::holding(&sample::connection("globex"), "globex");
        store.add(&globex, &sample::app("app-1", "one")).unwrap();
        world
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("data/perennial.db")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.root.path().join(format!("data/perennial.db{ending}"))
    }

    fn key(&self) -> PathBuf {
        self.root.path().join("keys/master.key")
    }

    fn options(&self) -> SqliteOptions {
        options_of(self.root.path())
    }

    fn try_open(&self) -> Result<Sqlite, StoreError> {
        Sqlite::open(self.path(), self.options())
    }

    fn open(&self) -> Sqlite {
        self.try_open().unwrap()
    }

    /// The tables, as somebody with the sqlite3 shell has them.
    fn tables(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.root.path().join("data")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn holds(path: &Path, text: &str) -> bool {
    fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

/// Renews once, as a flight does: intent, then outcome.
fn refresh(store: &Sqlite, name: &str, token: &str) -> Connection {
    let mut claim = store.try_claim(name).unwrap().unwrap();
    let seen = claim.read().unwrap();
    let intended = sample::refreshing(&seen, &format!("for-{token}"));
    claim.intend(&seen.version(), &intended).unwrap();
    let next = sample::holding(&intended, token);
    claim.commit(&intended.version(), &next).unwrap();
    next
}

const CHILD: &str = "PERENNIAL_TEST_CHILD";

/// This very test program as another process, to run the one test of this name with `argument`.
fn child(test: &str, argument: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, argument);
    command
}

/// What [`child`] gave to this process; `None` where it is no child, and such a test does nothing.
fn argument() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// The options for a world that another process has made.
fn options_of(root: &Path) -> SqliteOptions {
    SqliteOptions::new(KeySource::File(root.join("keys/master.key")))
}

/// The store of such a world.
fn open_of(root: &Path) -> Sqlite {
    Sqlite::open(root.join("data/perennial.db"), options_of(root)).unwrap()
}
