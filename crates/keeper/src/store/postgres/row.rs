//! Rows of `connections`: found, locked, read and written.

use super::failure::Stop;
use super::link::{Link, Value};
use super::place::Place;
use super::server::{Server, Work};
use crate::store::StoreError;
use crate::store::agenda;
use crate::store::sealed::row::Row;
use perennial_core::Connection;
use perennial_core::connection::Version;
use tokio_postgres::types::{FromSql, Type};

const COLUMNS: &str = "number, tenant, id, name, app, due_at, intent, key, record, company, request_token, known_since, \
                       created_at, removed_at, changed, seal";
/// How many they are: what a query adds stands behind them.
const COUNT: usize = 16;

/// The one that is called by a name now.
pub(super) const NAMED: &str = "tenant = $1 AND name = $2 AND removed_at IS NULL";
/// The one of a number, also when it was put away.
pub(super) const NUMBERED: &str = "tenant = $1 AND number = $2";
/// What was last put away under a name.
pub(super) const REMOVED: &str =
    "tenant = $1 AND name = $2 AND removed_at IS NOT NULL ORDER BY removed_at DESC, changed DESC";

/// A value of a row, of the type that it was written with.
pub(super) fn get<'a, T: FromSql<'a>>(
    place: &Place,
    row: &'a tokio_postgres::Row,
    column: usize,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| {
        place.damaged(format!("it holds what Perennial has not written ({})", crate::http::innermost(&error)))
    })
}

/// Reads the first row for which `condition` holds, with the number of the newest data key.
pub(super) async fn look(
    server: &Server,
    link: &Link<'_>,
    condition: &str,
    value: Value<'_>,
) -> Result<Option<(Row, Option<i64>)>, Stop> {
    let s = &server.place.schema;
    let query = format!(
        "SELECT {COLUMNS}, (SELECT max(number) FROM {s}.data_keys) FROM {s}.connections WHERE {condition} LIMIT 1"
    );
    let found = link.row(&query, &[(&server.options.tenant, Type::TEXT), value]).await?;
    let read = |row| Ok((read(&server.place, &row)?, get(&server.place, &row, COUNT)?));
    found.map(read).transpose().map_err(|error: StoreError| error.into())
}

/// Some rows behind this number, in their order, with the number of the newest data key: a million of them do not fit
/// into memory.
pub(super) async fn some_behind(
    server: &Server,
    link: &Link<'_>,
    behind: i64,
) -> Result<(Vec<Row>, Option<i64>), Stop> {
    let (s, place) = (&server.place.schema, &server.place);
    let query = format!(
        "SELECT {COLUMNS}, (SELECT max(number) FROM {s}.data_keys) FROM {s}.connections \
         WHERE tenant = $1 AND number > $2 ORDER BY number LIMIT 500"
    );
    let values = [(&server.options.tenant as _, Type::TEXT), (&behind as _, Type::INT8)];
    let (mut rows, mut newest) = (Vec::new(), None);
    for found in link.rows(&query, &values).await? {
        rows.push(read(place, &found)?);
        newest = get(place, &found, COUNT)?;
    }
    Ok((rows, newest))
}

/// The same of all tenants.
pub(super) async fn all_behind(
    server: &Server,
    link: &Link<'_>,
    behind: i64,
) -> Result<(Vec<Row>, Option<i64>), Stop> {
    let (s, place) = (&server.place.schema, &server.place);
    let query = format!(
        "SELECT {COLUMNS}, (SELECT max(number) FROM {s}.data_keys) FROM {s}.connections \
         WHERE number > $1 ORDER BY number LIMIT 500"
    );
    let (mut rows, mut newest) = (Vec::new(), None);
    for found in link.rows(&query, &[(&behind, Type::INT8)]).await? {
        rows.push(read(place, &found)?);
        newest = get(place, &found, COUNT)?;
    }
    Ok((rows, newest))
}

