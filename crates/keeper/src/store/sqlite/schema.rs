//! The tables, and how a database is made and opened. Columns are there for what is asked for; everything else of a
//! connection stands in its record.

use super::failure::At;
use super::place::{PAGE, Place};
use super::upgrade;
use crate::store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The form of the tables that this version writes; a newer one is refused.
pub(super) const VERSION: i64 = 2;
/// Marks the file as Perennial's: "Prnl".
const APPLICATION: i64 = 0x5072_6e6c;

/// How long a writer waits for another process's. Each holds the right to write for some milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each statement stands in the database as it stands here, and is compared when it is opened.
pub(super) const TABLES: [&str; 14] = [
    "CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        store_id TEXT NOT NULL,
        changes INTEGER NOT NULL,
        home TEXT,
        closed TEXT
    ) STRICT",
    "CREATE TABLE data_keys (
        number INTEGER PRIMARY KEY,
        wrapped BLOB NOT NULL,
        master_key TEXT NOT NULL,
        made_at INTEGER NOT NULL
    ) STRICT",
    "CREATE TABLE apps (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL,
        profile TEXT NOT NULL,
        client_id TEXT NOT NULL
    ) STRICT",
    "CREATE UNIQUE INDEX app_names ON apps (tenant, profile, client_id)",
    "CREATE TABLE app_secrets (
        app INTEGER NOT NULL REFERENCES apps,
        version INTEGER NOT NULL,
        key INTEGER NOT NULL REFERENCES data_keys,
        secret TEXT NOT NULL,
        known_since INTEGER NOT NULL,
        PRIMARY KEY (app, version)
    ) STRICT, WITHOUT ROWID",
    "CREATE TABLE connections (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        app INTEGER NOT NULL REFERENCES apps,
        due_at INTEGER,
        intent TEXT,
        key INTEGER NOT NULL REFERENCES data_keys,
        record TEXT NOT NULL,
        company TEXT,
        request_token TEXT,
        known_since INTEGER,
        created_at INTEGER NOT NULL,
        removed_at INTEGER,
        changed INTEGER NOT NULL,
        seal TEXT NOT NULL
    ) STRICT",
    "CREATE UNIQUE INDEX connection_ids ON connections (tenant, id)",
    "CREATE UNIQUE INDEX connection_names ON connections (tenant, name) WHERE removed_at IS NULL",
    "CREATE INDEX agenda ON connections (tenant, due_at) WHERE removed_at IS NULL AND due_at IS NOT NULL",
    "CREATE INDEX open_intents ON connections (intent) WHERE intent IS NOT NULL",
    "CREATE INDEX sealed_under ON connections (key)",
    "CREATE INDEX secrets_under ON app_secrets (key)",
    "CREATE TABLE journal (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        connection INTEGER NOT NULL REFERENCES connections,
        at INTEGER NOT NULL,
        entry TEXT NOT NULL
    ) STRICT",
    "CREATE INDEX journal_of ON journal (connection, number)",
];

/// What a connection to the database is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Reading,
    Writing,
}

/// Opens the database that is there.
pub(super) fn connect(place: &Place, purpose: Use) -> Result<Connection, StoreError> {
    let action = if purpose == Use::Reading { "read" } else { "write" };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | COMMON;
    let opened = Connection::open_with_flags(&place.path, flags).and_then(|sql| settle(sql, purpose));
    opened.map_err(|error| At { place, action }.failed(error))
}

/// A connection to read with.
pub(super) struct Reader {
    pub(super) sql: Connection,
    /// True when it sees the database as it is now, for ever.
    pub(super) is_fixed: bool,
}

/// Opens the database to read. SQLite makes two files beside it for that; where it cannot (the disk is full, or mounted
/// read-only), and nothing waits in a -wal file, nobody can be writing, and the database is read by itself (law 9).
pub(super) fn connect_to_read(place: &Place) -> Result<Reader, StoreError> {
    let refused = match connect(place, Use::Reading) {
        Ok(sql) => return Ok(Reader { sql, is_fixed: false }),
        Err(refused @ StoreError::Io { .. }) => refused,
        Err(error) => return Err(error),
    };
    if fs::metadata(place.wal()).is_ok_and(|wal| wal.len() > 0) {
        return Err(refused);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | COMMON;
    let opened = Connection::open_with_flags(immutable(&place.path), flags).and_then(is_readable);
    opened.map(|sql| Reader { sql, is_fixed: true }).map_err(|_| refused)
}

const COMMON: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX.union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

fn immutable(path: &Path) -> String {
    let escaped: String = path.as_os_str().as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
    format!("file:{}?immutable=1", escaped.replace("%2f", "/"))
}

/// SQLite opens files only when they are needed.
fn is_readable(sql: Connection) -> rusqlite::Result<Connection> {
    sql.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0))?;
    Ok(sql)
}

