//! The claim of one connection: a row with a holder and a time, by the database's clock alone, which no host's clock
//! moves (laws 2, 4, 8).
//!
//! A claim keeps others from presenting while its holder looks again and writes his intent; the intent extends it to its
//! own deadline, once, and the deadline itself never moves. Who dies lets it lapse. Since a holder of another claim may
//! be alive, each claim names a lock of its own: whoever finds an intent that was written under another waits its
//! deadline out.
//!
//! Taking one and giving it back are single statements, without a word on durability: a claim that a crash of the
//! server forgets is missed when the intent is written, and then nothing is sent.

use super::failure::Stop;
use super::link::Link;
use super::row::{self, NUMBERED};
use super::server::{Effort, Server, Work};
use super::{Door, none_named};
use crate::random;
use crate::store::{Claim, StoreError, WriteError};
use perennial_core::connection::Version;
use perennial_core::{Connection, journal};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::types::Type;

/// How long a claim is good without a sign of life: to look again, connect and write the intent takes far less.
const LEASE: Duration = Duration::from_secs(15);
/// Who looks again and again, since another sender's deadline is being waited out, gives a sign of life this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How long giving it back may take; then it lapses.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(2);

/// A connection that only we may present. By its number: it may be renamed meanwhile.
pub(super) struct Held {
    door: Arc<Door>,
    number: i64,
    /// What it was called when it was claimed: for messages.
    name: String,
    /// Drawn anew for each claim.
    holder: String,
    /// When the last sign of life was given.
    seen: Mutex<Instant>,
}

/// Takes the claim if nobody holds it.
pub(super) async fn take(
    server: &Server,
    name: &str,
    holder: &str,
) -> Result<Option<Option<i64>>, StoreError> {
    let taken = server.read(async |link| try_take(server, link, name, holder).await).await?;
    Ok(taken.flatten())
}

/// The number of the connection, if its claim is ours now; `None` where there is no such connection.
async fn try_take(
    server: &Server,
    link: &Link<'_>,
    name: &str,
    holder: &str,
) -> Result<Option<Option<i64>>, Stop> {
    let (s, tenant) = (&server.place.schema, &server.options.tenant);
    // A look first, which costs no write: many may wait for one claim. It may be ours already, if the answer to the
    // taking of it was cut off.
    let look = format!(
        "SELECT c.number, k.holder = $3, coalesce(k.until > clock_timestamp(), false) \
         FROM {s}.connections c LEFT JOIN {s}.claims k ON k.connection = c.number \
         WHERE c.tenant = $1 AND c.name = $2 AND c.removed_at IS NULL"
    );
    let values = [(tenant as _, Type::TEXT), (&name as _, Type::TEXT), (&holder as _, Type::TEXT)];
    let Some(found) = link.row(&look, &values).await? else { return Ok(None) };
    let number: i64 = row::get(&server.place, &found, 0)?;
    if row::get::<Option<bool>>(&server.place, &found, 1)? == Some(true) {
        return Ok(Some(Some(number)));
    }
    if row::get(&server.place, &found, 2)? {
        return Ok(Some(None));
    }
    let take = format!(
        "INSERT INTO {s}.claims AS k (connection, tenant, holder, until) \
         VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 second') \
         ON CONFLICT (connection) DO UPDATE SET holder = excluded.holder, until = excluded.until \
         WHERE k.until <= clock_timestamp() RETURNING connection"
    );
    let values = [
        (&number as _, Type::INT8),
        (tenant as _, Type::TEXT),
        (&holder as _, Type::TEXT),
        (&LEASE.as_secs_f64() as _, Type::FLOAT8),
    ];
    Ok(Some(link.row(&take, &values).await?.map(|_| number)))
}

impl Held {
    /// Takes the claim if nobody holds it.
    pub(super) fn try_claim(door: &Arc<Door>, name: &str) -> Result<Option<Self>, StoreError> {
        let (holder, asked) = (random::id(), (name.to_owned(), Instant::now()));
        let (of, by) = (asked.0.clone(), holder.clone());
        let taken = door.run(async move |server| take(server, &of, &by).await)?;
        let number = taken.ok_or_else(|| none_named(&asked.0, &door.place.address))?;
        Ok(number.map(|number| Self {
            door: Arc::clone(door),
            number,
            name: asked.0,
            holder,
            seen: Mutex::new(asked.1),
        }))
    }

    fn none(&self) -> StoreError {
        none_named(&self.name, &self.door.place.address)
    }

    fn extended(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let due = seen.elapsed() >= SIGN_OF_LIFE;
        if due {
            *seen = Instant::now();
        }
        due
    }

