//! What is looked at from time to time, off the threads that others wait on, because looking costs too much to be done
//! whenever somebody asks for numbers; and whether a store that took no writes takes them again.

use crate::shared::Shared;
use perennial::core::UnixTime;
use perennial::core::journal::{Entry, Event};
use perennial::store::{Ends, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old what is told of the agenda may be. A look reads an index, and one record as a rule.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// How long refresh tokens' ends are not counted again: that goes through all connections. It is done page by page, with
/// pauses, so that others get at the disk: a million take some minutes.
pub(super) const ENDS: Duration = Duration::from_secs(3600);
const BETWEEN_PAGES: Duration = Duration::from_millis(500);

/// How often a store that took no writes is tried: nothing is done as long as it takes them.
const TICK: Duration = Duration::from_secs(2);

const DAY: i64 = 86_400;

/// Refresh tokens are counted by what they have left: ended, an hour, and so many days.
pub(super) const BOUNDS: [i64; 9] =
    [0, 3600, DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 90 * DAY, 180 * DAY];

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    agenda: Mutex<Option<Agenda>>,
    ends: Mutex<Option<Ends>>,
}

/// How far renewal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agenda {
    /// Connections whose renewal is due.
    pub(crate) due: u64,
    /// For how many seconds the one has waited that has waited longest.
    pub(crate) lag: i64,
}

impl Survey {
    /// Nothing where the store cannot be read.
    pub(crate) fn agenda(&self) -> Option<Agenda> {
        *self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ends(&self) -> Option<Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks from time to time until it is dropped.
pub(crate) async fn go_on(shared: Arc<Shared>) {
    let (mut agenda_at, mut was_writable): (Option<Instant>, bool) = (None, true);
    loop {
        if agenda_at.is_none_or(|at| at.elapsed() >= PAUSE) {
            let agenda = off_these_threads(&shared, agenda).await;
            *shared.survey.agenda.lock().unwrap_or_else(PoisonError::into_inner) = agenda;
            agenda_at = Some(Instant::now());
        }
        let is_writable = shared.health.is_writable(&shared.keeper.tally());
        if was_writable && !is_writable {
            tracing::error!("the store takes no writes: nothing is refreshed until it does");
        }
        was_writable = is_writable;
        if !is_writable {
            let _ = off_these_threads(&shared, try_to_write).await;
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Counts refresh tokens by their ends from time to time until it is dropped.
pub(crate) async fn count_ends(shared: Arc<Shared>) {
    loop {
        let counted = ends(&shared).await;
        let pause = if counted.is_some() { ENDS } else { PAUSE };
        if let Some(ends) = counted {
            *shared.survey.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Nothing where the store could not be read to its end.
async fn ends(shared: &Arc<Shared>) -> Option<Ends> {
    let (mut ends, mut after) = (Ends::none(BOUNDS.len()), None);
    loop {
        let page = move |shared: &Shared, now| shared.keeper.store().ends(now, &BOUNDS, after);
        let (page, next) = off_these_threads(shared, page).await?;
        ends = ends.and(&page);
        if next.is_none() {
            return Some(ends);
        }
        after = next;
        tokio::time::sleep(BETWEEN_PAGES).await;
    }
}

async fn off_these_threads<T: Send + 'static>(
    shared: &Arc<Shared>,
    look: impl FnOnce(&Shared, UnixTime) -> Result<T, StoreError> + Send + 'static,
) -> Option<T> {
    let own = Arc::clone(shared);
    let looked = tokio::task::spawn_blocking(move || look(&own, own.keeper.now())).await;
    match looked {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the store could not be looked at");
            None
        }
        Err(error) => {
            tracing::error!(%error, "the store could not be looked at");
            None
        }
    }
}

fn agenda(shared: &Shared, now: UnixTime) -> Result<Agenda, StoreError> {
    let store = shared.keeper.store();
    let due = store.backlog(now)?;
    let since = if due == 0 { None } else { store.longest_due(now)? };
    Ok(Agenda { due, lag: since.map_or(0, |since| now.since(since).max(0)) })
}

/// Takes in what the store would not take earlier. Where nothing waits, a line of the journal tells that it takes writes
/// again, and is the first one that it takes: whoever waits for the next refresh to tell may wait for days.
fn try_to_write(shared: &Shared, now: UnixTime) -> Result<(), StoreError> {
    shared.keeper.drain();
    let tally = shared.keeper.tally();
    if tally.rescue_waits || tally.held_in_memory > 0 {
        return Ok(());
    }
    let store = shared.keeper.store();
    for name in store.names_after(None, 1)? {
        let event = Event::Noted { what: "the store takes writes again".to_owned() };
        store.note(&name, &Entry { at: now, event, correlation_id: None })?;
    }
    shared.health.has_written();
    tracing::info!("the store takes writes again");
    Ok(())
}
