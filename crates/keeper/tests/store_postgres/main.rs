//! The store in PostgreSQL, on servers that are treated badly.
//!
//! | file | its stories |
//! |---|---|
//! | `main.rs` | a world: a schema of its own, and a master key |
//! | `proxy.rs` | what stands between the store and the server, and cuts |
//! | `faults.rs` | the server killed, the connection cut, a lock that nobody gives back, a full disk |
//! | `fleet.rs` | claims that lapse, hosts whose clocks differ, keepers that share the agenda |
//! | `changes.rs` | what has changed since, when entries become visible late |
//! | `rekey.rs` | keys are replaced while hosts are at work |
//! | `rights.rs` | who may make tables, newer tables, who may log in |
//! | `listening.rs` | TLS: who listens |
//! | `sealing.rs` | what a thief finds, and what was altered |
//! | `sweep.rs` | a refresh whose connection is cut at every message, one after the other |
//! | `bouncer.rs` | PgBouncer in transaction mode |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod bouncer;
mod changes;
mod faults;
mod fleet;
mod listening;
#[path = "../postgres_server/mod.rs"]
mod postgres_server;
mod proxy;
mod rekey;
mod rights;
#[path = "../store_conformance/sample.rs"]
mod sample;
mod sealing;
mod sweep;

use perennial::core::Connection;
use perennial::seal::KeySource;
use perennial::store::postgres::ServerFailure;
use perennial::store::{Store, StoreError};
use perennial::{Postgres, PostgresOptions};
use postgres_server::PostgresServer;
use sample::{app, connection, holding};
use std::sync::Arc;
use tempfile::TempDir;

/// A schema in a server, and the master key of its store.
struct World<'a> {
    server: &'a PostgresServer,
    schema: String,
    keys: TempDir,
}

impl World<'static> {
    /// In the server that the tests of this binary share.
    fn new() -> Option<Self> {
        postgres_server::server().map(World::on)
    }
}

impl<'a> World<'a> {
    fn on(server: &'a PostgresServer) -> Self {
        Self { server, schema: server.new_schema(), keys: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        self.server.url(&self.schema)
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions::new(KeySource::File(self.keys.path().join("master.key")))
    }

    fn open(&self) -> Arc<Postgres> {
        self.open_at(&self.url())
    }

    fn open_at(&self, url: &str) -> Arc<Postgres> {
        Arc::new(Postgres::open(url, self.options()).unwrap())
    }

    /// A store with a connection `acme` that holds a grant; as it is kept.
    fn held(&self) -> (Arc<Postgres>, Connection) {
        let store = self.open();
        store.add(&holding(&connection("acme"), "first"), &app("app-1", "one")).unwrap();
        let first = store.read("acme").unwrap();
        (store, first)
    }

    /// What this SQL gives; `{s}` is the schema.
    fn sql(&self, sql: &str) -> String {
        self.server.sql(&sql.replace("{s}", &self.schema))
    }

    /// Entries of the journal of this kind.
    fn count_in_journal(&self, event: &str) -> usize {
        let told = self.open().journal(None, None, 1000).unwrap();
        told.iter().filter(|recorded| recorded.entry.event.as_str() == event).count()
    }
}

/// What the server did not do, or the words of another error.
fn failure(error: &StoreError) -> Result<&ServerFailure, String> {
    match error {
        StoreError::Server { failure, .. } => Ok(failure),
        other => Err(other.to_string()),
    }
}
