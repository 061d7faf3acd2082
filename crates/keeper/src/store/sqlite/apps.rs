//! Apps: many connections share one. Its client secrets are versions; the newest is in force, and the older ones stay
//! (law 5: a person may have erred).

use super::batch::{Batch, now};
use super::keys::Keys;
use super::place::Place;
use crate::store::StoreError;
use perennial_core::grant::Client;
use perennial_core::secret::ClientSecret;
use rusqlite::{Connection, OptionalExtension};

/// An app, as its row says.
struct Named {
    tenant: String,
    profile: String,
    client: String,
}

/// The OAuth client of an app, with the newest secret.
pub(super) fn client(sql: &Connection, keys: &Keys, place: &Place, app: i64) -> Result<Client, StoreError> {
    let failed = |error| super::failure::At { place, action: "read" }.failed(error);
    let named = sql
        .query_row("SELECT tenant, profile, client_id FROM apps WHERE number = ?1", [app], |row| {
            Ok(Named { tenant: row.get(0)?, profile: row.get(1)?, client: row.get(2)? })
        })
        .map_err(failed)?;
    let newest = "SELECT version, secret FROM app_secrets WHERE app = ?1 ORDER BY version DESC LIMIT 1";
    let (version, sealed): (i64, String) =
        sql.query_row(newest, [app], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let altered = || {
        let id = perennial_core::token_endpoint::plain(&named.client);
        place.damaged(format!("what it holds of app \"{id}\" was altered by something else than Perennial"))
    };
    let plain = keys.open_sealed(&names(&named, app, version).each(), &sealed).map_err(|_| altered())?;
    let secret = ClientSecret::new(std::str::from_utf8(&plain).map_err(|_| altered())?);
    Ok(Client { id: named.client, secret })
}

/// The number of an app, which is made if it is not there; a secret that is new becomes the one in force.
pub(super) fn put(batch: &Batch<'_>, profile: &str, client: &Client) -> Result<i64, StoreError> {
    let find = "SELECT number FROM apps WHERE tenant = ?1 AND profile = ?2 AND client_id = ?3";
    let insert = "INSERT INTO apps (tenant, profile, client_id) VALUES (?1, ?2, ?3) RETURNING number";
    let values = (batch.tenant, profile, client.id.as_str());
    let found: Option<i64> = batch
        .sql
        .query_row(find, values, |row| row.get(0))
        .optional()
        .map_err(|error| batch.failed(error))?;
    let app = match found {
        Some(app) => {
            if self::client(batch.sql, batch.keys, batch.place, app)?.secret == client.secret {
                return Ok(app);
            }
            app
        }
        None => batch.sql.query_row(insert, values, |row| row.get(0)).map_err(|error| batch.failed(error))?,
    };
    let last = "SELECT coalesce(max(version), 0) FROM app_secrets WHERE app = ?1";
    let last: i64 =
        batch.sql.query_row(last, [app], |row| row.get(0)).map_err(|error| batch.failed(error))?;
    let named =
        Named { tenant: batch.tenant.to_owned(), profile: profile.to_owned(), client: client.id.clone() };
    let version = last + 1;
    let sealed = batch.keys.seal(&names(&named, app, version).each(), client.secret.expose().as_bytes());
    let sealed = sealed.map_err(|error| batch.unsealed(&error))?;
    let insert = "INSERT INTO app_secrets (app, version, secret, known_since) VALUES (?1, ?2, ?3, ?4)";
    batch.sql.execute(insert, (app, version, sealed, now())).map_err(|error| batch.failed(error))?;
    Ok(app)
}

/// What a client secret belongs to.
struct Names<'a>(&'a Named, String, String);

fn names(named: &Named, app: i64, version: i64) -> Names<'_> {
    Names(named, app.to_string(), version.to_string())
}

impl Names<'_> {
    fn each(&self) -> [&str; 6] {
        ["app", &self.0.tenant, &self.0.profile, &self.0.client, &self.1, &self.2]
    }
}
