//! What was told stays told, and what was not delivered is delivered, whoever comes next.

use crate::receiver::{Answer, Receiver};
use crate::stage::{DAY, NOW, SECRET, Stage, seen, until};
use perennial::core::{Expiry, State};
use perennial_daemon::alerts::Alerts;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_was_told_is_not_told_again_by_the_next_process_but_its_end_is() {
    let mut receiver = Receiver::start([]).await;
    let mut stage = Stage::new().webhook(&receiver);
    stage.world.put(seen("acme", State::NeedsReauthorization));
    let mut dying = seen("globex", State::Held);
    dying.ends = Some(Expiry::Stated(NOW.plus(20 * DAY)));
    stage.world.put(dying);
    let alerts = stage.start();
    let mut told = [receiver.message(SECRET).await.1, receiver.message(SECRET).await.1];
    told.sort_by_key(|body| body["type"].to_string());
    assert_eq!(told[1]["type"], "refresh_token.dies");
    assert_eq!(
        (&told[1]["data"]["connection"], &told[1]["data"]["days_left"]),
        (&"globex".into(), &20.into())
    );
    alerts.stop(SOON).await;

    stage.begins = NOW.plus(3600);
    let alerts = stage.start_again().await;
    alerts.changed(["acme".to_owned(), "globex".to_owned()]);
    let reads = stage.world.reads.load(std::sync::atomic::Ordering::SeqCst);
    until("both were looked at", || stage.world.reads.load(std::sync::atomic::Ordering::SeqCst) >= reads + 2)
        .await;
    stage.world.put(seen("acme", State::Held));
    stage.world.put(seen("globex", State::Held));
    alerts.changed(["acme".to_owned(), "globex".to_owned()]);
    let mut told = [receiver.message(SECRET).await.1, receiver.message(SECRET).await.1];
    told.sort_by_key(|body| body["type"].to_string());
    assert_eq!(told[0]["type"], "connection.state_changed.recovered");
    assert_eq!(told[1]["type"], "refresh_token.dies.recovered");
    alerts.stop(SOON).await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn what_is_told_again_after_a_crash_is_the_same_message() {
    let mut receiver = Receiver::start(std::iter::repeat_n(Answer::Status(503), 100_000)).await;
    let stage = Stage::new().webhook(&receiver);
    stage.world.put(seen("acme", State::Suspended));
    let log = stage.outbox().join("told.jsonl");
    let is_noted = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("state/id-acme"));
    let alerts = stage.start();
    let (id, _) = receiver.message(SECRET).await;
    until("it is noted", is_noted).await;
    drop(alerts);
    // The process died behind the message, and before it had written down that it was told.
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.lines().next().unwrap()).unwrap();
    let alerts = stage.start_again().await;
    until("it is told again", is_noted).await;
    assert_eq!((stage.waiting().len(), alerts.tally().waiting()), (1, 1));
    assert_eq!(receiver.message(SECRET).await.0, id);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_nobody_from_being_told() {
    let mut receiver = Receiver::start([Answer::Status(500)]).await;
    let stage = Stage::new().webhook(&receiver);
    let alerts = stage.start();
    // Nothing can be written where there is no directory.
    std::fs::remove_dir_all(stage.outbox()).unwrap();
    stage.world.put(seen("acme", State::Suspended));
    alerts.changed(["acme".to_owned()]);
    let (first, second) = (receiver.message(SECRET).await, receiver.message(SECRET).await);
    assert_eq!((first.0, &first.1["data"]["connection"]), (second.0, &"acme".into()));
    until("it is delivered", || alerts.tally().delivered() == 1).await;
}

#[tokio::test]
async fn what_a_disk_did_not_take_is_written_once_it_does() {
    let receiver = Receiver::start(std::iter::repeat_n(Answer::Close, 100_000)).await;
    let stage = Stage::new().webhook(&receiver);
    let alerts = stage.start();
    std::fs::remove_dir_all(stage.outbox()).unwrap();
    stage.world.put(seen("acme", State::Suspended));
    alerts.changed(["acme".to_owned()]);
    until("it failed", || alerts.tally().failed() > 0).await;
    std::fs::create_dir(stage.outbox()).unwrap();
    until("it is on the disk", || stage.waiting().len() == 1).await;
}

#[tokio::test]
async fn two_daemons_do_not_share_an_outbox() {
    let stage = Stage::new();
    let first = stage.start();
    let refused = Alerts::start(&stage.config(), stage.parts()).err().unwrap();
    assert!(refused.to_string().ends_with("cannot be used: another daemon uses it"), "{refused}");
    first.stop(SOON).await;
    stage.start_again().await;
}

#[tokio::test]
async fn too_many_that_wait_are_dropped_and_that_is_told() {
    let mut receiver = Receiver::start(std::iter::repeat_n(Answer::Close, 100_000)).await;
    let stage = Stage::new().chat(&receiver);
    let alerts = stage.start();
    // Each of its own kind, so that nothing is put together: 140 servers that fail.
    let server = |number| perennial_daemon::alerts::Server {
        origin: format!("https://s{number}.example.com"),
        fails: true,
    };
    stage.world.vitals.lock().unwrap().servers = (0..140).map(server).collect();
    until("too many wait", || alerts.tally().dropped() >= 40).await;
    alerts.stop(Duration::from_secs(1)).await;
    let waiting = stage.waiting();
    assert!(waiting.len() <= 101, "{}", waiting.len());
    let lost: Vec<_> = waiting
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .filter(|text| text.contains("alerts.lost"))
        .collect();
    assert_eq!(lost.len(), 1);
    assert!(lost[0].contains("\"count\":4"), "{}", lost[0]);
    assert!(!receiver.is_quiet());
}
