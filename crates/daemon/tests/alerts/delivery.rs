//! Messages arrive, whatever the receiver does first.

use crate::receiver::{Answer, Receiver};
use crate::stage::{NOW, SECRET, Stage, seen, until};
use perennial::core::State;
use perennial_daemon::alerts::{Message, Outcome, Sink};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_webhook_is_signed_and_sent_again_until_it_is_taken() {
    let mut receiver = Receiver::start([Answer::Status(500), Answer::Status(500)]).await;
    let stage = Stage::new().webhook(&receiver);
    stage.world.put(seen("acme", State::NeedsReauthorization));
    let alerts = stage.start();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = receiver.next().await;
        request.check_signature(SECRET);
        assert_eq!(
            (request.path.as_str(), request.headers["content-type"].as_str()),
            ("/alerts?to=us", "application/json")
        );
        let body = request.json();
        assert_eq!((&body["type"], &body["version"]), (&"connection.state_changed".into(), &1.into()));
        assert_eq!(body["data"]["connection"], "acme");
        assert_eq!(body["data"]["tenant"], "default");
        assert_eq!(body["data"]["state"], "needs_reauthorization");
        assert_eq!(body["data"]["days_left"], 180);
        assert!(body["data"]["hint"].as_str().unwrap().contains("perennial reauthorize acme"), "{body}");
        assert_eq!(body["id"], request.headers["webhook-id"].as_str());
        ids.push(request.headers["webhook-id"].clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let tally = alerts.tally();
    until("it is delivered", || tally.delivered() == 1).await;
    assert_eq!((tally.failed(), tally.waiting(), tally.dropped()), (2, 0, 0));
    alerts.stop(Duration::from_secs(10)).await;
    assert!(stage.waiting().is_empty() && receiver.is_quiet());
}

#[tokio::test]
async fn law_10_over_tls_the_receiver_is_known_or_nothing_is_sent() {
    let mut receiver = Receiver::start_tls([]).await;
    let mut stage = Stage::new().webhook(&receiver);
    let sink = Sink::all(&stage.config()).remove(0);
    let message = Message::test(NOW);
    let Outcome::Failed(failure) = sink.send(&message, &stage.http(), NOW).await else {
        panic!("it was sent")
    };
    assert!(failure.what.starts_with("no TLS session"), "{failure:?}");
    let certificate = stage.dir.path().join("receiver.pem");
    std::fs::write(&certificate, &receiver.certificate).unwrap();
    stage.options.ca_cert = Some(certificate);
    assert_eq!(sink.send(&message, &stage.http(), NOW).await, Outcome::Delivered { status: 204 });
    let (_, body) = receiver.message(SECRET).await;
    assert_eq!(body["type"], "alerts.test");
}

#[tokio::test]
async fn whatever_the_receiver_does_is_a_failure_unless_it_says_2xx() {
    let mut elsewhere = Receiver::start([]).await;
    let receiver = Receiver::start([]).await;
    let stage = Stage::new().webhook(&receiver);
    let sink = Sink::all(&stage.config()).remove(0).patient_for(Duration::from_millis(200));
    for (answer, says) in [
        (Answer::Status(500), "HTTP 500"),
        (Answer::Status(410), "HTTP 410"),
        (Answer::Redirect(elsewhere.url("/")), "not followed"),
        (Answer::Hang, "no answer in time"),
        (Answer::Close, "the connection ended"),
    ] {
        receiver.answer([answer]);
        let sent = sink.send(&Message::test(NOW), &stage.http(), NOW).await;
        let Outcome::Failed(failure) = sent else { panic!("{sent:?}") };
        assert!(failure.what.contains(says), "{failure:?}");
    }
    assert!(elsewhere.is_quiet(), "a redirect was followed");
}

#[tokio::test]
async fn two_secrets_are_two_signatures_while_one_is_replaced() {
    let mut receiver = Receiver::start([]).await;
    let stage = Stage::new();
    let new = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let (url, secret) = (stage.secret(&receiver.url("/")), stage.secret(&format!("{new} {SECRET}")));
    let stage = stage.sink(&format!("kind = \"webhook\"\nurl = \"{url}\"\nsecret = \"{secret}\"\n"));
    let sink = Sink::all(&stage.config()).remove(0);
    assert_eq!(sink.send(&Message::test(NOW), &stage.http(), NOW).await, Outcome::Delivered { status: 204 });
    let request = receiver.next().await;
    request.check_signature(SECRET);
    request.check_signature(new);
}

#[tokio::test]
async fn a_chat_gets_a_text_that_wakes_nobody() {
    let mut receiver = Receiver::start([]).await;
    let stage = Stage::new().chat(&receiver);
    let mut connection = seen("acme", State::Suspended);
    connection.fault = Some(fault("code 5: <!channel> & co"));
    stage.world.put(connection);
    let alerts = stage.start();
    let request = receiver.next().await;
    let text = request.json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("perennial: connection acme (tenant default): it is suspended"), "{text}");
    assert!(text.contains("&lt;!channel&gt; &amp; co") && text.contains("correlation id abc"), "{text}");
    assert!(
        text.contains("\nnext: check the App ID and the client secret, then: perennial refresh acme"),
        "{text}"
    );
    alerts.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_sink_that_is_down_and_a_message_that_is_refused_hold_up_nobody() {
    let mut bad = Receiver::start(std::iter::repeat_n(Answer::Close, 1000)).await;
    let mut good = Receiver::start([Answer::Status(400)]).await;
    let stage = Stage::new().webhook(&bad).webhook(&good);
    stage.world.put(seen("first", State::Suspended));
    let alerts = stage.start();
    let refused = good.message(SECRET).await.0;
    stage.world.put(seen("second", State::Suspended));
    alerts.changed(["second".to_owned()]);
    let mut came = [good.message(SECRET).await.0, good.message(SECRET).await.0];
    came.sort();
    assert!(came.contains(&refused) && came[0] != came[1], "both arrive: {came:?}");
    bad.next().await;
    until("the good one has both", || alerts.tally().delivered() == 2).await;
    assert_eq!(alerts.tally().waiting(), 2, "for the one that is down");
}

#[tokio::test]
async fn a_program_is_told_again_until_it_ends_well() {
    let stage = Stage::new();
    let dir = stage.dir.path().display().to_string();
    let script = format!("cat > {dir}/told; test -e {dir}/second || {{ touch {dir}/second; exit 1; }}");
    let stage = stage.sink(&format!("kind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n"));
    stage.world.put(seen("acme", State::Revoked));
    let alerts = stage.start();
    let tally = alerts.tally();
    until("the program has taken it", || tally.delivered() == 1).await;
    assert_eq!(tally.failed(), 1);
    let told: serde_json::Value =
        serde_json::from_slice(&std::fs::read(stage.dir.path().join("told")).unwrap()).unwrap();
    assert_eq!(told["data"]["state"], "revoked");
}

#[tokio::test]
async fn the_daemon_itself_is_told_of_and_so_is_its_recovery() {
    let mut receiver = Receiver::start([]).await;
    let stage = Stage::new().webhook(&receiver);
    stage.world.vitals.lock().unwrap().store_fault = Some("the disk is full".to_owned());
    let alerts = stage.start();
    let (_, body) = receiver.message(SECRET).await;
    assert_eq!(
        (&body["type"], &body["data"]["fault"]),
        (&"store.not_writable".into(), &"the disk is full".into())
    );
    stage.world.vitals.lock().unwrap().store_fault = None;
    let (_, body) = receiver.message(SECRET).await;
    assert_eq!(body["type"], "store.not_writable.recovered");
    drop(alerts);
}

#[tokio::test]
async fn a_reload_changes_sinks_and_loses_nothing() {
    let (mut old, mut new) = (Receiver::start([]).await, Receiver::start([]).await);
    let (before, after) = (Stage::new().webhook(&old), Stage::new().webhook(&new));
    before.world.put(seen("acme", State::Suspended));
    let alerts = before.start();
    old.message(SECRET).await;
    alerts.reload(&after.config());
    before.world.put(seen("globex", State::Suspended));
    alerts.changed(["globex".to_owned()]);
    let (_, body) = new.message(SECRET).await;
    assert_eq!(body["data"]["connection"], "globex", "acme was told already");
    assert!(old.is_quiet());
}

#[tokio::test]
async fn the_end_waits_for_no_receiver_and_the_next_start_delivers() {
    let mut receiver = Receiver::start([Answer::Hang]).await;
    let stage = Stage::new().webhook(&receiver);
    stage.world.put(seen("acme", State::Suspended));
    let alerts = stage.start();
    let (id, _) = receiver.message(SECRET).await;
    alerts.stop(Duration::ZERO).await;
    assert_eq!(stage.waiting().len(), 1);
    let alerts = stage.start_again().await;
    assert_eq!(receiver.message(SECRET).await.0, id);
    alerts.stop(Duration::from_secs(10)).await;
    assert!(stage.waiting().is_empty());
}

#[tokio::test]
async fn the_end_looks_at_what_changed_last_and_tells_it() {
    let mut receiver = Receiver::start([]).await;
    let stage = Stage::new().webhook(&receiver);
    let alerts = stage.start();
    stage.world.put(seen("acme", State::Suspended));
    alerts.changed(["acme".to_owned()]);
    alerts.stop(Duration::from_secs(30)).await;
    assert_eq!(receiver.message(SECRET).await.1["data"]["connection"], "acme");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_looked_at_again() {
    let mut receiver = Receiver::start([]).await;
    let stage = Stage::new().webhook(&receiver);
    let alerts = stage.start();
    *stage.world.is_away.lock().unwrap() = true;
    stage.world.put(seen("acme", State::Suspended));
    alerts.changed(["acme".to_owned()]);
    let world = Arc::clone(&stage.world);
    until("it was tried twice", || world.reads.load(std::sync::atomic::Ordering::SeqCst) >= 2).await;
    assert!(receiver.is_quiet());
    *stage.world.is_away.lock().unwrap() = false;
    assert_eq!(receiver.message(SECRET).await.1["data"]["connection"], "acme");
}

pub(crate) fn fault(message: &str) -> perennial::core::connection::Fault {
    perennial::core::connection::Fault {
        at: NOW,
        purpose: perennial::core::profile::Purpose::Refresh,
        verdict: perennial::core::Verdict::FixClient,
        status: Some(400),
        code: Some(5),
        description: None,
        correlation_id: Some("abc".to_owned()),
        message: message.to_owned(),
    }
}
