//! What has been simulated, counted: a simulator that meets no faults proves nothing.

use crate::network::Fate;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    pub(crate) time: Duration,
    pub(crate) steps: u64,
    pub(crate) orders: u64,
    pub(crate) hand_outs: u64,
    pub(crate) presentations: u64,
    pub(crate) answers: u64,
    pub(crate) answers_lost_with_their_process: u64,
    pub(crate) spoiled_writes: u64,
    pub(crate) lives_proved: u64,
    issued: u64,
    refused: u64,
    crashes: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
    fates: BTreeMap<String, u64>,
    checks: [u64; 14],
}

impl Tally {
    pub(crate) fn judged(&mut self, is_issued: bool) {
        if is_issued {
            self.issued += 1;
        } else {
            self.refused += 1;
        }
    }

    pub(crate) fn crashed_at(&mut self, step: &'static str) {
        *self.crashes.entry(step).or_default() += 1;
    }

    pub(crate) fn has_crashed_at(&self, step: &str) -> bool {
        self.crashes.contains_key(step)
    }

    pub(crate) fn has_met(&self, fate: &str) -> bool {
        self.fates.contains_key(fate)
    }

    /// A fate's name, without its numbers.
    pub(crate) fn name_of(fate: Fate) -> String {
        let words = format!("{fate:?}");
        words.split([' ', '(']).next().unwrap_or_default().to_owned()
    }

    pub(crate) fn event(&mut self, kind: &'static str) {
        *self.events.entry(kind).or_default() += 1;
    }

    pub(crate) fn fate(&mut self, fate: Fate) {
        if fate != Fate::Clear {
            *self.fates.entry(Self::name_of(fate)).or_default() += 1;
        }
    }

    pub(crate) fn checked(&mut self, checks: &[u64; 14]) {
        self.checks.iter_mut().zip(checks).for_each(|(sum, more)| *sum += more);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let sum = |ours: &mut u64, theirs: u64| *ours += theirs;
        self.time += other.time;
        sum(&mut self.seeds, other.seeds);
        sum(&mut self.steps, other.steps);
        sum(&mut self.orders, other.orders);
        sum(&mut self.hand_outs, other.hand_outs);
        sum(&mut self.presentations, other.presentations);
        sum(&mut self.answers, other.answers);
        sum(&mut self.answers_lost_with_their_process, other.answers_lost_with_their_process);
        sum(&mut self.spoiled_writes, other.spoiled_writes);
        sum(&mut self.lives_proved, other.lives_proved);
        sum(&mut self.issued, other.issued);
        sum(&mut self.refused, other.refused);
        other.crashes.iter().for_each(|(step, count)| *self.crashes.entry(step).or_default() += count);
        other.events.iter().for_each(|(kind, count)| *self.events.entry(kind).or_default() += count);
        other.fates.iter().for_each(|(fate, count)| *self.fates.entry(fate.clone()).or_default() += count);
        self.checked(&other.checks);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let years = self.time.as_secs_f64() / (365.25 * 86_400.0);
        writeln!(f, "{} runs, {years:.1} years of virtual time, {} steps", self.seeds, self.steps)?;
        writeln!(f, "{} orders, {} tokens handed out", self.orders, self.hand_outs)?;
        let Self { presentations, answers, issued, refused, .. } = self;
        writeln!(
            f,
            "{presentations} presentations: {issued} issued, {refused} refused, {answers} answers arrived whole"
        )?;
        let lost = self.answers_lost_with_their_process;
        writeln!(f, "{lost} answers died with their process before it could write")?;
        writeln!(f, "{} writes went wrong", self.spoiled_writes)?;
        let crashes: u64 = self.crashes.values().sum();
        writeln!(f, "{crashes} crashes at {} kinds of step: {}", self.crashes.len(), counts(&self.crashes))?;
        writeln!(f, "events: {}", counts(&self.events))?;
        writeln!(f, "requests that met a fault: {}", counts(&self.fates))?;
        let laws = self.checks.iter().enumerate().map(|(law, count)| format!("{law}: {count}"));
        writeln!(f, "laws checked: {}", laws.collect::<Vec<_>>().join(", "))?;
        write!(f, "{} connections served again at the end", self.lives_proved)
    }
}

fn counts<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    counts.iter().map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}
