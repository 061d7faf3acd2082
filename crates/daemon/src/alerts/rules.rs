//! From what is seen to what is told: no IO, no clock, no randomness. The same condition is told once, until it is over
//! or grows worse.
//!
//! | what | is told | why so |
//! |---|---|---|
//! | needs_reauthorization, suspended, revoked | at once | a person must act, and programs stop when the access token ends |
//! | unsaved | after 5 minutes | a store that takes it in again within a blip is nobody's business |
//! | uncertain, backing_off | after an hour | they pass by themselves; after an hour they have not, six tries or so |
//! | held, refreshing | never | well, or about to be |
//! | awaiting_grant | never | somebody is at it: the connection was added a moment ago |
//!
//! Uncertain and backing_off are not told while their authorization server is known to fail for all.

use super::alert::{self, Alert, DAY, days_left, in_brackets, in_days, of_connection, rfc3339};
use super::condition::{Condition, Level, Manner, Tell};
use super::hint::Place;
use super::seen::{Seen, Vitals};
use super::wanted::Wanted;
use crate::config::{self, AlertEvent};
use perennial::core::{State, UnixTime};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// Two ends that are closer are the same end: servers say how long it is until then, in seconds, each time anew.
const SAME_END: i64 = 3600;
/// Conditions that are kept at a time, at some 300 bytes each. Who has been told of so many knows.
const MOST: usize = 250_000;

/// At once, and what is over is told once that has settled.
const AT_ONCE: Manner = Manner { grace: 0, steady: false };