fn settle(sql: Connection, purpose: Use) -> rusqlite::Result<Connection> {
    sql.busy_timeout(PATIENCE)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // The -wal file and the -shm file stay when the last process goes: who comes next needs no room for them, and no
    // right to make them (law 9). Only who writes moves changes from one into the other.
    sql.file_control(Some("main"), FileControl::PersistWal(&mut 1))?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, purpose == Use::Reading)?;
    sql.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;
         PRAGMA cache_spill = OFF",
    )?;
    match purpose {
        Use::Reading => sql.execute_batch("PRAGMA query_only = ON")?,
        // 256 pages are a mebibyte: the next to open it reads that much at most. The -wal file keeps the room that
        // it has got; what is left of it in the end is cut off with the last writer.
        Use::Writing => {
            sql.execute_batch("PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 16777216")?;
        }
    }
    is_readable(sql)
}

/// Refuses what is not ours, or newer, or altered.
pub(super) fn check(place: &Place, sql: &Connection) -> Result<(), StoreError> {
    let at = place.at("read");
    let number =
        |pragma| sql.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(|error| at.failed(error));
    if number("PRAGMA application_id")? != APPLICATION {
        return Err(StoreError::Unsafe {
            path: place.path.clone(),
            reason: "is a database of some other program",
            remedy: "name another file: --store sqlite:FILE".to_owned(),
        });
    }
    let form = form(sql).map_err(|error| at.failed(error))?;
    if form > VERSION {
        return Err(StoreError::Unsafe {
            path: place.path.clone(),
            reason: "was written by a newer Perennial",
            remedy: "use that version, or a newer one".to_owned(),
        });
    }
    // In whatever order: a backup has the tables first.
    let mut expected = upgrade::tables(form);
    expected.sort_unstable();
    let tables = tables(sql).map_err(|error| at.failed(error))?;
    if tables.iter().map(String::as_str).eq(expected) {
        return Ok(());
    }
    Err(place.damaged("its tables are not those that Perennial made"))
}

/// The form of a database: [`VERSION`], or that of an earlier version.
pub(super) fn form(sql: &Connection) -> rusqlite::Result<i64> {
    sql.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn tables(sql: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = sql.prepare(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY sql",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Makes the tables in an empty file.
pub(super) fn make(sql: &Connection) -> rusqlite::Result<()> {
    sql.pragma_update(None, "page_size", PAGE.cast_signed())?;
    sql.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")?;
    TABLES.iter().try_for_each(|table| sql.execute_batch(table))?;
    sql.pragma_update(None, "application_id", APPLICATION)?;
    sql.pragma_update(None, "user_version", VERSION)
}

#[cfg(test)]
mod tests {
    use super::super::NAMES;
    use super::super::agenda::{BACKLOG, DUE, NEXT};
    use super::super::changes::{NEWEST, SINCE};
    use super::super::database::journal_query;
    use super::super::rekey::UNDER;
    use super::super::writer::OPEN_INTENTS;
    use super::*;

    /// A store of many thousand connections is never read from end to end.
    #[test]
    fn what_is_asked_often_goes_by_an_index() {
        let sql = Connection::open_in_memory().unwrap();
        make(&sql).unwrap();
        for (query, index) in [
            (DUE, "agenda"),
            (BACKLOG, "INDEX agenda"),
            (NEXT, "INDEX agenda"),
            (NEWEST, "SEARCH journal"),
            (SINCE, "SEARCH j USING INTEGER PRIMARY KEY"),
            (NAMES, "connection_names"),
            (OPEN_INTENTS, "open_intents"),
            (UNDER, "sealed_under"),
            (UNDER, "secrets_under"),
            (&journal_query(true, true), "journal_of"),
            (&journal_query(true, false), "journal_of"),
            (&journal_query(false, true), "SEARCH journal USING INTEGER PRIMARY KEY"),
            (&journal_query(false, false), "SEARCH journal USING INTEGER PRIMARY KEY"),
        ] {
            let mut plan = sql.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let nothing = vec![None::<i64>; plan.parameter_count()];
            let steps =
                plan.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3)).unwrap();
            let steps = steps.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ");
            assert!(steps.contains(index) && !steps.contains("TEMP B-TREE"), "{query}: {steps}");
        }
    }
}
