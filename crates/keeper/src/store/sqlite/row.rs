//! Rows of `connections`: found, read and written.

use super::place::Place;
use crate::store::StoreError;
use crate::store::sealed::row::Row;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Params};

const COLUMNS: &str = "number, tenant, id, name, app, due_at, intent, key, record, company, request_token, known_since, \
                       created_at, removed_at, changed, seal";

/// The first row for which `condition` holds.
pub(super) fn find(sql: &Connection, condition: &str, values: impl Params) -> rusqlite::Result<Option<Row>> {
    let mut statement =
        sql.prepare_cached(&format!("SELECT {COLUMNS} FROM connections WHERE {condition} LIMIT 1"))?;
    statement.query_row(values, read).optional()
}

/// The one that is called by this name now.
pub(super) fn named(sql: &Connection, tenant: &str, name: &str) -> rusqlite::Result<Option<Row>> {
    find(sql, "tenant = ?1 AND name = ?2 AND removed_at IS NULL", (tenant, name))
}

/// The one of this number, also when it was put away.
pub(super) fn numbered(sql: &Connection, number: i64) -> rusqlite::Result<Option<Row>> {
    find(sql, "number = ?1", [number])
}

/// True when there is a connection of this id, also when it was put away.
pub(super) fn is_known(sql: &Connection, tenant: &str, id: &str) -> rusqlite::Result<bool> {
    Ok(find(sql, "tenant = ?1 AND id = ?2", (tenant, id))?.is_some())
}

/// Those under this data key behind number `after`, in the order of their numbers.
pub(super) fn under(sql: &Connection, key: i64, after: i64, most: usize) -> rusqlite::Result<Vec<Row>> {
    let mut statement = sql.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM connections WHERE key = ?1 AND number > ?2 ORDER BY number LIMIT ?3"
    ))?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    statement.query_map((key, after, most), read)?.collect()
}

/// A number that no row has had. It is sealed with the row, so it is drawn before the row is written.
pub(super) fn next_number(sql: &Connection) -> rusqlite::Result<i64> {
    let last = "SELECT max(coalesce((SELECT max(number) FROM connections), 0),
                           coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'connections'), 0))";
    Ok(sql.query_row(last, [], |row| row.get::<_, i64>(0))? + 1)
}

/// Goes through every row there is, one after the other: a million of them do not fit into memory. An error of `look`
/// ends it.
pub(super) fn each(
    sql: &Connection,
    place: &Place,
    mut look: impl FnMut(Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |error| place.at("read").failed(error);
    let all = format!("SELECT {COLUMNS} FROM connections ORDER BY number");
    let mut statement = sql.prepare(&all).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        look(read(row).map_err(failed)?)?;
    }
    Ok(())
}

/// Writes the row in place of the one of its number, or as a new one.
pub(super) fn write(sql: &Connection, row: &Row) -> rusqlite::Result<()> {
    let values: [&dyn ToSql; 16] = [
        &row.number,
        &row.tenant,
        &row.id,
        &row.name,
        &row.app,
        &row.due_at,
        &row.intent,
        &row.key,
        &row.record,
        &row.company,
        &row.request_token,
        &row.known_since,
        &row.created_at,
        &row.removed_at,
        &row.changed,
        &row.seal,
    ];
    sql.prepare_cached(&format!(
        "INSERT INTO connections ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
         ON CONFLICT (number) DO UPDATE SET name = ?4, app = ?5, due_at = ?6, intent = ?7, key = ?8, record = ?9,
         company = ?10, request_token = ?11, known_since = ?12, removed_at = ?14, changed = ?15, seal = ?16"
    ))?
    .execute(values)?;
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        number: row.get(0)?,
        tenant: row.get(1)?,
        id: row.get(2)?,
        name: row.get(3)?,
        app: row.get(4)?,
        due_at: row.get(5)?,
        intent: row.get(6)?,
        key: row.get(7)?,
        record: row.get(8)?,
        company: row.get(9)?,
        request_token: row.get(10)?,
        known_since: row.get(11)?,
        created_at: row.get(12)?,
        removed_at: row.get(13)?,
        changed: row.get(14)?,
        seal: row.get(15)?,
    })
}
