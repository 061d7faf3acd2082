//! Stories of many connections.

use super::World;
use super::sample::{NOW, app, connection, holding, refreshing};
use perennial::core::journal::{Entry, Event};
use perennial::core::{Connection, UnixTime};
use perennial::store::{Parcel, StoreError};

pub(crate) fn an_app_is_read_back(world: &dyn World) {
    let given = app("app-1", "one");
    world.begin_with(&holding(&connection(world.name()), "first"), &given);
    let read = world.open().app(world.name()).unwrap();
    assert_eq!(read.client, given.client);
    assert_eq!((read.company, read.request_token), (given.company, given.request_token));
}

pub(crate) fn names_are_checked(world: &dyn World) {
    let store = world.open();
    let app = app("app-1", "one");
    assert!(store.names().unwrap().is_empty());
    for good in ["acme", "ACME", "münchen", "東京-支社", "a.b_c-d@e", "1", &"x".repeat(128)] {
        store.add(&connection(good), &app).unwrap();
        assert_eq!(store.read(good).unwrap().name, good);
    }
    for bad in
        ["", ".hidden", "-dash", "two words", "a/b", "a\nb", "a\0b", "'; DROP TABLE x", &"x".repeat(129)]
    {
        assert!(matches!(store.add(&connection(bad), &app), Err(StoreError::BadName { .. })), "{bad:?}");
        assert!(matches!(store.rename("acme", bad), Err(StoreError::BadName { .. })), "{bad:?}");
    }
    let again = Connection { id: "another".into(), ..connection("acme") };
    assert!(matches!(store.add(&again, &app), Err(StoreError::NameTaken { .. })));
    assert!(matches!(store.rename("1", "acme"), Err(StoreError::NameTaken { .. })));
    assert_eq!(store.names().unwrap().len(), 7);
    assert_eq!(world.open().names().unwrap(), store.names().unwrap());
}

pub(crate) fn of_many_at_once_each_is_whole_or_refused(world: &dyn World) {
    let store = world.open();
    let entry = Entry { at: NOW, event: Event::Noted { what: "before".into() }, correlation_id: None };
    let parcel = |name: &str| {
        let connection = holding(&connection(name), name);
        Parcel { connection, app: app("app-1", "one"), history: vec![entry.clone()] }
    };
    let outcomes = store.add_all(&["acme", "two words", "acme", "globex"].map(parcel));
    assert!(matches!(
        outcomes.as_slice(),
        [Ok(()), Err(StoreError::BadName { .. }), Err(StoreError::NameTaken { .. }), Ok(())]
    ));
    assert_eq!(world.open().names().unwrap(), ["acme", "globex"]);
    assert_eq!(world.open().read("globex").unwrap(), parcel("globex").connection);
    assert_eq!(world.open().journal(Some("acme"), None, 9).unwrap().len(), 1);
}

