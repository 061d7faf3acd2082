//! Law 12, restraint: what may not be sent by itself, or not yet; told from what the senders had heard and written down.

use super::Presentation;
use super::time::Reading;
use crate::answers::{self, Heard};
use crate::clocks::{DAY, Moment, SECOND, unix};
use crate::process::Kind;
use crate::server::ACCESS_LIFE;
use crate::world::{State, Who};
use perennial::core::Origin;
use std::time::Duration;
use tokio::task::Id;

/// A rejection forces at most one refresh in this time.
const REJECTION_PAUSE: Duration = Duration::from_secs(300);
/// So many failures in a row open a breaker.
const OPENS_AFTER: u32 = 5;
/// So often an undocumented code is tried.
const UNKNOWN_CODE_TRIES: usize = 3;

/// How a server does, as one process has seen it.
#[derive(Default)]
pub(super) struct Circuit {
    failures: u32,
    /// Who is on the way to the server, and since when.
    under_way: Vec<(Id, Moment)>,
}

impl State {
    /// The worst that clocks have been off, in seconds: pauses and lives are measured by them.
    pub(crate) fn doubt(&self) -> i64 {
        let clocks = self.hosts.iter().map(|host| host.error(self.now).abs()).max().unwrap_or(0);
        clocks.max(self.laws.worst_clock) + self.laws.worst_date
    }

    /// True while no clock has been so far off that a host would disbelieve another one's expiries: a token with more
    /// life than it was given is not believed, and that costs a refresh (law 11).
    pub(super) fn clocks_agree(&self) -> bool {
        self.doubt() < 240
    }

    /// A clock was wrong by so much.
    pub(crate) fn a_clock_was_wrong(&mut self, by: i64) {
        self.laws.worst_clock = self.laws.worst_clock.max(by.abs());
    }

    pub(super) fn law_12_restraint(&mut self, new: &Presentation) {
        self.laws.checks[12] += 1;
        let found = self
            .within_anothers_life(new)
            .or_else(|| self.against_the_last_word(new))
            .or_else(|| self.forced_again(new));
        if let Some(what) = found {
            self.breaks(12, what);
        }
    }

    /// No access token is minted within another's life but for a reason.
    fn within_anothers_life(&self, new: &Presentation) -> Option<String> {
        // An expiry counts from before the request: where the answer was slow, it looks that much nearer.
        let slack = self.doubt() + 2 + i64::try_from(self.answer_within.as_secs()).unwrap_or(0);
        let left = self.access_left(new.connection);
        let longest = new.kinds.iter().map(|kind| match kind {
            Kind::Wanted { min_ttl } => i64::try_from(*min_ttl).ok(),
            _ => None,
        });
        if let Some(longest) = longest.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
            && left >= longest + slack
            && self.clocks_agree()
        {
            return Some(format!("{} is sent for {longest} s, and a token lives {left} s", new.token));
        }
        // Seven days after they were issued, less a tenth; a token that is in use, after three quarters of its life.
        let only =
            |kinds: &[Kind]| !new.kinds.is_empty() && new.kinds.iter().all(|kind| kinds.contains(kind));
        let (bell, slack) = match () {
            () if only(&[Kind::Due]) => (7 * DAY * 9 / 10, self.doubt() + 2),
            () if only(&[Kind::Due, Kind::Ahead]) => (ACCESS_LIFE * 3 / 4, slack),
            () => return None,
        };
        let issued = left - unix(ACCESS_LIFE) + unix(Moment::ZERO);
        let early = issued + unix(bell) - unix(Moment::ZERO);
        (early > slack && self.clocks_agree())
            .then(|| format!("{} is renewed {early} s before it is due", new.token))
    }

    /// Terminal verdicts are not retried, pauses are kept: unless a person asks, or other tokens have come since.
    fn against_the_last_word(&self, new: &Presentation) -> Option<String> {
        if !new.is_refresh || new.kinds.iter().any(|kind| kind.is_persons()) {
            return None;
        }
        let (last, at, heard) = self.last_word(new.connection)?;
        let replaced = self.laws.replaced.get(&new.connection).is_some_and(|(when, _)| *when >= at);
        let person = self.laws.person_at.get(&new.connection).is_some_and(|when| *when >= last.at);
        if replaced || person {
            return None;
        }
        let pause = match heard {
            Heard::Refused { is_terminal: true, code, .. } => {
                return Some(format!("{} is sent again by itself after code {code}", new.token));
            }
            Heard::Refused { pause, .. } | Heard::Unknown { pause } => pause,
            Heard::Tokens { .. } => return None,
        };
        let doubt = self.doubt().unsigned_abs();
        let slack = Duration::from_secs(doubt + 2);
        let waited = new.at.saturating_sub(at);
        // One that looks longer than any can be was written while a clock stood wrong, and is not believed (law 11).
        let is_believed = self.clocks_agree() || pause + doubt <= answers::LONGEST_PAUSE;
        if is_believed && waited + slack < Duration::from_secs(pause) {
            return Some(format!(
                "{} is sent after {} s, and {pause} s were asked for",
                new.token,
                waited.as_secs()
            ));
        }
        // A person who asks begins the count anew.
        let by_itself = |old: &&Presentation| !old.kinds.iter().any(|kind| kind.is_persons());
        let is_undocumented = |old: &&Presentation| {
            matches!(old.heard, Some((_, Heard::Refused { code: 9999, .. }))) && old.noted.is_some()
        };
        let own = self.laws.presentations.iter().rev().filter(|old| old.connection == new.connection);
        let in_a_row = own.take_while(by_itself).take_while(is_undocumented).count();
        (in_a_row > UNKNOWN_CODE_TRIES)
            .then(|| format!("{} is sent after {in_a_row} answers with an undocumented code", new.token))
    }

