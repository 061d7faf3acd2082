//! One sink with an outbox of its own, for what is no alert: messages that one receiver is told of, as durably as alerts
//! are told.

use super::deliver::Worker;
use super::outbox::Outbox;
use super::sink::Sink;
use super::tally::Tally;
use super::{Message, OutboxError, Stage, alert};
use crate::config;
use perennial::clock::Clock;
use perennial::core::UnixTime;
use perennial::http::Http;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A sink, its outbox, and the worker that empties it.
pub(crate) struct Courier {
    outbox: Arc<Outbox>,
    http: Arc<Http>,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
    stage: watch::Sender<Stage>,
    worker: JoinHandle<()>,
}

impl Courier {
    /// Starts delivering, within the runtime that this is called in; what waited there is delivered first.
    pub(crate) fn start(
        dir: &Path,
        sink: &config::Sink,
        http: Arc<Http>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OutboxError> {
        let tally = Arc::new(Tally::default());
        let outbox = Outbox::open(dir, Arc::clone(&tally));
        let outbox = Arc::new(outbox.map_err(|why| OutboxError { dir: dir.to_owned(), why })?);
        let (stage, worker) = (watch::Sender::new(Stage::Running), tokio::spawn(async {}));
        let mut courier = Self { outbox, http, clock, tally, stage, worker };
        courier.serve(sink);
        Ok(courier)
    }

    /// Delivers there from here on. A message that was just being sent is sent again, under the same id; what waits for
    /// another address stays in the outbox.
    pub(crate) fn serve(&mut self, sink: &config::Sink) {
        self.worker.abort();
        let sink = Sink::new(1, sink);
        self.outbox.serve(vec![(sink.key.clone(), sink.most_waiting())]);
        let worker = Worker {
            sink,
            outbox: Arc::clone(&self.outbox),
            http: Arc::clone(&self.http),
            clock: Arc::clone(&self.clock),
            tally: Arc::clone(&self.tally),
            stage: self.stage.subscribe(),
        };
        self.worker = tokio::spawn(worker.run());
    }

    /// Takes a message in: when this returns it is durable. It may wait for the disk.
    pub(crate) fn send(&self, message: &Message, now: UnixTime) {
        self.outbox.put(std::slice::from_ref(message), now);
    }

    /// Tries what waits once more, and ends; at the latest after `deadline`.
    pub(crate) async fn stop(mut self, deadline: Duration) {
        self.stage.send_replace(Stage::Draining);
        let _ = tokio::time::timeout(deadline, &mut self.worker).await;
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// A company is connected.
pub(crate) fn connected(id: String, at: UnixTime, data: Value) -> Message {
    let text = data["message"].as_str().unwrap_or_default().to_owned();
    Message::new(id, "connection.connected", at, alert::object(data), format!("perennial: {text}"), false)
}
