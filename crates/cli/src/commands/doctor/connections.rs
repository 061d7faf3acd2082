//! Every connection, one after the other: its state, what stands aside, what stands open, when its refresh token ends,
//! what it knows of the clocks.

use super::report::{NAMED, Report, Severity};
use crate::commands::status::what_next;
use crate::place::{Anew, Place};
use crate::words::{about, day};
use perennial::Keeper;
use perennial::core::connection::{Aside, Intent};
use perennial::core::profile::ReplayRule;
use perennial::core::{Connection, Expiry, Origin, State, UnixTime};
use std::collections::{BTreeMap, BTreeSet};

/// From here on a clock is worth a word: what SAP's answers and NTP do not explain.
const NOTEWORTHY_SKEW: u64 = 60;
/// A refresh token that ends within this is looked at, in seconds: 30 days, a sixth of its life at Concur.
const SOON: i64 = 30 * 86_400;

/// What the rest of the report needs to know of all of them.
#[derive(Default)]
pub(super) struct Seen {
    /// Where their tokens are good.
    pub(super) bases: BTreeSet<Origin>,
    /// True when there is one whose refresh token may be presented only once.
    pub(super) is_strict: bool,
    /// Whose server can be asked what it thinks of their tokens (RFC 7662).
    pub(super) to_be_asked_about: Vec<String>,
}

/// Looks at all of them.
pub(super) fn look(report: &mut Report<'_>, keeper: &Keeper) -> Seen {
    let mut seen = Seen::default();
    let names = match keeper.names() {
        Ok(names) => names,
        Err(error) => {
            report.trouble("connections", error.into());
            return seen;
        }
    };
    let mut good = Good::default();
    for name in &names {
        report.session.is_about(name);
        match keeper.connection(name) {
            Ok(connection) => {
                one(report, keeper, &connection, &mut good);
                let held = connection.held.as_ref();
                let base = connection.token_origin().or(held.map(|held| &held.base)).cloned();
                let server = connection.server.as_ref().filter(|_| held.is_some());
                if server.is_some_and(|server| server.introspection.is_some()) {
                    seen.to_be_asked_about.push(name.clone());
                }
                let base = base.filter(|base| connection.permits(base));
                seen.is_strict |= connection.policy.replay == ReplayRule::Never;
                seen.bases.extend(base.or_else(|| keeper.obtaining_base(&connection).ok()));
            }
            Err(error) => {
                let (others, remedy) = ("connections cannot be read", "as for those above: perennial list");
                if report.names_one_more("connections", Severity::Person, others, remedy) {
                    report.trouble("connections", error.into());
                }
            }
        }
    }
    good.tell(report);
    if names.is_empty() {
        report.good("connections", "there are no connections yet");
    }
    seen
}

/// Those that are well: named where they are few, else counted.
#[derive(Default)]
struct Good {
    names: Vec<(String, &'static str)>,
    counts: BTreeMap<&'static str, usize>,
}

impl Good {
    fn add(&mut self, name: &str, state: State) {
        *self.counts.entry(state.as_str()).or_default() += 1;
        if self.names.len() <= NAMED {
            self.names.push((name.to_owned(), state.as_str()));
        }
    }

