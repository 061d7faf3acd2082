//! What happened, one line an event: when, to whom, what. It is told only when somebody listens: a run in which nothing
//! breaks needs no story.

use crate::clocks::Moment;
use crate::world::Who;
use perennial::core::Connection;
use perennial::core::connection::Condition;

#[derive(Default)]
pub(crate) struct Story {
    pub(crate) is_told: bool,
    pub(crate) lines: Vec<String>,
}

impl Story {
    pub(crate) fn tell(&mut self, now: Moment, who: Option<Who>, line: String) {
        let whose =
            who.map_or_else(|| "-".to_owned(), |who| format!("h{} p{}.{}", who.host, who.process, who.life));
        self.lines.push(format!("{} | {whose:<8} | {line}", stamp(now)));
    }
}

/// Days, then hours, minutes, seconds.
pub(crate) fn stamp(moment: Moment) -> String {
    let (seconds, millis) = (moment.as_secs(), moment.subsec_millis());
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("day {days:>3} {hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

/// A row, in few words.
pub(crate) fn row(row: &Connection) -> String {
    let held = row.held.as_ref().map_or_else(
        || "nothing".to_owned(),
        |held| {
            let refresh = held.refresh.as_ref().map_or("-", |token| token.expose());
            let access = held.access.as_ref().map_or("-", |access| access.token.expose());
            format!("generation {} {refresh} {access}", held.generation)
        },
    );
    let kept =
        |count: usize, what: &str| if count == 0 { String::new() } else { format!(", {count} {what}") };
    let intent = row.intent.as_ref().map_or("", |_| ", intent open");
    let condition = match row.condition {
        Condition::Sound => String::new(),
        other => format!(", {other:?}"),
    };
    let (previous, late) = (kept(row.previous.len(), "previous"), kept(row.candidates.len(), "late"));
    format!("{}: {held}{intent}{previous}{late}{condition}", row.name)
}
