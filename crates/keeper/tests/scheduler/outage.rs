//! Servers and stores that fail, and come back: law 12, law 4.

use crate::world::{World, until};
use perennial::core::Origin;
use perennial::scheduler::Options;
use perennial::tally::Tally;
use perennial_sandbox::Config;
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_long_outage_and_the_backlog_behind_it_make_no_storm() {
    let world = World::of(60, Config::default()).await;
    world.make_all_due();
    let down = json!([{"kind": "status", "status": 503, "count": 100_000, "grant": "refresh_token"}]);
    world.sandbox.inject(down).unwrap();
    let running = world.run(Options { per_server: 8, ..Options::default() });
    until(|| world.keeper.servers().iter().any(|(_, state)| *state == "open")).await;
    let at_first = running.settled(0).await;
    let before = world.asked();
    assert!(before <= 8, "four at first, then one: {before}, {at_first:?}");
    // Two hours, in which a probe goes out every five minutes at last.
    for _ in 0..2 * 120 {
        world.passed(&running).await;
    }
    let probes = world.asked() - before;
    assert!((20..=100).contains(&probes), "{probes} probes in two hours");
    assert_eq!(world.backlog(), 60, "nothing was renewed");

    world.sandbox.clear_faults();
    let failed = world.asked();
    world.pass_until(&running, || world.backlog() == 0).await;
    assert_eq!(world.asked() - failed, 60, "each once");
    assert_eq!(world.refreshed().len(), 60);
    assert!(world.sandbox.stats().most_in_flight <= 8, "{:?}", world.sandbox.stats());
    assert!(world.keeper.servers().iter().all(|(_, state)| *state == "closed"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_4_a_store_that_cannot_write_spends_no_token_and_is_left_alone() {
    let world = World::of(20, Config::default()).await;
    world.make_all_due();
    let protect =
        |mode: u32| fs::set_permissions(world.database(), fs::Permissions::from_mode(mode)).unwrap();
    protect(0o400);
    let running = world.run(Options::default());
    running.settled(0).await;
    for _ in 0..120 {
        world.passed(&running).await;
    }
    let tally = world.keeper.tally();
    assert_eq!(world.asked(), 0);
    assert!(tally.begun[2].1 <= 20 * 13, "an hour of {:?}", tally.begun);
    assert_eq!(tally.begun[2].1, tally.refreshes[9].1, "each is told: {:?}", tally.refreshes);
    protect(0o600);
    world.pass_until(&running, || world.backlog() == 0).await;
    assert_eq!(world.asked(), 20);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_12_a_server_that_is_down_keeps_nobody_of_another_from_its_turn() {
    let world = World::of(36, Config::default()).await;
    world.make_all_due();
    // Nobody listens there any more; these are the most urgent.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = Origin::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    for name in &world.store().names().unwrap()[6..] {
        world.alter(name, |connection| {
            connection.permitted.push(nobody.clone());
            connection.held.as_mut().unwrap().base = nobody.clone();
        });
    }
    // Fewer are held than wait for the one that is down.
    let running = world.run(Options { batch: 8, ..Options::default() });
    world.pass_until(&running, || world.backlog() == 30).await;
    assert_eq!(world.asked(), 6);
    assert!(world.keeper.servers().contains(&(nobody.clone(), "open")), "{:?}", world.keeper.servers());
    let tries = |tally: &Tally| tally.refreshes[10].1;
    let before = world.keeper.tally();
    for _ in 0..120 {
        world.passed(&running).await;
    }
    let after = world.keeper.tally();
    let probes = tries(&after) - tries(&before);
    assert!((6..=60).contains(&probes), "{probes} probes in an hour");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_asked_a_few_times_and_comes_back() {
    let Some(world) = World::in_postgres(60, Config::default()).await else { return };
    world.make_all_due();
    // Nobody but the agenda can be read.
    world.sql("ALTER TABLE {s}.connections RENAME COLUMN seal TO sealed");
    let before = world.keeper.tally().read.count;
    let running = world.run(Options::default());
    running.settled(0).await;
    let reads = world.keeper.tally().read.count - before;
    assert_eq!(reads, 5, "that is enough to know");
    assert_eq!(world.asked(), 0);
    world.sql("ALTER TABLE {s}.connections RENAME COLUMN sealed TO seal");
    // What the agenda has offered it offers again after two minutes, or when nobody remembers it.
    world.sql("DELETE FROM {s}.offers");
    world.pass_until(&running, || world.backlog() == 0).await;
    assert_eq!(world.asked(), 60);
    running.stop().await;
}
