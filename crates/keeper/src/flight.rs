//! One flight per connection, however many callers wait for it. It belongs to the keeper: callers join and leave, the
//! flight goes on.

use crate::error::Error;
use crate::hand_out::HandOut;
use crate::kit::{Kit, Order};
use crate::refresh;
use crate::rescue;
use perennial_core::connection::Cause;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Where a flight's end is told, to all who wait for it in the order in which they came. (A watch channel wakes them in
/// any order, so that no simulation would run the same way twice.)
#[derive(Clone, Debug, Default)]
pub(crate) struct Landing(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    result: OnceLock<Result<HandOut, Error>>,
    told: Notify,
}

impl Landing {
    /// Waits until the flight has ended.
    pub(crate) async fn result(&self) -> Result<HandOut, Error> {
        loop {
            let told = self.0.told.notified();
            if let Some(result) = self.0.result.get() {
                return result.clone();
            }
            told.await;
        }
    }

    fn tell(&self, result: Result<HandOut, Error>) {
        if self.0.result.set(result).is_ok() {
            self.0.told.notify_waiters();
        }
    }
}

/// Whose flight was joined.
pub(crate) enum Joined {
    /// One for the same cause.
    Same(Landing),
    /// One for another cause.
    Other(Landing),
}

/// The flights that are under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    under_way: Mutex<BTreeMap<String, (Cause, Landing)>>,
}

impl Flights {
    /// Joins the connection's flight if it was ordered for the same cause, or starts one. A flight for another cause is
    /// to be waited for: what comes of it may not be what this order wants.
    pub(crate) fn join(self: &Arc<Self>, kit: &Arc<Kit>, threads: &Handle, order: Order) -> Joined {
        let mut under_way = self.under_way();
        if let Some((cause, landing)) = under_way.get(&order.name) {
            let landing = landing.clone();
            return if *cause == order.cause { Joined::Same(landing) } else { Joined::Other(landing) };
        }
        let landing = Landing::default();
        under_way.insert(order.name.clone(), (order.cause.clone(), landing.clone()));
        let (flights, kit, own) = (Arc::clone(self), Arc::clone(kit), landing.clone());
        // Also if it panics, or is never begun: a connection must not be taken for flying for ever.
        let own_flight = UnderWay { flights, name: order.name.clone(), landing: own, result: None };
        drop(under_way);
        kit.tally.begins(&order.cause);
        threads.spawn(async move {
            let result = refresh::fly(&kit, &order).await;
            if let Err(error) = &result {
                tracing::debug!(connection = %order.name, %error, "flight failed");
                kit.tally.ended(error);
            }
            // Who hears of the landing may end the process: the store is let go before, so that whoever holds it last
            // waits until it has finished its work, its backup too.
            if kit.rescue.is_needed() {
                tokio::spawn(rescue::drain_until_done(kit));
            } else {
                drop(kit);
            }
            own_flight.land(result);
        });
        Joined::Same(landing)
    }

    pub(crate) fn any(&self) -> bool {
        self.count() > 0
    }

    pub(crate) fn count(&self) -> usize {
        self.under_way().len()
    }

    pub(crate) async fn landed(&self) {
        loop {
            let Some((_, landing)) = self.under_way().values().next().cloned() else { return };
            let _ = landing.result().await;
            tokio::task::yield_now().await;
        }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, (Cause, Landing)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which connections were ordered ahead lately: while a flight cannot start (the connection backs off, a person is
/// needed), the next hand-out does not order it at once again.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<BTreeMap<String, Duration>>);

/// No connection is ordered ahead twice within this time: a look at the store for each hand-out would be dear.
const AHEAD_PAUSE: Duration = Duration::from_secs(5);

/// So many are remembered before those whose pause is over are forgotten.
const MOST_RECENT: usize = 10_000;

impl Recent {
    /// True when the connection was not ordered lately; it is from now on.
    pub(crate) fn admits(&self, name: &str, now: Duration) -> bool {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Duration| now.saturating_sub(*at) < AHEAD_PAUSE;
        if let Some(at) = recent.get_mut(name) {
            let admitted = !is_recent(at);
            if admitted {
                *at = now;
            }
            return admitted;
        }
        if recent.len() >= MOST_RECENT {
            recent.retain(|_, at| is_recent(at));
        }
        recent.insert(name.to_owned(), now);
        true
    }
}

/// A flight that is under way.
struct UnderWay {
    flights: Arc<Flights>,
    name: String,
    landing: Landing,
    result: Option<Result<HandOut, Error>>,
}

impl UnderWay {
    fn land(mut self, result: Result<HandOut, Error>) {
        self.result = Some(result);
    }
}

impl Drop for UnderWay {
    /// Also if it panics: a connection must not be taken for flying for ever. First off the list: who hears the report
    /// and asks again must not be told the same once more.
    fn drop(&mut self) {
        self.flights.under_way().remove(&self.name);
        let without_a_word = || Err(Error::Internal("a flight ended without a word".to_owned()));
        self.landing.tell(self.result.take().unwrap_or_else(without_a_word));
    }
}
