//! The tables, and how they come to be: forward only, one form after the other, by whoever comes first, under a lock
//! that ends with the transaction. A role that may not make tables is told so, and an administrator runs what
//! `perennial schema` prints.
//!
//! Columns are there for what is asked for; everything else of a connection stands in its record, sealed.

use super::failure::{ServerFailure, Stop};
use super::link::Link;
use super::server::Server;
use crate::store::StoreError;
use crate::store::sealed::keys::Keys;
use sha2::{Digest, Sha256};
use tokio_postgres::types::Type;

/// The form of the tables that this version writes; a newer one is refused.
pub(super) const VERSION: i32 = 1;

/// What leads from each form to the next; the first one begins with nothing. `{s}` is the schema.
const STEPS: [&str; VERSION as usize] = ["
CREATE TABLE {s}.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    store_id text,
    home text,
    closed text
);
CREATE TABLE {s}.data_keys (
    number bigint PRIMARY KEY,
    wrapped bytea NOT NULL,
    master_key text NOT NULL,
    made_at bigint NOT NULL
);
CREATE TABLE {s}.apps (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    profile text NOT NULL,
    client_id text NOT NULL,
    UNIQUE (tenant, profile, client_id)
);
CREATE TABLE {s}.app_secrets (
    app bigint NOT NULL REFERENCES {s}.apps,
    version bigint NOT NULL,
    key bigint NOT NULL REFERENCES {s}.data_keys,
    secret text NOT NULL,
    known_since bigint NOT NULL,
    PRIMARY KEY (app, version)
);
CREATE SEQUENCE {s}.connection_numbers;
CREATE SEQUENCE {s}.changes;
CREATE TABLE {s}.connections (
    number bigint PRIMARY KEY,
    tenant text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    app bigint NOT NULL REFERENCES {s}.apps,
    due_at bigint,
    intent text,
    key bigint NOT NULL REFERENCES {s}.data_keys,
    record text NOT NULL,
    company text,
    request_token text,
    known_since bigint,
    created_at bigint NOT NULL,
    removed_at bigint,
    changed bigint NOT NULL,
    seal text NOT NULL
);
CREATE UNIQUE INDEX connection_ids ON {s}.connections (tenant, id);
CREATE UNIQUE INDEX connection_names ON {s}.connections (tenant, name) WHERE removed_at IS NULL;
CREATE INDEX agenda ON {s}.connections (tenant, due_at) WHERE removed_at IS NULL AND due_at IS NOT NULL;
CREATE INDEX sealed_under ON {s}.connections (key, number);
CREATE INDEX secrets_under ON {s}.app_secrets (key, app, version);
CREATE TABLE {s}.claims (
    connection bigint PRIMARY KEY,
    tenant text NOT NULL,
    holder text NOT NULL,
    until timestamptz NOT NULL
);
CREATE TABLE {s}.offers (
    connection bigint PRIMARY KEY,
    tenant text NOT NULL,
    until timestamptz NOT NULL
);
CREATE TABLE {s}.journal (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    connection bigint NOT NULL REFERENCES {s}.connections,
    at bigint NOT NULL,
    entry text NOT NULL
);
CREATE INDEX journal_of ON {s}.journal (connection, number);
INSERT INTO {s}.meta (version) VALUES (1);
"];

/// What makes all tables, for an administrator to run; with a role, also what gives it the rights that keepers need. It
/// may be run over tables that are there.
pub(super) fn script(schema: &str, role: Option<&str>) -> String {
    let mut script = format!("BEGIN;\nCREATE SCHEMA IF NOT EXISTS {schema};\n");
    for step in STEPS {
        let mut step = step.replace("{s}", schema).trim_start().to_owned();
        for made in ["CREATE TABLE", "CREATE SEQUENCE", "CREATE INDEX", "CREATE UNIQUE INDEX"] {
            step = step.replace(&format!("{made} "), &format!("{made} IF NOT EXISTS "));
        }
        script += &step.replace(" VALUES (1);", " VALUES (1) ON CONFLICT DO NOTHING;");
    }
    if let Some(role) = role {
        let role = format!("\"{}\"", role.replace('"', "\"\""));
        script += &format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role};\n\
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};\n\
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};\n"
        );
    }
    script + "COMMIT;\n"
}

/// How far a database has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// No tables.
    Nothing,
    /// Tables of this form, and the store's id where it has keys already.
    Tables(i32, Option<String>),
}

