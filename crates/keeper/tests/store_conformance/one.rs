//! Stories of one connection.

use super::World;
use super::sample::{NOW, app, connection, full, holding, refreshing};
use perennial::core::Connection;
use perennial::core::connection::Condition;
use perennial::core::journal::{Entry, Event};
use perennial::store::{StoreError, WriteError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

fn begin(world: &dyn World, first: &Connection) -> Connection {
    world.begin_with(first, &app("app-1", "one"))
}

fn held(world: &dyn World) -> Connection {
    begin(world, &holding(&connection(world.name()), "first"))
}

fn same(found: &Connection, expected: &Connection) {
    // Field by field first: one difference is easier to read than two connections.
    assert_eq!(found.version(), expected.version());
    assert_eq!(found.intent, expected.intent);
    assert_eq!(found, expected);
}

pub(crate) fn law_2_one_claim_at_a_time(world: &dyn World) {
    held(world);
    let (store, elsewhere) = (world.open(), world.open());
    let claim = store.try_claim(world.name()).unwrap().unwrap();
    assert!(store.try_claim(world.name()).unwrap().is_none(), "not a second time in one process");
    assert!(elsewhere.try_claim(world.name()).unwrap().is_none(), "nor through another opening");
    assert!(elsewhere.read(world.name()).is_ok(), "reading is free");
    drop(claim);

    let (got, start) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(8)));
    thread::scope(|scope| {
        for number in 0..8 {
            let (store, got, start) = (if number % 2 == 0 { &store } else { &elsewhere }, &got, &start);
            scope.spawn(move || {
                start.wait();
                let claim = store.try_claim(world_name(store)).unwrap();
                got.fetch_add(usize::from(claim.is_some()), Ordering::SeqCst);
                start.wait();
                drop(claim);
            });
        }
    });
    assert_eq!(got.load(Ordering::SeqCst), 1);
}

fn world_name(store: &Arc<dyn perennial::Store>) -> &'static str {
    if store.address().starts_with("sap-sample:") { "default" } else { "acme" }
}

pub(crate) fn law_2_a_claim_is_given_back(world: &dyn World) {
    held(world);
    let store = world.open();
    let first = store.try_claim(world.name()).unwrap().unwrap();
    let lock = first.lock().to_owned();
    assert!(!lock.is_empty());
    drop(first);
    let second = world.open().try_claim(world.name()).unwrap().unwrap();
    if world.knows_the_dead() {
        assert_eq!(second.lock(), lock, "the same lock: its former holder is gone for sure");
    } else {
        assert_ne!(second.lock(), lock, "its former holder may live: what he sent is waited out");
    }
}

pub(crate) fn law_8_a_write_names_what_it_was_derived_from(world: &dyn World) {
    let first = held(world);
    let store = world.open();
    let mut claim = store.try_claim(world.name()).unwrap().unwrap();
    let second = holding(&first, "second");
    claim.commit(&first.version(), &second).unwrap();
    same(&claim.read().unwrap(), &second);

    let third = holding(&first, "third");
    match claim.commit(&first.version(), &third) {
        Err(WriteError::Moved(there)) => same(&there, &second),
        other => panic!("{other:?}"),
    }
    assert!(matches!(claim.intend(&first.version(), &third), Err(WriteError::Moved(_))));
    same(&world.open().read(world.name()).unwrap(), &second);
}

pub(crate) fn law_8_who_lost_his_claim_writes_nothing(world: &dyn World) {
    let first = held(world);
    let store = world.open();
    let mut claim = store.try_claim(world.name()).unwrap().unwrap();
    let (mine, theirs) = (refreshing(&first, "mine"), refreshing(&first, "theirs"));
    claim.intend(&first.version(), &mine).unwrap();
    // A successor that waited out the deadline writes an intent over the same tokens.
    claim.intend(&mine.version(), &theirs).unwrap();
    let late = holding(&mine, "late");
    assert!(matches!(claim.commit(&mine.version(), &late), Err(WriteError::Moved(_))), "the fence holds");
    same(&claim.read().unwrap(), &theirs);
}

