//! What was found, how grave it is, and how it is told. A store may hold a million connections: what is good is counted,
//! and of what is not so many of a kind are named.

use crate::exit::Exit;
use crate::printer::{DIM_TEXT, GREEN_TEXT, RED_TEXT, YELLOW_TEXT};
use crate::session::Session;
use crate::trouble::Trouble;
use anstyle::Style;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of a kind so many are named.
pub(super) const NAMED: usize = 20;

/// How grave a finding is, from nothing to a person who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Good,
    /// To be known; nothing is wrong.
    Remark,
    /// Something is wrong that passes by itself.
    Passing,
    /// A person must act.
    Person,
}

impl Severity {
    /// These strings appear in JSON.
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Remark => "remark",
            Self::Passing => "passing",
            Self::Person => "person",
        }
    }

    fn mark(self) -> (&'static str, Style) {
        match self {
            Self::Good => ("✓", GREEN_TEXT),
            Self::Remark => ("·", DIM_TEXT),
            Self::Passing => ("!", YELLOW_TEXT),
            Self::Person => ("✗", RED_TEXT),
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Good | Self::Remark => Exit::Done,
            Self::Passing => Exit::TryAgainLater,
            Self::Person => Exit::PersonMustAct,
        }
    }
}

/// One thing that was looked at.
struct Finding {
    area: &'static str,
    severity: Severity,
    what: String,
    remedy: Option<String>,
}

/// What comes in numbers: the first are named, the others counted.
struct Kind {
    area: &'static str,
    severity: Severity,
    /// What a person does about the others.
    remedy: &'static str,
    count: usize,
    /// Where the last one that is named stands among the findings.
    last: usize,
}

pub(super) struct Report<'a> {
    pub(super) session: &'a Session,
    findings: Vec<Finding>,
    kinds: BTreeMap<&'static str, Kind>,
}

impl<'a> Report<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, findings: Vec::new(), kinds: BTreeMap::new() }
    }

    pub(super) fn good(&mut self, area: &'static str, what: impl Into<String>) {
        self.put(area, Severity::Good, what.into(), None);
    }

    pub(super) fn remark(&mut self, area: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.put(area, Severity::Remark, what.into(), Some(remedy.into()));
    }

    pub(super) fn passing(&mut self, area: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.put(area, Severity::Passing, what.into(), Some(remedy.into()));
    }

    pub(super) fn bad(&mut self, area: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.put(area, Severity::Person, what.into(), Some(remedy.into()));
    }

    pub(super) fn trouble(&mut self, area: &'static str, trouble: Trouble) {
        let trouble = trouble.at(&self.session.place());
        let remedy = trouble.hint.unwrap_or_else(|| "please report it".to_owned());
        let passes = trouble.exit == Exit::TryAgainLater;
        let severity = if passes { Severity::Passing } else { Severity::Person };
        self.findings.push(Finding { area, severity, what: trouble.message, remedy: Some(remedy) });
    }

    /// True while another one of this kind is to be named; else it is counted.
    pub(super) fn names_one_more(
        &mut self,
        area: &'static str,
        severity: Severity,
        others: &'static str,
        remedy: &'static str,
    ) -> bool {
        let new = Kind { area, severity, remedy, count: 0, last: 0 };
        let kind = self.kinds.entry(others).or_insert(new);
        kind.count += 1;
        let is_named = kind.count <= NAMED;
        if is_named {
            kind.last = self.findings.len();
        }
        is_named
    }

    pub(super) fn put(
        &mut self,
        area: &'static str,
        severity: Severity,
        what: String,
        remedy: Option<String>,
    ) {
        let remedy = remedy.map(|remedy| self.session.place().complete(&remedy));
        self.findings.push(Finding { area, severity, what, remedy });
    }

    /// True when a person must act already: what hangs on that need not be told again.
    pub(super) fn is_anything_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity > Severity::Remark)
    }

    /// Behind the last one that is named; from the end on, so that what stands before stays where it is.
    fn count_the_others(&mut self) {
        let mut kinds: Vec<_> = std::mem::take(&mut self.kinds).into_iter().collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.last));
        for (others, Kind { area, severity, remedy, count, last }) in kinds {
            if let Some(more @ 1..) = count.checked_sub(NAMED) {
                let remedy = Some(self.session.place().complete(remedy));
                let what = format!("{more} more {others}");
                self.findings.insert(last + 1, Finding { area, severity, what, remedy });
            }
        }
    }

    pub(super) fn conclude(mut self) -> Result<Exit, Trouble> {
        self.count_the_others();
        let printer = self.session.printer;
        let worst = self.findings.iter().map(|finding| finding.severity).max();
        let exit = worst.unwrap_or(Severity::Good).exit();
        if self.session.globals.json {
            let as_json = |Finding { area, severity, what, remedy }: &Finding| {
                json!({
                    "what": what, "good": *severity <= Severity::Remark, "severity": severity.as_str(),
                    "remedy": remedy, "area": area,
                })
            };
            printer.json_data(&self.findings.iter().map(as_json).collect::<Value>())?;
            return Ok(exit);
        }
        for Finding { severity, what, remedy, .. } in &self.findings {
            let (mark, style) = severity.mark();
            printer.line(&format!("{style}{mark}{style:#} {what}"))?;
            if let Some(remedy) = remedy {
                printer.line(&format!("  {remedy}"))?;
            }
        }
        Ok(exit)
    }
}
