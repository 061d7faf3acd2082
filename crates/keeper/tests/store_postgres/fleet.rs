//! Several machines, one store.

use super::World;
use super::sample::{app, connection, holding, refreshing};
use perennial::Store;
use perennial::core::UnixTime;
use perennial::store::WriteError;
use std::collections::BTreeSet;
use std::thread;

#[test]
fn law_2_who_lost_his_claim_may_not_intend() {
    let Some(world) = World::new() else { return };
    let (here, first) = world.held();
    let there = world.open();
    let mut lost = here.try_claim("acme").unwrap().unwrap();
    assert!(there.try_claim("acme").unwrap().is_none());
    world.sql("UPDATE {s}.claims SET until = clock_timestamp() - interval '1 second'");
    let mut taken = there.try_claim("acme").unwrap().unwrap();
    assert_ne!(lost.lock(), taken.lock());
    let refused = lost.intend(&first.version(), &refreshing(&first, "late"));
    assert!(matches!(&refused, Err(WriteError::Moved(now)) if **now == first), "{refused:?}");
    drop(lost);
    assert!(here.try_claim("acme").unwrap().is_none(), "what is not his he cannot give back");
    taken.intend(&first.version(), &refreshing(&first, "in time")).unwrap();
}

#[test]
fn law_2_a_claim_that_lapsed_unseen_is_still_good() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    world.sql("UPDATE {s}.claims SET until = clock_timestamp() - interval '1 second'");
    claim.intend(&first.version(), &refreshing(&first, "one")).unwrap();
    assert!(store.try_claim("acme").unwrap().is_none(), "the intent has extended it");
}

#[test]
fn law_2_an_intent_extends_its_claim_to_its_deadline_and_no_further() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    let left = || -> f64 {
        world.sql("SELECT extract(epoch FROM until - clock_timestamp()) FROM {s}.claims").parse().unwrap()
    };
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    assert!((1.0..=15.0).contains(&left()), "to look again and to intend: {}", left());
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    let patience = intended.intent.as_ref().unwrap().patience().as_secs_f64();
    assert!((15.0..=patience).contains(&left()), "{}", left());
    claim.read().unwrap();
    assert!(left() <= patience);
    let kept = store.read("acme").unwrap();
    assert_eq!(kept.intent, intended.intent, "its deadline stands");
    drop(claim);
    assert_eq!(world.sql("SELECT count(*) FROM {s}.claims"), "0", "given back");
}

#[test]
fn law_8_many_hosts_write_and_no_write_is_lost() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let stores: Vec<_> = (0..4).map(|_| world.open()).collect();
    thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                let mut written = 0;
                while written < 5 {
                    let Some(mut claim) = store.try_claim("acme").unwrap() else {
                        thread::yield_now();
                        continue;
                    };
                    let now = claim.read().unwrap();
                    let intended = refreshing(&now, &perennial::request_id());
                    claim.intend(&now.version(), &intended).unwrap();
                    let next = holding(&intended, &perennial::request_id());
                    claim.commit(&intended.version(), &next).unwrap();
                    written += 1;
                }
            });
        }
    });
    let last = world.open().read("acme").unwrap();
    let generation = |held: &perennial::core::Connection| held.version().generation;
    assert!(generation(&last) > generation(&first));
    assert_eq!(world.count_in_journal("refreshed"), 20);
}

#[test]
fn keepers_share_what_is_due() {
    let Some(world) = World::new() else { return };
    let store = world.open();
    let names: Vec<String> = (0..40).map(|number| format!("name-{number:02}")).collect();
    for name in &names {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    let later = UnixTime(i64::MAX);
    assert_eq!(store.due(later).unwrap().len(), 40);
    let claim = store.try_claim("name-07").unwrap();
    let batches: Vec<Vec<String>> = thread::scope(|scope| {
        let keepers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| world.open().due_batch(later, 10).unwrap())).collect();
        keepers.into_iter().map(|keeper| keeper.join().unwrap()).collect()
    });
    let mut all: Vec<&String> = batches.iter().flatten().collect();
    let once: BTreeSet<&String> = all.iter().copied().collect();
    assert_eq!(once.len(), all.len(), "to one keeper each: {batches:?}");
    assert!(!once.contains(&"name-07".to_owned()), "somebody is at work on it");
    // Rows that another keeper was just reading were passed over: asking again finds them.
    let rest = store.due_batch(later, 100).unwrap();
    all.extend(&rest);
    assert_eq!(all.len(), 39);
    assert!(store.due_batch(later, 100).unwrap().is_empty());
    drop(claim);
    assert_eq!(store.due_batch(later, 100).unwrap(), ["name-07"]);
    assert!(store.try_claim("name-00").unwrap().is_some(), "an offer is no claim");
    world.sql("UPDATE {s}.offers SET until = clock_timestamp() - interval '1 second'");
    assert_eq!(store.due_batch(later, 100).unwrap().len(), 40, "who died keeps nothing back");
}

#[test]
fn tenants_of_one_database_do_not_see_each_other() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let other = perennial::Postgres::open(&world.url(), world.options().tenant("two")).unwrap();
    assert!(other.names().unwrap().is_empty() && other.read("acme").is_err());
    other.add(&first, &app("app-1", "two")).unwrap();
    assert_eq!(other.app("acme").unwrap().client.secret, app("app-1", "two").client.secret);
    assert_eq!(world.open().app("acme").unwrap().client.secret, app("app-1", "one").client.secret);
    assert!(world.open().journal(None, None, 9).unwrap().len() < 9);
}

#[tokio::test]
async fn it_can_be_asked_from_a_runtime_of_one_thread() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    assert_eq!(store.read("acme").unwrap(), first);
    assert!(store.try_claim("acme").unwrap().is_some());
}
