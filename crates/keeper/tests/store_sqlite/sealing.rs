//! Law 10: no secret stands in any file, and nothing that is sealed opens in another's place.

use super::sample::{app, connection, full, holding};
use super::{World, holds, refresh};
use perennial::core::Connection;
use perennial::seal::KeySource;
use perennial::store::{Store, StoreError, document};
use perennial::{Sqlite, SqliteOptions};
use proptest::strategy::{Strategy, ValueTree};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn is_damage(error: &StoreError, name: &str) -> bool {
    matches!(error, StoreError::Damaged { .. }) && error.to_string().contains(&format!("\"{name}\""))
}

#[test]
fn law_10_no_file_holds_a_secret() {
    let world = World::new();
    let store = world.open();
    store.add(&full("acme"), &app("app-1", "one")).unwrap();
    store.add(&holding(&connection("globex"), "globex"), &app("app-1", "two")).unwrap();
    refresh(&store, "globex", "second");
    store.put_app("acme", &app("app-2", "three")).unwrap();
    store.remove("globex").unwrap();
    let search = |when: &str| {
        let files = world.files();
        for ending in ["", "-wal", "-shm", ".lock", ".backup"] {
            assert!(files.contains(&world.beside(ending)), "{when}: {ending} is there: {files:?}");
        }
        for file in files {
            assert!(!holds(&file, "canary"), "{when}: {}", file.display());
            // In base64, at each of the three offsets that it may begin at.
            for part in ["Y2FuYXJ5", "NhbmFye", "jYW5hcn"] {
                assert!(!holds(&file, part), "{when}: {}", file.display());
            }
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
        }
    };
    search("while it is open");
    assert!(fs::metadata(world.beside("-wal")).unwrap().len() > 0);
    drop(store);
    search("when it is closed");
    assert_eq!(fs::metadata(world.path().parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(world.key()).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn law_10_nothing_of_one_row_opens_in_another() {
    let columns = [
        "tenant",
        "id",
        "app",
        "due_at",
        "intent",
        "record",
        "company",
        "request_token",
        "known_since",
        "created_at",
        "removed_at",
        "changed",
        "seal",
    ];
    for column in columns {
        let world = World::filled();
        let from = format!("(SELECT {column} FROM connections WHERE name = 'globex')");
        let other = world.tables();
        if column == "id" {
            other.execute("UPDATE connections SET id = 'gone' WHERE name = 'globex'", []).unwrap();
            other.execute("UPDATE connections SET id = 'id-of-globex' WHERE name = 'acme'", []).unwrap();
        } else {
            let same = format!("SELECT {column} IS {from} FROM connections WHERE name = 'acme'");
            let same: bool = other.query_row(&same, [], |row| row.get(0)).unwrap();
            let value = if same { "1234".to_owned() } else { from };
            if column == "tenant" {
                other.execute("UPDATE connections SET tenant = 'theirs' WHERE name = 'acme'", []).unwrap();
                let theirs = Sqlite::open(world.path(), world.options().tenant("theirs")).unwrap();
                assert!(is_damage(&theirs.read("acme").unwrap_err(), "acme"), "{column}");
                continue;
            }
            let update = format!("UPDATE connections SET {column} = {value} WHERE name = 'acme'");
            // Foreign keys and types refuse some; that is as good.
            other.pragma_update(None, "foreign_keys", false).unwrap();
            other.execute(&update, []).unwrap();
        }
        let store = world.open();
        if column == "removed_at" {
            assert!(matches!(store.read("acme"), Err(StoreError::NoSuchConnection { .. })));
            store.restore("acme").unwrap();
            assert!(store.read("acme").is_ok(), "what was sealed is as it was");
            continue;
        }
        assert!(is_damage(&store.read("acme").unwrap_err(), "acme"), "{column}");
        assert!(is_damage(&store.app("acme").unwrap_err(), "acme"), "{column}");
        let mut claim = match store.try_claim("acme") {
            Ok(claim) => claim.unwrap(),
            Err(StoreError::Damaged { .. }) if column == "changed" => continue,
            Err(error) => panic!("{column}: {error}"),
        };
        assert!(is_damage(&claim.read().unwrap_err(), "acme"), "{column}");
        let next = full("acme");
        assert!(claim.intend(&next.version(), &next).is_err(), "{column}: nothing may be sent");
        if column != "id" {
            assert!(store.read("globex").is_ok(), "others go on");
        }
    }
}

#[test]
fn law_10_a_renamed_row_is_found() {
    let world = World::filled();
    world.tables().execute("UPDATE connections SET name = 'initech' WHERE name = 'acme'", []).unwrap();
    assert!(is_damage(&world.open().read("initech").unwrap_err(), "initech"));
}

#[test]
fn law_10_an_older_generation_does_not_open_in_the_newer_ones_place() {
    let world = World::filled();
    let record = "SELECT record FROM connections WHERE name = 'globex'";
    let older: String = world.tables().query_row(record, [], |row| row.get(0)).unwrap();
    refresh(&world.open(), "globex", "second");
    let tables = world.tables();
    tables.execute("UPDATE connections SET record = ?1 WHERE name = 'globex'", [older]).unwrap();
    drop(tables);
    assert!(is_damage(&world.open().read("globex").unwrap_err(), "globex"));
}

#[test]
fn law_10_a_whole_row_of_an_older_state_is_found_by_its_mark() {
    let world = World::filled();
    let seal = "SELECT record, due_at, changed, seal FROM connections WHERE name = 'globex'";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
    };
    let older = world.tables().query_row(seal, [], read).unwrap();
    refresh(&world.open(), "globex", "second");
    let tables = world.tables();
    let update =
        "UPDATE connections SET record = ?1, due_at = ?2, changed = ?3, seal = ?4 WHERE name = 'globex'";
    tables.execute(update, older).unwrap();
    drop(tables);
    let store = world.open();
    assert!(store.read("globex").is_ok(), "every bit of it was sealed once");
    let error = store.try_claim("globex").map(drop).unwrap_err();
    assert!(error.to_string().contains("older than what was written last"), "{error}");
    assert!(store.try_claim("acme").unwrap().is_some(), "others go on");
}

#[test]
fn a_secret_of_another_field_does_not_open() {
    let world = World::filled();
    let tables = world.tables();
    let record: String =
        tables.query_row("SELECT record FROM connections WHERE name = 'acme'", [], |row| row.get(0)).unwrap();
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&record).unwrap();
    for name in ["access_token", "refresh_token", "id_token", "novelty"] {
        let sealed = members[name].as_str().unwrap();
        assert!(sealed.len() > 60, "{name} is sealed");
    }
    assert_eq!(members["scope"], "openid", "what is no secret is legible");
    let access = members["access_token"].clone();
    members.insert("refresh_token".to_owned(), access);
    let swapped = serde_json::Value::Object(members).to_string();
    tables.execute("UPDATE connections SET record = ?1 WHERE name = 'acme'", [swapped]).unwrap();
    assert!(is_damage(&world.open().read("acme").unwrap_err(), "acme"));
}

#[test]
fn client_secrets_open_in_their_own_place_only() {
    for change in [
        "UPDATE apps SET client_id = 'another'",
        "UPDATE apps SET profile = 'another'",
        "UPDATE app_secrets SET version = 2",
        "UPDATE app_secrets SET secret = substr(secret, 1, length(secret) - 4) || 'AAAA'",
    ] {
        let world = World::filled();
        world.tables().execute(change, []).unwrap();
        let error = world.open().app("acme").unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("app \""),
            "{change}: {error}"
        );
    }
}

