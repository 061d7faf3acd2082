//! The two clocks: one that tells the time and is doubted, one that only runs forward and counts suspend.

use crate::http::BoxFuture;
use crate::unix;
use perennial_core::UnixTime;
use perennial_core::time::{HostClock, Skew};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock of this host; may jump.
    fn now(&self) -> UnixTime;
    /// Time since boot: never jumps, and goes on while the machine sleeps.
    fn since_boot(&self) -> Duration;
    /// Names the running kernel whose boot that was.
    fn kernel(&self) -> String {
        unix::kernel_id()
    }
    /// Returns after `time`, or later: such a timer stands still while the machine sleeps.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }

    fn since_boot(&self) -> Duration {
        unix::since_boot()
    }
}

/// The wall clock as a keeper reads it: carried by the time since boot, it does not go back when somebody sets it back,
/// and what has been measured against it stays measured (law 11). Set forward it is believed at once: a token that is
/// taken for older than it is costs one refresh.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Reading>);

#[derive(Debug, Default)]
struct Reading {
    boot_epoch: Option<i64>,
    /// The jump that was told last, so that it is told once.
    told: i64,
}

impl Watch {
    pub(crate) fn now(&self, clock: &dyn Clock) -> UnixTime {
        let since_boot = seconds(clock.since_boot());
        let wall = clock.now();
        let steady = UnixTime(self.boot_epoch(wall.since(UnixTime(since_boot))).saturating_add(since_boot));
        // Whole seconds of two clocks: while the wall clock was not set it is the better one.
        if steady.since(wall).abs() < Skew::STEADY { wall } else { steady }
    }

    pub(crate) fn host(&self, clock: &dyn Clock) -> HostClock {
        let reading = Self::reading(clock);
        HostClock { boot_epoch: self.boot_epoch(reading.boot_epoch), ..reading }
    }

    /// The wall clock as it stands, for what another process has measured with it.
    pub(crate) fn reading(clock: &dyn Clock) -> HostClock {
        let boot_epoch = clock.now().0.saturating_sub(seconds(clock.since_boot()));
        HostClock { kernel: clock.kernel(), boot_epoch }
    }

    fn boot_epoch(&self, reading: i64) -> i64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *kept.boot_epoch.get_or_insert(reading);
        let jump = reading.saturating_sub(before);
        if jump.abs() < Skew::STEADY {
            return before;
        }
        if jump.abs_diff(kept.told) >= Skew::STEADY.unsigned_abs() {
            tracing::warn!(seconds = jump, "the clock of this machine was set, or the machine was paused");
            kept.told = jump;
        }
        if jump > 0 {
            (kept.boot_epoch, kept.told) = (Some(reading), 0);
        }
        before.max(reading)
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    #[derive(Default)]
    struct Hands {
        wall: AtomicI64,
        boot: AtomicI64,
    }

    impl Clock for Hands {
        fn now(&self) -> UnixTime {
            UnixTime(self.wall.load(Ordering::SeqCst))
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.boot.load(Ordering::SeqCst).unsigned_abs())
        }
    }

    #[test]
    fn law_11_a_clock_that_is_set_back_does_not_make_tokens_younger() {
        let (hands, watch) = (Hands::default(), Watch::default());
        let set = |wall, boot| {
            hands.wall.store(wall, Ordering::SeqCst);
            hands.boot.store(boot, Ordering::SeqCst);
            watch.now(&hands)
        };
        assert_eq!(set(1_000_000, 100), UnixTime(1_000_000));
        assert_eq!(set(996_500, 200), UnixTime(1_000_100), "set back by an hour");
        assert_eq!(watch.host(&hands).boot_epoch, 999_900);
        assert_eq!(set(1_007_400, 300), UnixTime(1_007_400), "set forward, or paused");
    }
}
