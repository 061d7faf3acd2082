//! A new connection, and what a person gives with one: name, app, request token.

use super::apps;
use super::batch::{Batch, now};
use super::row;
use super::writer::Job;
use crate::store::sealed::app::Secret;
use crate::store::sealed::row::Row;
use crate::store::{App, Parcel, StoreError};

/// A new connection with its app and its history.
pub(super) fn adding(parcel: Parcel, address: String, secret: Secret) -> Job {
    let Parcel { connection, app, history } = parcel;
    Job::new(move |batch| {
        check_free(batch, &connection.name, &address)?;
        if secret == Secret::Kept && !apps::agrees(batch, &connection.realm(), &app.client)? {
            return Err(StoreError::OtherSecret.into());
        }
        let mut row = Row::new(batch.tenant, batch.keys, &connection, now());
        if row::is_known(batch.sql, batch.tenant, &row.id).map_err(|error| batch.failed(error))? {
            return Err(
                StoreError::NameTaken { name: connection.name.clone(), store: address.clone() }.into()
            );
        }
        put_given(batch, &mut row, &connection.realm(), &app)?;
        row.number = row::next_number(batch.sql).map_err(|error| batch.failed(error))?;
        let number = row.number;
        batch.add(row, &connection)?;
        Ok(batch.note(number, &history)?)
    })
}

/// Refuses a name that another connection has.
pub(super) fn check_free(batch: &Batch<'_>, name: &str, address: &str) -> Result<(), StoreError> {
    match row::named(batch.sql, batch.tenant, name).map_err(|error| batch.failed(error))? {
        None => Ok(()),
        Some(_) => Err(StoreError::NameTaken { name: name.to_owned(), store: address.to_owned() }),
    }
}

/// Puts into a row what a person has given to obtain a grant with.
pub(super) fn put_given(
    batch: &Batch<'_>,
    row: &mut Row,
    profile: &str,
    app: &App,
) -> Result<(), StoreError> {
    let kept = row.request_token(batch.keys).map_err(|error| batch.unsealed(error))?;
    let known_since = row.known_since().filter(|_| kept == app.request_token);
    row.app = apps::put(batch, profile, &app.client)?;
    row.company = app.company.as_ref().map(|company| company.as_str().to_owned());
    row.put_request_token(batch.keys, app.request_token.as_ref()).map_err(|error| batch.unsealed(error))?;
    let known_since = app.known_since.or(known_since).map_or_else(now, |at| at.0);
    row.known_since = app.request_token.as_ref().map(|_| known_since);
    Ok(())
}
