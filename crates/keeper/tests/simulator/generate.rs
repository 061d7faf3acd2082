//! A scenario from a seed. Most are short, some last half a year; most have a few kinds of fault and not all, so that
//! each kind is seen alone and with others. Faults fall where something is under way.

use crate::clocks::{DAY, HOUR, MINUTE, Moment, SECOND};
use crate::dice::Dice;
use crate::disk::{Spoil, Trouble};
use crate::network::{Fate, RetryAfter};
use crate::process::Ask;
use crate::scenario::{Crystal, Event, Scenario, What};
use crate::server::Rotation;
use std::time::Duration;

/// What goes wrong in a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plague {
    Network,
    Refusals,
    Outages,
    Disks,
    Crashes,
    Power,
    Suspend,
    Clocks,
    People,
}

const PLAGUES: [Plague; 9] = [
    Plague::Network,
    Plague::Refusals,
    Plague::Outages,
    Plague::Disks,
    Plague::Crashes,
    Plague::Power,
    Plague::Suspend,
    Plague::Clocks,
    Plague::People,
];

/// The scenario of a seed.
pub(crate) fn scenario(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, "scenario");
    let (length, pause) = match dice.below(100) {
        0..50 => (dice.between(2, 30) * HOUR32, dice.between(5, 45) * MINUTE32),
        50..94 => (dice.between(2, 12) * DAY32, dice.between(60, 480) * MINUTE32),
        _ => (dice.between(183, 230) * DAY32, dice.between(24, 96) * HOUR32),
    };
    let (length, pause) = (Duration::from_secs(length), Duration::from_secs(pause));
    let plagues: Vec<Plague> = PLAGUES.into_iter().filter(|_| dice.below(5) < 2).collect();
    let hosts = dice.pick(&[1, 1, 1, 2, 2, 3]);
    let processes = dice.between(1, if hosts == 1 { 4 } else { 5 });
    let processes = (0..processes).map(|_| dice.index(hosts)).collect();
    let rotation = match dice.below(4) {
        0 => Rotation::Sticky,
        1 => Rotation::Strict,
        2 => Rotation::Window(dice.pick(&[10, 30, 120])),
        _ => Rotation::Sometimes,
    };
    let wrong = plagues.contains(&Plague::Clocks);
    let clocks = (0..hosts).map(|_| crystal(&mut dice, wrong)).collect();
    let scenario = Scenario {
        seed,
        rotation,
        clocks,
        processes,
        connections: dice.pick(&[1, 1, 1, 2, 2, 3]),
        answer_within: Duration::from_secs(dice.pick(&[60, 60, 60, 20])),
        length,
        events: Vec::new(),
    };
    Author { dice, scenario, plagues }.write(pause)
}

const MINUTE32: u64 = 60;
const HOUR32: u64 = 3600;
const DAY32: u64 = 24 * 3600;

fn crystal(dice: &mut Dice, wrong: bool) -> Crystal {
    if !wrong {
        return Crystal { drift: 0, ahead: 0 };
    }
    let drift = i64::try_from(dice.below(41)).unwrap_or(0) - 20;
    let ahead = if dice.one_in(3) { jump(dice) } else { 0 };
    Crystal { drift, ahead }
}

/// Seconds to years, both ways.
fn jump(dice: &mut Dice) -> i64 {
    let size = i64::try_from(dice.any_size(3 * 365 * DAY32)).unwrap_or(0);
    if dice.one_in(2) { size } else { -size }
}

struct Author {
    dice: Dice,
    scenario: Scenario,
    plagues: Vec<Plague>,
}

impl Author {
    fn write(mut self, pause: Duration) -> Scenario {
        for connection in 0..self.scenario.connections {
            let at = self.dice.between(1, 120) * SECOND32;
            self.ask(Duration::from_millis(at), Ask::Reauthorize { connection }, None);
        }
        let mut at = 5 * MINUTE;
        while at < self.scenario.length {
            self.busy_moment(at);
            let quiet = self.dice.below(pause.as_secs() * 2) + 1;
            at += Duration::from_secs(quiet);
        }
        self.people();
        self.scenario.events.sort_by_key(|event| event.at);
        self.scenario
    }

    fn push(&mut self, at: Moment, what: What) {
        self.scenario.events.push(Event { at, what });
    }

    fn ask(&mut self, at: Moment, ask: Ask, patience: Option<Duration>) {
        let process = self.dice.index(self.scenario.processes.len());
        self.push(at, What::Ask { process, ask, patience });
    }

