//! What has changed since: the numbers of the journal, which become visible in any order.

use super::World;
use super::sample::{app, connection, holding};
use perennial::core::Connection;
use perennial::store::Changes;
use perennial::{Postgres, Store};

/// Asks, and goes on from there.
fn changed(store: &Postgres, mark: &mut u64) -> Vec<String> {
    match store.changes(Some(*mark)).unwrap() {
        Changes::Named { names, mark: next, .. } => {
            *mark = next;
            names
        }
        Changes::Unknown => panic!("it is known"),
    }
}

fn mark_of_now(store: &Postgres) -> u64 {
    match store.changes(None).unwrap() {
        Changes::Named { names, mark, more: false } if names.is_empty() => mark,
        other => panic!("the mark of now: {other:?}"),
    }
}

#[test]
fn what_becomes_visible_late_is_named_all_the_same() {
    let Some(world) = World::new() else { return };
    let store = world.open();
    for name in ["acme", "globex"] {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    let mut early = mark_of_now(&store);
    // Somebody draws a number, and takes his time.
    let number = world.sql("SELECT nextval(pg_get_serial_sequence('{s}.journal', 'number'))");
    store.rename("globex", "initech").unwrap();
    assert_eq!(changed(&store, &mut early), ["initech"]);
    let mut late = mark_of_now(&store);
    world.sql(&format!(
        "INSERT INTO {{s}}.journal (number, tenant, connection, at, entry) OVERRIDING SYSTEM VALUE \
         SELECT {number}, tenant, number, 0, '{{}}' FROM {{s}}.connections WHERE name = 'acme'"
    ));
    assert_eq!(changed(&store, &mut early), ["acme"], "it stands before what was seen");
    assert_eq!(changed(&store, &mut late), ["acme"]);
    assert!(changed(&store, &mut early).is_empty());
}

#[test]
fn another_tenants_changes_are_not_named() {
    let Some(world) = World::new() else { return };
    let (store, theirs) =
        (world.open(), Postgres::open(&world.url(), world.options().tenant("theirs")).unwrap());
    store.add(&connection("acme"), &app("app-1", "one")).unwrap();
    theirs.add(&Connection { id: "other".into(), ..connection("secret") }, &app("app-1", "one")).unwrap();
    let mut mark = mark_of_now(&store);
    theirs.rename("secret", "more-secret").unwrap();
    assert!(changed(&store, &mut mark).is_empty());
    store.remove("acme").unwrap();
    assert_eq!(changed(&store, &mut mark), ["acme"]);
}

#[test]
fn a_server_that_has_lost_entries_is_noticed() {
    let Some(world) = World::new() else { return };
    let store = world.open();
    store.add(&connection("acme"), &app("app-1", "one")).unwrap();
    store.rename("acme", "globex").unwrap();
    let mark = mark_of_now(&store);
    world.sql("DELETE FROM {s}.journal");
    assert_eq!(store.changes(Some(mark)).unwrap(), Changes::Unknown);
    let mut mark = mark_of_now(&store);
    store.rename("globex", "acme").unwrap();
    assert_eq!(changed(&store, &mut mark), ["acme"]);
}