pub(crate) fn law_2_other_connections_have_claims_of_their_own(world: &dyn World) {
    let store = world.open();
    for name in ["acme", "globex"] {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    let acme = store.try_claim("acme").unwrap();
    let globex = world.open().try_claim("globex").unwrap();
    assert!(acme.is_some() && globex.is_some());
}

pub(crate) fn rename_keeps_identity_and_history(world: &dyn World) {
    let store = world.open();
    let first = holding(&connection("acme"), "first");
    store.add(&first, &app("app-1", "one")).unwrap();
    let entry = Entry { at: NOW, event: Event::Noted { what: "before".into() }, correlation_id: None };
    store.note("acme", &entry).unwrap();
    store.rename("acme", "globex").unwrap();
    assert!(matches!(store.read("acme"), Err(StoreError::NoSuchConnection { .. })));
    let renamed = Connection { name: "globex".into(), ..first };
    assert_eq!(world.open().read("globex").unwrap(), renamed);
    let told = world.open().journal(Some("globex"), None, 9).unwrap();
    let last = told.last().unwrap();
    assert_eq!((&last.entry, last.connection.as_str()), (&entry, "globex"));
    assert!(store.journal(Some("acme"), None, 9).unwrap().is_empty());
    store.add(&Connection { id: "new".into(), ..connection("acme") }, &app("app-1", "one")).unwrap();
}

pub(crate) fn law_8_a_rename_loses_no_write(world: &dyn World) {
    let store = world.open();
    let first = holding(&connection("acme"), "first");
    store.add(&first, &app("app-1", "one")).unwrap();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    world.open().rename("acme", "globex").unwrap();
    let second = holding(&intended, "second");
    claim.commit(&intended.version(), &second).unwrap();
    let read = world.open().read("globex").unwrap();
    assert_eq!(read, Connection { name: "globex".into(), ..second });
}

pub(crate) fn what_is_put_away_comes_back(world: &dyn World) {
    let store = world.open();
    let first = holding(&connection("acme"), "first");
    store.add(&first, &app("app-1", "one")).unwrap();
    assert!(matches!(store.restore("acme"), Err(StoreError::NameTaken { .. })));
    store.remove("acme").unwrap();
    assert!(matches!(store.read("acme"), Err(StoreError::NoSuchConnection { .. })));
    assert!(matches!(store.app("acme"), Err(StoreError::NoSuchConnection { .. })));
    assert!(store.try_claim("acme").is_err() && store.names().unwrap().is_empty());
    assert!(store.due(UnixTime(i64::MAX)).unwrap().is_empty());
    assert!(matches!(store.remove("acme"), Err(StoreError::NoSuchConnection { .. })));

    let second = Connection { id: "second".into(), ..connection("acme") };
    store.add(&second, &app("app-1", "one")).unwrap();
    store.remove("acme").unwrap();
    store.restore("acme").unwrap();
    assert_eq!(world.open().read("acme").unwrap().id, "second", "what was last put away");
    store.rename("acme", "other").unwrap();
    store.restore("acme").unwrap();
    assert_eq!(world.open().read("acme").unwrap(), first, "law 5: with all that was held");
    assert!(matches!(store.restore("nobody"), Err(StoreError::NoSuchConnection { .. })));
}

pub(crate) fn law_1_what_comes_after_putting_away_is_not_lost(world: &dyn World) {
    let store = world.open();
    let first = holding(&connection("acme"), "first");
    store.add(&first, &app("app-1", "one")).unwrap();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    store.remove("acme").unwrap();
    assert!(claim.read().is_err());
    assert!(claim.intend(&intended.version(), &refreshing(&intended, "two")).is_err(), "nothing is begun");
    let second = holding(&intended, "second");
    claim.commit(&intended.version(), &second).unwrap();
    store.restore("acme").unwrap();
    assert_eq!(world.open().read("acme").unwrap(), second);
}

pub(crate) fn a_new_app_is_read_at_once(world: &dyn World) {
    let store = world.open();
    for name in ["acme", "globex"] {
        store.add(&connection(name), &app("app-1", "one")).unwrap();
    }
    let elsewhere = world.open();
    assert_eq!(elsewhere.app("globex").unwrap().client.secret, app("app-1", "one").client.secret);
    let mut given = app("app-2", "two");
    given.request_token = None;
    store.put_app("acme", &given).unwrap();
    let read = elsewhere.app("acme").unwrap();
    assert_eq!((read.client, read.company, read.request_token), (given.client, given.company, None));
    assert_eq!(elsewhere.app("globex").unwrap().client.id, "app-1", "another app");
    let none = store.put_app("nobody", &app("app-1", "one"));
    assert!(matches!(none, Err(StoreError::NoSuchConnection { .. })));
}

pub(crate) fn due_ones_are_found(world: &dyn World) {
    let store = world.open();
    for name in ["acme", "globex"] {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    store.add(&connection("empty"), &app("app-1", "one")).unwrap();
    let [acme, globex] = ["acme", "globex"].map(|name| store.read(name).unwrap().renew_at().unwrap());
    assert_ne!(acme, globex, "a jitter, so that a fleet does not march in step");
    let (first, at) = if acme < globex { ("acme", acme) } else { ("globex", globex) };
    assert!(store.due(UnixTime(at.0 - 1)).unwrap().is_empty());
    assert_eq!(world.open().due(at).unwrap(), [first]);
    assert_eq!(store.due(acme.max(globex)).unwrap().len(), 2);
    // A refresh sets the bell anew.
    let held = store.read(first).unwrap();
    let mut claim = store.try_claim(first).unwrap().unwrap();
    let mut later = holding(&held, "later");
    later.held.as_mut().unwrap().refreshed_at = Some(NOW.plus(1_000_000));
    claim.commit(&held.version(), &later).unwrap();
    assert!(store.due(at).unwrap().is_empty());
}