/// What is seen.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// A connection as it is now.
    Connection(&'a Seen),
    /// There is no connection of this name any more.
    Gone(&'a str),
    /// How the daemon itself is.
    Vitals(&'a Vitals),
}

/// The rules, and what they remember.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(super) wanted: Wanted,
    pub(super) place: Place,
    /// Where these messages come from: two installations never give one id to two things.
    origin: String,
    conditions: HashMap<String, Condition>,
    /// What has changed since [`Self::take_changes`].
    changed: BTreeSet<String>,
    /// Servers that fail for all.
    pub(super) failing: BTreeSet<String>,
}

impl Rules {
    /// Rules that remember nothing yet.
    #[must_use]
    pub fn new(config: &config::Alerts, place: Place, origin: String) -> Self {
        let (conditions, changed) = (HashMap::new(), BTreeSet::new());
        Self { wanted: Wanted::of(config), place, origin, conditions, changed, failing: BTreeSet::new() }
    }

    /// The same memory under another configuration.
    pub fn configure(&mut self, config: &config::Alerts) {
        self.wanted = Wanted::of(config);
        let (wanted, changed) = (&self.wanted, &mut self.changed);
        self.conditions.retain(|key, condition| {
            let named = condition.name.as_ref().is_none_or(|name| wanted.names(name));
            let kept = named && wanted.event(event_of(key));
            if !kept {
                changed.insert(key.clone());
            }
            kept
        });
    }

    /// Decides what is to be told of something that is seen.
    pub fn observe(&mut self, observation: Observation<'_>, now: UnixTime) -> Vec<Alert> {
        let mut alerts = Vec::new();
        match observation {
            Observation::Connection(seen) if self.wanted.names(&seen.name) => {
                alerts.extend(self.end_of(seen, now));
                alerts.extend(self.state_of(seen, now));
            }
            Observation::Connection(_) => {}
            Observation::Gone(name) => alerts.extend(self.forget(name, now)),
            Observation::Vitals(vitals) => alerts.extend(self.vitals(vitals, now)),
        }
        alerts
    }

    /// When a bell can ring next for this connection, if nothing about it changes.
    #[must_use]
    pub fn next_bell(&self, seen: &Seen, now: UnixTime) -> Option<UnixTime> {
        let days = self.wanted.days.iter().map(|days| -i64::from(*days) * DAY);
        let bells = days.filter_map(|before| Some(seen.ends?.at().plus(before)));
        bells.chain(seen.over).filter(|bell| *bell > now).min()
    }

    /// The connections that must be looked at again because time decides something about them.
    #[must_use]
    pub fn to_look_at(&self, now: UnixTime) -> BTreeSet<String> {
        let due = self.conditions.values().filter(|condition| condition.wants_a_look(now));
        due.filter_map(|condition| condition.name.clone()).collect()
    }

    /// Forgets what has been over for long.
    pub fn tidy(&mut self, now: UnixTime) {
        let changed = &mut self.changed;
        self.conditions.retain(|key, condition| {
            let over = condition.is_over(now);
            if over && condition.times > 0 {
                changed.insert(key.clone());
            }
            !over
        });
    }

    /// The refresh token's end.
    fn end_of(&mut self, seen: &Seen, now: UnixTime) -> Option<Alert> {
        let event = AlertEvent::RefreshTokenDies;
        if !self.wanted.event(event) {
            return None;
        }
        let key = format!("dies/{}", seen.id);
        let told = self.conditions.get(&key).filter(|condition| condition.told.is_some());
        let end = seen.ends.map(|ends| ends.at().0);
        let told_end = told.and_then(|condition| condition.end);
        let is_same =
            told_end.zip(end).is_some_and(|(told, end)| told.abs_diff(end) < SAME_END.unsigned_abs());
        // What the server refused, or a person revoked, has ended already; its state tells that.
        let level = end
            .filter(|_| !matches!(seen.state, State::NeedsReauthorization | State::Revoked))
            .and_then(|end| self.wanted.bell(end - now.0, seen.life.filter(|_| !is_same)));
        let told_rank = told.and_then(|condition| condition.told.as_ref()).map(|told| told.rank);
        let rank = level.as_ref().map(|level| level.rank);
        // The same end does not move away; it is the clock that was set back.
        if is_same && rank < told_rank {
            if let Some(condition) = self.conditions.get_mut(&key) {
                condition.stays_as_told();
            }
            return None;
        }
        let rang = level.as_ref().map(|level| level.label.clone()).unwrap_or_default();
        let tell = self.step(&key, Some(&seen.name), level, Manner { grace: 0, steady: true }, now);
        if tell != Tell::Nothing || !is_same {
            self.note_end(&key, end);
        }
        let left = in_days(end.map_or(0, |end| days_left(UnixTime(end), now)));
        let (text, label, hint) = match tell {
            Tell::Nothing => return None,
            Tell::Began => {
                let at =
                    end.map_or_else(|| "a time that is not known".to_owned(), |end| rfc3339(UnixTime(end)));
                let fault = in_brackets(seen.fault.as_ref());
                let hint = self.place.of_end(&seen.name);
                (format!("its refresh token ends {left}, at {at}{fault}"), rang, Some(hint))
            }
            Tell::Recovered => {
                (format!("its refresh token was renewed and ends {left}"), "renewed".to_owned(), None)
            }
        };
        self.of_connection(seen, Told { label, hint, ..Told::new(event, &key, tell, text) }, now)
    }

    /// Its state.
    fn state_of(&mut self, seen: &Seen, now: UnixTime) -> Option<Alert> {
        if !self.wanted.event(AlertEvent::StateChanged) {
            return None;
        }
        let key = format!("state/{}", seen.id);
        let (rank, grace) = match seen.state {
            State::NeedsReauthorization => (5, 0),
            State::Revoked => (4, 0),
            State::Suspended => (3, 0),
            State::Unsaved => (2, 300),
            // Its server fails for all, and that is told once.
            State::Uncertain | State::BackingOff if self.is_failing(seen) => {
                // Its hour begins when the server is well again.
                if self.conditions.get(&key).is_some_and(|condition| condition.told.is_none()) {
                    self.step(&key, Some(&seen.name), None, AT_ONCE, now);
                }
                return None;
            }
            State::Uncertain | State::BackingOff => (1, 3600),
            // Neither well nor ill before it has landed.
            State::Refreshing => return None,
            State::Held | State::AwaitingGrant => (0, 0),
        };
        let label = seen.state.as_str().to_owned();
        let level = (rank > 0).then_some(Level { rank, label });
        let tell = self.step(&key, Some(&seen.name), level, Manner { grace, ..AT_ONCE }, now);
        let state = seen.state.as_str();
        let text = match tell {
            Tell::Nothing => return None,
            Tell::Began if rank < 3 => {
                format!("it has been {state} for long{}", in_brackets(seen.fault.as_ref()))
            }
            Tell::Began => format!("it is {state}{}", in_brackets(seen.fault.as_ref())),
            Tell::Recovered => format!("it is well again ({state})"),
        };
        let hint = (tell == Tell::Began).then(|| self.place.of_state(seen));
        let told = Told::new(AlertEvent::StateChanged, &key, tell, text);
        self.of_connection(seen, Told { label: state.to_owned(), hint, ..told }, now)
    }

    fn is_failing(&self, seen: &Seen) -> bool {
        seen.server.as_ref().is_some_and(|server| self.failing.contains(server))
    }

    /// What is told of a connection.
    fn of_connection(&self, seen: &Seen, told: Told<'_>, now: UnixTime) -> Option<Alert> {
        let tenant = &self.place.tenant;
        let text = format!("connection {} (tenant {tenant}): {}", seen.name, told.text);
        let data = of_connection(seen, tenant, now);
        self.told(Told { connection: Some(seen.name.clone()), data, text, ..told }, now)
    }

    /// The alert, if there is anything to tell.
    pub(super) fn told(&self, told: Told<'_>, now: UnixTime) -> Option<Alert> {
        let Told { event, key, tell, connection, label, mut data, text, hint } = told;
        let recovered = match tell {
            Tell::Nothing => return None,
            Tell::Began => false,
            Tell::Recovered => true,
        };
        let times = self.conditions.get(key).map_or(0, |condition| condition.times);
        let day = now.0.div_euclid(DAY);
        let id = id(&format!("{}\n{key}\n{label}\n{recovered}\n{times}\n{day}", self.origin));
        data.insert("message".to_owned(), json!(text));
        data.insert("hint".to_owned(), json!(hint));
        let next = hint.map(|hint| format!("\nnext: {hint}")).unwrap_or_default();
        let text = format!("perennial: {text}{next}");
        Some(Alert { id, event, recovered, at: now, connection, label, data, text })
    }

    /// Moves a condition on. One that nobody asked for does not begin; one that is there can still end.
    pub(super) fn step(
        &mut self,
        key: &str,
        name: Option<&str>,
        level: Option<Level>,
        manner: Manner,
        now: UnixTime,
    ) -> Tell {
        if !self.conditions.contains_key(key) {
            // The daemon itself always has room.
            if level.is_none() || (name.is_some() && self.conditions.len() >= MOST) {
                return Tell::Nothing;
            }
            self.conditions.insert(key.to_owned(), Condition::default());
        }
        let Some(condition) = self.conditions.get_mut(key) else { return Tell::Nothing };
        condition.name = name.map(str::to_owned);
        let before = condition.told.clone();
        let tell = condition.step(level, manner, now);
        if tell != Tell::Nothing || condition.told != before {
            self.changed.insert(key.to_owned());
        }
        if condition.is_over(now) {
            self.conditions.remove(key);
        }
        tell
    }

    fn note_end(&mut self, key: &str, end: Option<i64>) {
        if let Some(condition) = self.conditions.get_mut(key)
            && condition.end != end
        {
            condition.end = end;
            self.changed.insert(key.to_owned());
        }
    }

    /// What was told of a connection that is gone is taken back: somebody may keep a list.
    fn forget(&mut self, name: &str, now: UnixTime) -> Vec<Alert> {
        let about = |condition: &Condition| condition.name.as_deref() == Some(name);
        let named = self.conditions.iter().filter(|(_, condition)| about(condition));
        let keys: Vec<_> = named.map(|(key, _)| key.clone()).collect();
        let mut alerts = Vec::new();
        for key in keys {
            if self.conditions.get(&key).is_some_and(|condition| condition.told.is_some()) {
                let (event, tenant) = (event_of(&key), &self.place.tenant);
                let text = format!("connection {name} (tenant {tenant}): it was removed");
                let data = alert::object(json!({"connection": name, "tenant": tenant, "state": null}));
                let told = Told::new(event, &key, Tell::Recovered, text);
                let connection = Some(name.to_owned());
                alerts.extend(self.told(Told { connection, label: "removed".to_owned(), data, ..told }, now));
            }
            self.conditions.remove(&key);
            self.changed.insert(key);
        }
        alerts
    }

    /// What must be written down so that it is not told again: `None` stands for what is forgotten.
    pub(super) fn take_changes(&mut self) -> Vec<(String, Option<Condition>)> {
        let changed = std::mem::take(&mut self.changed);
        let now = |key: String| {
            let condition = self.conditions.get(&key).cloned();
            (key, condition)
        };
        changed.into_iter().map(now).collect()
    }

    /// What was written down.
    pub(super) fn remember(&mut self, conditions: HashMap<String, Condition>) {
        self.conditions = conditions;
    }
}

/// What an alert is made of.
pub(super) struct Told<'a> {
    pub(super) event: AlertEvent,
    pub(super) key: &'a str,
    pub(super) tell: Tell,
    pub(super) connection: Option<String>,
    pub(super) label: String,
    pub(super) data: Map<String, Value>,
    pub(super) text: String,
    pub(super) hint: Option<String>,
}

impl<'a> Told<'a> {
    fn new(event: AlertEvent, key: &'a str, tell: Tell, text: String) -> Self {
        let (label, data) = (String::new(), Map::new());
        Self { event, key, tell, connection: None, label, data, text, hint: None }
    }
}

/// What a condition is about, by its key.
fn event_of(key: &str) -> AlertEvent {
    match key.split('/').next() {
        Some("dies") => AlertEvent::RefreshTokenDies,
        Some("server") => AlertEvent::ServerFails,
        Some("store") => AlertEvent::StoreNotWritable,
        Some("clock") => AlertEvent::ClockWrong,
        _ => AlertEvent::StateChanged,
    }
}

/// An id as Standard Webhooks likes them.
pub(super) fn id(of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{hex}")
}
