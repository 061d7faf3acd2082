//! The server goes away, the network cuts, somebody sits on a lock, the disk is full. What was told to be durable is;
//! what was not is found out and never guessed.

use super::proxy::{Cut, Proxy};
use super::sample::{app, connection, holding, refreshing};
use super::{World, failure, postgres_server};
use perennial::Store;
use perennial::store::postgres::ServerFailure;
use perennial::store::{StoreError, WriteError};
use postgres_server::{PostgresServer, url_by};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

#[test]
fn law_1_a_server_killed_between_intent_and_commit_loses_nothing() {
    // As durable as it comes. Its recovery may take its time on a busy disk: a commit waits as long as a statement may
    // take.
    let Some(server) = PostgresServer::start(&[]) else { return };
    let world = World::on(&server);
    let (_, first) = world.held();
    let store = world.open_at(&format!("{}&statement_timeout=120", world.url()));
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    server.kill();
    let second = holding(&intended, "second");
    thread::scope(|scope| {
        // The outcome waits for a server that comes back within some seconds.
        let committing = scope.spawn(|| claim.commit(&intended.version(), &second));
        server.start_again();
        committing.join().unwrap().unwrap();
    });
    assert_eq!(world.open().read("acme").unwrap(), second);
    assert_eq!(world.count_in_journal("refreshed"), 1);

    // What was durable is there after another power cut.
    server.kill();
    server.start_again();
    assert_eq!(store.read("acme").unwrap(), second, "and a store that was open goes on");
}

#[test]
fn law_4_a_server_that_is_away_lets_nothing_be_sent() {
    let Some(server) = PostgresServer::start(&["fsync=off"]) else { return };
    let world = World::on(&server);
    let (store, first) = world.held();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    server.kill();
    let refused = claim.intend(&first.version(), &refreshing(&first, "one"));
    let Err(WriteError::Store(error)) = refused else { panic!("{refused:?}") };
    assert!(matches!(failure(&error), Ok(ServerFailure::Unreachable(_))), "{error}");
    let error = store.try_claim("acme").map(drop).unwrap_err();
    assert!(matches!(failure(&error), Ok(ServerFailure::Unreachable(_))), "{error}");
    assert!(store.read("acme").is_err());
    server.start_again();
    assert_eq!(store.read("acme").unwrap(), first);
}

#[test]
fn law_1_a_commit_whose_outcome_is_unknown_is_found_out() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let proxy = Proxy::before(world.server.dir());
    let store = world.open_at(&url_by(proxy.dir(), &world.schema));
    let mut last = first;
    for (number, cut) in [Cut::BeforeCommit, Cut::AfterCommit].into_iter().enumerate() {
        let mut claim = store.try_claim("acme").unwrap().unwrap();
        let intended = refreshing(&last, &format!("intent-{number}"));
        proxy.cut(cut);
        claim.intend(&last.version(), &intended).unwrap();
        assert!(proxy.has_cut());
        assert_eq!(world.open().read("acme").unwrap(), intended, "{cut:?}");
        let next = holding(&intended, &format!("answer-{number}"));
        proxy.cut(cut);
        claim.commit(&intended.version(), &next).unwrap();
        assert!(proxy.has_cut());
        assert_eq!(world.open().read("acme").unwrap(), next, "{cut:?}");
        assert_eq!(world.count_in_journal("refreshed"), number + 1, "{cut:?}: told once");
        last = next;
    }
}

#[test]
fn law_8_a_commit_that_was_not_taken_does_not_overwrite_what_came_meanwhile() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let proxy = Proxy::before(world.server.dir());
    let store = world.open_at(&url_by(proxy.dir(), &world.schema));
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "mine");
    claim.intend(&first.version(), &intended).unwrap();
    let theirs = holding(&intended, "theirs");
    let (elsewhere, from, there) = (world.open(), intended.version(), theirs.clone());
    proxy.meanwhile(move || {
        // Its claim has lapsed, and a successor was there.
        elsewhere.change_behind_the_back(&from, &there);
    });
    world.sql("UPDATE {s}.claims SET until = now() - interval '1 second'");
    proxy.cut(Cut::BeforeCommit);
    match claim.commit(&intended.version(), &holding(&intended, "mine")) {
        Err(WriteError::Moved(now)) => assert_eq!(*now, theirs),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.open().read("acme").unwrap(), theirs);
}

trait BehindTheBack {
    fn change_behind_the_back(
        &self,
        from: &perennial::core::connection::Version,
        to: &perennial::core::Connection,
    );
}

impl BehindTheBack for perennial::Postgres {
    fn change_behind_the_back(
        &self,
        from: &perennial::core::connection::Version,
        to: &perennial::core::Connection,
    ) {
        self.try_claim("acme").unwrap().unwrap().commit(from, to).unwrap();
    }
}

