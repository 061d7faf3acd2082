//! What is due: an index that is read, never the whole table. Several keepers share it: a batch is offered to one of
//! them for a while, and rows that somebody is writing are passed over without waiting. An offer is no claim: it keeps
//! keepers out of each other's way, and nobody who needs a token now waits for it.

use super::failure::Stop;
use super::link::Link;
use super::row::get;
use super::server::Server;
use perennial_core::UnixTime;
use tokio_postgres::types::Type;

/// How long a connection is offered to one keeper: longer than a flight takes. Who dies lets it lapse.
const OFFERED: f64 = 120.0;

/// The names of all connections.
pub(super) async fn names(server: &Server, link: &Link<'_>) -> Result<Vec<String>, Stop> {
    let query = format!(
        "SELECT name FROM {}.connections WHERE tenant = $1 AND removed_at IS NULL ORDER BY name COLLATE \"C\"",
        server.place.schema
    );
    first_column(server, link.rows(&query, &[(&server.options.tenant, Type::TEXT)]).await?)
}

/// Those that are due, whoever may be at work on them.
pub(super) async fn due(server: &Server, link: &Link<'_>, at: UnixTime) -> Result<Vec<String>, Stop> {
    let query = format!(
        "SELECT name FROM {}.connections WHERE tenant = $1 AND removed_at IS NULL AND due_at IS NOT NULL AND \
         due_at <= $2 ORDER BY due_at",
        server.place.schema
    );
    let values = [(&server.options.tenant as _, Type::TEXT), (&at.0 as _, Type::INT8)];
    first_column(server, link.rows(&query, &values).await?)
}

/// Some of those that are due and that nobody is at work on; they are offered to nobody else for a while.
pub(super) async fn offer(
    server: &Server,
    link: &Link<'_>,
    at: UnixTime,
    limit: usize,
) -> Result<Vec<String>, Stop> {
    link.begin().await?;
    let offered = take(server, link, at, limit).await;
    match offered {
        Ok(names) => link.commit().await.map(|()| names),
        Err(stop) => {
            link.roll_back().await;
            Err(stop)
        }
    }
}

async fn take(server: &Server, link: &Link<'_>, at: UnixTime, limit: usize) -> Result<Vec<String>, Stop> {
    let query = format!(
        "WITH due AS (
             SELECT c.number, c.name, c.due_at FROM {s}.connections c
             WHERE c.tenant = $1 AND c.removed_at IS NULL AND c.due_at IS NOT NULL AND c.due_at <= $2
               AND NOT EXISTS (SELECT FROM {s}.claims k WHERE k.connection = c.number AND k.until > clock_timestamp())
               AND NOT EXISTS (SELECT FROM {s}.offers o WHERE o.connection = c.number AND o.until > clock_timestamp())
             ORDER BY c.due_at LIMIT $3 FOR UPDATE OF c SKIP LOCKED
         ), offered AS (
             INSERT INTO {s}.offers AS o (connection, tenant, until)
             SELECT number, $1, clock_timestamp() + $4 * interval '1 second' FROM due
             ON CONFLICT (connection) DO UPDATE SET until = excluded.until WHERE o.until <= clock_timestamp()
             RETURNING connection
         )
         SELECT due.name FROM due JOIN offered ON offered.connection = due.number ORDER BY due.due_at",
        s = server.place.schema
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [
        (&server.options.tenant as _, Type::TEXT),
        (&at.0 as _, Type::INT8),
        (&limit as _, Type::INT8),
        (&OFFERED as _, Type::FLOAT8),
    ];
    first_column(server, link.rows(&query, &values).await?)
}

fn first_column(server: &Server, rows: Vec<tokio_postgres::Row>) -> Result<Vec<String>, Stop> {
    let mut names = Vec::with_capacity(rows.len());
    for row in rows {
        names.push(get(&server.place, &row, 0)?);
    }
    Ok(names)
}
