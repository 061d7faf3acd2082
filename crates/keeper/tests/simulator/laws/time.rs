//! Law 11: time is doubted. What may be believed of a wall clock depends on what was measured with it:
//!
//! - A host whose running kernel has heard two right `Date`s in a row for a connection knows the server's time for it
//!   to [`ROUGH`] seconds, and goes on knowing it when its clock is set back; set ahead, it takes tokens for older than
//!   they are, which is safe.
//! - A token is handed out after its end by no more than the clock of who stored it was ahead then, and the clock of who
//!   hands it out is behind now. So on hosts that know the time, by no more than twice [`ROUGH`] seconds.

use super::Order;
use crate::clocks::unix;
use crate::store::name_of;
use crate::world::{State, Who};
use perennial::HandOut;
use perennial::core::connection::Connection;
use perennial::core::time::HostClock;
use std::time::Duration;

/// A `Date` is read late by as much as its answer was slow, and has whole seconds; a crystal drifts between two.
const ROUGH: i64 = 75;

/// Two readings that agree within this time are believed (Skew::AGREEMENT); so is one that is as near to what was
/// believed before.
const AGREEMENT: i64 = 300;

/// A `Date`: how far off it is, and how late it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) off: i64,
    pub(super) late: Duration,
}

impl Reading {
    fn is_right(self) -> bool {
        self.off == 0 && seconds(self.late) <= ROUGH - 10
    }
}

/// The last right `Date`s that were heard for a connection, without a wrong one between them.
#[derive(Default)]
pub(super) struct Readings {
    kernel: String,
    in_a_row: u32,
    last_lie: Option<i64>,
}

impl State {
    /// Somebody sets a host's clock. Set ahead, it is to be measured anew.
    pub(crate) fn a_clock_is_set(&mut self, host: usize, by: i64) {
        let (now, kernel) = (self.now, self.hosts[host].kernel());
        self.hosts[host].set(by);
        self.a_clock_was_wrong(by);
        self.a_clock_was_wrong(self.hosts[host].error(now));
        if by > 0 {
            self.laws
                .readings
                .values_mut()
                .filter(|read| read.kernel == kernel)
                .for_each(|read| read.in_a_row = 0);
        }
    }

    /// A sender reads the `Date` of its answer. A wrong one counts though it may not be kept.
    pub(super) fn reads_a_date(&mut self, number: usize) {
        let presentation = &self.laws.presentations[number];
        let Some(reading) = presentation.reads else { return };
        let readings = self.laws.readings.entry(presentation.connection).or_default();
        if !reading.is_right() || readings.kernel != presentation.kernel {
            readings.in_a_row = 0;
            readings.kernel.clone_from(&presentation.kernel);
        }
        let lie = reading.off - seconds(reading.late);
        let agrees = readings.last_lie.is_some_and(|last| (last - lie).abs() <= AGREEMENT + ROUGH);
        if lie.abs() <= AGREEMENT + ROUGH || agrees {
            self.laws.worst_date = self.laws.worst_date.max(lie.abs());
        }
        readings.last_lie = Some(lie).filter(|_| !reading.is_right());
    }

    /// A row has room for the readings of one host: a write by another one takes them out.
    pub(super) fn a_row_is_written_by(&mut self, who: Who, connection: usize) {
        let kernel = self.hosts[who.host].kernel();
        let readings = self.laws.readings.entry(connection).or_default();
        if readings.kernel != kernel {
            (readings.kernel, readings.in_a_row) = (kernel, 0);
        }
    }

    /// What a sender has read stands in the row now.
    pub(super) fn a_reading_is_kept(&mut self, connection: usize, kernel: &str, reading: Option<Reading>) {
        // An answer that was refused is forgotten, with its date, where a late one is adopted in its place.
        let is_kept = self.rows.synced(connection).clock.as_ref().is_some_and(|clock| clock.kernel == kernel);
        let readings = self.laws.readings.entry(connection).or_default();
        if is_kept && reading.is_some_and(Reading::is_right) && readings.kernel == kernel {
            readings.in_a_row += 1;
        }
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
        readings.in_a_row >= 2 && readings.kernel == self.hosts[who.host].kernel()
    }

    /// The end of a new token is not put off: by no more than the clock of who stores it is ahead.
    pub(super) fn law_11_an_end_is_not_put_off(
        &mut self,
        who: Who,
        number: usize,
        before: &Connection,
        next: &Connection,
    ) {
        let Some(access) = next.held.as_ref().and_then(|held| held.access.as_ref()) else { return };
        let Some(issue) = self.server.issue_of(access.token.expose()) else { return };
        self.laws.checks[11] += 1;
        let put_off = access.expiry.at().0 - unix(self.server.issues[issue].access_ends);
        let believed = self.belief(who, next);
        // Who takes in what another host has left behind knows that one's clock no better than the row does.
        let is_late = before.candidates.iter().any(|kept| kept.response.access_token == access.token);
        let own = before.intent.as_ref().is_some_and(|intent| intent.kernel == self.hosts[who.host].kernel());
        let foreign = if own && !is_late { 0 } else { self.doubt() };
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
            self.breaks(
                11,
                format!("{token} is handed out {dead_for} s after its end; {allowed} s were understandable"),
            );
        }
        if self.must_know(order.who, order.connection) && believed < -ROUGH {
            self.breaks(
                11,
                format!(
                    "{}: the clock was measured, and is believed {believed} s off",
                    name_of(order.connection)
                ),
            );
        }
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