/// Some rows of all tenants that are sealed under this key, behind this number, locked.
pub(super) async fn under(
    server: &Server,
    link: &Link<'_>,
    key: i64,
    behind: i64,
    most: usize,
) -> Result<Vec<Row>, Stop> {
    let query = format!(
        "SELECT {COLUMNS} FROM {}.connections WHERE key = $1 AND number > $2 ORDER BY number LIMIT $3 FOR UPDATE",
        server.place.schema
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let values = [(&key as _, Type::INT8), (&behind as _, Type::INT8), (&most as _, Type::INT8)];
    let found = link.rows(&query, &values).await?;
    Ok(found.iter().map(|row| read(&server.place, row)).collect::<Result<_, _>>()?)
}

impl Work<'_> {
    /// Locks the first row for which `condition` holds, until this transaction ends.
    pub(super) async fn lock(&self, condition: &str, value: Value<'_>) -> Result<Option<Row>, Stop> {
        let query =
            format!("SELECT {COLUMNS} FROM {}.connections WHERE {condition} LIMIT 1 FOR UPDATE", self.s);
        let found = self.link.row(&query, &[(&self.tenant, Type::TEXT), value]).await?;
        let row = found.map(|row| read(self.link.place(), &row)).transpose()?;
        match row {
            // The store was sealed anew while this transaction waited for the row: once more, with the keys of now.
            Some(row) if row.key > self.keys.current() => {
                Err(Stop::Again(self.link.place().damaged("its keys were replaced meanwhile")))
            }
            row => Ok(row),
        }
    }

    /// True when an earlier attempt, whose outcome nobody knew, has written this row.
    pub(super) fn was_mine(&self, row: &Row) -> bool {
        self.earlier.contains(&row.changed)
    }

    /// Opens a row.
    pub(super) fn open(&self, row: &Row) -> Result<Connection, StoreError> {
        row.open(self.keys).map_err(|error| self.unsealed(error))
    }

    pub(super) fn unsealed(&self, error: impl Into<crate::store::sealed::Unsealed>) -> StoreError {
        self.link.place().unsealed(error)
    }

    /// Compares, and swaps (law 8). `None` when this was done before, by an attempt whose outcome nobody knew; the row
    /// is written once more then, so that what comes after it on the server, a standby's word too, covers both.
    pub(super) async fn swap(
        &self,
        mut row: Row,
        from: &Version,
        next: &Connection,
    ) -> Result<Option<Connection>, Stop> {
        let now = self.open(&row)?;
        if self.was_mine(&row) {
            self.seal_and_write(row).await?;
            return Ok(None);
        }
        if now.version() != *from {
            return Err(Stop::Moved(Box::new(now)));
        }
        let next = Connection { id: now.id.clone(), name: now.name.clone(), ..next.clone() };
        row.put(self.keys, &next).map_err(|error| self.unsealed(error))?;
        self.seal_and_write(row).await?;
        Ok(Some(now))
    }

    /// Puts a connection away, or brings it back. One that was altered stays as it is under its seal, so that this
    /// makes nothing good that was not.
    pub(super) async fn put_away(&self, row: Row, removed_at: Option<i64>) -> Result<(), Stop> {
        if row.is_sealed(self.keys) {
            return self.seal_and_write(Row { removed_at, ..row }).await;
        }
        let update = format!("UPDATE {}.connections SET removed_at = $2 WHERE number = $1", self.s);
        self.link.rows(&update, &[(&row.number, Type::INT8), (&removed_at, Type::INT8)]).await.map(drop)
    }

    /// Forgets a connection that was put away, with its history, unless something is held of it (law 5).
    pub(super) async fn forget(&self, number: i64) -> Result<(), Stop> {
        let Some(row) = self.lock(NUMBERED, (&number, Type::INT8)).await? else { return Ok(()) };
        let is_empty = row.open(self.keys).is_ok_and(|connection| !agenda::holds_anything(&connection));
        if row.removed_at.is_none() || !is_empty {
            return Ok(());
        }
        for (table, column) in [("journal", "connection"), ("connections", "number")] {
            let forget = format!("DELETE FROM {}.{table} WHERE {column} = $1", self.s);
            self.link.rows(&forget, &[(&number, Type::INT8)]).await?;
        }
        Ok(())
    }

    /// A number that no row has had. It is sealed with the row, so it is drawn before the row is written.
    pub(super) async fn next_number(&self) -> Result<i64, Stop> {
        let next = format!("SELECT nextval('{}.connection_numbers')", self.s);
        let row = self.link.row(&next, &[]).await?;
        let row = row.ok_or_else(|| self.link.place().damaged("it counts no connections"))?;
        Ok(get(self.link.place(), &row, 0)?)
    }

    /// Seals a row and writes it in place of the one of its number.
    pub(super) async fn seal_and_write(&self, row: Row) -> Result<(), Stop> {
        let row = self.sealed(row)?;
        let update = format!(
            "UPDATE {}.connections SET name = $2, app = $3, due_at = $4, intent = $5, key = $6, record = $7, \
             company = $8, request_token = $9, known_since = $10, removed_at = $11, changed = $12, seal = $13 \
             WHERE number = $1",
            self.s
        );
        let values: [Value<'_>; 13] = [
            (&row.number, Type::INT8),
            (&row.name, Type::TEXT),
            (&row.app, Type::INT8),
            (&row.due_at, Type::INT8),
            (&row.intent, Type::TEXT),
            (&row.key, Type::INT8),
            (&row.record, Type::TEXT),
            (&row.company, Type::TEXT),
            (&row.request_token, Type::TEXT),
            (&row.known_since, Type::INT8),
            (&row.removed_at, Type::INT8),
            (&row.changed, Type::INT8),
            (&row.seal, Type::TEXT),
        ];
        self.link.rows(&update, &values).await.map(drop)
    }

    /// Seals a new row and writes it.
    pub(super) async fn insert(&self, row: Row) -> Result<(), Stop> {
        let row = self.sealed(row)?;
        let insert = format!(
            "INSERT INTO {}.connections ({COLUMNS}) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            self.s
        );
        let values: [Value<'_>; COUNT] = [
            (&row.number, Type::INT8),
            (&row.tenant, Type::TEXT),
            (&row.id, Type::TEXT),
            (&row.name, Type::TEXT),
            (&row.app, Type::INT8),
            (&row.due_at, Type::INT8),
            (&row.intent, Type::TEXT),
            (&row.key, Type::INT8),
            (&row.record, Type::TEXT),
            (&row.company, Type::TEXT),
            (&row.request_token, Type::TEXT),
            (&row.known_since, Type::INT8),
            (&row.created_at, Type::INT8),
            (&row.removed_at, Type::INT8),
            (&row.changed, Type::INT8),
            (&row.seal, Type::TEXT),
        ];
        self.link.rows(&insert, &values).await.map(drop)
    }

    /// Numbers that no row has had.
    pub(super) async fn next_numbers(&self, count: usize) -> Result<Vec<i64>, Stop> {
        let next = format!("SELECT nextval('{}.connection_numbers') FROM generate_series(1, $1)", self.s);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = self.link.rows(&next, &[(&count, Type::INT8)]).await?;
        Ok(rows.iter().map(|row| get(self.link.place(), row, 0)).collect::<Result<_, _>>()?)
    }

    /// True when one of these ids, or of these names, is in use.
    pub(super) async fn is_any_there(&self, ids: &[&str], names: &[&str]) -> Result<bool, Stop> {
        let look = format!(
            "SELECT 1 FROM {s}.connections WHERE tenant = $1 AND id = ANY($2) \
             UNION ALL SELECT 1 FROM {s}.connections WHERE tenant = $1 AND name = ANY($3) AND removed_at IS NULL LIMIT 1",
            s = self.s
        );
        let values: [Value<'_>; 3] =
            [(&self.tenant, Type::TEXT), (&ids, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
        Ok(self.link.row(&look, &values).await?.is_some())
    }

    /// Seals new rows and writes them, in one statement.
    pub(super) async fn insert_all(&self, rows: Vec<Row>) -> Result<(), Stop> {
        let rows = rows.into_iter().map(|row| self.sealed(row)).collect::<Result<Vec<_>, _>>()?;
        let insert = format!(
            "INSERT INTO {}.connections ({COLUMNS}) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], \
             $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[], \
             $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[])",
            self.s
        );
        let numbers = |of: fn(&Row) -> Option<i64>| rows.iter().map(of).collect::<Vec<_>>();
        let texts = |of: fn(&Row) -> Option<&str>| rows.iter().map(of).collect::<Vec<_>>();
        let values: [Value<'_>; COUNT] = [
            (&numbers(|row| Some(row.number)), Type::INT8_ARRAY),
            (&texts(|row| Some(&row.tenant)), Type::TEXT_ARRAY),
            (&texts(|row| Some(&row.id)), Type::TEXT_ARRAY),
            (&texts(|row| Some(&row.name)), Type::TEXT_ARRAY),
            (&numbers(|row| Some(row.app)), Type::INT8_ARRAY),
            (&numbers(|row| row.due_at), Type::INT8_ARRAY),
            (&texts(|row| row.intent.as_deref()), Type::TEXT_ARRAY),
            (&numbers(|row| Some(row.key)), Type::INT8_ARRAY),
            (&texts(|row| Some(&row.record)), Type::TEXT_ARRAY),
            (&texts(|row| row.company.as_deref()), Type::TEXT_ARRAY),
            (&texts(|row| row.request_token.as_deref()), Type::TEXT_ARRAY),
            (&numbers(|row| row.known_since), Type::INT8_ARRAY),
            (&numbers(|row| Some(row.created_at)), Type::INT8_ARRAY),
            (&numbers(|row| row.removed_at), Type::INT8_ARRAY),
            (&numbers(|row| Some(row.changed)), Type::INT8_ARRAY),
            (&texts(|row| Some(&row.seal)), Type::TEXT_ARRAY),
        ];
        self.link.rows(&insert, &values).await.map(drop)
    }

    fn sealed(&self, mut row: Row) -> Result<Row, StoreError> {
        row.changed = self.change;
        row.seal(self.keys).map_err(|error| self.unsealed(error))?;
        Ok(row)
    }
}

fn read(place: &Place, row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    Ok(Row {
        number: get(place, row, 0)?,
        tenant: get(place, row, 1)?,
        id: get(place, row, 2)?,
        name: get(place, row, 3)?,
        app: get(place, row, 4)?,
        due_at: get(place, row, 5)?,
        intent: get(place, row, 6)?,
        key: get(place, row, 7)?,
        record: get(place, row, 8)?,
        company: get(place, row, 9)?,
        request_token: get(place, row, 10)?,
        known_since: get(place, row, 11)?,
        created_at: get(place, row, 12)?,
        removed_at: get(place, row, 13)?,
        changed: get(place, row, 14)?,
        seal: get(place, row, 15)?,
    })
}
