//! What is due: an index that is read, never the whole table. Several keepers share it: a batch is offered to one of
//! them for a while, and rows that somebody is writing are passed over without waiting. An offer is no claim: it keeps
//! keepers out of each other's way, and nobody who needs a token now waits for it.

use super::failure::Stop;
use super::link::Link;
use super::row::get;
use super::server::Server;
use crate::store::MOST_COUNTED;
use crate::store::agenda::{ENDS_PAGE, LONGEST_PAUSE};
use perennial_core::UnixTime;
use tokio_postgres::types::{FromSql, Type};

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

/// Some of them, in the order of their bytes, behind one.
pub(super) async fn names_after(
    server: &Server,
    link: &Link<'_>,
    after: &str,
    limit: usize,
) -> Result<Vec<String>, Stop> {
    let query = format!(
        "SELECT name FROM {}.connections WHERE tenant = $1 AND removed_at IS NULL AND name COLLATE \"C\" > $2 \
         ORDER BY name COLLATE \"C\" LIMIT $3",
        server.place.schema
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values =
        [(&server.options.tenant as _, Type::TEXT), (&after as _, Type::TEXT), (&limit as _, Type::INT8)];
    first_column(server, link.rows(&query, &values).await?)
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
    but: &[String],
) -> Result<Vec<String>, Stop> {
    link.begin().await?;
    let offered = take(server, link, at, limit, but).await;
    match offered {
        Ok(names) => link.commit().await.map(|()| names),
        Err(stop) => {
            link.roll_back().await;
            Err(stop)
        }
    }
}

/// What `store::agenda` says of a connection, over the text of its record: the members that are looked for are legible, and
/// stand in front of whatever else could look like them. It is read as text, so that one record that is no JSON any more
/// does not keep all others from being renewed; and found by `strpos`, which takes a tenth of what an expression takes.
const MAY_BE_TRIED: &str = "CASE
    WHEN strpos(r.text, '\"candidates\":[{') > 0 THEN true
    ELSE CASE split_part(substr(r.text, nullif(strpos(r.text, '\"condition\":{\"state\":\"'), 0) + 22, 30), '\"', 1)
        WHEN 'suspended' THEN false
        WHEN 'revoked' THEN false
        WHEN 'needs_reauthorization' THEN c.request_token IS NOT NULL
        ELSE coalesce(substring(substr(r.text, nullif(strpos(r.text, '\"condition\":{\"state\":\"'), 0), 100)
            from '\"until\":([0-9]{1,18})')::bigint - $2 NOT BETWEEN 1 AND $6, true)
    END END";

/// When the refresh token ends, where that is known.
const END: &str = "substring(substr(r.text, nullif(strpos(r.text, '\"refresh_expires_in\":'), 0) + 21, 18) \
                   from '^[0-9]+')::bigint";

async fn take(
    server: &Server,
    link: &Link<'_>,
    at: UnixTime,
    limit: usize,
    but: &[String],
) -> Result<Vec<String>, Stop> {
    let query = format!(
        "WITH due AS (
             SELECT c.number, c.name, coalesce({END}, c.due_at) AS urgency FROM {s}.connections c
             CROSS JOIN LATERAL (SELECT c.record || '' AS text OFFSET 0) r
             WHERE c.tenant = $1 AND c.removed_at IS NULL AND c.due_at IS NOT NULL AND c.due_at <= $2
               AND NOT EXISTS (SELECT FROM {s}.claims k WHERE k.connection = c.number AND k.until > clock_timestamp())
               AND NOT EXISTS (SELECT FROM {s}.offers o WHERE o.connection = c.number AND o.until > clock_timestamp())
               AND NOT c.name = ANY($5) AND {MAY_BE_TRIED}
             ORDER BY urgency, c.number LIMIT $3 FOR UPDATE OF c SKIP LOCKED
         ), offered AS (
             INSERT INTO {s}.offers AS o (connection, tenant, until)
             SELECT number, $1, clock_timestamp() + $4 * interval '1 second' FROM due
             ON CONFLICT (connection) DO UPDATE SET until = excluded.until WHERE o.until <= clock_timestamp()
             RETURNING connection
         )
         SELECT due.name FROM due JOIN offered ON offered.connection = due.number ORDER BY due.urgency, due.number",
        s = server.place.schema
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [
        (&server.options.tenant as _, Type::TEXT),
        (&at.0 as _, Type::INT8),
        (&limit as _, Type::INT8),
        (&OFFERED as _, Type::FLOAT8),
        (&but as _, Type::TEXT_ARRAY),
        (&LONGEST_PAUSE as _, Type::INT8),
    ];
    first_column(server, link.rows(&query, &values).await?)
}

/// How many are due, up to a bound.
pub(super) async fn backlog(server: &Server, link: &Link<'_>, at: UnixTime) -> Result<Vec<i64>, Stop> {
    let query = format!(
        "SELECT count(*) FROM (SELECT FROM {}.connections WHERE tenant = $1 AND removed_at IS NULL AND \
         due_at IS NOT NULL AND due_at <= $2 LIMIT $3) AS due",
        server.place.schema
    );
    let most = MOST_COUNTED.cast_signed();
    let values =
        [(&server.options.tenant as _, Type::TEXT), (&at.0 as _, Type::INT8), (&most as _, Type::INT8)];
    first_column(server, link.rows(&query, &values).await?)
}

/// When the next one is.
pub(super) async fn next(
    server: &Server,
    link: &Link<'_>,
    after: UnixTime,
) -> Result<Vec<Option<i64>>, Stop> {
    let query = format!(
        "SELECT min(due_at) FROM {}.connections WHERE tenant = $1 AND removed_at IS NULL AND due_at IS NOT NULL \
         AND due_at > $2",
        server.place.schema
    );
    let values = [(&server.options.tenant as _, Type::TEXT), (&after.0 as _, Type::INT8)];
    first_column(server, link.rows(&query, &values).await?)
}

/// Since when the one waits that has been due longest, of those that may be tried; offered to nobody.
pub(super) async fn longest(server: &Server, link: &Link<'_>, at: UnixTime) -> Result<Vec<i64>, Stop> {
    // In the order of the index, so that the first that is found ends the search.
    let may_be_tried = MAY_BE_TRIED.replace("$6", "$3");
    let query = format!(
        "SELECT c.due_at FROM {}.connections c CROSS JOIN LATERAL (SELECT c.record || '' AS text OFFSET 0) r
         WHERE c.tenant = $1 AND c.removed_at IS NULL AND c.due_at IS NOT NULL AND c.due_at <= $2 AND c.due_at > 0
           AND {may_be_tried}
         ORDER BY c.due_at LIMIT 1",
        server.place.schema
    );
    let values = [
        (&server.options.tenant as _, Type::TEXT),
        (&at.0 as _, Type::INT8),
        (&LONGEST_PAUSE as _, Type::INT8),
    ];
    first_column(server, link.rows(&query, &values).await?)
}

/// How many refresh tokens end within each of the bounds, behind the number of the last one that was looked at, how many
/// there are, and the seconds that they have left: a page.
pub(super) async fn ends(
    server: &Server,
    link: &Link<'_>,
    at: UnixTime,
    bounds: &[i64],
    after: Option<u64>,
) -> Result<Vec<i64>, Stop> {
    let within: String =
        bounds.iter().map(|bound| format!(", count(*) FILTER (WHERE e.remains <= {bound})")).collect();
    let query = format!(
        "SELECT array[coalesce(max(e.number), 0), count(e.remains),
                coalesce(sum(greatest(e.remains, 0)) FILTER (WHERE e.remains IS NOT NULL), 0)::bigint{within}] FROM (
             SELECT c.number, {END} - $2 AS remains FROM {}.connections c
             CROSS JOIN LATERAL (SELECT c.record || '' AS text OFFSET 0) r
             WHERE c.number > $3 AND c.tenant = $1 AND c.removed_at IS NULL AND c.due_at IS NOT NULL
             ORDER BY c.number LIMIT {ENDS_PAGE}
         ) e",
        server.place.schema
    );
    let after = after.map_or(0, u64::cast_signed);
    let values =
        [(&server.options.tenant as _, Type::TEXT), (&at.0 as _, Type::INT8), (&after as _, Type::INT8)];
    let rows: Vec<Vec<i64>> = first_column(server, link.rows(&query, &values).await?)?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

fn first_column<T: for<'a> FromSql<'a>>(
    server: &Server,
    rows: Vec<tokio_postgres::Row>,
) -> Result<Vec<T>, Stop> {
    let mut names = Vec::with_capacity(rows.len());
    for row in rows {
        names.push(get(&server.place, &row, 0)?);
    }
    Ok(names)
}