#[test]
fn another_master_key_does_not_open_and_is_named() {
    let world = World::filled();
    let other = world.root.path().join("other/master.key");
    fs::create_dir(other.parent().unwrap()).unwrap();
    fs::write(&other, "0".repeat(64)).unwrap();
    let error = Sqlite::open(world.path(), SqliteOptions::new(KeySource::File(other.clone()))).unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, StoreError::Closed { .. }), "{told}");
    assert!(told.contains(&format!("the master key file:{} is not the one", other.display())), "{told}");

    fs::write(world.key(), "short").unwrap();
    let told = world.try_open().unwrap_err().to_string();
    assert!(told.contains("must be 64 hexadecimal digits") && !told.contains("short"), "{told}");
}

#[test]
fn a_missing_master_key_is_named_and_none_is_made() {
    let world = World::filled();
    fs::remove_file(world.key()).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Closed { .. }));
    assert!(error.to_string().contains(&format!("{} is not there", world.key().display())), "{error}");
    assert!(!world.key().exists());
    let from_nowhere = SqliteOptions::new(KeySource::Env("PERENNIAL_TEST_NO_SUCH_KEY".into()));
    let told = Sqlite::open(world.path(), from_nowhere).unwrap_err().to_string();
    assert!(told.contains("PERENNIAL_TEST_NO_SUCH_KEY") && told.contains("is not set"), "{told}");
}

#[test]
fn a_copy_under_another_store_id_does_not_open() {
    let world = World::filled();
    world.tables().execute("UPDATE meta SET store_id = 'another'", []).unwrap();
    let told = world.try_open().unwrap_err();
    assert!(matches!(told, StoreError::Damaged { .. }), "the master key is the right one: {told}");
}

#[test]
fn a_row_of_another_database_does_not_open() {
    let (world, other) = (World::filled(), World::filled());
    fs::copy(world.key(), other.key()).unwrap();
    let tables = world.tables();
    drop(world.open());
    tables.execute("ATTACH ?1 AS other", [other.path().to_str().unwrap()]).unwrap();
    tables
        .execute(
            "UPDATE connections SET (record, request_token, changed, created_at, known_since, due_at, seal) =
             (SELECT record, request_token, changed, created_at, known_since, due_at, seal FROM other.connections
              WHERE name = 'acme') WHERE name = 'acme'",
            [],
        )
        .unwrap();
    assert!(is_damage(&world.open().read("acme").unwrap_err(), "acme"));
}