#[test]
fn an_addition_and_a_new_name_are_found_out_too() {
    let Some(world) = World::new() else { return };
    world.held();
    let proxy = Proxy::before(world.server.dir());
    let store = world.open_at(&url_by(proxy.dir(), &world.schema));
    for (number, cut) in [Cut::BeforeCommit, Cut::AfterCommit].into_iter().enumerate() {
        let (name, new) = (format!("name-{number}"), format!("new-{number}"));
        proxy.cut(cut);
        store.add(&holding(&connection(&name), &name), &app("app-1", "one")).unwrap();
        proxy.cut(cut);
        store.rename(&name, &new).unwrap();
        proxy.cut(cut);
        store.remove(&new).unwrap();
        proxy.cut(cut);
        store.restore(&new).unwrap();
        assert!(proxy.has_cut());
        assert_eq!(world.open().read(&new).unwrap().id, format!("id-of-{name}"), "{cut:?}");
    }
    assert_eq!(world.open().names().unwrap(), ["acme", "new-0", "new-1"]);
}

/// Somebody who has locked the connection's row, and goes on thinking.
fn somebody_on_the_row(world: &World<'_>) -> std::process::Child {
    let mut psql = Command::new("psql")
        .args(["-XAtq", "-U", "perennial", "-d", "postgres", "-h"])
        .arg(world.server.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lock = format!("BEGIN; SELECT name FROM {}.connections FOR UPDATE;\n", world.schema);
    psql.stdin.as_mut().unwrap().write_all(lock.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "acme");
    psql
}

#[test]
fn law_4_a_statement_that_takes_too_long_is_given_up() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let store = world.open_at(&format!("{}&statement_timeout=1", world.url()));
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "one");
    let mut somebody = somebody_on_the_row(&world);
    let refused = claim.intend(&first.version(), &intended);
    let Err(WriteError::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(failure(&error), Ok(&ServerFailure::TooSlow(1)));
    assert_eq!(store.read("acme").unwrap(), first, "reading waits for nobody");
    somebody.kill().unwrap();
    somebody.wait().unwrap();
    claim.intend(&first.version(), &intended).unwrap();
}

#[test]
fn law_4_a_server_whose_disk_is_full_lets_nothing_be_sent() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=160m,mode=777", "tmpfs"])
        .arg(disk.path())
        .output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        // That says nothing about PostgreSQL: no failure where a skip of that is forbidden.
        eprintln!("skipped: this system grants no mount");
        return;
    }
    let disk = Mounted(disk);
    let dir = disk.0.path().join("server");
    fs::create_dir(&dir).unwrap();
    let small = ["wal_keep_size=0", "max_wal_size=32MB", "min_wal_size=32MB", "autovacuum=off"];
    let Some(server) = PostgresServer::start_in(dir, &small) else { return };
    let world = World::on(&server);
    let (store, first) = world.held();
    let filler = disk.0.path().join("filler");
    fill(&filler);
    // What fits into blocks that are there already is taken; sooner or later there is no room for another one.
    let (mut last, mut told) = (first, None);
    for number in 0..2000 {
        let mut claim = match store.try_claim("acme") {
            Ok(claim) => claim.unwrap(),
            Err(error) => {
                told = Some(error);
                break;
            }
        };
        let intended = refreshing(&last, &format!("intent-{number}"));
        match claim.intend(&last.version(), &intended) {
            Ok(()) => last = intended,
            Err(WriteError::Store(error)) => {
                told = Some(error);
                break;
            }
            Err(moved) => panic!("{moved}"),
        }
    }
    let told = told.unwrap();
    assert_eq!(failure(&told), Ok(&ServerFailure::DiskFull), "{told}");
    assert_eq!(store.read("acme").unwrap(), last, "law 9: it can still be read");
    fs::remove_file(&filler).unwrap();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let next = holding(&last, "after");
    claim.commit(&last.version(), &next).unwrap();
    drop(claim);
    assert_eq!(store.read("acme").unwrap(), next);
    drop((store, server));
}

/// A tmpfs, for as long as the test lasts.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn fill(path: &std::path::Path) {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![0; 65536];
    while file.write_all(&block).is_ok() {}
    let rest = vec![0; 512];
    while file.write_all(&rest).is_ok() {}
}

#[test]
fn nothing_can_be_told_of_a_server_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let Some(world) = World::new() else { return };
    let store = world.open_at(&url_by(dir.path(), "x"));
    let error: StoreError = store.names().unwrap_err();
    assert!(matches!(failure(&error), Ok(ServerFailure::Unreachable(_))), "{error}");
}
