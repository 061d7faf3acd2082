//! The two clocks: one that tells the time and is doubted, one that only runs forward and counts suspend.

use crate::unix;
use perennial_core::UnixTime;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock of this host; may jump.
    fn now(&self) -> UnixTime;
    /// Time since boot: never jumps, and goes on while the machine sleeps.
    fn since_boot(&self) -> Duration;
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