#[test]
fn tenants_do_not_see_each_other() {
    let world = World::filled();
    let theirs = Sqlite::open(world.path(), world.options().tenant("theirs")).unwrap();
    assert!(theirs.names().unwrap().is_empty());
    assert!(matches!(theirs.read("acme"), Err(StoreError::NoSuchConnection { .. })));
    assert!(theirs.try_claim("acme").is_err() && theirs.remove("acme").is_err());
    theirs.add(&connection("acme"), &app("app-1", "theirs")).unwrap();
    assert_eq!(theirs.app("acme").unwrap().client.secret, app("app-1", "theirs").client.secret);
    assert_eq!(world.open().app("acme").unwrap().client.secret, app("app-1", "one").client.secret);
    assert!(theirs.journal(None, None, 99).unwrap().is_empty());
    assert_ne!(theirs.address(), world.open().address(), "rescue files tell them apart");
    assert!(Sqlite::open(world.path(), world.options().tenant("no tenant")).is_err());
}

#[test]
fn a_rotated_client_secret_is_seen_by_all_who_share_the_app() {
    let world = World::filled();
    let (store, elsewhere) = (world.open(), world.open());
    let mut rotated = app("app-1", "two");
    rotated.request_token = None;
    store.put_app("globex", &rotated).unwrap();
    for name in ["acme", "globex"] {
        assert_eq!(elsewhere.app(name).unwrap().client.secret, rotated.client.secret, "{name}");
    }
    assert!(elsewhere.app("acme").unwrap().request_token.is_some(), "what was given to one is its own");
    store.put_app("acme", &rotated).unwrap();
    let versions: i64 =
        world.tables().query_row("SELECT count(*) FROM app_secrets", [], |row| row.get(0)).unwrap();
    assert_eq!(versions, 2, "law 5: the older one is kept, and the same one is not kept twice");
}

#[test]
fn a_request_token_keeps_the_time_since_when_it_is_known() {
    let world = World::filled();
    let store = world.open();
    let mut again = app("app-1", "one");
    again.known_since = None;
    let since = store.app("acme").unwrap().known_since;
    store.put_app("acme", &again).unwrap();
    assert_eq!(
        store.app("acme").unwrap().known_since,
        since,
        "the same one is not younger for being given again"
    );
    again.request_token = Some(perennial::core::RequestToken::new("canary-another"));
    store.put_app("acme", &again).unwrap();
    assert!(store.app("acme").unwrap().known_since < since, "by this host's clock, which is not the test's");
}

#[test]
fn law_10_no_error_shows_a_secret() {
    let world = World::filled();
    let tables = world.tables();
    tables.execute("UPDATE connections SET name = char(10) || 'x' WHERE name = 'globex'", []).unwrap();
    tables.execute("UPDATE connections SET company = 'canary'", []).unwrap();
    drop(tables);
    let store = world.open();
    let mut told = vec![format!("{store:?}"), store.read("acme").unwrap_err().to_string()];
    told.extend(Sqlite::examine(world.path(), &world.options()).into_iter().map(|finding| finding.what));
    for told in told {
        assert!(!told.contains("canary") && !told.contains('\n'), "{told}");
    }
}

#[test]
fn what_a_server_calls_its_members_does_no_harm() {
    let world = World::new();
    let odd: Connection = {
        let mut odd = holding(&connection("acme"), "odd");
        let others = &mut odd.held.as_mut().unwrap().others.0;
        others.insert("a/b\n\"c\"".to_owned(), serde_json::json!([null, {"deep": "canary"}]));
        others.insert("previous/0/refresh_token".to_owned(), serde_json::json!(1e300));
        odd
    };
    let store = world.open();
    store.add(&odd, &app("app-1", "one")).unwrap();
    assert_eq!(store.read("acme").unwrap(), odd);
}

/// Whatever a token file may make of a connection, the row gives it back.
#[test]
fn law_5_any_connection_survives_being_sealed() {
    let world = World::new();
    let store = world.open();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kept = 0;
    for number in 0..60 {
        let name = format!("n{number}");
        let text = super::generators::token_files().new_tree(&mut runner).unwrap().current().0;
        let Ok(members) = perennial::store::sap_sample::parse_token_file(Some(&text)) else { continue };
        let read = document::read(&members, connection(&name)).connection;
        let given = Connection { id: format!("id-{number}"), name: name.clone(), ..read };
        // A token whose end nobody knows is of no use to anybody: a row does not keep what holds nothing else.
        if given.held.as_ref().is_some_and(|held| held.access.is_none() && held.refresh.is_none()) {
            continue;
        }
        store.add(&given, &app("app-1", "one")).unwrap();
        assert_eq!(store.read(&name).unwrap(), given, "{}", String::from_utf8_lossy(&text));
        kept += 1;
    }
    assert!(kept > 20, "{kept}");
}
