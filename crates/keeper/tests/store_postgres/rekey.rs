//! Keys are replaced while a fleet is at work.

use super::World;
use super::sample::{app, connection, holding, refreshing};
use perennial::Store;
use perennial::rekey::{Keyring, Wanted};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[test]
fn law_5_and_8_hosts_refresh_while_the_store_is_sealed_anew() {
    let Some(world) = World::new() else { return };
    let store = world.open();
    let names: Vec<String> = (0..4).map(|number| format!("name-{number}")).collect();
    for name in &names {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    let (done, refreshes) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for name in &names {
            let (world, done, refreshes) = (&world, &done, &refreshes);
            scope.spawn(move || {
                let host = world.open();
                while !done.load(Ordering::SeqCst) {
                    let mut claim = host.try_claim(name).unwrap().unwrap();
                    let now = claim.read().unwrap();
                    let intended = refreshing(&now, &perennial::request_id());
                    claim.intend(&now.version(), &intended).unwrap();
                    let next = holding(&intended, &perennial::request_id());
                    claim.commit(&intended.version(), &next).unwrap();
                    assert_eq!(host.read(name).unwrap(), next);
                    refreshes.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let keyring = Keyring::new(store.as_ref(), world.options().master_key, None);
        for _ in 0..10 {
            let before = refreshes.load(Ordering::SeqCst);
            keyring.rotate(Wanted { data: true, is_moved: false }, &mut |_| {}).unwrap();
            while refreshes.load(Ordering::SeqCst) == before {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    // Whoever was just at work under the older key has left it in use at most; the next one lets it go.
    let keyring = Keyring::new(store.as_ref(), world.options().master_key, None);
    keyring.rotate(Wanted { data: true, is_moved: false }, &mut |_| {}).unwrap();
    let survey = keyring.survey().unwrap();
    assert_eq!(survey.data_keys.len(), 1, "{survey:?}");
    assert!(survey.data_keys[0].number > 10, "{survey:?}");
    assert_eq!(keyring.check().unwrap(), 4);
    assert_eq!(world.count_in_journal("refreshed"), refreshes.load(Ordering::SeqCst));
}
