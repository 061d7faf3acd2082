//! What every store must do, told once and tried on all of them: memory, SAP's two files, SQLite, PostgreSQL.
//!
//! | file | its stories |
//! |---|---|
//! | `main.rs` | the stores, and which stories each must live through |
//! | `sample.rs` | connections and apps to write down |
//! | `one.rs` | of one connection: claim, compare-and-swap, what survives, the journal |
//! | `many.rs` | of many connections: names, apps, putting away, what is due |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod many;
mod one;
#[path = "../postgres_server/mod.rs"]
mod postgres_server;
mod sample;

use perennial::core::Connection;
use perennial::core::connection::Version;
use perennial::seal::KeySource;
use perennial::store::{App, Store};
use perennial::{Memory, Postgres, PostgresOptions, SapSample, Sqlite, SqliteOptions};
use serde_json::json;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// One kind of store, somewhere.
trait World {
    /// The store as another process would find it.
    fn open(&self) -> Arc<dyn Store>;

    /// What its first connection is called.
    fn name(&self) -> &'static str {
        "acme"
    }

    /// True when a claim that is given back is known to have been: all claims have one lock then.
    fn knows_the_dead(&self) -> bool {
        true
    }

    /// Puts the first connection in; returns it as the store gives it back.
    fn begin_with(&self, connection: &Connection, app: &App) -> Connection {
        let store = self.open();
        store.add(connection, app).unwrap();
        store.read(&connection.name).unwrap()
    }
}

struct InMemory(Memory);

impl World for InMemory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

struct InTwoFiles(TempDir);

impl World for InTwoFiles {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SapSample::open(self.0.path()).unwrap())
    }

    fn name(&self) -> &'static str {
        "default"
    }

    fn begin_with(&self, connection: &Connection, app: &App) -> Connection {
        let credentials = json!({
            "appID": app.client.id,
            "clientSecret": app.client.secret.expose(),
            "companyUUID": app.company.as_ref().unwrap().as_str(),
            "companyRequestToken": app.request_token.as_ref().unwrap().expose(),
        });
        fs::write(self.0.path().join("credentials.json"), credentials.to_string()).unwrap();
        let store = self.open();
        let mut claim = store.try_claim(self.name()).unwrap().unwrap();
        claim.commit(&Version::default(), connection).unwrap();
        claim.read().unwrap()
    }
}

struct InSqlite(TempDir);

impl World for InSqlite {
    fn open(&self) -> Arc<dyn Store> {
        let key = KeySource::File(self.0.path().join("keys/master.key"));
        Arc::new(Sqlite::open(self.0.path().join("data/perennial.db"), SqliteOptions::new(key)).unwrap())
    }
}

struct InPostgres {
    url: String,
    keys: TempDir,
}

impl InPostgres {
    fn new() -> Option<Self> {
        let server = postgres_server::server()?;
        Some(Self { url: server.url(&server.new_schema()), keys: tempfile::tempdir().unwrap() })
    }
}

impl World for InPostgres {
    fn open(&self) -> Arc<dyn Store> {
        let key = KeySource::File(self.keys.path().join("master.key"));
        Arc::new(Postgres::open(&self.url, PostgresOptions::new(key)).unwrap())
    }

    fn knows_the_dead(&self) -> bool {
        false
    }
}

/// Each story becomes a test of each kind of store that it is told of.
macro_rules! stories {
    ($kind:ident, $world:expr, $($file:ident: $($story:ident),*;)*) => {
        mod $kind {
            use super::*;

            $($(
                #[test]
                fn $story() {
                    // Where there is no such world, that was said.
                    if let Some(world) = $world {
                        $file::$story(&world);
                    }
                }
            )*)*
        }
    };
}

macro_rules! all_stories {
    ($kind:ident, $world:expr) => {
        stories! {
            $kind, $world,
            one: law_2_one_claim_at_a_time, law_2_a_claim_is_given_back, law_8_a_write_names_what_it_was_derived_from,
                law_8_who_lost_his_claim_writes_nothing, law_4_an_intent_survives, law_5_everything_survives,
                a_change_of_the_condition_alone_is_written, the_journal_tells_in_order,
                a_note_belongs_to_no_write, an_unknown_name_is_told;
            many: an_app_is_read_back, names_are_checked, of_many_at_once_each_is_whole_or_refused,
                law_2_other_connections_have_claims_of_their_own,
                rename_keeps_identity_and_history, law_8_a_rename_loses_no_write, what_is_put_away_comes_back,
                law_1_what_comes_after_putting_away_is_not_lost, what_is_made_up_is_forgotten, a_new_app_is_read_at_once, due_ones_are_found,
                law_5_the_most_urgent_come_first, what_waits_keeps_no_other_from_its_turn,
                an_idle_keeper_knows_how_long, every_change_is_named,
                how_far_renewal_lags_is_known_whatever_stands_in_the_way_of_others,
                the_ends_of_refresh_tokens_are_counted;
        }
    };
}

all_stories!(memory, Some(InMemory(Memory::new())));
all_stories!(sqlite, Some(InSqlite(tempfile::tempdir().unwrap())));
all_stories!(postgres, InPostgres::new());

stories! {
    sap_sample, Some(InTwoFiles(tempfile::tempdir().unwrap())),
    one: law_2_one_claim_at_a_time, law_2_a_claim_is_given_back, law_8_a_write_names_what_it_was_derived_from,
        law_8_who_lost_his_claim_writes_nothing, law_4_an_intent_survives, law_5_everything_survives,
        a_change_of_the_condition_alone_is_written, the_journal_tells_in_order, a_note_belongs_to_no_write,
        an_unknown_name_is_told;
    many: an_app_is_read_back;
}
