//! Replacing keys while a fleet uses the store: small transactions, each of which leaves everything openable. Rows of all
//! tenants are gone through; what others write meanwhile is under the newest key already.

use super::apps::{self, Secret};
use super::failure::Stop;
use super::link::Link;
use super::row::{self, get};
use super::server::{Effort, Server, Work};
use super::{Postgres, now};
use crate::failpoint;
use crate::seal::MasterKey;
use crate::store::StoreError;
use crate::store::rekey::{DataKey, Position, Rekey, Resealed};
use crate::store::sealed::keys::Wrapped;
use perennial_core::UnixTime;
use tokio_postgres::types::Type;

impl Rekey for Postgres {
    fn master_key(&self) -> &MasterKey {
        &self.master_key
    }

    /// Every machine of a fleet has the key from a source of its own.
    fn is_shared(&self) -> bool {
        true
    }

    fn data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        self.list(async |server, link| described(server, link).await)
    }

    fn rewrap(&self, and_draw: bool) -> Result<(), StoreError> {
        self.write(async move |server| {
            if server.read(async |_| Ok(())).await?.is_none() {
                return Ok(());
            }
            server.write(Effort::Plain, async |work| rewrap(server, &work, and_draw).await).await
        })
    }

    fn reseal(&self, from: Position, most: usize) -> Result<Resealed, StoreError> {
        self.write(async move |server| {
            server.write(Effort::Plain, async |work| reseal(server, &work, from, most).await).await
        })
    }

    fn drop_data_keys(&self) -> Result<usize, StoreError> {
        self.write(async move |server| {
            if server.read(async |_| Ok(())).await?.is_none() {
                return Ok(0);
            }
            server.write(Effort::Plain, async |work| drop_unused(&work).await).await
        })
    }

    fn open_all(&self) -> Result<u64, StoreError> {
        let opened =
            self.door.run(async |server| server.read(async |link| open_all(server, link).await).await)?;
        Ok(opened.unwrap_or_default())
    }
}

async fn described(server: &Server, link: &Link<'_>) -> Result<Vec<DataKey>, Stop> {
    let (place, master) = (&server.place, &server.options.master_key);
    let all = format!(
        "SELECT number, wrapped, made_at, (SELECT count(*) FROM {s}.connections WHERE key = k.number) + \
         (SELECT count(*) FROM {s}.app_secrets WHERE key = k.number) FROM {s}.data_keys k ORDER BY number",
        s = place.schema
    );
    let mut described = Vec::new();
    for found in link.rows(&all, &[]).await? {
        let wrapped = Wrapped { number: get(place, &found, 0)?, key: get(place, &found, 1)? };
        let is_newest = master.is_newest_of(&wrapped.key).map_err(|error| place.closed(master, error))?;
        described.push(DataKey {
            number: wrapped.number,
            master_key: wrapped.master_key(),
            is_newest,
            made_at: UnixTime(get(place, &found, 2)?),
            rows: get::<i64>(place, &found, 3)?.unsigned_abs(),
        });
    }
    Ok(described)
}

async fn rewrap(server: &Server, work: &Work<'_>, and_draw: bool) -> Result<(), Stop> {
    let (place, master, s) = (&server.place, &server.options.master_key, work.s);
    let closed = |error| place.closed(master, error);
    // One at a time: two that draw would draw the same number.
    let all = format!("SELECT number, wrapped FROM {s}.data_keys ORDER BY number FOR UPDATE");
    let mut known = Vec::new();
    for found in work.link.rows(&all, &[]).await? {
        known.push(Wrapped { number: get(place, &found, 0)?, key: get(place, &found, 1)? });
    }
    let update = format!("UPDATE {s}.data_keys SET wrapped = $2, master_key = $3 WHERE number = $1");
    for wrapped in &known {
        let anew = wrapped.rewrapped(master, work.keys.store()).map_err(closed)?;
        let id = anew.master_key().unwrap_or_default();
        let values = [(&anew.number as _, Type::INT8), (&anew.key as _, Type::BYTEA), (&id as _, Type::TEXT)];
        work.link.rows(&update, &values).await?;
    }
    failpoint::pass("rewrapping");
    // Where there are two, rows wait for the newest already.
    let ([only], true) = (known.as_slice(), and_draw) else { return Ok(()) };
    let drawn = Wrapped::draw(master, work.keys.store(), only.number + 1).map_err(closed)?;
    let id = drawn.master_key().unwrap_or_default();
    let put =
        format!("INSERT INTO {s}.data_keys (number, wrapped, master_key, made_at) VALUES ($1, $2, $3, $4)");
    let values = [
        (&drawn.number as _, Type::INT8),
        (&drawn.key as _, Type::BYTEA),
        (&id as _, Type::TEXT),
        (&now() as _, Type::INT8),
    ];
    work.link.rows(&put, &values).await.map(drop)
}

