//! Ten thousand that fall together are one thing to a person.

use crate::receiver::Receiver;
use crate::stage::{SECRET, Stage, seen, until};
use perennial::core::State;
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test]
async fn ten_thousand_that_fall_at_once_are_a_handful_of_messages() {
    let (mut chat, mut webhook) = (Receiver::start([]).await, Receiver::start([]).await);
    let mut stage = Stage::new().chat(&chat).webhook(&webhook);
    // A minute takes a second: a machine that is busy for a tenth of one does not end a span.
    stage.speed = 50;
    let names: Vec<_> = (0..10_000).map(|number| format!("c{number:05}")).collect();
    names.iter().for_each(|name| stage.world.put(seen(name, State::NeedsReauthorization)));
    let alerts = stage.start();
    alerts.changed(names);
    let (mut counted, mut ids) = (0, BTreeSet::new());
    while counted < 10_000 {
        let (id, body) = webhook.message(SECRET).await;
        assert!(ids.insert(id), "what was sent has not grown");
        counted += body["data"]["count"].as_u64().unwrap_or(1);
    }
    assert_eq!(counted, 10_000, "each is counted once");
    let tally = alerts.tally();
    until("all is delivered", || tally.waiting() == 0).await;
    // Five, and a message a span for as long as looking at them takes.
    assert!(tally.delivered() <= 2 * 12, "{}", tally.delivered());
    let mut texts = Vec::new();
    for _ in 0..tally.delivered() / 2 {
        texts.push(chat.next().await.json()["text"].as_str().unwrap().to_owned());
    }
    assert!(
        texts.iter().any(|text| text.contains("connections changed their state (needs_reauthorization)")),
        "{texts:?}"
    );
    assert!(texts.iter().all(|text| text.len() < 1000));
    alerts.stop(Duration::from_secs(10)).await;
    assert!(chat.is_quiet() && webhook.is_quiet());
}
