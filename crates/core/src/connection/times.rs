//! A connection's times: when its tokens are to be renewed or replaced, whether the access token still lives, and by whose
//! clock all that is told (law 11). What is kept is the server's time; each host has measured for itself how far it is off.

use super::{Access, Connection};
use crate::schedule::{self, Jitter};
use crate::secret::Fingerprint;
use crate::time::{Expiry, HostClock, Skew, UnixTime};

/// Of so many other hosts the measured clocks are kept.
const MOST_CLOCKS: usize = 16;

impl Connection {
    /// The connection as this host sees it. A skew counts against the wall clock that it was measured with: another
    /// host's says nothing here, and one of ours is corrected when the clock was set back since (law 11).
    #[must_use]
    pub fn seen_on(mut self, host: &HostClock) -> Self {
        let known = self.clock.take().map(|clock| (clock, self.skew));
        let (own, mut others): (Vec<_>, Vec<_>) =
            self.other_clocks.drain(..).chain(known).partition(|(clock, _)| clock.kernel == host.kernel);
        // Kernels come and go with every boot.
        others.drain(..others.len().saturating_sub(MOST_CLOCKS));
        self.other_clocks = others;
        self.skew = Skew::default();
        if let Some((then, skew)) = own.into_iter().last() {
            let was_set = host.boot_epoch.saturating_sub(then.boot_epoch);
            (self.skew, self.clock) = (skew.after_wall_clock_was_set(was_set), Some(host.clone()));
        }
        self
    }

    /// The same, told by a clock of the same kernel that stands otherwise: a process that saw the wall clock being set
    /// back reads another one than a process that has just started, and both speak of one server.
    #[must_use]
    pub fn told_by(mut self, host: &HostClock) -> Self {
        if let Some(then) = self.clock.as_mut().filter(|then| then.kernel == host.kernel) {
            let by = host.boot_epoch.saturating_sub(then.boot_epoch);
            if by.abs() >= Skew::STEADY {
                self.skew = self.skew.moved_back(by);
                host.clone_into(then);
            }
        }
        self
    }

    /// From when on the refresh token is renewed though nobody asked, by the server's clock. The jitter is drawn
    /// from id and generation, so that it stands still between two looks and differs between two connections.
    #[must_use]
    pub fn renew_at(&self) -> Option<UnixTime> {
        let held = self.held.as_ref()?;
        held.refresh.as_ref()?;
        let jitter = steady_jitter(&self.id, held.generation);
        // Nobody knows how long these tokens have been held: better now than too late.
        let Some(refreshed_at) = held.refreshed_at else { return Some(UnixTime(0)) };
        Some(schedule::renew_at(refreshed_at, held.refresh_expiry.map(Expiry::at), &self.policy, jitter))
    }

    /// From when on the access token is replaced before it ends, by the server's clock: for connections that somebody
    /// asks for (see [`schedule::refresh_at`]). The jitter is the token's own, so that every host of a fleet comes to
    /// the same time, each generation to another one, and nothing need be kept. `None` where nobody knows how long the
    /// token lives.
    #[must_use]
    pub fn refresh_at(&self) -> Option<UnixTime> {
        let held = self.held.as_ref()?;
        if held.refresh.is_none() && !self.obtains_itself() {
            return None;
        }
        let (access, issued) = (held.access.as_ref()?, held.refreshed_at?);
        schedule::refresh_at(issued, access.expiry.at(), jitter_of(&access.token.fingerprint()))
    }

    /// The access token while it lives, and how many seconds it has left.
    #[must_use]
    pub fn living_access(&self, now: UnixTime) -> Option<(&Access, i64)> {
        let held = self.held.as_ref()?;
        let access = held.access.as_ref()?;
        let left = access.expiry.at().since(self.skew.server_time(now));
        // More left than it was given: some clock stood wrong, then or now, and nobody knows which (law 11).
        let given = held.refreshed_at.map_or(i64::MAX, |at| access.expiry.at().since(at));
        let believable = left <= given.saturating_add(Skew::AGREEMENT);
        // Two processes may count the same second differently; nobody is told of more than was given.
        (left > 0 && believable).then_some((access, left.min(given)))
    }
}

fn steady_jitter(id: &str, generation: u64) -> Jitter {
    jitter_of(&Fingerprint::of(&format!("{id}/{generation}")))
}

fn jitter_of(digits: &Fingerprint) -> Jitter {
    let number = u32::from_str_radix(&digits.as_str()[..8], 16).unwrap_or(0);
    Jitter::new(f64::from(number) / 4_294_967_296.0)
}
