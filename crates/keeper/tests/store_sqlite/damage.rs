//! Files that were cut, altered, deleted or replaced: it is told, the backup is named, and no token is spent.

use super::sample::{NOW, app, connection};
use super::{World, argument, child, open_of, refresh};
use perennial::Sqlite;
use perennial::core::Connection;
use perennial::core::journal::{Entry, Event};
use perennial::store::{Store, StoreError};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Damaged, in words, with the backup named.
fn damage(error: &StoreError) -> (String, PathBuf) {
    match error {
        StoreError::Damaged { reason, backup: Some(backup), .. } => (reason.clone(), backup.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_was_cut_is_damaged_at_every_length() {
    let world = World::filled();
    let whole = fs::read(world.path()).unwrap();
    let lengths = [0, 1, 15, 16, 99, 100, 511, 4095, 4096, 4097, 8192, whole.len() - 4096, whole.len() - 1];
    for length in lengths {
        fs::write(world.path(), &whole[..length]).unwrap();
        let (reason, backup) = damage(&world.try_open().unwrap_err());
        assert!(reason.contains("cut") || reason.contains("malformed"), "{length}: {reason}");
        assert_eq!(backup, fs::canonicalize(world.beside(".backup")).unwrap());
        assert_eq!(fs::read(world.path()).unwrap(), &whole[..length], "it has not been touched");
    }
    fs::write(world.path(), "scribble".repeat(1000)).unwrap();
    assert!(damage(&world.try_open().unwrap_err()).0.contains("cut to 8000 bytes"));
    fs::write(world.path(), "scribble".repeat(1024)).unwrap();
    assert!(damage(&world.try_open().unwrap_err()).0.contains("not a database"));
    fs::write(world.path(), whole).unwrap();
    world.open().read("acme").unwrap();
}

#[test]
fn a_turned_byte_is_found_or_harms_nothing() {
    let world = World::filled();
    let store = world.open();
    let expected = ["acme", "globex"].map(|name| store.read(name).unwrap());
    drop(store);
    let whole = fs::read(world.path()).unwrap();
    fs::remove_file(world.beside("-shm")).unwrap();
    let mut found = 0;
    // Every 127th byte: each page is met some 32 times, its header too.
    for at in (0..whole.len()).step_by(127) {
        let mut turned = whole.clone();
        turned[at] ^= 0x10;
        fs::write(world.path(), &turned).unwrap();
        found += usize::from(!look(&world, &expected, at));
    }
    assert!(found > 25, "{found}");
}

/// True when all is as it was. An error is as good; another connection, or other tokens, are not.
fn look(world: &World, expected: &[Connection], at: usize) -> bool {
    let store = match world.try_open() {
        Ok(store) => store,
        Err(error) => {
            let told = matches!(
                error,
                StoreError::Damaged { .. } | StoreError::Closed { .. } | StoreError::Unsafe { .. }
            );
            assert!(told, "{at}: {error:?}");
            return false;
        }
    };
    let mut as_it_was = true;
    for connection in expected {
        match store.read(&connection.name) {
            Ok(read) => assert_eq!(read, *connection, "{at}"),
            Err(error) => {
                let told = matches!(error, StoreError::Damaged { .. } | StoreError::NoSuchConnection { .. });
                assert!(told, "{at}: {error:?}");
                as_it_was = false;
            }
        }
    }
    as_it_was
}

#[test]
fn a_database_that_is_gone_is_not_made_anew() {
    let world = World::filled();
    fs::remove_file(world.path()).unwrap();
    assert!(damage(&world.try_open().unwrap_err()).0.contains("is not there any more"));
    assert!(!world.path().exists());

    let world = World::filled();
    let store = world.open();
    fs::remove_file(world.path()).unwrap();
    assert!(matches!(store.read("acme"), Err(StoreError::Damaged { .. })), "also under an open store");
    assert!(matches!(store.try_claim("acme").map(drop), Err(StoreError::Damaged { .. })));
    let added = store.add(&connection("new"), &app("app-1", "one"));
    assert!(matches!(added, Err(StoreError::Damaged { .. })));
}

/// Renews, says so, and waits to be killed: what it wrote stands in the -wal file alone.
#[test]
fn child_that_renews_and_waits() {
    let Some(root) = argument() else { return };
    let store = open_of(&root);
    refresh(&store, "acme", "in-the-wal");
    // The backup is made before the next write is.
    let entry = Entry { at: NOW, event: Event::Suspended, correlation_id: None };
    store.note("acme", &entry).unwrap();
    let mut out = std::io::stdout();
    out.write_all(b"\nrenewed\n").unwrap();
    out.flush().unwrap();
    loop {
        std::thread::park();
    }
}

fn renew_in_a_process_that_is_killed(root: &Path) {
    let mut process =
        child("damage::child_that_renews_and_waits", root).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "renewed"));
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn law_2_a_deleted_wal_is_noticed_before_a_token_is_spent() {
    let world = World::filled();
    renew_in_a_process_that_is_killed(world.root.path());
    assert!(fs::metadata(world.beside("-wal")).unwrap().len() > 0);
    fs::remove_file(world.beside("-wal")).unwrap();
    let (reason, _) = damage(&world.try_open().unwrap_err());
    assert!(reason.contains("older than what was written last: its -wal file was deleted"), "{reason}");

    let kept = Sqlite::restore_backup(world.path()).unwrap();
    assert!(kept.ends_with("perennial.db.damaged-1") && kept.exists());
    let read = world.open().read("acme").unwrap();
    assert_eq!(read.version().generation, 3, "the backup was made with the new token");
    refresh(&world.open(), "acme", "after");
}

#[test]
fn law_1_nothing_is_written_into_a_wal_that_nobody_else_sees() {
    for file in ["-wal", "-shm"] {
        let world = World::filled();
        let store = world.open();
        refresh(&store, "acme", "third");
        let mut claim = store.try_claim("acme").unwrap().unwrap();
        let seen = claim.read().unwrap();
        let intended = super::sample::refreshing(&seen, "one");
        claim.intend(&seen.version(), &intended).unwrap();
        fs::remove_file(world.beside(file)).unwrap();
        let next = super::sample::holding(&intended, "fourth");
        match claim.commit(&intended.version(), &next) {
            Err(perennial::store::WriteError::Store(error)) => {
                assert!(damage(&error).0.contains("was taken away while it was in use"), "{error}");
            }
            other => panic!("{file}: {other:?}"),
        }
        drop((claim, store));
        assert_eq!(world.open().read("acme").unwrap(), intended, "{file}: what was durable is there");
    }
}

#[test]
fn law_1_a_wal_that_is_left_is_read() {
    let world = World::filled();
    renew_in_a_process_that_is_killed(world.root.path());
    assert_eq!(world.open().read("acme").unwrap().version().generation, 3);
}

#[test]
fn law_2_an_older_copy_is_noticed() {
    let world = World::filled();
    let older = fs::read(world.path()).unwrap();
    refresh(&world.open(), "acme", "third");
    fs::write(world.path(), older).unwrap();
    let (reason, _) = damage(&world.try_open().unwrap_err());
    assert!(reason.contains("older copy was put in its place"), "{reason}");
    Sqlite::accept_older(world.path()).unwrap();
    assert_eq!(world.open().read("acme").unwrap().version().generation, 2, "a person has decided");
    refresh(&world.open(), "acme", "again");
}

#[test]
fn law_2_an_older_copy_under_an_open_store_is_noticed() {
    let world = World::filled();
    let copy = world.beside(".copy");
    fs::copy(world.path(), &copy).unwrap();
    let store = world.open();
    let mut claim = store.try_claim("globex").unwrap().unwrap();
    let seen = claim.read().unwrap();
    refresh(&store, "acme", "third");
    fs::rename(&copy, world.path()).unwrap();
    // A -wal file that is not its own lies beside it; without it, the mark tells.
    fs::write(world.beside("-wal"), b"").unwrap();
    let intended = super::sample::refreshing(&seen, "one");
    assert!(claim.intend(&seen.version(), &intended).is_err(), "nothing may be sent");
    assert!(matches!(store.read("acme"), Err(StoreError::Damaged { .. })));
}

#[test]
fn law_2_a_deleted_lock_file_lets_nobody_present() {
    let world = World::filled();
    let store = world.open();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    fs::remove_file(world.beside(".lock")).unwrap();
    let elsewhere = world.open();
    let second = elsewhere.try_claim("acme").unwrap().unwrap();
    assert_ne!(second.lock(), claim.lock(), "under another lock its sender may live");
    let seen = claim.read().unwrap();
    let intended = super::sample::refreshing(&seen, "one");
    let refused = claim.intend(&seen.version(), &intended);
    assert!(matches!(refused, Err(perennial::store::WriteError::Moved(_))), "{refused:?}");
}

#[test]
fn a_newer_version_is_refused() {
    let world = World::filled();
    world.tables().pragma_update(None, "user_version", 3).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(matches!(error, StoreError::Unsafe { .. }), "{error:?}");
    assert!(error.to_string().contains("was written by a newer Perennial"));
}

#[test]
fn a_database_of_something_else_is_refused_and_left_alone() {
    let world = World::new();
    fs::create_dir(world.path().parent().unwrap()).unwrap();
    let tables = world.tables();
    tables.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(tables);
    let before = fs::read(world.path()).unwrap();
    let error = world.try_open().unwrap_err();
    assert!(error.to_string().contains("is a database of some other program"), "{error}");
    assert_eq!(fs::read(world.path()).unwrap(), before);
}

#[test]
fn tables_that_were_altered_are_refused() {
    for change in [
        "CREATE TABLE more (x)",
        "CREATE TRIGGER t AFTER UPDATE ON connections BEGIN DELETE FROM journal; END",
        "DROP INDEX agenda",
        "ALTER TABLE connections ADD COLUMN more TEXT",
    ] {
        let world = World::filled();
        world.tables().execute_batch(change).unwrap();
        assert!(damage(&world.try_open().unwrap_err()).0.contains("its tables are not those"), "{change}");
    }
}

#[test]
fn a_damaged_connection_can_be_put_away_and_stays_damaged() {
    let world = World::filled();
    world.tables().execute("UPDATE connections SET company = 'other' WHERE name = 'acme'", []).unwrap();
    let store = world.open();
    store.remove("acme").unwrap();
    store.restore("acme").unwrap();
    assert!(matches!(store.read("acme"), Err(StoreError::Damaged { .. })), "nothing was made good by it");
    assert!(matches!(store.rename("acme", "other"), Err(StoreError::Damaged { .. })));
    assert!(matches!(store.put_app("acme", &app("app-1", "one")), Err(StoreError::Damaged { .. })));
    assert_eq!(store.names().unwrap(), ["acme", "globex"]);
}

#[test]
fn damage_does_not_travel_into_the_backup() {
    let world = World::filled();
    let good = fs::read(world.beside(".backup")).unwrap();
    world.tables().execute("UPDATE connections SET company = 'other' WHERE name = 'acme'", []).unwrap();
    refresh(&world.open(), "globex", "second");
    assert_eq!(fs::read(world.beside(".backup")).unwrap(), good, "the newest good copy stays");
}
