//! Apps: many connections share one. Its client secrets are versions; the newest is in force, and the older ones stay
//! (law 5: a person may have erred).

use super::failure::Stop;
use super::link::Link;
use super::now;
use super::place::Place;
use super::row::get;
use super::server::{Server, Work};
use crate::store::StoreError;
use crate::store::sealed::app::SecretPlace;
use crate::store::sealed::keys::Keys;
use perennial_core::grant::Client;
use tokio_postgres::types::Type;

/// The OAuth client of an app, with the newest secret.
pub(super) async fn client(link: &Link<'_>, keys: &Keys, app: i64) -> Result<Client, Stop> {
    let place: &Place = link.place();
    let newest = format!(
        "SELECT tenant, profile, client_id, version, key, secret FROM {s}.apps JOIN {s}.app_secrets ON app = number \
         WHERE number = $1 ORDER BY version DESC LIMIT 1",
        s = place.schema
    );
    let row = link.row(&newest, &[(&app, Type::INT8)]).await?;
    let row = row.ok_or_else(|| place.damaged("an app has no client secret"))?;
    let of = SecretPlace {
        tenant: get(place, &row, 0)?,
        profile: get(place, &row, 1)?,
        client: get(place, &row, 2)?,
        app,
        version: get(place, &row, 3)?,
    };
    let (key, sealed): (i64, String) = (get(place, &row, 4)?, get(place, &row, 5)?);
    let secret = of.open(keys, key, &sealed).map_err(|error| place.unsealed(error))?;
    Ok(Client { id: of.client, secret })
}

/// A client secret as it is kept, and where it belongs.
pub(super) struct Secret {
    pub(super) of: SecretPlace,
    pub(super) key: i64,
    pub(super) sealed: String,
}

impl Secret {
    /// The app's number, and the secret's version.
    pub(super) fn number(&self) -> (i64, i64) {
        (self.of.app, self.of.version)
    }
}

/// Some secrets that are sealed under this key, behind this one, locked.
pub(super) async fn under(
    server: &Server,
    link: &Link<'_>,
    key: i64,
    after: (i64, i64),
    most: usize,
) -> Result<Vec<Secret>, Stop> {
    let query = format!(
        "SELECT tenant, profile, client_id, app, v.version, key, secret FROM {s}.app_secrets v \
         JOIN {s}.apps ON number = app WHERE key = $1 AND (app, v.version) > ($2, $3) \
         ORDER BY app, v.version LIMIT $4 FOR UPDATE OF v",
        s = server.place.schema
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let values = [
        (&key as _, Type::INT8),
        (&after.0 as _, Type::INT8),
        (&after.1 as _, Type::INT8),
        (&most as _, Type::INT8),
    ];
    let found = link.rows(&query, &values).await?;
    Ok(found.iter().map(|row| secret(&server.place, row)).collect::<Result<_, _>>()?)
}

/// Some secrets behind this one, with the number of the newest data key.
pub(super) async fn all_behind(
    server: &Server,
    link: &Link<'_>,
    after: (i64, i64),
) -> Result<(Vec<Secret>, Option<i64>), Stop> {
    let (s, place) = (&server.place.schema, &server.place);
    let query = format!(
        "SELECT tenant, profile, client_id, app, v.version, key, secret, (SELECT max(number) FROM {s}.data_keys) \
         FROM {s}.app_secrets v JOIN {s}.apps ON number = app WHERE (app, v.version) > ($1, $2) \
         ORDER BY app, v.version LIMIT 500"
    );
    let (mut secrets, mut newest) = (Vec::new(), None);
    for row in link.rows(&query, &[(&after.0, Type::INT8), (&after.1, Type::INT8)]).await? {
        secrets.push(secret(place, &row)?);
        newest = get(place, &row, 7)?;
    }
    Ok((secrets, newest))
}

fn secret(place: &Place, row: &tokio_postgres::Row) -> Result<Secret, StoreError> {
    let of = SecretPlace {
        tenant: get(place, row, 0)?,
        profile: get(place, row, 1)?,
        client: get(place, row, 2)?,
        app: get(place, row, 3)?,
        version: get(place, row, 4)?,
    };
    Ok(Secret { of, key: get(place, row, 5)?, sealed: get(place, row, 6)? })
}

impl Work<'_> {
    /// The number of an app, which is made if it is not there; a secret that is new becomes the one in force.
    pub(super) async fn put_client(&self, profile: &str, client: &Client) -> Result<i64, Stop> {
        if let Some(app) = self.app(profile, client, "").await?
            && self::client(self.link, self.keys, app).await?.secret == client.secret
        {
            return Ok(app);
        }
        // From here on one at a time: a number for the secret is drawn.
        let make = format!(
            "INSERT INTO {}.apps (tenant, profile, client_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            self.s
        );
        let names =
            [(&self.tenant as _, Type::TEXT), (&profile as _, Type::TEXT), (&client.id as _, Type::TEXT)];
        self.link.rows(&make, &names).await?;
        let gone = || self.link.place().damaged("an app went away while it was being written");
        let app = self.app(profile, client, "FOR UPDATE").await?.ok_or_else(gone)?;
        let last = format!("SELECT coalesce(max(version), 0) FROM {}.app_secrets WHERE app = $1", self.s);
        let last = self.link.row(&last, &[(&app, Type::INT8)]).await?.ok_or_else(gone)?;
        let last: i64 = get(self.link.place(), &last, 0)?;
        if last > 0 && self::client(self.link, self.keys, app).await?.secret == client.secret {
            return Ok(app);
        }
        let of = SecretPlace {
            tenant: self.tenant.to_owned(),
            profile: profile.to_owned(),
            client: client.id.clone(),
            app,
            version: last + 1,
        };
        let sealed = of.seal(self.keys, &client.secret).map_err(|error| self.unsealed(error))?;
        let put = format!(
            "INSERT INTO {}.app_secrets (app, version, key, secret, known_since) VALUES ($1, $2, $3, $4, $5)",
            self.s
        );
        let values = [
            (&app as _, Type::INT8),
            (&of.version as _, Type::INT8),
            (&self.keys.current() as _, Type::INT8),
            (&sealed as _, Type::TEXT),
            (&now() as _, Type::INT8),
        ];
        self.link.rows(&put, &values).await?;
        Ok(app)
    }

    /// True when this is the client secret in force, or the app is not known yet.
    pub(super) async fn agrees(&self, profile: &str, client: &Client) -> Result<bool, Stop> {
        let Some(app) = self.app(profile, client, "").await? else { return Ok(true) };
        Ok(self::client(self.link, self.keys, app).await?.secret == client.secret)
    }

    async fn app(&self, profile: &str, client: &Client, lock: &str) -> Result<Option<i64>, Stop> {
        let find = format!(
            "SELECT number FROM {}.apps WHERE tenant = $1 AND profile = $2 AND client_id = $3 {lock}",
            self.s
        );
        let names =
            [(&self.tenant as _, Type::TEXT), (&profile as _, Type::TEXT), (&client.id as _, Type::TEXT)];
        let row = self.link.row(&find, &names).await?;
        Ok(row.map(|row| get(self.link.place(), &row, 0)).transpose()?)
    }
}
