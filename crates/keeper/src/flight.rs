//! One flight per connection, however many callers wait for it. It belongs to the keeper: callers join and leave, the
//! flight goes on.

use crate::error::Error;
use crate::hand_out::HandOut;
use crate::kit::{Kit, Order};
use crate::refresh;
use crate::rescue;
use perennial_core::connection::Cause;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// `None` while the flight is in the air.
pub(crate) type Landing = watch::Receiver<Option<Result<HandOut, Error>>>;

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
        let (report, landing) = watch::channel(None);
        under_way.insert(order.name.clone(), (order.cause.clone(), landing.clone()));
        let (flights, kit) = (Arc::clone(self), Arc::clone(kit));
        // Also if it panics, or is never begun: a connection must not be taken for flying for ever.
        let off_the_list = OffTheList { flights, name: order.name.clone() };
        drop(under_way);
        threads.spawn(async move {
            let result = refresh::fly(&kit, &order).await;
            if let Err(error) = &result {
                tracing::debug!(connection = %order.name, %error, "flight failed");
            }
            if kit.rescue.is_needed() {
                tokio::spawn(rescue::drain_until_done(kit));
            }
            // First off the list: who hears the report and asks again must not be told the same once more.
            drop(off_the_list);
            let _ = report.send(Some(result));
        });
        Joined::Same(landing)
    }

    pub(crate) fn any(&self) -> bool {
        !self.under_way().is_empty()
    }

    pub(crate) async fn landed(&self) {
        loop {
            let Some((_, mut landing)) = self.under_way().values().next().cloned() else { return };
            // An error means that the sender is gone, which is as good as landed.
            let _ = landing.wait_for(Option::is_some).await;
            tokio::task::yield_now().await;
        }
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, (Cause, Landing)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct OffTheList {
    flights: Arc<Flights>,
    name: String,
}

impl Drop for OffTheList {
    fn drop(&mut self) {
        self.flights.under_way().remove(&self.name);
    }
}
