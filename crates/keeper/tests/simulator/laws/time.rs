//! Law 11: time is doubted. What may be believed of a wall clock depends on what was measured with it:
//!
//! - A host whose running kernel has heard two right `Date`s in a row for a connection knows the server's time for it
//!   to [`ROUGH`] seconds, and goes on knowing it when its clock is set back; set ahead, it takes tokens for older than
//!   they are, which is safe.
//! - A token is handed out after its end by no more than the clock of who stored it was ahead then, and the clock of who
//!   hands it out is behind now. So on hosts that know the time, by no more than twice [`ROUGH`] seconds.

use super::Order;
use crate::clocks::{Moment, unix};
use crate::store::name_of;
use crate::world::{State, Who};
use perennial::HandOut;
use perennial::core::connection::Connection;
use perennial::core::time::HostClock;

/// A `Date` is read late by as much as its answer was slow, and has whole seconds; a crystal drifts between two.
const ROUGH: i64 = 75;

/// The last right `Date`s that were heard for a connection, without a wrong one between them.
#[derive(Default)]
pub(super) struct Readings {
    kernel: String,
    in_a_row: u32,
    last: Moment,
}

impl State {
    /// A sender reads the `Date` of its answer.
    pub(super) fn reads_the_date(&mut self, number: usize, issue: usize, is_right: bool) {
        let presentation = &self.laws.presentations[number];
        let issued = self.server.issues[issue].access_ends - crate::server::ACCESS_LIFE;
        let late = i64::try_from(self.now.saturating_sub(issued).as_secs()).unwrap_or(i64::MAX);
        let is_right = is_right && late <= ROUGH - 10;
        self.laws.worst_date = self.laws.worst_date.max(late.min(300));
        if !is_right {
            // Within five minutes a reading is believed at once (Skew::AGREEMENT).
            self.laws.worst_date = self.laws.worst_date.max(300);
        }
        let readings = self.laws.readings.entry(presentation.connection).or_default();
        let is_next = is_right && readings.kernel == presentation.kernel;
        readings.in_a_row = if is_next { readings.in_a_row + 1 } else { u32::from(is_right) };
        readings.kernel.clone_from(&presentation.kernel);
        readings.last = self.now;
    }

    /// How far a host that reads this row believes the server to be ahead of the truth, in seconds: by the row alone, as
    /// a process would that has just started.
    fn belief(&self, who: Who, row: &Connection) -> i64 {
        let host = &self.hosts[who.host];
        let wall = host.wall(self.now);
        let since_boot = i64::try_from(host.since_boot(self.now).as_secs()).unwrap_or(0);
        let clock = HostClock { kernel: host.kernel(), boot_epoch: wall.0 - since_boot };
        row.clone().seen_on(&clock).skew.server_time(wall).0 - unix(self.now)
    }

    /// True when this host must know the server's time for a connection.
    fn must_know(&self, who: Who, connection: usize) -> bool {
        let Some(readings) = self.laws.readings.get(&connection) else { return false };
        let host = &self.hosts[who.host];
        let was_set_ahead = host.was_set_ahead.is_some_and(|at| at >= readings.last);
        readings.in_a_row >= 2 && readings.kernel == host.kernel() && !was_set_ahead
    }

    /// The end of a new token is not put off: by no more than the clock of who stores it is ahead.
    pub(super) fn law_11_an_end_is_not_put_off(&mut self, who: Who, number: usize, before: &Connection, next: &Connection) {
        let Some(access) = next.held.as_ref().and_then(|held| held.access.as_ref()) else { return };
        let Some(issue) = self.server.issue_of(access.token.expose()) else { return };
        self.laws.checks[11] += 1;
        let put_off = access.expiry.at().0 - unix(self.server.issues[issue].access_ends);
        let believed = self.belief(who, next);
        // Who takes in what another host has left behind knows that one's clock no better than the row does.
        let own = before.intent.as_ref().is_some_and(|intent| intent.kernel == self.hosts[who.host].kernel());
        let foreign = if own { 0 } else { self.doubt() };
        // Below five seconds nobody notices that a clock was set (Skew::STEADY).
        if put_off > believed.max(0) + foreign + 8 {
            let what = format!("{}: an access token's end is put off by {put_off} s", name_of(number));
            self.breaks(11, what);
        }
    }

    /// No dead token is handed out.
    pub(super) fn law_11_only_what_lives(&mut self, order: &Order, hand_out: &HandOut) {
        self.laws.checks[11] += 1;
        let token = hand_out.access_token.expose();
        let row = self.rows.seen(order.connection).clone();
        let dead_for = self.dead_for(token);
        let held = row.held.as_ref().and_then(|held| held.access.as_ref());
        let stored = held.filter(|access| access.token.expose() == token);
        let put_off = stored.map_or(0, |access| {
            let ends = self.server.issue_of(token).map(|issue| self.server.issues[issue].access_ends);
            access.expiry.at().0 - ends.map_or(0, unix)
        });
        let believed = self.belief(order.who, &row);
        let allowed = put_off.max(0) + (-believed).max(0) + 2;
        if dead_for > allowed {
            self.breaks(11, format!("{token} is handed out {dead_for} s after its end; {allowed} s were understandable"));
        }
        if self.must_know(order.who, order.connection) && believed < -ROUGH {
            self.breaks(11, format!("{}: the clock was measured, and is believed {believed} s off", name_of(order.connection)));
        }
    }
}
