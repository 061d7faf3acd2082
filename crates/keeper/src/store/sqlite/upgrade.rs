//! Databases of earlier versions. Who opens one brings it up to date, in one transaction: a process that dies at it
//! leaves it as it was.
//!
//! In form 1 the one data key stood in `meta`; since form 2 data keys have numbers and a table of their own, and each
//! row names its key. Seals stay as they are: they never said which key they are of.

use super::place::Place;
use super::schema::{self, TABLES, Use, VERSION};
use crate::store::StoreError;
use rusqlite::{Connection, Transaction, TransactionBehavior};

/// The tables of form 1 that have another form now.
const BEFORE: [(&str, &str); 3] = [
    (
        "meta",
        "CREATE TABLE meta (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        store_id TEXT NOT NULL,
        data_key BLOB NOT NULL,
        master_key TEXT NOT NULL,
        changes INTEGER NOT NULL
    ) STRICT",
    ),
    (
        "app_secrets",
        "CREATE TABLE app_secrets (
        app INTEGER NOT NULL REFERENCES apps,
        version INTEGER NOT NULL,
        secret TEXT NOT NULL,
        known_since INTEGER NOT NULL,
        PRIMARY KEY (app, version)
    ) STRICT, WITHOUT ROWID",
    ),
    (
        "connections",
        "CREATE TABLE connections (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        app INTEGER NOT NULL REFERENCES apps,
        due_at INTEGER,
        intent TEXT,
        record TEXT NOT NULL,
        company TEXT,
        request_token TEXT,
        known_since INTEGER,
        created_at INTEGER NOT NULL,
        removed_at INTEGER,
        changed INTEGER NOT NULL,
        seal TEXT NOT NULL
    ) STRICT",
    ),
];

/// The tables as they stand in a database of this form.
pub(super) fn tables(form: i64) -> Vec<&'static str> {
    if form >= VERSION {
        return TABLES.to_vec();
    }
    let of_then = |statement: &&'static str| {
        let then = BEFORE.iter().find(|(name, _)| creates(statement, name));
        then.map_or(*statement, |(_, then)| then)
    };
    let was_there = |statement: &&&str| !creates(statement, "data_keys") && !statement.ends_with(" (key)");
    TABLES.iter().filter(was_there).map(of_then).collect()
}

fn creates(statement: &str, table: &str) -> bool {
    statement.strip_prefix("CREATE TABLE ").is_some_and(|rest| rest.starts_with(&format!("{table} (")))
}

/// Brings a database of an earlier form up to date, and returns what it was written with; `None` where there was nothing
/// to do.
///
/// # Errors
/// When it cannot be written, or is no database of ours.
pub(super) fn upgrade(place: &Place, sql: &Connection) -> Result<Option<Connection>, StoreError> {
    if schema::form(sql).map_err(|error| place.at("read").failed(error))? >= VERSION {
        return Ok(None);
    }
    let mut sql = schema::connect(place, Use::Writing)?;
    bring_up_to_date(&mut sql).map_err(|error| place.at("write").failed(error))?;
    Ok(Some(sql))
}

fn bring_up_to_date(sql: &mut Connection) -> rusqlite::Result<()> {
    // Tables are made anew under their own names; what refers to them refers to the new ones.
    sql.execute_batch("PRAGMA foreign_keys = OFF")?;
    let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Somebody else may have been quicker.
    if schema::form(&transaction)? < VERSION {
        from_1(&transaction)?;
    }
    transaction.commit()?;
    sql.execute_batch("PRAGMA foreign_keys = ON")
}

fn from_1(sql: &Transaction<'_>) -> rusqlite::Result<()> {
    for (table, _) in BEFORE {
        sql.execute_batch(&format!(
            "CREATE TEMP TABLE old_{table} AS SELECT * FROM {table}; DROP TABLE main.{table}"
        ))?;
    }
    let is_missing = |statement: &&&str| {
        ["meta", "data_keys", "app_secrets", "connections"].iter().any(|table| creates(statement, table))
            || statement.contains(" ON connections (")
            || statement.contains(" ON app_secrets (")
    };
    TABLES.iter().filter(is_missing).try_for_each(|statement| sql.execute_batch(statement))?;
    sql.execute_batch(
        "INSERT INTO meta (one, store_id, changes) SELECT one, store_id, changes FROM old_meta;
         INSERT INTO data_keys (number, wrapped, master_key, made_at)
             SELECT 1, data_key, master_key, unixepoch() FROM old_meta;
         INSERT INTO app_secrets (app, version, key, secret, known_since)
             SELECT app, version, 1, secret, known_since FROM old_app_secrets;
         INSERT INTO connections (number, tenant, id, name, app, due_at, intent, key, record, company, request_token,
                 known_since, created_at, removed_at, changed, seal)
             SELECT number, tenant, id, name, app, due_at, intent, 1, record, company, request_token,
                 known_since, created_at, removed_at, changed, seal FROM old_connections;
         DROP TABLE old_meta; DROP TABLE old_app_secrets; DROP TABLE old_connections",
    )?;
    sql.pragma_update(None, "user_version", VERSION)
}