    fn tell(&self, report: &mut Report<'_>) {
        if self.names.len() <= NAMED {
            for (name, state) in &self.names {
                report.good("connections", format!("{name} is {state}"));
            }
            return;
        }
        for (state, count) in &self.counts {
            report.good("connections", format!("{count} connections are {state}"));
        }
    }
}

fn one(report: &mut Report<'_>, keeper: &Keeper, connection: &Connection, good: &mut Good) {
    let now = keeper.now();
    let state = keeper.state(connection);
    let name = &connection.name;
    let anew = keeper.store().app(name).map(|app| Anew::of(connection, &app)).unwrap_or_default();
    let place = Place { anew, ..report.session.place() };
    match (state, what_next(connection, now, &place)) {
        (State::Held | State::Refreshing | State::Unsaved, _) | (_, None) => {
            good.add(name, state);
            expiry(report, connection, now, &place);
        }
        (State::BackingOff | State::Uncertain, Some(next)) => {
            let (others, remedy) =
                ("are being waited for", "each is tried again by itself; to see them: perennial list");
            if report.names_one_more("connections", Severity::Passing, others, remedy) {
                report.passing("connections", of_state(connection, state), next);
            }
        }
        (_, Some(next)) => {
            let (others, remedy) = ("need a person", "to see them: perennial list");
            if report.names_one_more("connections", Severity::Person, others, remedy) {
                report.bad("connections", of_state(connection, state), next);
            }
        }
    }
    aside(report, connection, &place);
    intent(report, connection, now, &place);
    app(report, keeper, name);
    clock(report, connection);
}

fn of_state(connection: &Connection, state: State) -> String {
    let fault =
        connection.last_fault.as_ref().map_or_else(String::new, |fault| format!(": {}", fault.message));
    format!("{} is {}{fault}", connection.name, state.as_str())
}

/// What is renewed in time needs nobody; what should have been renewed long ago does.
fn expiry(report: &mut Report<'_>, connection: &Connection, now: UnixTime, place: &Place) {
    let held = connection.held.as_ref();
    let Some(ends) = held.and_then(|held| held.refresh_expiry).map(Expiry::at) else { return };
    let (ends, at_server) = (connection.skew.host_time(ends), connection.skew.server_time(now));
    let is_due = connection.renew_at().is_some_and(|at| at <= at_server);
    let name = &connection.name;
    if ends <= now {
        let (others, remedy) =
            ("refresh tokens have ended", "each may still be tried: perennial refresh --all");
        if report.names_one_more("expiries", Severity::Person, others, remedy) {
            let next = format!("it may still be tried: {}; else: {}", place.refresh(), place.obtain());
            report.bad("expiries", format!("{name}: the refresh token ended on {}", day(ends)), next);
        }
    } else if ends.since(now) <= SOON && is_due {
        let (others, remedy) =
            ("refresh tokens end within 30 days", "renew all that is due: perennial refresh --all --due");
        if report.names_one_more("expiries", Severity::Person, others, remedy) {
            let what =
                format!("{name}: the refresh token ends {}, and nothing has renewed it", about(ends, now));
            let next = format!(
                "renew it: {}; and let something renew what is due, daily: perennial refresh --all --due",
                place.refresh()
            );
            report.bad("expiries", what, next);
        }
    }
}

fn aside(report: &mut Report<'_>, connection: &Connection, place: &Place) {
    let name = &connection.name;
    let count = |reason| connection.candidates.iter().filter(|candidate| candidate.reason == reason).count();
    let unbelieved = count(Aside::Unbelieved);
    let (others, remedy) = ("have answers aside that are not believed", "to see them: perennial list");
    if unbelieved > 0 && report.names_one_more("connections", Severity::Person, others, remedy) {
        report.bad(
            "connections",
            format!("{name}: {} kept aside whose id_token is not believed", answers(unbelieved)),
            format!("see why: {}", place.about("log")),
        );
    }
    let strangers = count(Aside::OtherPrincipal);
    let (others, remedy) = ("have answers aside for another principal", "to see them: perennial list");
    if strangers > 0 && report.names_one_more("connections", Severity::Person, others, remedy) {
        report.bad(
            "connections",
            format!("{name}: {} kept aside that name another principal", answers(strangers)),
            format!("look at them: {} --dry-run", place.about("recover")),
        );
    }
    let late = count(Aside::Late);
    let (others, remedy) =
        ("have late answers aside", "they are kept until the tokens in force have refreshed");
    if late > 0 && report.names_one_more("connections", Severity::Remark, others, remedy) {
        report.good(
            "connections",
            format!(
                "{name}: {} kept until the tokens in force have refreshed, which came late",
                answers(late)
            ),
        );
    }
}

fn answers(count: usize) -> String {
    if count == 1 { "1 answer is".to_owned() } else { format!("{count} answers are") }
}

fn intent(report: &mut Report<'_>, connection: &Connection, now: UnixTime, place: &Place) {
    let Some(Intent { deadline, presented, .. }) = &connection.intent else { return };
    let name = &connection.name;
    if connection.skew.host_time(*deadline) > now {
        if report.names_one_more(
            "intents",
            Severity::Good,
            "requests are under way",
            "to see them: perennial list",
        ) {
            report.good("intents", format!("{name}: a request with {presented} is under way"));
        }
        return;
    }
    let (others, remedy) = (
        "requests have no known outcome",
        "the next command about each deals with it: perennial refresh --all --due",
    );
    if report.names_one_more("intents", Severity::Passing, others, remedy) {
        let next = format!("the next command deals with it: {}", place.about("token"));
        report.passing("intents", format!("{name}: a request with {presented} has no known outcome"), next);
    }
}

fn app(report: &mut Report<'_>, keeper: &Keeper, name: &str) {
    if let Err(error) = keeper.store().app(name) {
        let (others, remedy) = ("have an app that cannot be read", "as for those above: perennial list");
        if report.names_one_more("connections", Severity::Person, others, remedy) {
            report.trouble("connections", error.into());
        }
    }
}

fn clock(report: &mut Report<'_>, connection: &Connection) {
    let seconds = connection.skew.seconds;
    if seconds.unsigned_abs() < NOTEWORTHY_SKEW {
        return;
    }
    let remedy = "set the clock: timedatectl set-ntp true";
    if report.names_one_more(
        "clock",
        Severity::Person,
        "connections say the same of this host's clock",
        remedy,
    ) {
        let (name, way) = (&connection.name, if seconds > 0 { "behind" } else { "ahead of" });
        let seconds = seconds.abs();
        let what =
            format!("{name}: this host's clock is {seconds} s {way} the server's; it is reckoned with");
        report.bad("clock", what, remedy);
    }
}
