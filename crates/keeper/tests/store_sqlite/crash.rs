//! Processes that are killed while they write, and many that write at once: what was told to be durable is there.

use super::sample::{app, connection, holding, refreshing};
use super::{World, argument, child, open_of, refresh};
use perennial::core::UnixTime;
use perennial::core::journal::{Entry, Event};
use perennial::store::Store;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Barrier;
use std::thread;

/// How often a writing process is killed.
const KILLS: usize = 25;

/// Renews for ever, and tells each generation once it is durable.
#[test]
fn child_that_renews_for_ever() {
    let Some(root) = argument() else { return };
    let store = open_of(&root);
    let mut out = std::io::stdout();
    for round in 0.. {
        let next = refresh(&store, "acme", &format!("{}-{round}", std::process::id()));
        let version = next.version();
        writeln!(out, "\ndurable {} {}", version.generation, version.refresh.unwrap()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn law_1_what_was_told_to_be_durable_survives_kill_9() {
    let world = World::filled();
    let mut generation = 2;
    for kill in 0..KILLS {
        let mut process = child("crash::child_that_renews_for_ever", world.root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = |line: String| {
            let mut words = line.strip_prefix("durable ")?.split(' ').map(str::to_owned);
            Some((words.next()?.parse::<u64>().ok()?, words.next()?))
        };
        // Each time a little later in its life, and the last ones before it has written anything.
        let mut last = None;
        if kill < KILLS - 3 {
            last = lines.by_ref().filter_map(told).nth(kill % 7);
        }
        process.kill().unwrap();
        // What it told between that and its end counts too.
        last = lines.filter_map(told).last().or(last);
        process.wait().unwrap();

        let read = world.open().read("acme").unwrap();
        let version = read.version();
        if let Some((told, refresh)) = &last {
            assert!(version.generation >= *told, "kill {kill}: {told} was durable, {version:?} is there");
            if version.generation == *told {
                assert_eq!(version.refresh.unwrap().to_string(), *refresh, "kill {kill}");
            }
        }
        assert!(version.generation >= generation, "kill {kill}: it never goes back");
        generation = version.generation;
    }
    assert!(generation > 20, "it was killed while it wrote: {generation}");
    let journal = world.open().journal(Some("acme"), None, 100_000).unwrap();
    let refreshed = journal.iter().filter(|recorded| matches!(recorded.entry.event, Event::Refreshed { .. }));
    assert_eq!(
        refreshed.count() as u64,
        generation - 2,
        "a write and its entry are there together or not at all"
    );
    assert!(perennial::Sqlite::examine(world.path(), &world.options()).iter().all(|finding| finding.is_good));
}

/// Claims and waits.
#[test]
fn child_that_claims_and_waits() {
    let Some(root) = argument() else { return };
    let store = open_of(&root);
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let seen = claim.read().unwrap();
    claim.intend(&seen.version(), &refreshing(&seen, "of-the-dead")).unwrap();
    let mut out = std::io::stdout();
    write!(out, "\nclaimed under {}\n", claim.lock()).unwrap();
    out.flush().unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn law_2_a_claim_ends_with_its_process_and_its_intent_stays() {
    let world = World::filled();
    let store = world.open();
    let mut process = child("crash::child_that_claims_and_waits", world.root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lock = lines.find_map(|line| line.strip_prefix("claimed under ").map(str::to_owned)).unwrap();
    assert!(store.try_claim("acme").unwrap().is_none());
    assert!(store.try_claim("globex").unwrap().is_some());
    process.kill().unwrap();
    process.wait().unwrap();
    let claim = store.try_claim("acme").unwrap().unwrap();
    assert_eq!(claim.lock(), lock, "the same lock: its sender is dead for sure");
    assert_eq!(claim.read().unwrap().intent.unwrap().correlation_id, "of-the-dead");
}

fn changes(world: &World) -> i64 {
    world.tables().query_row("SELECT changes FROM meta", [], |row| row.get(0)).unwrap()
}

#[test]
fn many_writers_share_a_transaction_and_all_of_it_is_durable() {
    const WRITERS: i64 = 64;
    const EACH: i64 = 15;
    let world = World::filled();
    let store = world.open();
    let before = changes(&world);
    let start = Barrier::new(WRITERS.unsigned_abs() as usize);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..EACH {
                    let at = UnixTime(1_800_000_000 + writer * EACH + number);
                    let event = Event::Noted { what: format!("{writer}/{number}") };
                    store.note("globex", &Entry { at, event, correlation_id: None }).unwrap();
                }
            });
        }
    });
    let transactions = changes(&world) - before;
    // Each transaction is one fsync of the log.
    assert!(8 * transactions <= WRITERS * EACH, "{transactions} transactions for {} writes", WRITERS * EACH);
    drop(store);
    let told = world.open().journal(Some("globex"), None, 10_000).unwrap();
    let noted = told.iter().filter(|recorded| matches!(recorded.entry.event, Event::Noted { .. })).count();
    assert_eq!(noted as i64, WRITERS * EACH);
}

#[test]
fn a_refused_write_undoes_no_other() {
    let world = World::filled();
    let store = world.open();
    let start = Barrier::new(8);
    // Eight want the same name; one gets it, and each of the eight adds one of its own as well.
    let got: usize = thread::scope(|scope| {
        let adding = (0..8).map(|number| {
            let (store, start) = (&store, &start);
            scope.spawn(move || {
                start.wait();
                let mut wanted = holding(&connection("wanted"), &format!("{number}"));
                wanted.id = format!("wanted-{number}");
                let got = store.add(&wanted, &app("app-1", "one")).is_ok();
                store.add(&connection(&format!("own-{number}")), &app("app-1", "one")).unwrap();
                usize::from(got)
            })
        });
        adding.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(got, 1);
    assert_eq!(world.open().names().unwrap().len(), 2 + 1 + 8);
}

#[test]
fn two_openings_make_one_database() {
    let world = World::new();
    let start = Barrier::new(6);
    thread::scope(|scope| {
        for number in 0..6 {
            let (world, start) = (&world, &start);
            scope.spawn(move || {
                let store = world.open();
                start.wait();
                store.add(&connection(&format!("n{number}")), &app("app-1", "one")).unwrap();
            });
        }
    });
    assert_eq!(world.open().names().unwrap().len(), 6);
    let left: Vec<_> =
        world.files().into_iter().filter(|file| file.to_string_lossy().contains("new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn who_only_reads_starts_no_thread() {
    let world = World::filled();
    let Some(threads) = threads_of_a_child(&world) else { return };
    assert_eq!(threads, (0, 1), "none to read, one to write");
}

/// How many more threads a process has after reading, and after writing.
#[test]
fn child_that_counts_threads() {
    let Some(root) = argument() else { return };
    let count = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = count();
    let store = open_of(&root);
    store.read("acme").unwrap();
    drop(store.try_claim("acme").unwrap());
    let reading = count();
    store.note("acme", &Entry { at: UnixTime(1), event: Event::Suspended, correlation_id: None }).unwrap();
    println!("\nthreads {} {}", reading - before, count() - before);
}

fn threads_of_a_child(world: &World) -> Option<(usize, usize)> {
    let output = child("crash::child_that_counts_threads", world.root.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.lines().find_map(|line| line.strip_prefix("threads "))?.split(' ');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[test]
fn the_journal_forgets_what_is_older_than_400_days() {
    let world = World::filled();
    let store = world.open();
    let note = |at: i64| {
        let event = Event::Noted { what: format!("at {at}") };
        store.note("acme", &Entry { at: UnixTime(at), event, correlation_id: None }).unwrap();
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let (old, young) = (now - 401 * 86_400, now - 399 * 86_400);
    note(old);
    note(young);
    let told = || -> Vec<i64> {
        store.journal(Some("acme"), None, 99).unwrap().iter().map(|recorded| recorded.entry.at.0).collect()
    };
    assert_eq!(told(), [old, young], "by the clock of its own time nothing is old yet");
    // Law 11: by an entry from a far future alone nothing is thrown away that is young by this host's clock.
    let future = now + 10_000 * 86_400;
    note(future);
    assert_eq!(told(), [young, future]);
}

/// Opens, looks, renews when it gets the claim, and goes again.
#[test]
fn child_that_comes_and_goes() {
    let Some(root) = argument() else { return };
    let mut renewed = 0;
    for round in 0..ROUNDS {
        let store = open_of(&root);
        assert_eq!(store.names().unwrap(), ["acme", "globex"]);
        store.read("globex").unwrap();
        if let Some(mut claim) = store.try_claim("acme").unwrap() {
            let seen = claim.read().unwrap();
            let intended = refreshing(&seen, &format!("{}-{round}", std::process::id()));
            claim.intend(&seen.version(), &intended).unwrap();
            let next = holding(&intended, &format!("{}-{round}", std::process::id()));
            claim.commit(&intended.version(), &next).unwrap();
            renewed += 1;
        } else {
            let entry = Entry { at: UnixTime(1_800_000_000), event: Event::Suspended, correlation_id: None };
            store.note("globex", &entry).unwrap();
        }
    }
    println!("\nrenewed {renewed}");
}

const ROUNDS: u64 = 12;

#[test]
fn law_2_processes_that_come_and_go_get_along() {
    let world = World::filled();
    let spawn = |_| {
        child("crash::child_that_comes_and_goes", world.root.path()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..8).map(spawn).collect();
    let mut renewed = 0;
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let told =
            text.lines().find_map(|line| line.strip_prefix("renewed ")).unwrap_or_else(|| panic!("{text}"));
        renewed += told.parse::<u64>().unwrap();
    }
    let version = world.open().read("acme").unwrap().version();
    assert_eq!(version.generation, 2 + renewed, "no renewal was lost, none was done twice");
    let noted = world.open().journal(Some("globex"), None, 1000).unwrap().len() as u64;
    assert_eq!(noted + renewed, 8 * ROUNDS);
}
