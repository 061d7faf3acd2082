//! Law 10: who steals a dump, a backup or the server's disk gets nothing, and who alters a row is found out.

use super::World;
use super::sample::{app, connection, full, holding, refreshing};
use perennial::Store;
use perennial::store::StoreError;
use std::fs;
use std::path::Path;
use std::process::Command;

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Secrets begin with this; also in base64, at each of the three offsets that it may begin at.
fn is_clean(bytes: &[u8]) -> bool {
    !["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"].iter().any(|text| holds(bytes, text))
}

fn all_files(dir: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => all_files(&entry.path(), found),
            kind if kind.is_file() => found.extend(fs::read(entry.path())),
            _ => {}
        }
    }
}

#[test]
fn law_10_a_stolen_dump_or_disk_holds_no_secret() {
    let Some(server) = super::postgres_server::PostgresServer::start(&["log_statement=all"]) else { return };
    let world = World::on(&server);
    let (store, first) = world.held();
    store.add(&full("globex"), &app("app-1", "two")).unwrap();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    claim.commit(&intended.version(), &holding(&intended, "second")).unwrap();
    store.put_app("globex", &app("app-2", "three")).unwrap();
    store.remove("globex").unwrap();
    world.sql("CHECKPOINT");
    let dump = super::postgres_server::binaries().unwrap().join("pg_dump");
    let dump = Command::new(dump)
        .args(["-U", "perennial", "-h"])
        .arg(server.dir())
        .arg("postgres")
        .output()
        .unwrap();
    assert!(dump.status.success() && holds(&dump.stdout, "acme"), "{dump:?}");
    assert!(is_clean(&dump.stdout));
    let mut files = Vec::new();
    all_files(server.dir(), &mut files);
    assert!(files.iter().any(|file| holds(file, "id-of-acme")), "the row is on the disk");
    assert!(files.iter().all(|file| is_clean(file)));
    let log = server.log();
    assert!(log.contains("UPDATE") && is_clean(log.as_bytes()), "nor does the server's log");
}

#[test]
fn law_10_a_row_that_was_altered_is_refused() {
    let columns = [
        ("id", "'another'"),
        ("app", "(SELECT app FROM {s}.connections WHERE name = 'globex')"),
        ("due_at", "1"),
        ("intent", "'x'"),
        ("record", "(SELECT record FROM {s}.connections WHERE name = 'globex')"),
        ("company", "'another'"),
        ("request_token", "NULL"),
        ("known_since", "5"),
        ("created_at", "5"),
        ("changed", "5"),
        ("seal", "(SELECT seal FROM {s}.connections WHERE name = 'globex')"),
    ];
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    store.add(&holding(&connection("globex"), "globex"), &app("app-2", "two")).unwrap();
    world.sql("CREATE TABLE {s}.kept AS SELECT * FROM {s}.connections");
    for (column, value) in columns {
        world.sql(&format!("UPDATE {{s}}.connections SET {column} = {value} WHERE name = 'acme'"));
        let error = store.read("acme").unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{column}: {error}");
        assert!(error.to_string().contains("\"acme\""), "{column}: {error}");
        assert!(store.read("globex").is_ok(), "{column}: others go on");
        world.sql(
            "ALTER TABLE {s}.journal DROP CONSTRAINT IF EXISTS journal_connection_fkey;
             DELETE FROM {s}.connections; INSERT INTO {s}.connections SELECT * FROM {s}.kept",
        );
    }
    assert_eq!(store.read("acme").unwrap(), first);
    world.sql("UPDATE {s}.connections SET name = 'other' WHERE name = 'acme'");
    assert!(matches!(store.read("other"), Err(StoreError::Damaged { .. })));
}
