//! What is due: an index that is read, never the whole table; and of the records of those that are due, the members
//! that are legible.

use super::database::Database;
use crate::store::agenda::{ENDS_PAGE, LONGEST_PAUSE, counted};
use crate::store::{Ends, MOST_COUNTED, StoreError};
use perennial_core::UnixTime;
use std::collections::BTreeSet;

/// All, longest due first.
pub(super) const DUE: &str = "SELECT name FROM connections WHERE tenant = ?1 AND removed_at IS NULL AND \
                              due_at IS NOT NULL AND due_at <= ?2 ORDER BY due_at";

/// How many, up to a bound.
pub(super) const BACKLOG: &str = "SELECT count(*) FROM (SELECT 1 FROM connections WHERE tenant = ?1 AND \
                                  removed_at IS NULL AND due_at IS NOT NULL AND due_at <= ?2 LIMIT ?3)";

/// The next one.
pub(super) const NEXT: &str = "SELECT min(due_at) FROM connections WHERE tenant = ?1 AND removed_at IS NULL AND \
                               due_at IS NOT NULL AND due_at > ?2";

/// Those that may be tried, the most urgent first: see `store::agenda`. A record that is damaged is no reason to renew
/// nothing: it is tried, and told.
const URGENT: &str = "SELECT name FROM told WHERE may_be_tried ORDER BY urgency, number LIMIT ?4";

/// Since when the one waits that has been due longest: in the order of the index, so that the first that is found ends
/// the search.
const LONGEST: &str = "SELECT due_at FROM told WHERE may_be_tried AND due_at > 0 ORDER BY due_at LIMIT 1";

/// What is due, and what its record tells.
fn of_told(query: &str) -> String {
    format!(
        "WITH due AS (
            SELECT number, name, due_at, request_token, CASE WHEN json_valid(record) THEN record ELSE '{{}}' END AS record
            FROM connections WHERE tenant = ?1 AND removed_at IS NULL AND due_at IS NOT NULL AND due_at <= ?2
        ), read AS (
            SELECT number, name, due_at, request_token,
                coalesce(json_extract(record, '$.refresh_expires_in'), due_at) AS urgency,
                coalesce(json_extract(record, '$.perennial.condition.state'), '') AS state,
                json_extract(record, '$.perennial.condition.until') AS until,
                coalesce(json_array_length(record, '$.perennial.candidates'), 0) AS candidates
            FROM due
        ), told AS (
            SELECT number, name, due_at, urgency, CASE
                WHEN candidates > 0 THEN 1
                WHEN state IN ('suspended', 'revoked') THEN 0
                WHEN state = 'needs_reauthorization' THEN request_token IS NOT NULL
                WHEN state IN ('backing_off', 'uncertain') THEN until IS NULL OR until <= ?2 OR until > ?2 + ?3
                ELSE 1 END AS may_be_tried
            FROM read
        )
        {query}"
    )
}

pub(super) fn batch(
    database: &Database,
    at: UnixTime,
    limit: usize,
    but: &BTreeSet<String>,
) -> Result<Vec<String>, StoreError> {
    let asked = i64::try_from(limit.saturating_add(but.len())).unwrap_or(i64::MAX);
    let mut names = database.list(&of_told(URGENT), (&database.tenant, at.0, LONGEST_PAUSE, asked))?;
    names.retain(|name| !but.contains(name));
    names.truncate(limit);
    Ok(names)
}

pub(super) fn backlog(database: &Database, at: UnixTime) -> Result<u64, StoreError> {
    let values = (&database.tenant, at.0, MOST_COUNTED.cast_signed());
    database.one(BACKLOG, values).map(|count: Option<i64>| count.unwrap_or(0).unsigned_abs())
}

pub(super) fn next(database: &Database, after: UnixTime) -> Result<Option<UnixTime>, StoreError> {
    let next: Option<i64> = database.one(NEXT, (&database.tenant, after.0))?;
    Ok(next.map(UnixTime))
}

pub(super) fn longest(database: &Database, at: UnixTime) -> Result<Option<UnixTime>, StoreError> {
    let found: Option<i64> = database.first(&of_told(LONGEST), (&database.tenant, at.0, LONGEST_PAUSE))?;
    Ok(found.map(UnixTime))
}

/// A page, in the order in which rows lie in the file; records are not parsed, for one takes as long as ten are looked at.
pub(super) fn ends(
    database: &Database,
    at: UnixTime,
    bounds: &[i64],
    after: Option<u64>,
) -> Result<(Ends, Option<u64>), StoreError> {
    let within: String =
        bounds.iter().map(|bound| format!(", coalesce(sum(remains <= {bound}), 0)")).collect();
    let query = format!(
        "SELECT coalesce(max(number), 0), count(remains), coalesce(sum(max(remains, 0)), 0){within} FROM (
            SELECT number, CASE WHEN place > 0 AND substr(record, place + 21, 1) BETWEEN '0' AND '9'
                THEN CAST(substr(record, place + 21, 18) AS INTEGER) - ?2 END AS remains
            FROM (
                SELECT number, record, instr(record, '\"refresh_expires_in\":') AS place
                FROM connections NOT INDEXED
                WHERE number > ?3 AND tenant = ?1 AND removed_at IS NULL AND due_at IS NOT NULL
                ORDER BY number LIMIT {ENDS_PAGE}
            )
        )"
    );
    let after = after.map_or(0, u64::cast_signed);
    let row = database.numbers(&query, (&database.tenant, at.0, after))?;
    Ok(counted(&row, bounds.len()))
}
