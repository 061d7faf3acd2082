//! Many new connections at once: they share a transaction, and with it a round trip to the disk. As a rule nothing is
//! in their way, and they share their statements, too; else each is taken in by itself, and what refuses it is found.

use super::add::{add, fill_in};
use super::failure::Stop;
use super::server::{Effort, Work};
use super::{Door, now};
use crate::store::sealed::app::Secret;
use crate::store::sealed::row::Row;
use crate::store::{Parcel, StoreError, WriteError, check_name};
use perennial_core::grant::Client;
use std::collections::{BTreeMap, BTreeSet};

/// One outcome for each. Where the transaction as a whole fails, each is tried for itself.
pub(super) fn add_some(door: &Door, parcels: &[Parcel]) -> Vec<Result<(), StoreError>> {
    match together(door, parcels) {
        Ok(outcomes) => outcomes,
        Err(error) if parcels.len() == 1 => vec![Err(error)],
        Err(_) => parcels.chunks(1).flat_map(|one| add_some(door, one)).collect(),
    }
}

fn together(door: &Door, parcels: &[Parcel]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let parcels = parcels.to_vec();
    let done = door.run(async move |server| {
        let done = server.write(Effort::Plain, async |work| {
            if work.earlier.is_empty() && add_all_as_one(&work, &parcels).await? {
                return Ok(parcels.iter().map(|_| Ok(())).collect());
            }
            let mut outcomes = Vec::with_capacity(parcels.len());
            for parcel in &parcels {
                outcomes.push(add_one(&work, parcel).await?);
            }
            Ok(outcomes)
        });
        done.await
    });
    done.map_err(|error| match error {
        WriteError::Store(error) => error,
        WriteError::Moved(_) => door.place.damaged("a write that compares nothing was refused"),
    })
}

/// Takes all in by a few statements; false where something is in the way of one of them, and nothing was done.
async fn add_all_as_one(work: &Work<'_>, parcels: &[Parcel]) -> Result<bool, Stop> {
    let names: Vec<&str> = parcels.iter().map(|parcel| parcel.connection.name.as_str()).collect();
    let ids: Vec<&str> = parcels.iter().map(|parcel| parcel.connection.id.as_str()).collect();
    let differ = |all: &[&str]| all.iter().collect::<BTreeSet<_>>().len() == all.len();
    let good = names.iter().all(|name| check_name(name).is_ok()) && differ(&names) && differ(&ids);
    if !good || work.is_any_there(&ids, &names).await? {
        return Ok(false);
    }
    let mut clients: BTreeMap<(String, &str), &Client> = BTreeMap::new();
    for Parcel { connection, app, .. } in parcels {
        let known = clients.entry((connection.realm(), &app.client.id)).or_insert(&app.client);
        if known.secret != app.client.secret {
            return Ok(false);
        }
    }
    for ((realm, _), client) in &clients {
        if !work.agrees(realm, client).await? {
            return Ok(false);
        }
    }
    let mut apps = BTreeMap::new();
    for ((realm, id), client) in clients {
        let app = work.put_client(&realm, client).await?;
        apps.insert((realm, id), app);
    }
    let numbers = work.next_numbers(parcels.len()).await?;
    let mut rows = Vec::with_capacity(parcels.len());
    for (Parcel { connection, app, .. }, number) in parcels.iter().zip(&numbers) {
        let mut row = Row::new(work.tenant, work.keys, connection, now());
        row.number = *number;
        row.app = apps.get(&(connection.realm(), app.client.id.as_str())).copied().unwrap_or_default();
        fill_in(work, &mut row, app)?;
        row.put(work.keys, connection).map_err(|error| work.unsealed(error))?;
        rows.push(row);
    }
    work.insert_all(rows).await?;
    for (parcel, number) in parcels.iter().zip(numbers) {
        work.note(number, &parcel.history).await?;
    }
    Ok(true)
}

/// What ends the whole transaction is an error; what is wrong with this one is an outcome.
async fn add_one(work: &Work<'_>, parcel: &Parcel) -> Result<Result<(), StoreError>, Stop> {
    if let Err(error) = check_name(&parcel.connection.name) {
        return Ok(Err(error));
    }
    work.link.batch("SAVEPOINT one").await?;
    match add(work, parcel, Secret::Kept).await {
        Ok(()) => work.link.batch("RELEASE SAVEPOINT one").await.map(Ok),
        Err(Stop::Refused(error)) => {
            work.link.batch("ROLLBACK TO SAVEPOINT one; RELEASE SAVEPOINT one").await?;
            Ok(Err(error))
        }
        Err(stop) => Err(stop),
    }
}
