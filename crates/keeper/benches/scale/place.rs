//! Where the stores are that are measured.

use crate::connections::name;
use perennial::seal::KeySource;
use perennial::{Keeper, Options, Postgres, PostgresOptions, Sqlite, SqliteOptions, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A store of so many connections.
#[derive(Clone)]
pub(crate) struct Place {
    kind: Kind,
    pub(crate) count: u64,
    /// What for, where it is not the one that all stages share.
    purpose: &'static str,
}

#[derive(Clone)]
enum Kind {
    /// In this directory.
    Sqlite(PathBuf),
    /// At this address, without a schema.
    Postgres(String),
}

impl Place {
    pub(crate) fn new(address: &str, count: u64) -> Self {
        let kind = match address.strip_prefix("sqlite:") {
            Some(dir) => Kind::Sqlite(PathBuf::from(dir)),
            None => Kind::Postgres(address.to_owned()),
        };
        Self { kind, count, purpose: "" }
    }

    /// Another one of so many at most, for a stage that treats it badly.
    pub(crate) fn of_its_own(&self, purpose: &'static str, most: u64) -> Self {
        Self { purpose, count: self.count.min(most), ..self.clone() }
    }

    pub(crate) fn open(&self) -> Arc<dyn Store> {
        match &self.kind {
            Kind::Sqlite(dir) => {
                let key = KeySource::File(dir.join("keys/master.key"));
                Arc::new(Sqlite::open(self.database(dir), SqliteOptions::new(key)).unwrap())
            }
            Kind::Postgres(address) => {
                let key = KeySource::File(std::env::temp_dir().join("perennial-scale/master.key"));
                let url = format!("{address}&schema={}", self.schema());
                Arc::new(Postgres::open(&url, PostgresOptions::new(key)).unwrap())
            }
        }
    }

    pub(crate) fn keeper(&self) -> Keeper {
        Keeper::open_shared(self.open(), Options::default())
    }

    /// Bytes on the disk.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Sqlite(dir) => {
                let of = |ending: &str| {
                    let file = self.database(dir).with_extension(ending);
                    std::fs::metadata(file).map_or(0, |file| file.len())
                };
                of("db") + of("db-wal")
            }
            Kind::Postgres(address) => {
                let tables = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
                              JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname = ";
                ask(address, &format!("{tables}'{}'", self.schema()))
            }
        }
    }

    /// How often the log has been made durable: once for each transaction with SQLite; PostgreSQL counts it itself.
    pub(crate) fn syncs(&self) -> u64 {
        match &self.kind {
            Kind::Sqlite(dir) => {
                let sql = rusqlite::Connection::open(self.database(dir)).unwrap();
                let changes = sql.query_row("SELECT changes FROM meta", [], |row| row.get::<_, i64>(0));
                changes.unwrap().unsigned_abs()
            }
            Kind::Postgres(address) => {
                // The server's processes tell their counts once a second.
                #[expect(clippy::disallowed_methods, reason = "nothing tells when they have")]
                std::thread::sleep(Duration::from_secs(2));
                ask(address, "SELECT wal_sync FROM pg_stat_wal")
            }
        }
    }

    /// Names, in an order that no cache likes.
    pub(crate) fn names(&self, times: usize) -> impl Iterator<Item = String> {
        let (mut at, count) = (0_u64, self.count);
        std::iter::repeat_with(move || {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            name((at >> 20) % count)
        })
        .take(times)
    }

    fn database(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}{}/perennial.db", self.purpose, self.count))
    }

    fn schema(&self) -> String {
        format!("{}of_{}", self.purpose, self.count)
    }
}

/// One number from the server.
fn ask(address: &str, query: &str) -> u64 {
    let (before, query_string) = address.split_once('?').unwrap();
    let of_the_client =
        query_string.split('&').filter(|part| part.starts_with("host=") || part.starts_with("user="));
    let config = format!("{before}?{}", of_the_client.collect::<Vec<_>>().join("&"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
        let driven = tokio::spawn(connection);
        let number: i64 = client.query_one(query, &[]).await.unwrap().get(0);
        drop(client);
        driven.await.unwrap().unwrap();
        number.unsigned_abs()
    })
}
