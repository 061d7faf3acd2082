//! A process that is killed between writing a message down and its delivery: the next one delivers it.

use crate::receiver::{Answer, Receiver};
use crate::stage::{SECRET, Stage, seen, until};
use perennial::core::State;
use std::process::{Command, Stdio};
use std::time::Duration;

const OUTBOX: &str = "PERENNIAL_TEST_OUTBOX";
const CONFIG: &str = "PERENNIAL_TEST_SINK";

/// Not a story of its own: it is the process that is killed.
#[tokio::test]
#[ignore = "started by the story below"]
async fn the_process() {
    let stage = Stage::new().sink(&std::env::var(CONFIG).unwrap());
    stage.world.put(seen("acme", State::NeedsReauthorization));
    let parts =
        perennial_daemon::alerts::Parts { outbox: std::env::var_os(OUTBOX).unwrap().into(), ..stage.parts() };
    let _alerts = perennial_daemon::alerts::Alerts::start(&stage.config(), parts).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_loses_no_message_and_none_gets_a_second_id() {
    let mut receiver = Receiver::start([Answer::Hang]).await;
    let stage = Stage::new();
    let (url, secret) = (stage.secret(&receiver.url("/")), stage.secret(SECRET));
    let sink = format!("kind = \"webhook\"\nurl = \"{url}\"\nsecret = \"{secret}\"\n");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "killed::the_process"])
        .env(OUTBOX, stage.outbox())
        .env(CONFIG, &sink)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (id, first) = receiver.message(SECRET).await;
    // SIGKILL; the receiver has the message and has not said so.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stage.waiting().len(), 1);

    let stage = stage.sink(&sink);
    stage.world.put(seen("acme", State::NeedsReauthorization));
    let alerts = stage.start();
    let (again, second) = receiver.message(SECRET).await;
    assert_eq!((&again, &second["data"]["connection"]), (&id, &first["data"]["connection"]));
    until("it is delivered", || alerts.tally().delivered() > 0).await;
    alerts.changed(["acme".to_owned()]);
    alerts.stop(Duration::from_secs(10)).await;
    // It may have died before it had noted that it told this; then it is told again, as the same thing.
    assert!(receiver.rest().iter().all(|request| request.headers["webhook-id"] == id));
    assert!(stage.waiting().is_empty());
}
