//! The background duty, told by its stories: a real database, the sandbox, and a clock that a test moves.
//!
//! | file | what it tells |
//! |---|---|
//! | `main.rs` | what is renewed, when, in which order, and what is left alone |
//! | `outage.rs` | servers and stores that fail, and come back |
//! | `world.rs`, `hands.rs` | the fleet; the clock |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod hands;
mod outage;
#[path = "../postgres_server/mod.rs"]
mod postgres_server;
mod world;

use perennial::core::Origin;
use perennial::core::connection::Condition;
use perennial::scheduler::Options;
use perennial_sandbox::{Config, Rotate};
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::{Running, World, until};

const MIN_TTL: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn law_5_what_is_due_is_renewed_and_nothing_else() {
    let world = World::of(10, Config::default()).await;
    for number in [1, 4, 7] {
        world.make_due(&format!("number-{number:03}"), 100);
    }
    let running = world.run(Options::default());
    let load = running.settled(0).await;
    world.pass(&running, Duration::from_secs(30)).await;
    assert_eq!((world.asked(), world.backlog()), (3, 0), "{load:?}");
    let mut refreshed = world.refreshed();
    refreshed.sort_unstable();
    assert_eq!(refreshed, ["number-001", "number-004", "number-007"]);
    let tally = world.keeper.tally();
    assert_eq!((tally.begun[2], tally.refreshes[0]), (("due", 3), ("ok", 13)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_11_it_wakes_in_time_and_notices_that_the_machine_had_slept() {
    let world = World::of(2, Config::default()).await;
    let due_at = world.store().next_due(world.keeper.now()).unwrap().unwrap();
    let running = world.run(Options::default());
    running.settled(0).await;
    world.pass(&running, Duration::from_secs(3600)).await;
    assert_eq!(world.asked(), 0, "nothing is due for days");
    let rest = due_at.since(world.keeper.now());
    // It sleeps on for half a minute at most when the machine is awake again.
    world.pass(&running, Duration::from_secs(rest.unsigned_abs())).await;
    world.passed(&running).await;
    assert_eq!(world.asked(), 1);
    let sleeps = world.clock.slept();
    assert!(sleeps.iter().all(|time| *time <= Duration::from_secs(37)), "{sleeps:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_5_the_most_urgent_come_first() {
    let world = World::of(9, Config::default()).await;
    world.make_all_due();
    // Nobody knows when this one ends.
    world.alter("number-002", |connection| connection.held.as_mut().unwrap().refresh_expiry = None);
    // A few at a time are fetched, and one at a time flies.
    let running = world.run(Options { per_server: 1, batch: 4, ..Options::default() });
    until(|| world.backlog() == 0).await;
    let order = [2, 8, 7, 6, 5, 4, 3, 1, 0].map(|number| format!("number-{number:03}"));
    assert_eq!(world.refreshed(), order);
    assert_eq!(world.sandbox.stats().most_in_flight, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_renewed_keeps_no_other_from_its_turn() {
    let world = World::of(30, Config::default()).await;
    world.make_all_due();
    let names = world.store().names().unwrap();
    // Urgent, and hopeless: some wait for a person, and some lead to where no secret may go, which no store can tell.
    for name in &names[18..] {
        world.alter(name, |connection| connection.condition = Condition::Suspended);
    }
    for name in &names[6..18] {
        let elsewhere = Origin::parse("https://elsewhere.example").unwrap();
        world.alter(name, |connection| connection.held.as_mut().unwrap().base = elsewhere);
    }
    let running = world.run(Options { batch: 2, ..Options::default() });
    until(|| world.backlog() == 24).await;
    let load = world.passed(&running).await;
    assert_eq!((world.asked(), load.resting, load.waiting), (6, 12, 0));
    // They are looked at again every ten minutes, and not all the time.
    let reads = || world.keeper.tally().read.count;
    let before = reads();
    for _ in 0..60 {
        world.passed(&running).await;
    }
    assert!(reads() - before <= 12 * 2 * 4, "{} reads in half an hour", reads() - before);
    assert_eq!(world.asked(), 6);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_what_is_under_way_when_it_stops_lands_and_nothing_more_is_begun() {
    let world = World::of(10, Config::default()).await;
    world.make_all_due();
    world.way.at_the_gate.store(0, Ordering::SeqCst);
    world.way.gate.forget_permits(1_000);
    let running = world.run(Options { per_server: 3, ..Options::default() });
    until(|| world.way.at_the_gate.load(Ordering::SeqCst) == 3).await;
    // Law 9: hand-outs go on meanwhile, also of those that are being renewed.
    for name in world.store().names().unwrap() {
        assert!(world.keeper.peek(&name, MIN_TTL).unwrap().is_some(), "{name}");
    }
    running.stop().await;
    world.way.gate.add_permits(1_000);
    world.keeper.landed().await;
    assert_eq!((world.asked(), world.backlog(), world.refreshed().len()), (3, 7, 3));
    assert_eq!(world.keeper.tally().under_way, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_two_schedulers_of_one_store_present_each_token_once() {
    // Whoever presents a token twice here loses the grant.
    two_schedulers(&World::of(40, Config { rotate: Rotate::Always, ..Config::default() }).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_two_machines_share_what_is_due() {
    let rotating = Config { rotate: Rotate::Always, ..Config::default() };
    if let Some(world) = World::in_postgres(40, rotating).await {
        two_schedulers(&world).await;
    }
}

async fn two_schedulers(world: &World) {
    world.make_all_due();
    let one = world.run(Options::default());
    let other = Running::begin(world.another_keeper(), Options::default());
    until(|| world.backlog() == 0).await;
    one.stop().await;
    other.stop().await;
    world.keeper.landed().await;
    let stats = world.sandbox.stats();
    assert_eq!((world.asked(), stats.refreshes, stats.reuse_detected), (40, 40, 0), "{stats:?}");
    assert_eq!(world.refreshed().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn law_3_what_somebody_else_renews_meanwhile_is_not_renewed_again() {
    let world = World::of(3, Config::default()).await;
    world.make_all_due();
    // Somebody is at work on the most urgent one.
    let claim = world.store().try_claim("number-002").unwrap().unwrap();
    let running = world.run(Options::default());
    until(|| world.backlog() == 1).await;
    let now = world.keeper.now();
    let mut claim = claim;
    let seen = claim.read().unwrap();
    let mut theirs = seen.clone();
    theirs.held.as_mut().unwrap().generation += 1;
    theirs.held.as_mut().unwrap().refreshed_at = Some(now);
    claim.commit(&seen.version(), &theirs).unwrap();
    drop(claim);
    until(|| world.keeper.tally().under_way == 0).await;
    assert_eq!((world.asked(), world.backlog()), (2, 0));
    running.stop().await;
}
