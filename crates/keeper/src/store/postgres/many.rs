//! Many new connections at once: they share a transaction, and with it a round trip to the disk.

use super::failure::Stop;
use super::server::{Effort, Work};
use super::{Door, Secret, add};
use crate::store::{Parcel, StoreError, WriteError, check_name};

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
