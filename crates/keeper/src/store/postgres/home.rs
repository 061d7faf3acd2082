//! Whether this is the database in use: one that was restored from a dump, into another database or another cluster, is
//! a copy, and one that was handed over says where it went.

use super::failure::Stop;
use super::link::Link;
use super::row::get;
use super::schema::HOME;
use super::server::Work;
use crate::store::standing::{Origin, Standing};
use tokio_postgres::types::Type;

/// What this database is.
pub(super) async fn standing(link: &Link<'_>) -> Result<Standing, Stop> {
    let place = link.place();
    let query = format!("SELECT closed, home IS NULL OR home = {HOME} FROM {}.meta", place.schema);
    let Some(row) = link.row(&query, &[]).await? else { return Ok(Standing::InUse) };
    if let Some(to) = get(place, &row, 0)? {
        return Ok(Standing::Moved { to });
    }
    let is_home: Option<bool> = get(place, &row, 1)?;
    Ok(if is_home == Some(false) { Standing::Copy(Origin::OtherDatabase) } else { Standing::InUse })
}

/// Makes it the one in use.
pub(super) async fn adopt(work: &Work<'_>) -> Result<(), Stop> {
    let adopt = format!("UPDATE {}.meta SET home = {HOME}, closed = NULL", work.s);
    work.link.rows(&adopt, &[]).await.map(drop)
}

/// Hands it over.
pub(super) async fn close(work: &Work<'_>, to: &str) -> Result<(), Stop> {
    let close = format!("UPDATE {}.meta SET closed = $1", work.s);
    work.link.rows(&close, &[(&to, Type::TEXT)]).await.map(drop)
}
