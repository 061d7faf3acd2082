//! A new connection, and what a person gives with one: name, app, request token.

use super::failure::{ServerFailure, Stop};
use super::now;
use super::row::NAMED;
use super::server::Work;
use crate::store::sealed::app::Secret;
use crate::store::sealed::row::Row;
use crate::store::{App, Parcel, StoreError};
use tokio_postgres::types::Type;

/// Refuses a name that another connection has.
pub(super) async fn check_free(work: &Work<'_>, name: &str) -> Result<(), Stop> {
    match work.lock(NAMED, (&name, Type::TEXT)).await? {
        None => Ok(()),
        Some(_) => Err(name_taken(work, name).into()),
    }
}

fn name_taken(work: &Work<'_>, name: &str) -> StoreError {
    StoreError::NameTaken { name: name.to_owned(), store: work.link.place().address.clone() }
}

/// Somebody else may have taken the name between the look and the write: the index says so.
pub(super) fn taken_meanwhile(work: &Work<'_>, name: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Refused(StoreError::Server { failure: ServerFailure::Other { code, .. }, .. })
            if code == "23505" =>
        {
            name_taken(work, name).into()
        }
        stop => stop,
    }
}

/// Puts into a row what a person has given to obtain a grant with.
pub(super) async fn put_given(work: &Work<'_>, row: &mut Row, profile: &str, app: &App) -> Result<(), Stop> {
    row.app = work.put_client(profile, &app.client).await?;
    Ok(fill_in(work, row, app)?)
}

/// The same where the app's number stands in the row already.
pub(super) fn fill_in(work: &Work<'_>, row: &mut Row, app: &App) -> Result<(), StoreError> {
    let kept = row.request_token(work.keys).map_err(|error| work.unsealed(error))?;
    let known_since = row.known_since().filter(|_| kept == app.request_token);
    row.company = app.company.as_ref().map(|company| company.as_str().to_owned());
    row.put_request_token(work.keys, app.request_token.as_ref()).map_err(|error| work.unsealed(error))?;
    let known_since = app.known_since.or(known_since).map_or_else(now, |at| at.0);
    row.known_since = app.request_token.as_ref().map(|_| known_since);
    Ok(())
}

pub(super) async fn add(work: &Work<'_>, parcel: &Parcel, secret: Secret) -> Result<(), Stop> {
    let Parcel { connection, app, history } = parcel;
    if let Some(there) = work.lock("tenant = $1 AND id = $2", (&connection.id, Type::TEXT)).await? {
        let mine = work.was_mine(&there);
        return if mine {
            work.seal_and_write(there).await
        } else {
            Err(name_taken(work, &connection.name).into())
        };
    }
    check_free(work, &connection.name).await?;
    if secret == Secret::Kept && !work.agrees(&connection.realm(), &app.client).await? {
        return Err(StoreError::OtherSecret.into());
    }
    let mut row = Row::new(work.tenant, work.keys, connection, now());
    put_given(work, &mut row, &connection.realm(), app).await?;
    row.number = work.next_number().await?;
    row.put(work.keys, connection).map_err(|error| work.unsealed(error))?;
    let number = row.number;
    work.insert(row).await.map_err(|stop| taken_meanwhile(work, &connection.name, stop))?;
    work.note(number, history).await
}
