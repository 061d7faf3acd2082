//! Who may do what, and who listens.

use super::sample::{app, connection, holding};
use super::{World, failure};
use perennial::store::postgres::ServerFailure;
use perennial::store::{Store, StoreError};
use perennial::{Postgres, PostgresOptions};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The same store for a role that is no superuser.
fn as_role(world: &World<'_>, role: &str) -> String {
    world.sql(&format!("CREATE ROLE {role} LOGIN"));
    world.url().replace("perennial@", &format!("{role}@"))
}

#[test]
fn a_role_that_may_not_make_tables_is_told_and_works_with_those_that_were_made() {
    let Some(world) = World::new() else { return };
    let url = as_role(&world, "keeper_without_rights");
    let store = world.open_at(&url);
    assert!(store.names().unwrap().is_empty(), "to look makes nothing");
    let first = holding(&connection("acme"), "first");
    let error = store.add(&first, &app("app-1", "one")).unwrap_err();
    assert!(matches!(failure(&error), Ok(ServerFailure::NotSetUp(_))), "{error}");
    world.server.sql(&Postgres::schema(&url, Some("keeper_without_rights")).unwrap());
    assert!(store.names().unwrap().is_empty());
    store.add(&first, &app("app-1", "one")).unwrap();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let next = holding(&first, "second");
    claim.commit(&first.version(), &next).unwrap();
    drop(claim);
    assert_eq!(world.open().read("acme").unwrap(), next);
    assert_eq!(store.due_batch(perennial::core::UnixTime(i64::MAX), 9, &BTreeSet::new()).unwrap(), ["acme"]);
}

#[test]
fn a_role_without_a_right_is_told() {
    let Some(world) = World::new() else { return };
    world.held();
    let url = as_role(&world, "keeper_that_may_not_look");
    let error = world.open_at(&url).read("acme").unwrap_err();
    assert!(matches!(failure(&error), Ok(ServerFailure::NoRight(_))), "{error}");
}

#[test]
fn a_store_that_only_lets_itself_be_read_spends_no_token() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let url = as_role(&world, "reader");
    world.sql("GRANT USAGE ON SCHEMA {s} TO reader; GRANT ALL ON ALL TABLES IN SCHEMA {s} TO reader");
    world.sql("ALTER ROLE reader SET default_transaction_read_only = on");
    let store = world.open_at(&url);
    assert_eq!(store.read("acme").unwrap(), first, "law 9");
    let error = store.try_claim("acme").map(drop).unwrap_err();
    assert_eq!(failure(&error), Ok(&ServerFailure::ReadOnly), "law 4");
}

#[test]
fn newer_tables_are_refused() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    world.sql("UPDATE {s}.meta SET version = 99");
    let newer = |error: StoreError| failure(&error) == Ok(&ServerFailure::Newer { found: 99, known: 1 });
    assert!(newer(world.open().read("acme").unwrap_err()));
    assert!(newer(world.open().names().unwrap_err()));
    // Who had it open writes no more either.
    assert!(newer(store.rename("acme", "globex").unwrap_err()));
    world.sql("UPDATE {s}.meta SET version = 1");
    assert_eq!(store.read("acme").unwrap(), first);
}

#[test]
fn tables_are_made_once_by_whoever_comes_first() {
    let Some(world) = World::new() else { return };
    std::thread::scope(|scope| {
        for number in 0..6 {
            let world = &world;
            scope.spawn(move || {
                let name = format!("name-{number}");
                world.open().add(&holding(&connection(&name), &name), &app("app-1", "one")).unwrap();
            });
        }
    });
    assert_eq!(world.open().names().unwrap().len(), 6);
    assert_eq!(world.sql("SELECT count(*) FROM {s}.data_keys"), "1");
    assert_eq!(world.sql("SELECT count(*) FROM {s}.app_secrets"), "1");
}

#[test]
fn another_database_and_another_key_are_told_apart() {
    let Some(world) = World::new() else { return };
    world.held();
    let elsewhere = world.open_at(&world.url().replace("/postgres?", "/nothing?"));
    let error = elsewhere.names().unwrap_err();
    assert!(matches!(failure(&error), Ok(ServerFailure::NoDatabase(_))), "{error}");
    let other_key = tempfile::tempdir().unwrap();
    let key = perennial::seal::KeySource::File(other_key.path().join("master.key"));
    let closed = Postgres::open(&world.url(), PostgresOptions::new(key)).unwrap();
    assert!(matches!(closed.read("acme"), Err(StoreError::Closed { .. })));
    assert!(!other_key.path().join("master.key").exists(), "no key is made that could not open it");
}

#[test]
fn law_10_a_password_comes_from_a_file_for_its_owner_alone() {
    let Some(server) = super::postgres_server::PostgresServer::start(&["fsync=off"]) else { return };
    let world = World::on(&server);
    world.held();
    world.sql("CREATE ROLE keeper LOGIN PASSWORD 'canary'; GRANT ALL ON SCHEMA {s} TO keeper");
    world.sql(
        "GRANT ALL ON ALL TABLES IN SCHEMA {s} TO keeper; GRANT ALL ON ALL SEQUENCES IN SCHEMA {s} TO keeper",
    );
    let rules = server.dir().join("data/pg_hba.conf");
    let rest = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("local all keeper scram-sha-256\n{rest}")).unwrap();
    world.sql("SELECT pg_reload_conf()");
    let file = world.keys.path().join("password");
    let write = |path: &Path, text: &str, mode: u32| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let url = world.url().replace("perennial@", "keeper@");
    let with = |how: &str| world.open_at(&format!("{url}&{how}={}", file.display())).read("acme");
    write(&file, "canary\n", 0o600);
    with("passwordfile").unwrap();
    write(&file, "localhost:5432:postgres:keeper:canary\n", 0o600);
    with("passfile").unwrap();
    let told = |error: StoreError| {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        error
    };
    write(&file, "canary but wrong\n", 0o600);
    let error = told(with("passwordfile").unwrap_err());
    assert!(matches!(failure(&error), Ok(ServerFailure::Login(_))), "{error}");
    write(&file, "canary\n", 0o644);
    assert!(matches!(told(with("passwordfile").unwrap_err()), StoreError::Unsafe { .. }));
    write(&file, "elsewhere:5432:postgres:keeper:canary\n", 0o600);
    let error = told(with("passfile").unwrap_err());
    assert!(matches!(failure(&error), Ok(ServerFailure::Login(_))), "{error}");
}
