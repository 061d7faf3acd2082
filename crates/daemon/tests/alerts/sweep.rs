//! Time passes, and nobody says that anything has changed.

use crate::receiver::Receiver;
use crate::stage::{DAY, NOW, SECRET, Stage, seen, until};
use perennial::core::{Expiry, State};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

#[tokio::test]
async fn a_bell_rings_though_nothing_has_changed() {
    let mut receiver = Receiver::start([]).await;
    let stage = Stage::new().webhook(&receiver);
    for number in 0..20_000 {
        stage.world.put(seen(&format!("c{number:05}"), State::Held));
    }
    // Its bell rings two hours from now.
    let mut dying = seen("c07777-dies", State::Held);
    dying.ends = Some(Expiry::Stated(NOW.plus(90 * DAY + 7200)));
    stage.world.put(dying);
    let alerts = stage.start();
    let (_, body) = receiver.message(SECRET).await;
    assert_eq!(
        (&body["type"], &body["data"]["connection"]),
        (&"refresh_token.dies".into(), &"c07777-dies".into())
    );
    let reads = stage.world.reads.load(SeqCst);
    assert!(reads <= 20_001 + 2 * 500, "each once, and the page with the bell: {reads}");
    until("it is delivered", || alerts.tally().delivered() == 1).await;
    alerts.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn where_nobody_is_told_nothing_is_read() {
    let stage = Stage::new();
    stage.world.put(seen("acme", State::Suspended));
    let alerts = stage.start();
    alerts.changed(["acme".to_owned()]);
    alerts.stop(Duration::from_secs(10)).await;
    assert_eq!(stage.world.reads.load(SeqCst), 0);
}