    /// What was last heard of a connection's refresh token and written down.
    fn last_word(&self, connection: usize) -> Option<(&Presentation, Moment, Heard)> {
        let old = self.laws.presentations.iter().rev();
        let mut noted =
            old.filter(|old| old.connection == connection && old.is_refresh && old.noted.is_some());
        noted.find_map(|old| old.heard.map(|(at, heard)| (old, at, heard)))
    }

    fn forced_again(&self, new: &Presentation) -> Option<String> {
        let only_rejected =
            |p: &Presentation| !p.kinds.is_empty() && p.kinds.iter().all(|kind| *kind == Kind::Rejected);
        if !only_rejected(new) {
            return None;
        }
        let slack = Duration::from_secs(self.doubt().unsigned_abs() + 2);
        let recent = self
            .laws
            .presentations
            .iter()
            .rev()
            .take_while(|old| new.at < old.at + REJECTION_PAUSE - slack.min(REJECTION_PAUSE));
        let mut forced = recent
            .filter(|old| old.connection == new.connection && only_rejected(old) && old.noted.is_some());
        forced.find(|old| old.flight != new.flight).map(|old| {
            format!("a rejection forces a refresh {} s after another", (new.at - old.at).as_secs())
        })
    }

    /// A server that fails for all is asked by one probe at a time. One that is not heard of within an answer's time,
    /// because it waits for its claim, counts no more.
    pub(crate) fn starts_connecting(&mut self, who: Who, base: &Origin) {
        self.law_10_only_where_it_may_go(&base.to_string());
        let Some(flight) = self.own_flight() else { return };
        let flight = &mut self.laws.flights[flight];
        if std::mem::replace(&mut flight.has_connected, true) {
            return;
        }
        let (task, kinds) = (flight.task, flight.kinds.clone());
        let (now, patience) = (self.now, self.answer_within);
        let circuit = self.laws.circuits.entry((who.process, base.to_string())).or_default();
        circuit.under_way.retain(|(_, since)| now < *since + patience.saturating_sub(SECOND));
        let another = circuit.under_way.iter().any(|(other, _)| *other != task);
        let is_open = circuit.failures >= OPENS_AFTER;
        let is_persons = kinds.iter().any(|kind| kind.is_persons());
        if is_open && !is_persons {
            circuit.under_way.push((task, now));
            if another {
                let what = format!("{base} fails for all, and is asked by two at a time");
                self.breaks(12, what);
            }
        }
    }

    pub(crate) fn connected(&mut self, who: Who, base: &Origin, is_well: bool) {
        if !is_well {
            self.has_answered(who, &base.to_string(), false);
        }
    }

    fn has_answered(&mut self, who: Who, base: &str, is_well: bool) {
        let task = tokio::task::try_id();
        let circuit = self.laws.circuits.entry((who.process, base.to_owned())).or_default();
        circuit.under_way.retain(|(other, _)| Some(*other) != task);
        circuit.failures = if is_well { 0 } else { circuit.failures + 1 };
    }

    /// A sender has its answer, or knows that none will come.
    pub(crate) fn has_heard(&mut self, number: usize, heard: Heard, dated: Option<(Moment, i64)>) {
        let now = self.now;
        let presentation = &mut self.laws.presentations[number];
        presentation.heard = Some((now, heard));
        presentation.reads = dated.map(|(written, off)| Reading { off, late: now.saturating_sub(written) });
        let (who, base) = (presentation.who, presentation.base.clone());
        // A 429, like a 5xx, is the server's own trouble.
        let is_well = !matches!(heard, Heard::Unknown { pause: 2.. } | Heard::Refused { code: 0, .. });
        self.has_answered(who, &base, is_well);
        self.law_2_no_sender_waits_on(number);
        if let Heard::Tokens { .. } = heard {
            self.tally.answers += 1;
        }
        self.reads_a_date(number);
    }

    /// Law 2: a machine that has slept notices within 37 s of being awake that the deadline has passed (law 11).
    fn law_2_no_sender_waits_on(&mut self, number: usize) {
        let (now, presentation) = (self.now, &self.laws.presentations[number]);
        let (at, who, deadline) = (presentation.at, presentation.who, presentation.deadline);
        if now <= deadline || self.laws.broken.is_some() {
            return;
        }
        let host = &self.hosts[who.host];
        let awake = (now - deadline).saturating_sub(host.asleep_between(deadline, now));
        let noticed_within = if host.asleep_between(at, now).is_zero() { 2 * SECOND } else { 39 * SECOND };
        if awake > noticed_within {
            let late = (now - deadline).as_secs();
            self.breaks(2, format!("process {} waits until {late} s after its deadline", who.process));
        }
    }

    /// What a sender has heard is written down.
    pub(crate) fn noted(&mut self, who: Who, connection: usize, intent: Option<&str>) {
        let now = self.now;
        let own = self.laws.presentations.iter_mut().enumerate().rev().take(8);
        // By the flight that has heard it: who finds the intent later writes of something else.
        let task = tokio::task::try_id();
        let mut own =
            own.filter(|(_, old)| old.who == who && old.connection == connection && old.flight == task);
        let Some((number, old)) = own.find(|(_, old)| Some(old.intent.as_str()) == intent) else { return };
        if old.noted.is_none() {
            // Who writes without having heard anything has given up.
            let gives_up = old.heard.is_none();
            old.heard.get_or_insert((now, Heard::Unknown { pause: answers::PAUSE }));
            old.noted = Some(now);
            let (kernel, reading) = (old.kernel.clone(), old.reads);
            self.a_reading_is_kept(connection, &kernel, reading);
            if gives_up {
                self.law_2_no_sender_waits_on(number);
            }
        }
    }
}