    /// Callers come, often several at once; and perhaps something goes wrong.
    fn busy_moment(&mut self, at: Moment) {
        for _ in 0..self.dice.between(1, 3) {
            let spread = self.dice.any_size(30_000);
            let later = at + Duration::from_millis(spread);
            let ask = self.some_ask();
            let patience = self.dice.one_in(5).then(|| Duration::from_millis(self.dice.any_size(90_000)));
            self.ask(later, ask, patience);
        }
        if self.plagues.is_empty() || !self.dice.one_in(3) {
            return;
        }
        for _ in 0..self.dice.between(1, 3) {
            let plague = self.dice.pick(&self.plagues.clone());
            // A little before, or while it is under way.
            let when = if self.dice.one_in(2) {
                at.saturating_sub(Duration::from_millis(self.dice.any_size(20_000)))
            } else {
                at + Duration::from_millis(self.dice.any_size(3_000))
            };
            self.strike(plague, when);
        }
    }

    fn some_ask(&mut self) -> Ask {
        let connection = self.dice.index(self.scenario.connections);
        match self.dice.below(20) {
            0..13 => Ask::Token { connection, min_ttl: self.dice.pick(&[0, 60, 60, 300, 1800, 7200]) },
            13..15 => Ask::Rejected { connection },
            15 => Ask::Refresh { connection },
            16..18 => Ask::Ahead { connection },
            _ => Ask::Sweep,
        }
    }

    /// People look after their connections every now and then.
    fn people(&mut self) {
        let mut at = HOUR;
        while at < self.scenario.length {
            let connection = self.dice.index(self.scenario.connections);
            self.ask(at, Ask::Person { connection }, None);
            at += Duration::from_secs(self.dice.between(HOUR32, 3 * DAY32));
        }
        if self.scenario.length > 100 * DAY {
            let mut at = DAY;
            while at < self.scenario.length {
                self.ask(at, Ask::Sweep, None);
                at += DAY;
            }
        }
    }

    fn strike(&mut self, plague: Plague, at: Moment) {
        if plague == Plague::Suspend && self.scenario.clocks.len() > 1 && self.dice.one_in(2) {
            return self.duel(at);
        }
        let what = match plague {
            Plague::Network | Plague::Refusals => {
                let fate = if plague == Plague::Network { self.mishap() } else { self.refusal() };
                let (lasts, requests) = (self.dice.any_size(2 * HOUR32), self.dice.between(1, 4));
                let requests = u32::try_from(requests).unwrap_or(1);
                What::Weather { fate, lasts: Duration::from_secs(lasts.max(60)), requests }
            }
            Plague::Outages => {
                let fate = match self.dice.below(3) {
                    0 => Fate::Unreachable,
                    1 => Fate::RequestLost,
                    _ => self.unavailable(),
                };
                let lasts = Duration::from_secs(self.dice.any_size(3 * DAY32));
                What::Weather { fate, lasts, requests: u32::MAX }
            }
            Plague::Disks => self.disk(),
            Plague::Crashes => self.crash(),
            Plague::Power => self.power(),
            Plague::Suspend => {
                let time = Duration::from_secs(self.dice.any_size(2 * DAY32));
                What::Suspend { host: self.host(), time }
            }
            Plague::Clocks => What::SetClock { host: self.host(), by: jump(&mut self.dice) },
            Plague::People => self.administrator(),
        };
        self.push(at, what);
    }

    /// A host falls asleep with a request under way, and wakes when a process elsewhere has waited its deadline out and
    /// presents the same token: the answer that it finds comes late.
    fn duel(&mut self, at: Moment) {
        let one = self.dice.index(self.scenario.processes.len());
        let host = self.scenario.processes[one];
        let elsewhere = self.scenario.processes.iter().position(|other| *other != host);
        let Some(other) = elsewhere else { return };
        let connection = self.dice.index(self.scenario.connections);
        let ask = |process, ask| What::Ask { process, ask, patience: None };
        let whole = self.scenario.answer_within;
        let first = self.dice.pick(&[Ask::Refresh { connection }, Ask::Token { connection, min_ttl: 7200 }]);
        let slow = |seconds| What::Weather { fate: Fate::SlowAnswer(seconds), lasts: MINUTE, requests: 1 };
        let (here, there) = (self.dice.between(1, 3), self.dice.between(1, 6));
        self.push(at, slow(here));
        self.push(at + Duration::from_millis(1), ask(one, first));
        let time = whole + Duration::from_millis(self.dice.below(7_000));
        self.push(at + Duration::from_millis(600), What::Suspend { host, time });
        let later = at + Duration::from_millis(self.dice.between(700, 3_000));
        self.push(later, ask(other, Ask::Token { connection, min_ttl: 7200 }));
        self.push(at + whole, slow(there));
    }

