//! Apps: many connections share one. Its client secrets are versions; the newest is in force, and the older ones stay
//! (law 5: a person may have erred).

use super::batch::{Batch, now};
use super::place::Place;
use crate::store::StoreError;
use crate::store::sealed::Unsealed;
use crate::store::sealed::app::SecretPlace;
use crate::store::sealed::keys::Keys;
use perennial_core::grant::Client;
use perennial_core::secret::ClientSecret;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension};

/// The OAuth client of an app, with the newest secret.
pub(super) fn client(sql: &Connection, keys: &Keys, place: &Place, app: i64) -> Result<Client, StoreError> {
    let newest = format!("{SECRETS} WHERE app = ?1 ORDER BY version DESC LIMIT 1");
    let secret = sql
        .prepare_cached(&newest)
        .and_then(|mut newest| newest.query_row([app], read))
        .map_err(|error| place.at("read").failed(error))?;
    let opened = secret.open(keys).map_err(|error| place.unsealed(error))?;
    Ok(Client { id: secret.of.client, secret: opened })
}

const SECRETS: &str = "SELECT tenant, profile, client_id, app, version, key, secret
                       FROM app_secrets JOIN apps ON number = app";

/// A client secret as it stands in its table.
pub(super) struct Secret {
    of: SecretPlace,
    key: i64,
    sealed: String,
}

impl Secret {
    /// The secret itself.
    pub(super) fn open(&self, keys: &Keys) -> Result<ClientSecret, Unsealed> {
        self.of.open(keys, self.key, &self.sealed)
    }

    /// The app's number, and the secret's version.
    pub(super) fn number(&self) -> (i64, i64) {
        (self.of.app, self.of.version)
    }

    /// Which app it is, for a person.
    pub(super) fn client(&self) -> &str {
        &self.of.client
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Secret> {
    let of = SecretPlace {
        tenant: row.get(0)?,
        profile: row.get(1)?,
        client: row.get(2)?,
        app: row.get(3)?,
        version: row.get(4)?,
    };
    Ok(Secret { of, key: row.get(5)?, sealed: row.get(6)? })
}

/// Goes through all secrets, the former ones too. An error of `look` ends it.
pub(super) fn each_secret(
    sql: &Connection,
    place: &Place,
    mut look: impl FnMut(Secret) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = |error| place.at("read").failed(error);
    let mut statement = sql.prepare(SECRETS).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        look(read(row).map_err(failed)?)?;
    }
    Ok(())
}

/// Those under this data key behind one of them, in their order.
pub(super) fn under(
    sql: &Connection,
    key: i64,
    after: (i64, i64),
    most: usize,
) -> rusqlite::Result<Vec<Secret>> {
    let mut statement = sql.prepare_cached(&format!(
        "{SECRETS} WHERE key = ?1 AND (app, version) > (?2, ?3) ORDER BY app, version LIMIT ?4"
    ))?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    statement.query_map((key, after.0, after.1, most), read)?.collect()
}

/// Seals a secret under the newest data key; false for one that was altered, which stays as it is.
pub(super) fn reseal(batch: &Batch<'_>, secret: &Secret) -> Result<bool, StoreError> {
    let Ok(opened) = secret.open(batch.keys) else { return Ok(false) };
    let sealed = secret.of.seal(batch.keys, &opened).map_err(|error| batch.unsealed(error))?;
    let update = "UPDATE app_secrets SET key = ?3, secret = ?4 WHERE app = ?1 AND version = ?2";
    let values = (secret.of.app, secret.of.version, batch.keys.current(), sealed);
    batch.sql.execute(update, values).map_err(|error| batch.failed(error))?;
    Ok(true)
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