    fn write(&self, from: &Version, next: &Connection, intent: Option<Intended>) -> Result<(), WriteError> {
        let (number, from, next) = (self.number, from.clone(), next.clone());
        let none = (self.name.clone(), self.door.place.address.clone());
        let effort = if intent.is_some() { Effort::Plain } else { Effort::Outcome };
        self.door.run(async move |server| {
            server
                .write(effort, async |work| {
                    if let Some(intent) = &intent {
                        if let Some(to) = &work.closed {
                            let (store, to) = (none.1.clone(), to.clone());
                            return Err(StoreError::HandedOver { store, to }.into());
                        }
                        intent.extend(&work, number).await?;
                    }
                    let row = work.lock(NUMBERED, (&number, Type::INT8)).await?;
                    let row = row.filter(|row| row.removed_at.is_none() || intent.is_none());
                    let row = row.ok_or_else(|| none_named(&none.0, &none.1))?;
                    let Some(before) = work.swap(row, &from, &next).await? else { return Ok(()) };
                    work.note(number, &journal::between(&before, &next)).await
                })
                .await
        })
    }
}

/// What an intent asks for beside its row.
struct Intended {
    holder: String,
    /// Until its deadline.
    patience: Duration,
}

impl Intended {
    /// Demands that the claim is still ours, and keeps it until the intent's deadline. Who lost it may find a successor
    /// at work: nothing may be sent then (law 2).
    async fn extend(&self, work: &Work<'_>, number: i64) -> Result<(), Stop> {
        let patience = self.patience.as_secs_f64();
        if extend(work.link, work.s, number, &self.holder, patience).await? {
            return Ok(());
        }
        let row = work.lock(NUMBERED, (&number, Type::INT8)).await?;
        let row = row.ok_or_else(|| work.link.place().damaged("a claimed connection went away"))?;
        Err(Stop::Moved(Box::new(work.open(&row)?)))
    }
}

/// True when the claim is still this holder's.
async fn extend(link: &Link<'_>, s: &str, number: i64, holder: &str, seconds: f64) -> Result<bool, Stop> {
    let extend = format!(
        "UPDATE {s}.claims SET until = greatest(until, clock_timestamp() + $3 * interval '1 second') \
         WHERE connection = $1 AND holder = $2 RETURNING connection"
    );
    let values = [(&number as _, Type::INT8), (&holder as _, Type::TEXT), (&seconds as _, Type::FLOAT8)];
    Ok(link.row(&extend, &values).await?.is_some())
}

impl Claim for Held {
    fn lock(&self) -> &str {
        &self.holder
    }

    fn read(&self) -> Result<Connection, StoreError> {
        let (number, extended, holder) = (self.number, self.extended(), self.holder.clone());
        let seen = self.door.run(async move |server| {
            server
                .read(async |link| {
                    if extended {
                        // Whether it is still ours is asked when the intent is written.
                        extend(link, &server.place.schema, number, &holder, LEASE.as_secs_f64()).await?;
                    }
                    let found = row::look(server, link, NUMBERED, (&number, Type::INT8)).await?;
                    let Some((row, newest)) = found.filter(|(row, _)| row.removed_at.is_none()) else {
                        return Ok(None);
                    };
                    let keys = server.keys(link, newest).await?;
                    Ok(Some(row.open(&keys).map_err(|error| server.place.unsealed(error))?))
                })
                .await
        })?;
        seen.flatten().ok_or_else(|| self.none())
    }

    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        let patience = next.intent.as_ref().map_or(LEASE, perennial_core::connection::Intent::patience);
        self.write(from, next, Some(Intended { holder: self.holder.clone(), patience }))
    }

    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.write(from, next, None)
    }

    /// A row that does not open is damage, which a backup of the database mends; there is no file to move away.
    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        self.read().map(|_| None)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (number, holder) = (self.number, std::mem::take(&mut self.holder));
        let given_back: Result<(), StoreError> = self.door.run(async move |server| {
            let give_back = async {
                let link = server.link().await.ok()?;
                let delete = format!(
                    "DELETE FROM {}.claims WHERE connection = $1 AND holder = $2",
                    server.place.schema
                );
                link.rows(&delete, &[(&number, Type::INT8), (&holder, Type::TEXT)]).await.ok()
            };
            if !matches!(tokio::time::timeout(GIVEN_BACK_WITHIN, give_back).await, Ok(Some(_))) {
                tracing::debug!("a claim could not be given back; it lapses");
            }
            Ok(())
        });
        drop(given_back);
    }
}
