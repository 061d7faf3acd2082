//! A clock that a test moves.

use perennial::clock::Clock;
use perennial::core::UnixTime;
use perennial::http::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Who sleeps for less looks again and again until somebody else has done something, as for a claim: no time passes by
/// that, for a request under way would be taken for lost.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Begins at this machine's time, because the sandbox says that in its answers, and stands still.
#[derive(Clone)]
pub(crate) struct Hands {
    began: UnixTime,
    passed: Arc<watch::Sender<Duration>>,
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl Hands {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            began: UnixTime(i64::try_from(now.as_secs()).unwrap()),
            passed: Arc::new(watch::Sender::new(Duration::ZERO)),
            slept: Arc::default(),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.passed.send_modify(|passed| *passed += time);
    }

    /// All times for which somebody wanted to sleep.
    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }
}

impl Clock for Hands {
    fn now(&self) -> UnixTime {
        self.began.after(*self.passed.borrow())
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(10_000) + *self.passed.borrow()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.slept.lock().unwrap().push(time);
        if time < A_MOMENT {
            return Box::pin(tokio::task::yield_now());
        }
        let mut passed = self.passed.subscribe();
        let until = *passed.borrow() + time;
        Box::pin(async move {
            passed.wait_for(|passed| *passed >= until).await.unwrap();
        })
    }
}
