//! Replacing keys while others use the database: each step is one transaction. Whoever else has it open looks at the ring
//! with each of his own, and reads it anew.

use super::batch::{Batch, now};
use super::database::Database;
use super::schema::Use;
use super::{Sqlite, apps, backup, keys, row, schema, write};
use crate::failpoint;
use crate::seal::MasterKey;
use crate::store::StoreError;
use crate::store::rekey::{DataKey, Position, Rekey, Resealed};
use crate::store::sealed::keys::Wrapped;
use perennial_core::UnixTime;
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows under a key, by the indexes `sealed_under` and `secrets_under`.
pub(super) const UNDER: &str = "SELECT (SELECT count(*) FROM connections WHERE key = ?1) + \
                                (SELECT count(*) FROM app_secrets WHERE key = ?1)";

/// The older ones that no row names any more.
const UNUSED: &str = "DELETE FROM data_keys WHERE number < (SELECT max(number) FROM data_keys)
                      AND NOT EXISTS (SELECT 1 FROM connections WHERE key = data_keys.number)
                      AND NOT EXISTS (SELECT 1 FROM app_secrets WHERE key = data_keys.number)";

impl Rekey for Sqlite {
    fn master_key(&self) -> &MasterKey {
        &self.options.master_key
    }

    fn data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        let Some(database) = self.database()? else { return Ok(Vec::new()) };
        database.read(|view| self.listed(view.sql))
    }

    fn data_keys_of_backup(&self) -> Result<Vec<DataKey>, StoreError> {
        let copy = self.place.backup();
        if !copy.exists() {
            return Ok(Vec::new());
        }
        let sql = backup::connect(&self.place, &copy)?;
        if schema::form(&sql).map_err(|error| self.place.at("read").failed(error))? < schema::VERSION {
            // A copy of the time before data keys had numbers names no master key.
            let only =
                DataKey { number: 1, master_key: None, is_newest: false, made_at: UnixTime(0), rows: 0 };
            return Ok(vec![only]);
        }
        self.listed(&sql)
    }

    fn rewrap(&self, and_draw: bool) -> Result<(), StoreError> {
        let Some(database) = self.database()? else { return Ok(()) };
        let master = self.options.master_key.clone();
        write(&database, move |batch| rewrap(batch, &master, and_draw))
    }

    fn reseal(&self, from: Position, most: usize) -> Result<Resealed, StoreError> {
        let Some(database) = self.database()? else { return Ok(Resealed::default()) };
        written(&database, move |batch| reseal(batch, from, most))
    }

    fn drop_data_keys(&self) -> Result<usize, StoreError> {
        let Some(database) = self.database()? else { return Ok(0) };
        written(&database, |batch| batch.sql.execute(UNUSED, []).map_err(|error| batch.failed(error)))
    }

    fn renew_backup(&self) -> Result<bool, StoreError> {
        let Some(database) = self.database()? else { return Ok(false) };
        // SQLite takes the making of a copy for writing.
        let sql = schema::connect(&self.place, Use::Writing)?;
        backup::make(&self.place, database.ring(), &sql).map(|()| true)
    }

    fn open_all(&self) -> Result<u64, StoreError> {
        let Some(database) = self.database()? else { return Ok(0) };
        database.read(|view| {
            let keys = view.keys()?;
            apps::each_secret(view.sql, &self.place, |secret| {
                secret.open(&keys).map(drop).map_err(|error| view.unsealed(error))
            })?;
            let mut count = 0;
            row::each(view.sql, &self.place, |row| {
                count += 1;
                let opened = row.open(&keys).and_then(|_| row.request_token(&keys));
                opened.map(drop).map_err(|error| view.unsealed(error))
            })?;
            Ok(count)
        })
    }
}

impl Sqlite {
    fn listed(&self, sql: &Connection) -> Result<Vec<DataKey>, StoreError> {
        let failed = |error| self.place.at("read").failed(error);
        let master = &self.options.master_key;
        let made = "SELECT made_at FROM data_keys WHERE number = ?1";
        let described = |wrapped: Wrapped| -> Result<DataKey, StoreError> {
            let made_at = sql.query_row(made, [wrapped.number], |row| row.get(0)).map_err(failed)?;
            let rows: i64 = sql.query_row(UNDER, [wrapped.number], |row| row.get(0)).map_err(failed)?;
            let is_newest = master
                .is_newest_of(&wrapped.key)
                .map_err(|error| keys::closed(&self.place, master, error))?;
            Ok(DataKey {
                number: wrapped.number,
                master_key: wrapped.master_key(),
                is_newest,
                made_at: UnixTime(made_at),
                rows: rows.unsigned_abs(),
            })
        };
        keys::all(sql).map_err(failed)?.into_iter().map(described).collect()
    }
}

/// Writes, and gives back what came of it.
fn written<T: Default + Send + 'static>(
    database: &Database,
    mut work: impl FnMut(&mut Batch<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let outcome = Arc::new(Mutex::new(T::default()));
    let told = Arc::clone(&outcome);
    write(database, move |batch| {
        *told.lock().unwrap_or_else(PoisonError::into_inner) = work(batch)?;
        Ok(())
    })?;
    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *outcome))
}

fn rewrap(batch: &mut Batch<'_>, master: &MasterKey, and_draw: bool) -> Result<(), StoreError> {
    let closed = |error| keys::closed(batch.place, master, error);
    let store = batch.keys.store();
    let known = keys::all(batch.sql).map_err(|error| batch.failed(error))?;
    for wrapped in &known {
        let anew = wrapped.rewrapped(master, store).map_err(closed)?;
        keys::replace(batch.sql, &anew).map_err(|error| batch.failed(error))?;
    }
    failpoint::pass("rewrapping");
    // Where there are two, rows wait for the newest already.
    if let ([only], true) = (known.as_slice(), and_draw) {
        let drawn = Wrapped::draw(master, store, only.number + 1).map_err(closed)?;
        keys::put(batch.sql, &drawn, now()).map_err(|error| batch.failed(error))?;
    }
    Ok(())
}

fn reseal(batch: &mut Batch<'_>, from: Position, most: usize) -> Result<Resealed, StoreError> {
    let mut resealed = Resealed::default();
    match from {
        Position::Connections { key, after } => {
            let Some(key) = keys::older(batch.sql, key).map_err(|error| batch.failed(error))? else {
                return Ok(resealed);
            };
            let rows = row::under(batch.sql, key, after, most).map_err(|error| batch.failed(error))?;
            resealed.next = Some(match rows.last() {
                Some(last) if rows.len() == most => Position::Connections { key, after: last.number },
                _ => Position::Secrets { key, after: (0, 0) },
            });
            for row in rows {
                if row.is_sealed(batch.keys) {
                    batch.reseal(row)?;
                    resealed.rows += 1;
                } else {
                    resealed.altered.push(format!("connection \"{}\"", row.name));
                }
            }
        }
        Position::Secrets { key, after } => {
            let secrets = apps::under(batch.sql, key, after, most).map_err(|error| batch.failed(error))?;
            resealed.next = Some(match secrets.last() {
                Some(last) if secrets.len() == most => Position::Secrets { key, after: last.number() },
                _ => Position::Connections { key: key + 1, after: 0 },
            });
            for secret in secrets {
                if apps::reseal(batch, &secret)? {
                    resealed.rows += 1;
                } else {
                    resealed.altered.push(format!("app \"{}\"", secret.client()));
                }
            }
        }
    }
    Ok(resealed)
}
