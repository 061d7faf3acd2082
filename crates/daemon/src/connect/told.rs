//! The partner is told that a company is connected: a webhook, signed and delivered as alerts are, out of an outbox of the
//! app's own. It is named by the grant, so that whoever is told twice knows it.

use super::visits::Visit;
use crate::alerts::{Courier, connected};
use crate::config::{self, Config};
use crate::shared::Shared;
use perennial::clock::SystemClock;
use perennial::http::Http;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One for each app that has a webhook.
pub(crate) struct Couriers {
    dir: Option<PathBuf>,
    http: Arc<Http>,
    by_app: Mutex<HashMap<String, (config::Webhook, Courier)>>,
}

impl Couriers {
    /// `dir` is the directory of outboxes; what waits there from before is delivered.
    pub(crate) fn start(dir: Option<PathBuf>, http: Arc<Http>, config: &Config) -> Self {
        let couriers = Self { dir, http, by_app: Mutex::default() };
        couriers.serve(config);
        couriers
    }

    /// One for each webhook of the configuration, and no others. One that cannot start is told to the log, and is tried
    /// again when it is needed.
    pub(crate) fn serve(&self, config: &Config) {
        let has_one = |app: &String| config.connect.get(app).is_some_and(|connect| connect.webhook.is_some());
        self.locked().retain(|app, _| has_one(app));
        for (app, connect) in &config.connect {
            if let Some(webhook) = &connect.webhook {
                self.with(app, webhook, |_| ());
            }
        }
    }

    fn with(&self, app: &str, webhook: &config::Webhook, act: impl FnOnce(&Courier)) {
        let Some(dir) = &self.dir else {
            tracing::error!(
                app,
                "there is no directory to keep webhooks in: alerts.outbox; the partner is not told"
            );
            return;
        };
        let mut by_app = self.locked();
        let sink = config::Sink::Webhook { url: webhook.url.clone(), secret: webhook.secret.clone() };
        if let Some((known, courier)) = by_app.get_mut(app) {
            if known != webhook {
                courier.serve(&sink);
                known.clone_from(webhook);
            }
        } else {
            let dir = dir.join(format!("connect-{app}"));
            match Courier::start(&dir, &sink, Arc::clone(&self.http), Arc::new(SystemClock)) {
                Ok(courier) => drop(by_app.insert(app.to_owned(), (webhook.clone(), courier))),
                Err(error) => tracing::error!(app, %error, "the partner cannot be told"),
            }
        }
        if let Some((_, courier)) = by_app.get(app) {
            act(courier);
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, (config::Webhook, Courier)>> {
        self.by_app.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries what waits once more, and ends.
    pub(crate) async fn stop(&self, deadline: std::time::Duration) {
        let couriers = std::mem::take(&mut *self.locked());
        for (_, (_, courier)) in couriers {
            courier.stop(deadline).await;
        }
    }
}

/// Puts the message into the outbox: durable before anybody hears of it. It may wait for a disk.
pub(super) fn tell(shared: &Shared, app: &str, connection: &str, visit: &Visit, correlation_id: &str) {
    let config = shared.config();
    let Some(webhook) = config.connect.get(app).and_then(|connect| connect.webhook.as_ref()) else { return };
    let grant =
        shared.keeper.connection(connection).ok().and_then(|seen| seen.held.map(|held| held.grant_id));
    let attempt = &visit.attempt;
    let id = format!("connected_{}", grant.unwrap_or_else(|| attempt.reference.clone()));
    let data = json!({
        "app": app,
        "connection": connection,
        "company": attempt.company.as_str(),
        "user": attempt.user,
        "subject": visit.subject.get(),
        "correlation_id": correlation_id,
        "reference": attempt.reference,
        "message": format!("company {} is connected", attempt.company),
        "hint": null,
    });
    let now = shared.keeper.now();
    shared.connect.couriers().with(app, webhook, |courier| courier.send(&connected(id, now, data), now));
}
