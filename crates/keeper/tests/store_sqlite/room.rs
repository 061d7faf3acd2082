//! Law 4: once an intent is written, its outcome finds room, whatever becomes of the disk. A real file system of a few
//! mebibytes is filled to the last byte.

use super::sample::{answered, app, connection, holding, refreshing};
use super::{World, argument, child, open_of, refresh};
use perennial::Sqlite;
use perennial::core::journal::{Entry, Event};
use perennial::core::{Connection, TokenResponse, UnixTime};
use perennial::store::{Claim, Store, StoreError};
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

/// Runs the child of this name with the world's database on a disk of its own; false where this system grants none.
fn on_a_small_disk(world: &World, size: &str, test: &str) -> bool {
    let data = world.root.path().join("data");
    let script = format!(
        "mkdir {copy} && cp -p {data}/* {copy}/ && mount -t tmpfs -o size={size},mode=700 tmpfs {data} 2>/dev/null ||
         exit 77; cp -p {copy}/* {data}/ && exec \"$@\"",
        copy = world.root.path().join("copy").display(),
        data = data.display(),
    );
    let program = child(test, world.root.path());
    for namespaces in ["-m", "-rm"] {
        let _ = fs::remove_dir_all(world.root.path().join("copy"));
        let mut unshare = Command::new("unshare");
        unshare
            .args([namespaces, "sh", "-c", &script, "sh"])
            .arg(program.get_program())
            .args(program.get_args());
        unshare.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let Ok(output) = unshare.output() else { continue };
        let told =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.code() == Some(77) || told.contains("unshare failed") {
            continue;
        }
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
        return true;
    }
    #[expect(clippy::print_stderr, reason = "what is not tested is said aloud")]
    {
        eprintln!("skipped: this system grants neither root nor users a mount of their own");
    }
    false
}

/// Fills the disk to the last byte.
fn fill(data: &Path) {
    let mut filler = File::create(data.join("filler")).unwrap();
    for size in [64 * 1024, 4096, 1] {
        let block = vec![b'x'; size];
        while filler.write_all(&block).is_ok() {}
    }
    let mut more = File::create(data.join("more")).unwrap();
    assert!(more.write_all(b"x").is_err(), "it is full");
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
}

fn note(store: &Sqlite) -> Result<(), StoreError> {
    let event = Event::Noted { what: "x".repeat(100) };
    store.note("globex", &Entry { at: UnixTime(1_800_000_000), event, correlation_id: None })
}

/// An answer of some 60 KB, as a server with many roles in its tokens gives.
fn large(intended: &Connection, token: &str) -> Connection {
    let members = json!({
        "access_token": "a".repeat(30_000), "refresh_token": token, "expires_in": 3600, "novelty": "n".repeat(30_000),
    });
    let response = TokenResponse::from_members(members.as_object().unwrap()).unwrap();
    intended.accept(&response, &answered()).unwrap()
}

fn claim_and_intend(store: &Sqlite, name: &str) -> (Box<dyn Claim>, Connection) {
    let mut claim = store.try_claim(name).unwrap().unwrap();
    let seen = claim.read().unwrap();
    let intended = refreshing(&seen, "the-one");
    claim.intend(&seen.version(), &intended).unwrap();
    (claim, intended)
}

#[test]
fn law_4_an_outcome_finds_room_on_a_full_disk() {
    on_a_small_disk(&World::filled(), "3m", "room::child_that_commits_on_a_full_disk");
}

#[test]
fn child_that_commits_on_a_full_disk() {
    let Some(root) = argument() else { return };
    let store = open_of(&root);
    let data = root.join("data");
    for round in 0..3 {
        // The first round begins with an empty -wal file; the others at some place in it.
        let (mut claim, intended) = claim_and_intend(&store, "acme");
        fill(&data);
        let next = large(&intended, &format!("large-{round}"));
        claim.commit(&intended.version(), &next).unwrap();
        assert_eq!(store.read("acme").unwrap(), next);
        assert_eq!(open_of(&root).read("acme").unwrap(), next, "law 9: another process reads it");
        drop(claim);

        // Once nothing is left of what was kept, nothing is promised any more.
        while note(&store).is_ok() {}
        let mut refused = store.try_claim("globex").unwrap().unwrap();
        let seen = refused.read().unwrap();
        let error = refused.intend(&seen.version(), &refreshing(&seen, "two")).unwrap_err();
        assert!(matches!(&error, perennial::store::WriteError::Store(error) if is_full(error)), "{error:?}");
        assert_eq!(refused.read().unwrap(), seen, "nothing has changed");
        assert!(is_full(&note(&store).unwrap_err()));
        drop(refused);
        for file in ["filler", "more"] {
            fs::remove_file(data.join(file)).unwrap();
        }
        for _ in 0..100 * round {
            note(&store).unwrap();
        }
    }
    refresh(&store, "globex", "after");
    drop(store);
    assert_eq!(open_of(&root).read("globex").unwrap().version().generation, 2);
}

#[test]
fn law_4_every_open_intent_has_room_of_its_own() {
    let world = World::filled();
    let store = world.open();
    for number in 0..6 {
        let name = format!("n{number}");
        store.add(&holding(&connection(&name), &name), &app("app-1", "one")).unwrap();
    }
    drop(store);
    on_a_small_disk(&world, "6m", "room::child_that_commits_six_on_a_full_disk");
}

#[test]
fn child_that_commits_six_on_a_full_disk() {
    let Some(root) = argument() else { return };
    let (store, elsewhere) = (open_of(&root), open_of(&root));
    let mut claims = Vec::new();
    for number in 0..6 {
        let opening = if number % 2 == 0 { &store } else { &elsewhere };
        claims.push(claim_and_intend(opening, &format!("n{number}")));
        // Others write in between, and take nothing of what is kept.
        for _ in 0..20 {
            note(opening).unwrap();
        }
    }
    fill(&root.join("data"));
    // Somebody reads all the while, so that the -wal file cannot be begun anew.
    let reader = rusqlite::Connection::open(root.join("data/perennial.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM connections").unwrap();
    while note(&store).is_ok() {}
    for (claim, intended) in &mut claims {
        let next = large(intended, "large");
        claim.commit(&intended.version(), &next).unwrap();
        assert_eq!(claim.read().unwrap(), next);
    }
}

#[test]
fn law_9_a_full_disk_is_read_from() {
    on_a_small_disk(&World::filled(), "1m", "room::child_that_reads_on_a_full_disk");
}

#[test]
fn child_that_reads_on_a_full_disk() {
    let Some(root) = argument() else { return };
    let data = root.join("data");
    // Not even SQLite's own files are there yet.
    for file in ["perennial.db-wal", "perennial.db-shm"] {
        fs::remove_file(data.join(file)).unwrap();
    }
    fill(&data);
    let store = open_of(&root);
    assert_eq!(store.read("acme").unwrap().version().generation, 2);
    assert!(is_full(&note(&store).unwrap_err()));
    let added = store.add(&connection("new"), &app("app-1", "one")).unwrap_err();
    assert!(is_full(&added), "{added:?}");
}

#[test]
fn law_9_a_disk_that_is_mounted_read_only_is_read_from() {
    on_a_small_disk(&World::filled(), "1m", "room::child_that_reads_a_read_only_disk");
}

#[test]
fn child_that_reads_a_read_only_disk() {
    let Some(root) = argument() else { return };
    let data = root.join("data");
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&data).status().unwrap();
        assert!(done.success());
    };
    for with_files in [true, false] {
        if !with_files {
            for file in ["perennial.db-wal", "perennial.db-shm"] {
                fs::remove_file(data.join(file)).unwrap();
            }
        }
        remount("ro");
        let store = open_of(&root);
        assert_eq!(store.read("acme").unwrap().version().generation, 2);
        assert_eq!(store.names().unwrap(), ["acme", "globex"]);
        let error = store.try_claim("acme").map(drop).unwrap_err();
        let StoreError::Io { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::ReadOnlyFilesystem, "{error}");
        let error = note(&store).unwrap_err();
        let StoreError::Io { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::ReadOnlyFilesystem, "{error}");
        let findings = Sqlite::examine(root.join("data/perennial.db"), &super::options_of(&root));
        assert!(findings.iter().any(|finding| finding.what.contains("cannot be written")), "{findings:?}");
        drop(store);
        remount("rw");
    }
    refresh(&open_of(&root), "acme", "after");
}
