//! What has changed since: whatever changes a connection leaves an entry in the journal with the same write, and writes
//! come one after the other. So a mark is the number of an entry, and when nothing has happened, asking costs one look at
//! the end of a table.

use super::database::Database;
use crate::store::{Changes, StoreError};
use std::collections::BTreeSet;

/// So many entries are looked at in one go.
const AT_ONCE: usize = 1000;

/// The number of the newest entry, of any tenant.
pub(super) const NEWEST: &str = "SELECT max(number) FROM journal";

/// What they tell of; of other tenants, nothing. Connections that were put away are named too.
pub(super) const SINCE: &str = "
    SELECT j.number, CASE WHEN c.tenant = ?1 THEN c.name END
    FROM journal j CROSS JOIN connections c ON c.number = j.connection
    WHERE j.number > ?2 ORDER BY j.number LIMIT ?3";

pub(super) fn since(database: &Database, since: Option<u64>) -> Result<Changes, StoreError> {
    let Some(since) = since else {
        let mark = newest(database)?;
        return Ok(Changes::Named { names: Vec::new(), mark, more: false });
    };
    let found: Vec<(i64, Option<String>)> = database.read(|view| {
        let look = || -> rusqlite::Result<_> {
            let mut statement = view.sql.prepare_cached(SINCE)?;
            let values = (&database.tenant, i64::try_from(since).unwrap_or(i64::MAX), AT_ONCE.cast_signed());
            statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        look().map_err(|error| view.failed(error))
    })?;
    match found.last() {
        Some((mark, _)) => {
            let (mark, more) = (mark.unsigned_abs(), found.len() == AT_ONCE);
            let names: BTreeSet<String> = found.into_iter().filter_map(|(_, name)| name).collect();
            Ok(Changes::Named { names: names.into_iter().collect(), mark, more })
        }
        // Numbers only grow: an older copy of the database has been put in its place.
        None if newest(database)? < since => Ok(Changes::Unknown),
        None => Ok(Changes::Named { names: Vec::new(), mark: since, more: false }),
    }
}

fn newest(database: &Database) -> Result<u64, StoreError> {
    database.one(NEWEST, ()).map(|newest: Option<i64>| newest.unwrap_or(0).unsigned_abs())
}
