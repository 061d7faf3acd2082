//! Clocks. There is one true time, the simulation's own, in which the authorization server lives. Each host has a wall
//! clock that is wrong by its own measure, drifts and is set; a clock that counts from boot; and timers that stand still
//! while it sleeps (law 11).

use crate::world::{Shared, Who};
use perennial::clock::Clock;
use perennial::core::UnixTime;
use perennial::http::BoxFuture;
use std::time::Duration;

/// True time since the simulation began.
pub(crate) type Moment = Duration;

/// What the true time was then: 2027-01-15.
pub(crate) const EPOCH: i64 = 1_800_000_000;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The true time as a server tells it.
pub(crate) fn unix(moment: Moment) -> i64 {
    EPOCH + whole(moment)
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A machine, as far as time goes.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) number: usize,
    /// How much too fast its crystal runs, in millionths.
    drift: i64,
    /// How far the wall clock was set ahead in all, in seconds.
    set_ahead: i64,
    booted: Moment,
    boots: u32,
    /// When it was asleep, from and until; the last of these may still last.
    naps: Vec<(Moment, Moment)>,
    /// Until when it has no power.
    pub(crate) dark_until: Moment,
}

impl Host {
    pub(crate) fn new(number: usize, drift: i64, set_ahead: i64) -> Self {
        Self {
            number,
            drift,
            set_ahead,
            booted: Duration::ZERO,
            boots: 1,
            naps: Vec::new(),
            dark_until: Duration::ZERO,
        }
    }

    fn drifted(&self, span: Duration) -> i64 {
        millis(span).saturating_mul(self.drift) / 1_000_000
    }

    /// How far the wall clock is ahead of the truth, in seconds.
    pub(crate) fn error(&self, now: Moment) -> i64 {
        self.set_ahead + self.drifted(now) / 1000
    }

    pub(crate) fn wall(&self, now: Moment) -> UnixTime {
        UnixTime(EPOCH + self.set_ahead + (millis(now) + self.drifted(now)).div_euclid(1000))
    }

    pub(crate) fn since_boot(&self, now: Moment) -> Duration {
        let up = now.saturating_sub(self.booted);
        Duration::from_millis(u64::try_from(millis(up) + self.drifted(up)).unwrap_or(0))
    }

    pub(crate) fn kernel(&self) -> String {
        format!("host{}-boot{}", self.number, self.boots)
    }

    pub(crate) fn set(&mut self, by: i64) {
        self.set_ahead += by;
    }

    pub(crate) fn reboot(&mut self, now: Moment, dark_until: Moment) {
        self.boots += 1;
        self.booted = dark_until;
        self.dark_until = dark_until;
        if let Some(nap) = self.naps.last_mut() {
            nap.1 = nap.1.min(now);
        }
    }

    /// A new kernel on a machine whose clock is right from here on.
    pub(crate) fn come_to_its_senses(&mut self, now: Moment) {
        self.reboot(now, now);
        (self.drift, self.set_ahead) = (0, 0);
    }

    pub(crate) fn nap(&mut self, from: Moment, time: Duration) {
        if self.asleep_until(from).is_none() {
            self.naps.push((from, from + time));
        }
    }

    pub(crate) fn asleep_until(&self, now: Moment) -> Option<Moment> {
        self.naps.last().filter(|(from, until)| (*from..*until).contains(&now)).map(|(_, until)| *until)
    }

    /// How long it was asleep between two moments.
    pub(crate) fn asleep_between(&self, from: Moment, until: Moment) -> Duration {
        let share = |(start, end): &(Moment, Moment)| (*end).min(until).saturating_sub((*start).max(from));
        self.naps.iter().rev().take_while(|(_, end)| *end > from).map(share).sum()
    }
}

/// A host's clocks as one of its processes reads them.
pub(crate) struct SimClock {
    pub(crate) world: Shared,
    pub(crate) who: Who,
}

impl Clock for SimClock {
    fn now(&self) -> UnixTime {
        self.world.look(|state| state.hosts[self.who.host].wall(state.now))
    }

    fn since_boot(&self) -> Duration {
        self.world.look(|state| state.hosts[self.who.host].since_boot(state.now))
    }

    fn kernel(&self) -> String {
        self.world.look(|state| state.hosts[self.who.host].kernel())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let (world, who) = (self.world.clone(), self.who);
        Box::pin(async move { world.rest(who, time).await })
    }
}
