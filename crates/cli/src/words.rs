//! Times, durations and numbers of things, as people read and write them.

use jiff::{SpanRound, Timestamp, Unit, ZonedDateTime, tz::TimeZone};
use perennial::core::UnixTime;
use std::fmt::Display;

pub(crate) use perennial::core::time::parse_duration;

/// `2027-05-24T01:48:00Z` (RFC 3339).
pub(crate) fn rfc3339(at: UnixTime) -> String {
    timestamp(at).to_string()
}

/// `2027-05-24`.
pub(crate) fn day(at: UnixTime) -> String {
    timestamp(at).strftime("%Y-%m-%d").to_string()
}

/// `2027-05-24 01:48 UTC, in 5 months 30 days`.
pub(crate) fn moment(at: UnixTime, now: UnixTime) -> String {
    format!("{}, {}", timestamp(at).strftime("%Y-%m-%d %H:%M UTC"), distance(at, now))
}

/// `in 5 months 12 days`, `3 minutes ago`, `now`.
pub(crate) fn distance(at: UnixTime, now: UnixTime) -> String {
    let (from, to, past) = if at < now { (at, now, true) } else { (now, at, false) };
    let text = span(from, to);
    match (text.is_empty(), past) {
        (true, _) => "now".to_owned(),
        (false, true) => format!("{text} ago"),
        (false, false) => format!("in {text}"),
    }
}

/// The same, by the largest unit alone: for a column of a table.
pub(crate) fn about(at: UnixTime, now: UnixTime) -> String {
    let text = distance(at, now);
    let words: Vec<_> = text.split(' ').collect();
    match words.as_slice() {
        ["in", count, unit, ..] => format!("in {count} {unit}"),
        [count, unit, .., "ago"] => format!("{count} {unit} ago"),
        _ => text,
    }
}

/// The two largest units of the time between two moments, by the calendar.
fn span(from: UnixTime, to: UnixTime) -> String {
    let (from, to) = (zoned(from), zoned(to));
    let Ok(span) = from.until((Unit::Year, &to)) else { return String::new() };
    let whole = SpanRound::new().largest(Unit::Year).smallest(Unit::Second).relative(&from);
    let span = span.round(whole).unwrap_or(span);
    let units: [(i64, &str); 6] = [
        (span.get_years().into(), "year"),
        (span.get_months().into(), "month"),
        (i64::from(span.get_weeks()) * 7 + i64::from(span.get_days()), "day"),
        (span.get_hours().into(), "hour"),
        (span.get_minutes(), "minute"),
        (span.get_seconds(), "second"),
    ];
    let Some(first) = units.iter().position(|(count, _)| *count != 0) else { return String::new() };
    let parts = units.iter().skip(first).take(2).filter(|(count, _)| *count != 0);
    parts
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect::<Vec<_>>()
        .join(" ")
}

fn zoned(at: UnixTime) -> ZonedDateTime {
    timestamp(at).to_zoned_datetime(TimeZone::UTC)
}

fn timestamp(at: UnixTime) -> Timestamp {
    Timestamp::from_second(at.0).unwrap_or(Timestamp::MAX)
}

/// `1 connection`, `2 connections`.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_485_600); // 2026-11-24 02:00 UTC

    #[test]
    fn distances_read_well() {
        let day = 24 * 3600;
        assert_eq!(distance(NOW.plus(180 * day), NOW), "in 5 months 29 days");
        assert_eq!(distance(NOW.plus(3600), NOW), "in 1 hour");
        assert_eq!(distance(NOW.plus(3599), NOW), "in 59 minutes 59 seconds");
        assert_eq!(distance(NOW.plus(-60), NOW), "1 minute ago");
        assert_eq!(distance(NOW, NOW), "now");
        assert_eq!(distance(NOW.plus(36 * 3600 + 5), NOW), "in 1 day 12 hours");
        assert_eq!(about(NOW.plus(36 * 3600 + 5), NOW), "in 1 day");
        assert_eq!(about(NOW.plus(-3599), NOW), "59 minutes ago");
        assert_eq!(about(NOW, NOW), "now");
        assert_eq!(distance(UnixTime(i64::MAX), NOW).split(' ').next(), Some("in"));
    }

    #[test]
    fn moments_tell_the_date_and_the_distance() {
        assert_eq!(moment(NOW.plus(3600), NOW), "2026-11-24 03:00 UTC, in 1 hour");
        assert_eq!(rfc3339(NOW), "2026-11-24T02:00:00Z");
    }
}
