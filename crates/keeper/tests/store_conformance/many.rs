//! Stories of many connections.

use super::World;
use super::sample::{NOW, answer, answered, app, connection, holding, refreshing};
use perennial::core::connection::{Aside, Condition};
use perennial::core::journal::{Entry, Event};
use perennial::core::{Connection, Expiry, UnixTime};
use perennial::store::{Changes, Ends, Parcel, StoreError};
use std::collections::BTreeSet;

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
    let [.., before, last] = told.as_slice() else { panic!("two lines at least: {told:?}") };
    assert_eq!((&before.entry, before.connection.as_str()), (&entry, "globex"));
    assert_eq!(last.entry.event, Event::Noted { what: "renamed: it was called acme".into() });
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

pub(crate) fn what_is_made_up_is_forgotten(world: &dyn World) {
    let (store, reader) = (world.open(), world.open());
    store.add(&holding(&connection("acme"), "first"), &app("app-1", "one")).unwrap();
    let Changes::Named { mut mark, .. } = reader.changes(None).unwrap() else { panic!("the mark of now") };
    let names: Vec<String> = (0..20).map(|number| format!("made-up-{number}")).collect();
    for name in &names {
        let made_up = Connection { id: name.clone(), ..connection(name) };
        store.add(&made_up, &app("app-1", "one")).unwrap();
        store.discard(name).unwrap();
        assert!(matches!(store.read(name), Err(StoreError::NoSuchConnection { .. })));
        let Changes::Named { mark: next, .. } = reader.changes(Some(mark)).unwrap() else {
            panic!("nobody has to look at all connections for it");
        };
        mark = next;
    }
    assert!(matches!(store.discard("made-up-0"), Err(StoreError::NoSuchConnection { .. })));
    let restored = names.iter().filter(|name| store.restore(name).is_ok()).count();
    assert_eq!(restored, 1, "the newest alone");

    // It was brought back, and has become something: law 5 holds for it.
    store.remove("made-up-19").unwrap();
    store.discard("acme").unwrap();
    store.add(&Connection { id: "other".into(), ..connection("other") }, &app("app-1", "one")).unwrap();
    store.discard("other").unwrap();
    store.restore("acme").unwrap();
    assert!(store.read("acme").unwrap().held.is_some(), "what holds a grant is never forgotten");
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

/// A connection whose refresh token ends at `expires`, renewed first thing at `NOW` plus a jittered week.
fn ending(name: &str, expires: i64) -> Connection {
    let mut ending = holding(&connection(name), name);
    ending.held.as_mut().unwrap().refresh_expiry = Some(Expiry::Stated(UnixTime(expires)));
    ending
}

fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

pub(crate) fn law_5_the_most_urgent_come_first(world: &dyn World) {
    let store = world.open();
    let app = app("app-1", "one");
    let year = 365 * 86_400;
    for (name, days) in [("late", 300), ("soon", 20), ("middle", 100), ("past", -1)] {
        store.add(&ending(name, NOW.0 + days * 86_400), &app).unwrap();
    }
    let mut unknown = holding(&connection("unknown"), "unknown");
    unknown.held.as_mut().unwrap().refresh_expiry = None;
    store.add(&unknown, &app).unwrap();
    store.add(&connection("empty"), &app).unwrap();
    let later = UnixTime(NOW.0 + year);
    assert_eq!(store.backlog(later).unwrap(), 5);
    // What nobody knows the end of counts from when it fell due: at most a week from now.
    let order = ["past", "unknown", "soon", "middle", "late"];
    let but = BTreeSet::from(["past".to_owned(), "middle".to_owned()]);
    assert_eq!(world.open().due_batch(later, 2, &but).unwrap(), ["unknown", "soon"]);
    assert_eq!(world.open().due(later).unwrap().len(), 5, "an offer is no claim");
    let rest = store.due_batch(later, 9, &none()).unwrap();
    let expected: Vec<_> = order.iter().filter(|name| rest.iter().any(|one| one == *name)).collect();
    assert_eq!(
        rest.iter().collect::<Vec<_>>(),
        expected,
        "in their order, as far as they are not offered to another"
    );
    assert!(store.due_batch(UnixTime(NOW.0 - 1), 9, &none()).unwrap().is_empty());
}

pub(crate) fn what_waits_keeps_no_other_from_its_turn(world: &dyn World) {
    let store = world.open();
    let app = app("app-1", "one");
    let later = NOW.plus(30 * 86_400);
    let conditions = [
        ("suspended", Condition::Suspended),
        ("revoked", Condition::Revoked),
        ("backing-off", Condition::BackingOff { until: later.plus(60), failures: 2 }),
        ("uncertain", Condition::Uncertain { until: later.plus(60), failures: 1 }),
        ("its-pause-is-over", Condition::BackingOff { until: later, failures: 2 }),
        ("a-clock-stood-wrong", Condition::BackingOff { until: later.plus(400 * 86_400), failures: 2 }),
        ("sound", Condition::Sound),
    ];
    for (name, condition) in conditions {
        store.add(&Connection { condition, ..holding(&connection(name), name) }, &app).unwrap();
    }
    let suspended =
        Connection { condition: Condition::Suspended, ..holding(&connection("late-answer"), "late") };
    let answered = suspended.set_aside(&suspended.asked(), &answer("later"), &answered(), Aside::Late);
    store.add(&answered, &app).unwrap();
    let mut tried = store.due_batch(later, 99, &none()).unwrap();
    tried.sort_unstable();
    assert_eq!(tried, ["a-clock-stood-wrong", "its-pause-is-over", "late-answer", "sound"]);
    assert_eq!(store.backlog(later).unwrap(), 8, "they are due all the same");
}

pub(crate) fn an_idle_keeper_knows_how_long(world: &dyn World) {
    let store = world.open();
    assert_eq!(store.next_due(NOW).unwrap(), None);
    for name in ["acme", "globex"] {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    let mut bells = ["acme", "globex"].map(|name| store.read(name).unwrap().renew_at().unwrap());
    bells.sort_unstable();
    assert_eq!(store.next_due(NOW).unwrap(), Some(bells[0]));
    assert_eq!(store.next_due(bells[0]).unwrap(), Some(bells[1]));
    assert_eq!(store.next_due(bells[1]).unwrap(), None);
    store.remove("globex").unwrap();
    store.remove("acme").unwrap();
    assert_eq!(store.next_due(NOW).unwrap(), None);
}

pub(crate) fn how_far_renewal_lags_is_known_whatever_stands_in_the_way_of_others(world: &dyn World) {
    let store = world.open();
    let app = app("app-1", "one");
    let later = NOW.plus(300 * 86_400);
    assert_eq!(store.longest_due(later).unwrap(), None);
    let suspended =
        Connection { condition: Condition::Suspended, ..holding(&connection("suspended"), "suspended") };
    store.add(&suspended, &app).unwrap();
    let mut nobody_knows = holding(&connection("since-nobody-knows-when"), "unknown");
    nobody_knows.held.as_mut().unwrap().refreshed_at = None;
    store.add(&nobody_knows, &app).unwrap();
    assert_eq!(store.longest_due(later).unwrap(), None);
    for name in ["acme", "globex"] {
        store.add(&holding(&connection(name), name), &app).unwrap();
    }
    let since = ["acme", "globex"].map(|name| store.read(name).unwrap().renew_at().unwrap());
    let first = since.into_iter().min();
    assert_eq!(store.longest_due(later).unwrap(), first);
    assert_eq!(store.longest_due(later).unwrap(), first, "to ask is to take nothing");
    assert_eq!(store.longest_due(NOW).unwrap(), None);
}

pub(crate) fn the_ends_of_refresh_tokens_are_counted(world: &dyn World) {
    let store = world.open();
    let app = app("app-1", "one");
    let day = 86_400;
    let all = || {
        let (mut ends, mut after) = (Ends::none(3), None);
        loop {
            let (page, next) = store.ends(NOW, &[0, 7 * day, 90 * day], after).unwrap();
            ends = ends.and(&page);
            if next.is_none() {
                return ends;
            }
            assert!(next > after, "it goes on");
            after = next;
        }
    };
    assert_eq!(all(), Ends::none(3));
    for (name, days) in [("past", -2), ("soon", 5), ("at-the-bound", 7), ("late", 100), ("gone", 3)] {
        store.add(&ending(name, NOW.0 + days * day), &app).unwrap();
    }
    store.remove("gone").unwrap();
    store.add(&connection("empty"), &app).unwrap();
    let mut unknown = holding(&connection("unknown"), "unknown");
    unknown.held.as_mut().unwrap().refresh_expiry = None;
    store.add(&unknown, &app).unwrap();
    let counted = Ends { within: vec![1, 3, 3], known: 4, seconds: (112 * day).unsigned_abs() };
    assert_eq!(all(), counted);
}

pub(crate) fn every_change_is_named(world: &dyn World) {
    let (reader, writer) = (world.open(), world.open());
    let first = holding(&connection("acme"), "first");
    writer.add(&first, &app("app-1", "one")).unwrap();
    writer.add(&connection("globex"), &app("app-1", "one")).unwrap();
    let mut mark = match reader.changes(None).unwrap() {
        Changes::Named { names, mark, more: false } if names.is_empty() => mark,
        other => panic!("the mark of now, and no names: {other:?}"),
    };
    let mut changed = || match reader.changes(Some(mark)).unwrap() {
        Changes::Named { names, mark: next, more: false } => {
            mark = next;
            names
        }
        other => panic!("it is known: {other:?}"),
    };
    assert!(changed().is_empty(), "nothing has happened");
    let mut claim = writer.try_claim("acme").unwrap().unwrap();
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    claim.commit(&intended.version(), &holding(&intended, "second")).unwrap();
    assert_eq!(changed(), ["acme"], "other tokens");
    assert!(changed().is_empty(), "it is told once");
    writer.rename("globex", "initech").unwrap();
    assert_eq!(changed(), ["initech"]);
    writer.remove("acme").unwrap();
    assert_eq!(changed(), ["acme"], "it is not there any more");
    writer.restore("acme").unwrap();
    assert_eq!(changed(), ["acme"]);
    writer.remove("acme").unwrap();
    assert_eq!(changed(), ["acme"]);
    assert!(
        !matches!(reader.changes(Some(u64::MAX)).unwrap(), Changes::Named { .. }),
        "nobody gave that mark out"
    );
}
