//! Backups while others write, stores that are handed over, and many connections at once.

use super::sample::{app, connection, full, holding, refreshing};
use super::{World, refresh};
use perennial::core::Connection;
use perennial::core::journal::{Entry, Event};
use perennial::core::{IdToken, UnixTime};
use perennial::store::standing::Origin;
use perennial::store::{App, Parcel, Standing, Store, StoreError, WriteError};
use perennial::{Sqlite, SqliteOptions};
use std::fs;

/// A connection whose record is as long as this many bytes.
fn long(name: &str, length: usize) -> Connection {
    let mut connection = holding(&connection(name), name);
    connection.held.as_mut().unwrap().id_token = Some(IdToken::new("x".repeat(length).as_str()));
    connection
}

#[test]
fn a_backup_is_one_state_of_a_database_that_others_write() {
    let world = World::new();
    let store = world.open();
    let secret = app("app-1", "one");
    for number in 0..25 {
        store.add(&long(&format!("c-{number}"), 160_000), &secret).unwrap();
    }
    let file = world.root.path().join("keep.db");
    let (writer, mut steps) = (world.open(), 0);
    let copied = store.backup(&file, &mut |_, _| {
        steps += 1;
        writer.add(&long(&format!("late-{steps}"), 10), &secret).unwrap();
        refresh(&writer, "c-0", &format!("later-{steps}"));
    });
    assert!(steps > 1, "it was written while it was copied");
    assert_eq!(copied.unwrap().connections, 25);
    let there = World::new();
    let options = SqliteOptions::new(world.options().master_key);
    let (restored, aside) = Sqlite::restore_from(there.path(), &file, &options).unwrap();
    assert_eq!((restored.connections, aside), (25, None));
    let restored = Sqlite::open(there.path(), options).unwrap();
    assert_eq!(restored.names().unwrap().len(), 25);
    assert_eq!(restored.read("c-0").unwrap().held.unwrap().generation, 1, "as it was when it began");
    assert_eq!(restored.standing().unwrap(), Standing::Copy(Origin::OtherFile));
    assert_eq!(restored.adopt().unwrap(), Standing::InUse);
    refresh(&restored, "c-0", "there");
    assert_eq!(store.standing().unwrap(), Standing::InUse);
}

#[test]
fn a_database_in_use_is_not_replaced() {
    let world = World::filled();
    let file = world.root.path().join("keep.db");
    let store = world.open();
    store.backup(&file, &mut |_, _| {}).unwrap();
    let refused = Sqlite::restore_from(world.path(), &file, &world.options()).unwrap_err();
    assert!(refused.to_string().contains("another process uses it"), "{refused}");
    drop(store);
    let (_, aside) = Sqlite::restore_from(world.path(), &file, &world.options()).unwrap();
    assert!(aside.unwrap().exists(), "law 5");
}

#[test]
fn law_2_a_store_that_was_handed_over_takes_no_intent_and_takes_in_what_was_under_way() {
    let world = World::filled();
    let (store, other) = (world.open(), world.open());
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let seen = claim.read().unwrap();
    let intended = refreshing(&seen, "under-way");
    claim.intend(&seen.version(), &intended).unwrap();
    other.close("elsewhere").unwrap();
    assert_eq!(store.standing().unwrap(), Standing::Moved { to: "elsewhere".into() });
    let mut idle = other.try_claim("globex").unwrap().unwrap();
    let before = idle.read().unwrap();
    let refused = idle.intend(&before.version(), &refreshing(&before, "too-late")).unwrap_err();
    assert!(matches!(&refused, WriteError::Store(StoreError::HandedOver { to, .. }) if to == "elsewhere"));
    let next = holding(&intended, "landed");
    claim.commit(&intended.version(), &next).unwrap();
    assert_eq!(store.read("acme").unwrap().version(), next.version(), "law 1");
    assert_eq!(other.adopt().unwrap(), Standing::InUse);
    idle.intend(&before.version(), &refreshing(&before, "again")).unwrap();
}

#[test]
fn of_many_each_is_taken_in_whole_or_refused_and_none_keeps_another_out() {
    let world = World::filled();
    let store = world.open();
    let parcel = |name: &str, app: App| {
        let entry = Entry {
            at: UnixTime(1_800_000_000),
            event: Event::Noted { what: "before".into() },
            correlation_id: None,
        };
        Parcel { connection: holding(&connection(name), name), app, history: vec![entry.clone(), entry] }
    };
    let mut twin = parcel("twin", app("app-1", "one"));
    twin.connection.id = full("acme").id;
    let parcels = [
        parcel("east", app("app-1", "one")),
        parcel("acme", app("app-1", "one")),
        parcel("bad name", app("app-1", "one")),
        parcel("wrong", app("app-1", "another")),
        twin,
        parcel("west", app("app-2", "two")),
    ];
    let outcomes = store.add_all(&parcels);
    let told = |at: usize| outcomes[at].as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(outcomes[0].is_ok() && outcomes[5].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(StoreError::NameTaken { .. })), "{}", told(1));
    assert!(matches!(outcomes[2], Err(StoreError::BadName { .. })), "{}", told(2));
    assert!(matches!(outcomes[3], Err(StoreError::OtherSecret)), "{}", told(3));
    assert!(matches!(outcomes[4], Err(StoreError::NameTaken { .. })), "{}", told(4));
    assert_eq!(store.names().unwrap(), ["acme", "east", "globex", "west"]);
    assert_eq!(store.journal(Some("west"), Some(0), 10).unwrap().len(), 2);
    assert_eq!(store.app("acme").unwrap(), app("app-1", "one"), "nobody's secret was replaced");
}

#[test]
fn a_thousand_share_their_transactions() {
    let world = World::new();
    let store = world.open();
    let parcels: Vec<_> = (0..1000)
        .map(|number| {
            let name = format!("c-{number}");
            Parcel {
                connection: holding(&connection(&name), &name),
                app: app("app-1", "one"),
                history: vec![],
            }
        })
        .collect();
    assert!(store.add_all(&parcels).iter().all(Result::is_ok));
    drop(store);
    let changes: i64 = world.tables().query_row("SELECT changes FROM meta", [], |row| row.get(0)).unwrap();
    assert!(changes < 100, "{changes} transactions");
    assert!(
        !fs::read_dir(world.root.path().join("data"))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().contains("unfinished") })
    );
}
