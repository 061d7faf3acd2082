//! Apps: many connections share one. Its client secrets are versions; the newest is in force, and the older ones stay
//! (law 5: a person may have erred).

use super::batch::{Batch, now};
use super::place::Place;
use crate::store::StoreError;
use crate::store::sealed::app::SecretPlace;
use crate::store::sealed::keys::Keys;
use perennial_core::grant::Client;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension};

/// The OAuth client of an app, with the newest secret.
pub(super) fn client(sql: &Connection, keys: &Keys, place: &Place, app: i64) -> Result<Client, StoreError> {
    let newest = "SELECT tenant, profile, client_id, version, key, secret
                  FROM apps JOIN app_secrets ON app = number WHERE number = ?1 ORDER BY version DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| {
        let of = SecretPlace {
            tenant: row.get(0)?,
            profile: row.get(1)?,
            client: row.get(2)?,
            app,
            version: row.get(3)?,
        };
        Ok((of, row.get::<_, i64>(4)?, row.get::<_, String>(5)?))
    };
    let (of, key, sealed) = sql
        .prepare_cached(newest)
        .and_then(|mut newest| newest.query_row([app], read))
        .map_err(|error| place.at("read").failed(error))?;
    let secret = of.open(keys, key, &sealed).map_err(|error| place.unsealed(error))?;
    Ok(Client { id: of.client, secret })
}

/// True unless another secret is kept for this app.
pub(super) fn agrees(batch: &Batch<'_>, profile: &str, client: &Client) -> Result<bool, StoreError> {
    let find = "SELECT number FROM apps WHERE tenant = ?1 AND profile = ?2 AND client_id = ?3";
    let find = batch.sql.prepare_cached(find);
    let app = find.and_then(|mut find| {
        find.query_row((batch.tenant, profile, &client.id), |row| row.get::<_, i64>(0)).optional()
    });
    match app.map_err(|error| batch.failed(error))? {
        Some(app) => Ok(self::client(batch.sql, batch.keys, batch.place, app)?.secret == client.secret),
        None => Ok(true),
    }
}

/// The number of an app, which is made if it is not there; a secret that is new becomes the one in force.
pub(super) fn put(batch: &Batch<'_>, profile: &str, client: &Client) -> Result<i64, StoreError> {
    let find = "SELECT number FROM apps WHERE tenant = ?1 AND profile = ?2 AND client_id = ?3";
    let insert = "INSERT INTO apps (tenant, profile, client_id) VALUES (?1, ?2, ?3) RETURNING number";
    let last = "SELECT coalesce(max(version), 0) FROM app_secrets WHERE app = ?1";
    let number = |query, values: &[&dyn ToSql]| {
        let mut query = batch.sql.prepare_cached(query)?;
        query.query_row(values, |row| row.get::<_, i64>(0))
    };
    let named: [&dyn ToSql; 3] = [&batch.tenant, &profile, &client.id];
    let app = match number(find, &named).optional().map_err(|error| batch.failed(error))? {
        Some(app) if self::client(batch.sql, batch.keys, batch.place, app)?.secret == client.secret => {
            return Ok(app);
        }
        Some(app) => app,
        None => number(insert, &named).map_err(|error| batch.failed(error))?,
    };
    let of = SecretPlace {
        tenant: batch.tenant.to_owned(),
        profile: profile.to_owned(),
        client: client.id.clone(),
        app,
        version: number(last, &[&app]).map_err(|error| batch.failed(error))? + 1,
    };
    let sealed = of.seal(batch.keys, &client.secret).map_err(|error| batch.unsealed(error))?;
    let insert =
        "INSERT INTO app_secrets (app, version, key, secret, known_since) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = (app, of.version, batch.keys.current(), sealed, now());
    batch.sql.execute(insert, values).map_err(|error| batch.failed(error))?;
    Ok(app)
}
