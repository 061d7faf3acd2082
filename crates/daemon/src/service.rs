//! What a service manager is told (sd_notify): that the daemon serves, how it is, that it reads its configuration anew,
//! that it ends, and, as long as it is well, that it must not be restarted. Where nobody listens, nothing is told.

use crate::daemon::Daemon;
use crate::shared::Shared;
use sd_notify::NotifyState::{self, Ready, Reloading, Status, Stopping, Watchdog};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the text changes at most that `systemctl status` shows.
const PAUSE: Duration = Duration::from_secs(10);

/// Tells how the daemon is until it is dropped, also while the daemon drains.
#[derive(Debug)]
#[must_use = "what is dropped tells nothing: the watchdog would restart the daemon"]
pub struct Telling(JoinHandle<()>);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// It listens and serves. From here on the watchdog is kept quiet for as long as the daemon is well.
pub fn ready(daemon: &Daemon) -> Telling {
    let shared = Arc::clone(daemon.shared());
    tell(&[Ready, Status(&status(&shared))]);
    Telling(tokio::spawn(go_on(shared, sd_notify::watchdog_enabled())))
}

/// It has begun to read its configuration anew; [`reloaded`] must follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager was not told of the reload"),
    }
}

/// It serves on, with what it was told before where the new configuration was wrong.
pub fn reloaded() {
    tell(&[Ready]);
}

/// It accepts nothing more, and ends when what is under way has ended.
pub fn stopping() {
    tell(&[Stopping, Status("what is under way ends")]);
}

/// The watchdog is told twice in its time, so that one late turn of a busy machine kills nobody.
async fn go_on(shared: Arc<Shared>, watchdog: Option<Duration>) {
    let turn = watchdog.map_or(PAUSE, |time| (time / 2).min(PAUSE)).max(Duration::from_millis(10));
    let (mut told, mut was_well) = (String::new(), true);
    loop {
        let ended = shared.health.ended(shared.scheduler.load().rounds);
        let is_well = ended.is_empty();
        if was_well && !is_well {
            tracing::error!(reasons = ended.join("; "), "the watchdog is told nothing more");
        }
        was_well = is_well;
        if watchdog.is_some() && is_well {
            tell(&[Watchdog]);
        }
        let now = status(&shared);
        if now != told && !shared.health.is_draining() {
            tell(&[Status(&now)]);
            told = now;
        }
        tokio::time::sleep(turn).await;
    }
}

/// One short line. No name stands in it: whoever may ask the service manager may read it.
fn status(shared: &Shared) -> String {
    let sockets = shared.tally.sockets.get();
    let tokens = shared.hot.len();
    let due =
        shared.survey.agenda().map_or_else(String::new, |agenda| format!(", {} renewals due", agenda.due));
    let trouble = match (shared.health.is_readable(), shared.health.is_writable(&shared.keeper.tally())) {
        (true, true) => "",
        (true, false) => "the store takes no writes; ",
        (false, _) => "the store cannot be read; ",
    };
    format!("{trouble}{sockets} sockets open, {tokens} tokens in memory{due}")
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