pub(crate) fn law_4_an_intent_survives(world: &dyn World) {
    let first = held(world);
    let intended = refreshing(&first, "one");
    let store = world.open();
    store.try_claim(world.name()).unwrap().unwrap().intend(&first.version(), &intended).unwrap();
    drop(store);
    let again = world.open();
    same(&again.read(world.name()).unwrap(), &intended);
    let second = holding(&intended, "second");
    again.try_claim(world.name()).unwrap().unwrap().commit(&intended.version(), &second).unwrap();
    drop(again);
    same(&world.open().read(world.name()).unwrap(), &second);
}

pub(crate) fn law_5_everything_survives(world: &dyn World) {
    let full = full(world.name());
    assert!(!full.previous.is_empty() && !full.candidates.is_empty());
    assert!(full.last_fault.is_some() && full.request_token.is_some());
    assert!(full.clock.is_some() && full.skew.seconds == 100);
    begin(world, &full);
    same(&world.open().read(world.name()).unwrap(), &full);
}

pub(crate) fn a_change_of_the_condition_alone_is_written(world: &dyn World) {
    let first = held(world);
    let store = world.open();
    let mut claim = store.try_claim(world.name()).unwrap().unwrap();
    for condition in [
        Condition::BackingOff { until: NOW.plus(60), failures: 2 },
        Condition::Uncertain { until: NOW.plus(60), failures: 3 },
        Condition::Suspended,
        Condition::NeedsReauthorization,
        Condition::Revoked,
        Condition::Sound,
    ] {
        let next = Connection { condition, ..first.clone() };
        claim.commit(&first.version(), &next).unwrap();
        same(&world.open().read(world.name()).unwrap(), &next);
    }
}

pub(crate) fn the_journal_tells_in_order(world: &dyn World) {
    let mut last = held(world);
    let store = world.open();
    let before = store.journal(None, None, 100).unwrap().len();
    let mut claim = store.try_claim(world.name()).unwrap().unwrap();
    for token in ["second", "third", "fourth"] {
        let next = holding(&last, token);
        claim.commit(&last.version(), &next).unwrap();
        last = next;
    }
    let all = world.open().journal(Some(world.name()), None, 100).unwrap();
    let refreshed = &all[before..];
    assert_eq!(refreshed.len(), 3, "{all:?}");
    for (number, recorded) in (2..).zip(refreshed) {
        let Event::Refreshed { generation, .. } = recorded.entry.event else { panic!("{recorded:?}") };
        assert_eq!((generation, recorded.connection.as_str()), (number, world.name()));
    }
    assert!(all.windows(2).all(|pair| pair[0].number < pair[1].number));

    let (second, third) = (refreshed[1].clone(), refreshed[2].clone());
    assert_eq!(store.journal(None, None, 2).unwrap(), [second.clone(), third], "the newest of them");
    let after = store.journal(None, Some(refreshed[0].number), 1).unwrap();
    assert_eq!(after, [second], "behind a number, the oldest first");
    assert!(store.journal(None, Some(refreshed[2].number), 9).unwrap().is_empty());
    let told = format!("{all:?}");
    assert!(!told.contains("canary"), "law 10: {told}");
}

pub(crate) fn a_note_belongs_to_no_write(world: &dyn World) {
    let first = held(world);
    let entry = Entry {
        at: NOW,
        event: Event::Noted { what: "imported".into() },
        correlation_id: Some("correlation".into()),
    };
    let store = world.open();
    store.note(world.name(), &entry).unwrap();
    assert_eq!(store.journal(Some(world.name()), None, 1).unwrap()[0].entry, entry);
    same(&store.read(world.name()).unwrap(), &first);
}

pub(crate) fn an_unknown_name_is_told(world: &dyn World) {
    held(world);
    let store = world.open();
    let none = |error: StoreError| matches!(error, StoreError::NoSuchConnection { ref name, .. } if name == "nobody");
    assert!(none(store.read("nobody").unwrap_err()));
    assert!(none(store.app("nobody").unwrap_err()));
    assert!(none(store.try_claim("nobody").map(drop).unwrap_err()));
    let entry = Entry { at: NOW, event: Event::Suspended, correlation_id: None };
    assert!(none(store.note("nobody", &entry).unwrap_err()));
}
