//! What is found, and what mends it.

use super::sample::{app, connection, refreshing};
use super::{World, refresh};
use perennial::Sqlite;
use perennial::store::{Finding, Store, StoreError};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn examine(world: &World) -> Vec<Finding> {
    Sqlite::examine(world.path(), &world.options())
}

fn bad(world: &World) -> Vec<Finding> {
    examine(world).into_iter().filter(|finding| !finding.is_good).collect()
}

#[test]
fn a_sound_store_is_told_to_be_sound_and_stays_as_it_is() {
    let world = World::new();
    assert!(
        examine(&world).iter().any(|finding| finding.is_good && finding.what.contains("is not there yet"))
    );
    assert_eq!(fs::read_dir(world.root.path()).unwrap().count(), 0);

    let world = World::filled();
    let store = world.open();
    let claim = store.try_claim("acme").unwrap().unwrap();
    let before = fs::read(world.path()).unwrap();
    let findings = examine(&world);
    assert!(findings.iter().all(|finding| finding.is_good && finding.remedy.is_none()), "{findings:?}");
    let told = findings.iter().map(|finding| finding.what.as_str()).collect::<Vec<_>>().join("\n");
    for part in [
        "not on a network",
        "are its owner's alone",
        "is whole",
        "every secret of 2 connections opens",
        "what was written last (change 2)",
        "\"acme\" is claimed by a running process",
        "is good, and 0 days old",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    drop(claim);
    assert_eq!(fs::read(world.path()).unwrap(), before);
}

#[test]
fn each_trouble_is_found_with_its_remedy() {
    let trouble = |make: &dyn Fn(&World), says: &str, remedy: &str| {
        let world = World::filled();
        make(&world);
        let found = bad(&world);
        let fits = |finding: &Finding| {
            finding.what.contains(says) && finding.remedy.as_ref().is_some_and(|told| told.contains(remedy))
        };
        assert!(found.iter().any(fits), "{says}: {found:?}");
    };
    let tamper = |sql: &'static str| move |world: &World| world.tables().execute_batch(sql).unwrap();
    let restore = "perennial doctor --restore-backup";
    trouble(&|world| fs::write(world.path(), "").unwrap(), "cut to 0 bytes", restore);
    trouble(&|world| fs::remove_file(world.path()).unwrap(), "is not there any more", restore);
    trouble(
        &tamper("UPDATE connections SET company = 'x' WHERE name = 'acme'"),
        "connection \"acme\" was altered",
        restore,
    );
    trouble(&tamper("UPDATE app_secrets SET version = 9"), "app \"app-1\" was altered", restore);
    trouble(
        &tamper("UPDATE meta SET changes = 0"),
        "older than what was written last",
        "perennial doctor --accept-older",
    );
    trouble(&|world| fs::remove_file(world.key()).unwrap(), "is not there", "--master-key file:PATH");
    trouble(
        &|world| fs::remove_file(world.beside(".backup")).unwrap(),
        "there is no backup",
        "perennial refresh",
    );
    trouble(&|world| fs::write(world.beside(".backup"), "x").unwrap(), "is of no use", "rm ");
    let allow =
        |mode| move |world: &World| fs::set_permissions(world.path(), Permissions::from_mode(mode)).unwrap();
    trouble(&allow(0o644), "can be read by others", "chmod 600");
    trouble(&allow(0o400), "is read-only", "chmod u+w");
}

#[test]
fn law_5_the_backup_takes_the_place_and_the_damaged_one_is_kept() {
    let world = World::filled();
    refresh(&world.open(), "acme", "third");
    let read = world.open().read("acme").unwrap();
    for number in 1..3 {
        let mut damaged = fs::read(world.path()).unwrap();
        damaged.truncate(5000);
        fs::write(world.path(), &damaged).unwrap();
        let kept = Sqlite::restore_backup(world.path()).unwrap();
        assert!(kept.ends_with(format!("perennial.db.damaged-{number}")), "{}", kept.display());
        assert_eq!(fs::read(kept).unwrap(), damaged);
        assert_eq!(world.open().read("acme").unwrap(), read);
        assert!(bad(&world).is_empty(), "{:?}", bad(&world));
    }
    refresh(&world.open(), "acme", "fourth");
    assert!(bad(&world).is_empty());
    // It is not there at all.
    fs::remove_file(world.path()).unwrap();
    assert_eq!(Sqlite::restore_backup(world.path()).unwrap(), fs::canonicalize(world.path()).unwrap());
    assert_eq!(world.open().read("acme").unwrap().version().generation, 4);
}

#[test]
fn a_store_in_use_is_not_replaced() {
    let world = World::filled();
    let store = world.open();
    store.read("acme").unwrap();
    for refused in [Sqlite::restore_backup(world.path()).map(drop), Sqlite::accept_older(world.path())] {
        let StoreError::Io { source, .. } = refused.unwrap_err() else { panic!("another error") };
        assert_eq!(source.kind(), std::io::ErrorKind::ResourceBusy);
    }
    drop(store);
    Sqlite::accept_older(world.path()).unwrap();
}

#[test]
fn a_backup_of_no_use_takes_no_place() {
    let world = World::filled();
    let before = fs::read(world.path()).unwrap();
    fs::write(world.beside(".backup"), "x".repeat(10_000)).unwrap();
    assert!(Sqlite::restore_backup(world.path()).is_err());
    fs::remove_file(world.beside(".backup")).unwrap();
    assert!(Sqlite::restore_backup(world.path()).is_err());
    assert_eq!(fs::read(world.path()).unwrap(), before);
    let left: Vec<_> =
        world.files().into_iter().filter(|file| file.to_string_lossy().contains("new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backup_is_made_with_what_would_be_missed_and_else_once_an_hour() {
    let world = World::filled();
    let made = || fs::metadata(world.beside(".backup")).unwrap().modified().unwrap();
    let last = std::cell::Cell::new(made());
    let is_new = || last.replace(made()) < made();
    let again = |write: &dyn Fn(&Sqlite)| {
        let store = world.open();
        write(&store);
        drop(store);
        is_new()
    };
    let intend = |store: &Sqlite| {
        let mut claim = store.try_claim("acme").unwrap().unwrap();
        let seen = claim.read().unwrap();
        claim.intend(&seen.version(), &refreshing(&seen, "one")).unwrap();
    };
    assert!(!again(&intend), "an intent is of no use later");
    assert!(again(&|store| store.put_app("acme", &app("app-1", "two")).unwrap()));
    assert!(again(&|store| store.rename("globex", "initech").unwrap()));
    assert!(again(&|store| store.add(&connection("more"), &app("app-1", "two")).unwrap()));
    assert!(again(&|store| drop(refresh(store, "acme", "third"))));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3700);
    fs::File::options().write(true).open(world.beside(".backup")).unwrap().set_modified(old).unwrap();
    is_new();
    assert!(again(&intend), "it is an hour old");
}
