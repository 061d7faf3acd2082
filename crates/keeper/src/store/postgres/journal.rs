//! The journal: entries go in with the write that they tell of, or by themselves. Numbers grow in the order of writes
//! for each connection; across connections one that was drawn earlier may become visible later.

use super::failure::Stop;
use super::link::Link;
use super::now;
use super::row::get;
use super::server::{Server, Work};
use crate::store::{Recorded, StoreError, record};
use perennial_core::journal::Entry;
use serde_json::Value;
use tokio_postgres::types::Type;

/// Entries are kept for this many seconds: 400 days, which is more than a year.
const KEPT: i64 = 400 * 86_400;
/// Every so many changes, the oldest entries are looked at.
const PRUNED_EVERY: i64 = 64;
/// How many of them go at once: more than have come meanwhile.
const PRUNED_AT_ONCE: i64 = 1000;

impl Work<'_> {
    /// Puts entries down.
    pub(super) async fn note(&self, number: i64, entries: &[Entry]) -> Result<(), Stop> {
        let insert =
            format!("INSERT INTO {}.journal (tenant, connection, at, entry) VALUES ($1, $2, $3, $4)", self.s);
        for entry in entries {
            let text = Value::Object(record::write(entry)).to_string();
            let values = [
                (&self.tenant as _, Type::TEXT),
                (&number as _, Type::INT8),
                (&entry.at.0 as _, Type::INT8),
                (&text as _, Type::TEXT),
            ];
            self.link.rows(&insert, &values).await?;
        }
        match entries.last() {
            Some(entry) if self.change % PRUNED_EVERY == 0 => self.prune(entry).await,
            _ => Ok(()),
        }
    }

    /// Lets go of entries that are too old by both clocks: neither alone is trusted (law 11).
    async fn prune(&self, newest: &Entry) -> Result<(), Stop> {
        let oldest = newest.at.0.min(now()).saturating_sub(KEPT);
        let prune = format!(
            "DELETE FROM {s}.journal WHERE number IN (SELECT number FROM {s}.journal WHERE number < \
             (SELECT number FROM {s}.journal WHERE at >= $1 ORDER BY number LIMIT 1) \
             ORDER BY number LIMIT $2 FOR UPDATE SKIP LOCKED)",
            s = self.s
        );
        self.link.rows(&prune, &[(&oldest, Type::INT8), (&PRUNED_AT_ONCE, Type::INT8)]).await.map(drop)
    }
}

/// Entries behind `after`, oldest first, or the newest. What was put away is not shown.
pub(super) async fn read(
    server: &Server,
    link: &Link<'_>,
    name: Option<&str>,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Recorded>, Stop> {
    let query = query(&server.place.schema, name.is_some(), after.is_some());
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (behind, limit) = (number(after.unwrap_or(0)), number(limit as u64));
    let values = [
        (&server.options.tenant as _, Type::TEXT),
        (&behind as _, Type::INT8),
        (&limit as _, Type::INT8),
        (&name as _, Type::TEXT),
    ];
    let values = if name.is_some() { &values[..] } else { &values[..3] };
    let mut found = Vec::new();
    for row in link.rows(&query, values).await? {
        found.extend(recorded(server, &row)?);
    }
    if after.is_none() {
        found.reverse();
    }
    Ok(found)
}

fn query(s: &str, of_one: bool, after: bool) -> String {
    let wanted = if of_one {
        format!(
            "j.connection = (SELECT number FROM {s}.connections WHERE tenant = $1 AND name = $4 AND \
             removed_at IS NULL)"
        )
    } else {
        "j.tenant = $1 AND c.removed_at IS NULL".to_owned()
    };
    let order = if after { "ASC" } else { "DESC" };
    format!(
        "SELECT j.number, c.name, j.entry FROM {s}.journal j JOIN {s}.connections c ON c.number = j.connection \
         WHERE {wanted} AND c.tenant = $1 AND j.number > $2 ORDER BY j.number {order} LIMIT $3"
    )
}

/// An entry that nobody can read is left out: it is of no use to anybody.
fn recorded(server: &Server, row: &tokio_postgres::Row) -> Result<Option<Recorded>, StoreError> {
    let place = &server.place;
    let (number, connection, text): (i64, String, String) =
        (get(place, row, 0)?, get(place, row, 1)?, get(place, row, 2)?);
    let entry = serde_json::from_str(&text).ok().and_then(|members| record::read(&members));
    Ok(entry.map(|entry| Recorded { number: number.unsigned_abs(), connection, entry }))
}