/// Looks, and changes nothing.
pub(super) async fn form(link: &Link<'_>) -> Result<Form, Stop> {
    // The catalogue itself is asked: what a backend remembers of names (to_regclass) may be older than the lock under
    // which somebody else has just made them.
    let there = "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = 'meta'";
    let schema = &link.place().schema;
    if link.row(there, &[(&bare(schema), Type::TEXT)]).await?.is_none() {
        return Ok(Form::Nothing);
    }
    let meta = link.row(&format!("SELECT version, store_id FROM {schema}.meta"), &[]).await?;
    let Some(meta) = meta else { return Err(link.place().damaged("its table \"meta\" is empty").into()) };
    let odd = |_| link.place().damaged("its table \"meta\" is another one");
    Ok(Form::Tables(meta.try_get(0).map_err(odd)?, meta.try_get(1).map_err(odd)?))
}

/// Refuses what a newer version wrote.
pub(super) fn check(link: &Link<'_>, version: i32) -> Result<(), StoreError> {
    if version > VERSION {
        return Err(link.place().server(ServerFailure::Newer { found: version, known: VERSION }));
    }
    Ok(())
}

/// Brings the tables to this version's form, and draws the store's keys where `with_keys` and there are none. In one
/// transaction, and one at a time.
pub(super) async fn bring_up(server: &Server, link: &Link<'_>, with_keys: bool) -> Result<(), Stop> {
    let place = link.place();
    link.begin().await?;
    let lock = lock_number(&place.schema);
    link.rows("SELECT pg_advisory_xact_lock($1)", &[(&lock, Type::INT8)]).await?;
    let (mut version, store) = match form(link).await? {
        Form::Nothing => (0, None),
        Form::Tables(version, store) => (version, store),
    };
    check(link, version)?;
    if version < VERSION {
        make(link, version).await.map_err(|stop| not_set_up(link, stop))?;
        version = VERSION;
    }
    if store.is_none() && with_keys {
        found(server, link).await?;
    }
    debug_assert_eq!(version, VERSION);
    link.commit().await
}

async fn make(link: &Link<'_>, from: i32) -> Result<(), Stop> {
    let schema = &link.place().schema;
    if from == 0 {
        // Whoever may not make a schema may still be given one.
        let there = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
        if link.row(there, &[(&bare(schema), Type::TEXT)]).await?.is_none() {
            link.batch(&format!("CREATE SCHEMA {schema}")).await?;
        }
    }
    let done = usize::try_from(from).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        link.batch(&step.replace("{s}", schema)).await?;
    }
    Ok(())
}

fn not_set_up(link: &Link<'_>, stop: Stop) -> Stop {
    match stop {
        Stop::Refused(StoreError::Server { failure: ServerFailure::NoRight(said), .. }) => {
            Stop::Refused(link.place().server(ServerFailure::NotSetUp(said)))
        }
        stop => stop,
    }
}

/// Where a database is in use, as SQL: which cluster, and which database in it. A standby is the same cluster, and what
/// was restored from a dump is another database.
pub(super) const HOME: &str = "(SELECT system_identifier || '/' || (SELECT oid FROM pg_catalog.pg_database WHERE datname = \
                               current_database()) FROM pg_control_system())";

/// The store's id, and its first data key.
async fn found(server: &Server, link: &Link<'_>) -> Result<(), Stop> {
    let (place, master) = (link.place(), &server.options.master_key);
    let s = &place.schema;
    let new = Keys::make(master).map_err(|error| place.closed(master, error))?;
    let put =
        format!("INSERT INTO {s}.data_keys (number, wrapped, master_key, made_at) VALUES ($1, $2, $3, $4)");
    let values = [
        (&new.first.number as _, Type::INT8),
        (&new.first.key as _, Type::BYTEA),
        (&new.first.master_key().unwrap_or_default() as _, Type::TEXT),
        (&super::now() as _, Type::INT8),
    ];
    link.rows(&put, &values).await?;
    link.rows(&format!("UPDATE {s}.meta SET store_id = $1, home = {HOME}"), &[(&new.store, Type::TEXT)])
        .await
        .map(drop)
}

/// A schema's name as the catalogue has it: without quotes.
fn bare(schema: &str) -> &str {
    schema.trim_matches('"')
}

/// Every schema has a lock of its own.
fn lock_number(schema: &str) -> i64 {
    let digest = Sha256::digest(format!("perennial {schema}"));
    digest.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
}