    fn host(&mut self) -> usize {
        self.dice.index(self.scenario.clocks.len())
    }

    fn mishap(&mut self) -> Fate {
        let seconds = self.dice.any_size(200);
        match self.dice.below(14) {
            0 => Fate::Unreachable,
            1 => Fate::RequestLost,
            2 | 3 => Fate::AnswerLost,
            4 => Fate::ResetBefore,
            5 => Fate::ResetAfter,
            6 => Fate::AnswerCut,
            7 => Fate::Garbage,
            8 => Fate::SlowRequest(seconds),
            9 => Fate::SlowAnswer(seconds),
            10 => Fate::Twice(seconds),
            11 => Fate::WrongDate(jump(&mut self.dice)),
            12 => Fate::Html { status: self.dice.pick(&[200, 403, 502]), after: self.dice.one_in(2) },
            _ => self.unavailable(),
        }
    }

    fn unavailable(&mut self) -> Fate {
        let seconds = self.dice.any_size(2 * DAY32);
        let retry_after =
            self.dice.pick(&[None, Some(RetryAfter::Seconds(seconds)), Some(RetryAfter::Date(seconds))]);
        match self.dice.pick(&[429, 500, 503, 503]) {
            429 => Fate::Status { status: 429, retry_after, after: false },
            status => Fate::Status { status, retry_after, after: self.dice.one_in(2) },
        }
    }

    fn refusal(&mut self) -> Fate {
        match self.dice.below(8) {
            0 => Fate::Refused(134),
            1 => Fate::Refused(9999),
            2 => Fate::Refused(self.dice.pick(&[10, 14, 20, 123])),
            3 => Fate::Refused(self.dice.pick(&[5, 53, 59, 61, 64, 107])),
            4 => Fate::Refused(self.dice.pick(&[54, 116, 135])),
            5 => Fate::Refused(self.dice.pick(&[106, 108])),
            6 => self.dice.pick(&[Fate::EvilHome, Fate::EvilGeolocation]),
            _ => Fate::Stranger,
        }
    }

    fn disk(&mut self) -> What {
        let disk = self.dice.index(self.scenario.clocks.len() + 1);
        if self.dice.one_in(3) {
            let trouble = self.dice.pick(&[Trouble::Full, Trouble::ReadOnly, Trouble::Gone]);
            let lasts = Duration::from_secs(self.dice.any_size(3 * HOUR32));
            return What::DiskTrouble { disk, trouble, lasts };
        }
        let spoil = self.dice.pick(&[Spoil::Refused, Spoil::Unsynced, Spoil::Durable]);
        What::SpoilWrite { disk, after: u32::try_from(self.dice.between(1, 5)).unwrap_or(1), spoil }
    }

    fn crash(&mut self) -> What {
        let process = self.dice.index(self.scenario.processes.len());
        let back_after = Duration::from_millis(self.dice.any_size(2 * HOUR32 * 1000));
        if self.dice.one_in(4) {
            return What::Kill { process, back_after };
        }
        let takes_power = self.plagues.contains(&Plague::Power) && self.dice.one_in(4);
        let steps = u32::try_from(self.dice.below(60)).unwrap_or(0);
        What::CrashAtStep { process, steps, back_after, takes_power }
    }

    fn power(&mut self) -> What {
        let dark = Duration::from_secs(self.dice.any_size(2 * HOUR32));
        if self.scenario.clocks.len() > 1 && self.dice.one_in(3) {
            return What::StorePower { dark };
        }
        What::Power { host: self.host(), dark }
    }

    fn administrator(&mut self) -> What {
        let connection = self.dice.index(self.scenario.connections);
        let process = self.dice.index(self.scenario.processes.len());
        match self.dice.below(4) {
            0 => What::NewSecret,
            1 => What::Move { connection, to: self.dice.index(3) },
            2 => What::Ask { process, ask: Ask::Reauthorize { connection }, patience: None },
            _ => What::Ask { process, ask: Ask::Refresh { connection }, patience: None },
        }
    }
}

const SECOND32: u64 = 1000;
const _: Duration = SECOND;