async fn reseal(server: &Server, work: &Work<'_>, from: Position, most: usize) -> Result<Resealed, Stop> {
    let mut resealed = Resealed::default();
    match from {
        Position::Connections { key, after } => {
            let Some(key) = older(server, work, key).await? else { return Ok(resealed) };
            let rows = row::under(server, work.link, key, after, most).await?;
            resealed.next = Some(match rows.last() {
                Some(last) if rows.len() == most => Position::Connections { key, after: last.number },
                _ => Position::Secrets { key, after: (0, 0) },
            });
            for row in rows {
                if row.is_sealed(work.keys) {
                    work.seal_and_write(row).await?;
                    resealed.rows += 1;
                } else {
                    resealed.altered.push(format!("connection \"{}\"", row.name));
                }
            }
        }
        Position::Secrets { key, after } => {
            let secrets = apps::under(server, work.link, key, after, most).await?;
            resealed.next = Some(match secrets.last() {
                Some(last) if secrets.len() == most => Position::Secrets { key, after: last.number() },
                _ => Position::Connections { key: key + 1, after: 0 },
            });
            for secret in secrets {
                if reseal_secret(work, &secret).await? {
                    resealed.rows += 1;
                } else {
                    resealed.altered.push(format!("app \"{}\"", secret.of.client));
                }
            }
        }
    }
    Ok(resealed)
}

/// False for one that was altered, which stays as it is.
async fn reseal_secret(work: &Work<'_>, secret: &Secret) -> Result<bool, Stop> {
    let Ok(opened) = secret.of.open(work.keys, secret.key, &secret.sealed) else { return Ok(false) };
    let sealed = secret.of.seal(work.keys, &opened).map_err(|error| work.unsealed(error))?;
    let update =
        format!("UPDATE {}.app_secrets SET key = $3, secret = $4 WHERE app = $1 AND version = $2", work.s);
    let values = [
        (&secret.of.app as _, Type::INT8),
        (&secret.of.version as _, Type::INT8),
        (&work.keys.current() as _, Type::INT8),
        (&sealed as _, Type::TEXT),
    ];
    work.link.rows(&update, &values).await.map(|_| true)
}

/// The first data key from this number on, the newest aside.
async fn older(server: &Server, work: &Work<'_>, from: i64) -> Result<Option<i64>, Stop> {
    let first = format!(
        "SELECT min(number) FROM {s}.data_keys WHERE number >= $1 AND number < (SELECT max(number) FROM {s}.data_keys)",
        s = work.s
    );
    let found = work.link.row(&first, &[(&from, Type::INT8)]).await?;
    Ok(found.map(|row| get(&server.place, &row, 0)).transpose()?.flatten())
}

/// A row that somebody is just writing under an older key keeps that key: the two lock each other out by the reference.
async fn drop_unused(work: &Work<'_>) -> Result<usize, Stop> {
    let delete = format!(
        "DELETE FROM {s}.data_keys k WHERE number < (SELECT max(number) FROM {s}.data_keys)
         AND NOT EXISTS (SELECT FROM {s}.connections WHERE key = k.number)
         AND NOT EXISTS (SELECT FROM {s}.app_secrets WHERE key = k.number) RETURNING number",
        s = work.s
    );
    Ok(work.link.rows(&delete, &[]).await?.len())
}

async fn open_all(server: &Server, link: &Link<'_>) -> Result<u64, Stop> {
    let unsealed = |error| server.place.unsealed(error);
    let (mut count, mut after) = (0, 0);
    loop {
        let (rows, newest) = row::all_behind(server, link, after).await?;
        let Some(last) = rows.last() else { break };
        after = last.number;
        let keys = server.keys(link, newest).await?;
        for row in rows {
            count += 1;
            row.open(&keys).and_then(|_| row.request_token(&keys)).map_err(unsealed)?;
        }
    }
    let mut after = (0, 0);
    loop {
        let (secrets, newest) = apps::all_behind(server, link, after).await?;
        let Some(last) = secrets.last() else { return Ok(count) };
        after = last.number();
        let keys = server.keys(link, newest).await?;
        for secret in secrets {
            secret.of.open(&keys, secret.key, &secret.sealed).map_err(unsealed)?;
        }
    }
}
