//! Every fault at every step, at least once. A short day is lived again and again; each time one thing goes wrong, one
//! step later than the time before. The days differ in what the server does with tokens, in how many hosts there are,
//! and in what is wrong already: an answer that was lost, a store that refuses, a shelf that does too.

use crate::clocks::{HOUR, MINUTE, SECOND};
use crate::disk::{Spoil, Trouble};
use crate::network::{Fate, RetryAfter};
use crate::process::Ask;
use crate::run;
use crate::scenario::{Crystal, Event, Scenario, What};
use crate::server::Rotation;
use crate::tally::Tally;
use crate::world;
use std::time::Duration;

const ROTATIONS: [Rotation; 4] =
    [Rotation::Sticky, Rotation::Strict, Rotation::Window(30), Rotation::Sometimes];

/// When something is asked for: the first is the obtaining, then each finds the token ended.
const BUSY: [Duration; 4] = [SECOND, HOUR.saturating_mul(2), HOUR.saturating_mul(4), HOUR.saturating_mul(6)];

/// What is wrong already, around the second busy moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Already {
    Nothing,
    AnswerLost,
    StoreFull,
    BothDisksFull,
}

/// What goes wrong at a step.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    PowerLost,
}

/// A day with nothing wrong but what is wrong already.
fn day(rotation: Rotation, hosts: usize, already: Already) -> Scenario {
    let mut events = Vec::new();
    let mut ask =
        |at, process, ask| events.push(Event { at, what: What::Ask { process, ask, patience: None } });
    let token = Ask::Token { connection: 0, min_ttl: 60 };
    ask(BUSY[0], 0, Ask::Reauthorize { connection: 0 });
    ask(BUSY[1], 0, token);
    ask(BUSY[1] + Duration::from_millis(40), 1, token);
    ask(BUSY[1] + 3 * MINUTE, 1, token);
    ask(BUSY[2], 0, Ask::Rejected { connection: 0 });
    ask(BUSY[2] + 7 * MINUTE, 1, token);
    ask(BUSY[3], 0, Ask::Refresh { connection: 0 });
    ask(BUSY[3] + 2 * MINUTE, 0, Ask::Person { connection: 0 });
    let before = BUSY[1] - SECOND;
    let full = |disk| What::DiskTrouble { disk, trouble: Trouble::Full, lasts: 2 * MINUTE };
    // The intent finds room; the commit does not.
    let refused = |disk, after| What::SpoilWrite { disk, after, spoil: Spoil::Refused };
    match already {
        Already::Nothing => {}
        Already::AnswerLost => {
            let lost = What::Weather { fate: Fate::AnswerLost, lasts: 2 * MINUTE, requests: 1 };
            events.push(Event { at: before, what: lost });
        }
        Already::StoreFull => {
            events.push(Event { at: before, what: refused(0, 2) });
            events.push(Event { at: BUSY[1] + 2 * SECOND, what: full(0) });
        }
        Already::BothDisksFull => {
            events.push(Event { at: before, what: refused(0, 2) });
            events.push(Event { at: before, what: full(1) });
        }
    }
    events.sort_by_key(|event| event.at);
    Scenario {
        seed: 7,
        rotation,
        clocks: vec![Crystal::default(); hosts],
        processes: vec![0, hosts - 1],
        connections: 1,
        answer_within: 60 * SECOND,
        length: 8 * HOUR,
        events,
    }
}

fn days() -> impl Iterator<Item = (Scenario, Already)> {
    let already = [Already::Nothing, Already::AnswerLost, Already::StoreFull, Already::BothDisksFull];
    ROTATIONS.into_iter().flat_map(move |rotation| {
        [1, 2]
            .into_iter()
            .flat_map(move |hosts| already.map(|already| (day(rotation, hosts, already), already)))
    })
}

fn with(day: &Scenario, at: Duration, what: What) -> Scenario {
    let mut day = day.clone();
    let place = day.events.partition_point(|event| event.at < at);
    day.events.insert(place, Event { at, what });
    day
}

/// Each step of the first process is its last once, by a kill and by a loss of power.
fn deaths(day: &Scenario) -> Vec<Scenario> {
    let steps = run::run(day, false).steps.first().copied().unwrap_or(0);
    let ends = [End::Killed, End::PowerLost];
    let at = |step, end| {
        let takes_power = matches!(end, End::PowerLost);
        let back_after = if takes_power { 90 * SECOND } else { 2 * SECOND };
        with(day, Duration::ZERO, What::CrashAtStep { process: 0, steps: step, back_after, takes_power })
    };
    (0..u32::try_from(steps).unwrap_or(u32::MAX)).flat_map(|step| ends.map(|end| at(step, end))).collect()
}

/// Each write, to the store or to a shelf, goes wrong once in each way.
fn bad_writes(day: &Scenario) -> Vec<Scenario> {
    let writes = run::run(day, false).writes;
    let spoils = [Spoil::Refused, Spoil::Unsynced, Spoil::Durable];
    let of_disk = |(disk, writes): (usize, u32)| {
        (1..=writes).flat_map(move |after| {
            spoils.map(|spoil| with(day, Duration::ZERO, What::SpoilWrite { disk, after, spoil }))
        })
    };
    (0..).zip(writes).flat_map(of_disk).collect()
}

/// Each request meets each fate once.
fn bad_weather(day: &Scenario) -> Vec<Scenario> {
    let at = |busy: Duration, fate| {
        let lasts = 20 * MINUTE;
        with(day, busy.saturating_sub(SECOND / 2), What::Weather { fate, lasts, requests: 1 })
    };
    BUSY.into_iter().flat_map(|busy| fates().into_iter().map(move |fate| at(busy, fate))).collect()
}

fn fates() -> Vec<Fate> {
    let mut fates = vec![
        Fate::Unreachable,
        Fate::RequestLost,
        Fate::AnswerLost,
        Fate::ResetBefore,
        Fate::ResetAfter,
        Fate::AnswerCut,
        Fate::Garbage,
        Fate::EvilHome,
        Fate::EvilGeolocation,
        Fate::Stranger,
    ];
    fates.extend([59, 61, 90, 400].map(Fate::SlowRequest));
    fates.extend([59, 61, 90].map(Fate::SlowAnswer));
    fates.extend([1, 200].map(Fate::Twice));
    fates.extend([-40_000_000, -4_000, 200, 90_000].map(Fate::WrongDate));
    fates.extend([5, 10, 16, 54, 61, 64, 106, 107, 108, 115, 134, 139, 9999].map(Fate::Refused));
    for retry_after in [None, Some(RetryAfter::Seconds(7)), Some(RetryAfter::Date(900))] {
        fates.push(Fate::Status { status: 429, retry_after, after: false });
        fates.extend([true, false].map(|after| Fate::Status { status: 503, retry_after, after }));
    }
    for status in [200, 301, 403, 502] {
        fates.extend([true, false].map(|after| Fate::Html { status, after }));
    }
    fates
}

/// The whole sweep.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (day, already) in days() {
        all.extend(deaths(&day));
        all.extend(bad_writes(&day));
        if already == Already::Nothing {
            all.extend(bad_weather(&day));
        }
        all.push(day);
    }
    all
}

/// What never died at a step, and what no request met: a sweep must not become empty unnoticed.
pub(crate) fn left_out(tally: &Tally) -> Vec<String> {
    let steps = world::STEPS.iter().filter(|step| !tally.has_crashed_at(step)).map(|step| (*step).to_owned());
    let fates = fates().into_iter().map(Tally::name_of).filter(|fate| !tally.has_met(fate));
    steps.chain(fates).collect()
}
