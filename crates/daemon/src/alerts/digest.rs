//! Many alerts of one kind become few messages: ten thousand connections that fall together are one thing to a person.
//!
//! Alerts that share type and label (state, days) are one group. Of each group five are told one by one within a
//! minute; what comes behind them in that minute is put together into one message, which is sent when the minute is
//! over. While that goes on, each such span is twice as long as the one before it, up to an hour, and all that comes in
//! it is one message. A span without any begins anew.
//!
//! A message that is still being added to stands in the outbox from the first, so that a crash loses none of it. It is
//! sent only once nothing is added any more: who has seen its id looks at no other of that id.

use super::alert::{Alert, Message, kind, object, rfc3339};
use super::rules;
use perennial::core::UnixTime;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// So many of a group are told one by one.
const SINGLES: u32 = 5;
/// The first span, in seconds.
const SPAN: i64 = 60;
/// The longest.
const LONGEST_SPAN: i64 = 3600;
/// So many connections are named in one message, at 128 bytes each at most; all are counted.
pub(super) const NAMED: usize = 1000;
/// So many are named to a person.
const NAMED_IN_TEXT: usize = 10;

/// The groups that are under way.
#[derive(Debug, Default)]
pub(super) struct Digests {
    groups: BTreeMap<String, Group>,
    /// Messages to which nothing is added any more.
    closed: Vec<String>,
}

#[derive(Debug)]
struct Group {
    /// This span's end, and its length.
    until: i64,
    span: i64,
    /// How many were told one by one in it.
    singles: u32,
    together: Option<Together>,
    /// Some were put together in it, and have been closed.
    was_busy: bool,
}

/// Alerts that are told together.
#[derive(Debug)]
struct Together {
    id: String,
    count: u64,
    names: Vec<String>,
    first: Alert,
}

impl Digests {
    /// The messages that tell these alerts. One that the outbox has already, by its id, has grown.
    pub(super) fn pack(&mut self, alerts: Vec<Alert>, now: UnixTime) -> Vec<Message> {
        let (mut messages, mut grown) = (Vec::new(), BTreeSet::new());
        for alert in alerts {
            let Some(name) = alert.connection.clone() else {
                messages.push(alert.message());
                continue;
            };
            let key = format!("{}/{}", kind(alert.event, alert.recovered), alert.label);
            let group = self.groups.entry(key.clone()).or_insert_with(|| Group::new(now));
            self.closed.extend(group.roll(now));
            if group.span == SPAN && group.singles < SINGLES {
                group.singles += 1;
                messages.push(alert.message());
            } else {
                group.add(alert, name);
                grown.insert(key);
            }
        }
        messages.extend(grown.iter().filter_map(|key| self.groups.get(key)?.message()));
        messages
    }

    /// The messages, by their ids, to which nothing is added from here on.
    pub(super) fn closed(&mut self, now: UnixTime) -> Vec<String> {
        self.closed.extend(self.groups.values_mut().filter_map(|group| group.close(now)));
        self.groups.retain(|_, group| !group.is_quiet(now));
        std::mem::take(&mut self.closed)
    }
}

impl Group {
    fn new(now: UnixTime) -> Self {
        Self { until: now.0 + SPAN, span: SPAN, singles: 0, together: None, was_busy: false }
    }

    /// Begins the next span where this one is over; what was put together in it is closed.
    fn roll(&mut self, now: UnixTime) -> Option<String> {
        let was_set_back = self.until - now.0 > self.span;
        if now.0 < self.until && !was_set_back {
            return None;
        }
        let closed = self.together.take().map(|together| together.id);
        let busy = self.was_busy || closed.is_some();
        let goes_on = busy && !was_set_back && !self.is_quiet(now);
        let span = if goes_on { (self.span * 2).min(LONGEST_SPAN) } else { SPAN };
        *self = Self { until: now.0 + span, span, ..Self::new(now) };
        closed
    }

    /// Closes what was put together, where its span is over.
    fn close(&mut self, now: UnixTime) -> Option<String> {
        let is_over = now.0 >= self.until || self.until - now.0 > self.span;
        let together = if is_over { self.together.take() } else { None }?;
        self.was_busy = true;
        Some(together.id)
    }

    /// Nothing came for a whole span.
    fn is_quiet(&self, now: UnixTime) -> bool {
        now.0 >= self.until + self.span
    }

    fn add(&mut self, alert: Alert, name: String) {
        let together = self.together.get_or_insert_with(|| Together {
            id: rules::id(&format!("together\n{}", alert.id)),
            count: 0,
            names: Vec::new(),
            first: alert,
        });
        together.count += 1;
        if together.names.len() < NAMED {
            together.names.push(name);
        }
    }

    fn message(&self) -> Option<Message> {
        let Together { id, count, names, first } = self.together.as_ref()?;
        let what = match first.recovered {
            true => "are well again",
            false => match first.event {
                crate::config::AlertEvent::RefreshTokenDies => "have a refresh token that ends soon",
                _ => "changed their state",
            },
        };
        let shown = names.iter().take(NAMED_IN_TEXT).cloned().collect::<Vec<_>>().join(", ");
        let more = if *count as usize > NAMED_IN_TEXT { ", …" } else { "" };
        let text = format!("{count} connections {what} ({}): {shown}{more}", first.label);
        let hint = "to see them all: perennial list";
        let data = object(json!({
            "count": count,
            "connections": names,
            "tenant": first.data.get("tenant"),
            "state": first.data.get("state"),
            "days_left": first.data.get("days_left"),
            "fault": first.data.get("fault"),
            "verdict": first.data.get("verdict"),
            "code": first.data.get("code"),
            "since": rfc3339(first.at),
            "message": text,
            "hint": hint,
        }));
        let kind = format!("{}.digest", kind(first.event, first.recovered));
        let text = format!("perennial: {text}\nnext: {hint}");
        let mut message = Message::new(id.clone(), &kind, first.at, data, text, first.recovered);
        message.grows = true;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AlertEvent;
    use serde_json::Map;

    fn alert(number: usize, at: i64) -> Alert {
        let data = Map::new();
        Alert {
            id: format!("msg_{number}"),
            event: AlertEvent::StateChanged,
            recovered: false,
            at: UnixTime(at),
            connection: Some(format!("c{number}")),
            label: "suspended".to_owned(),
            data,
            text: String::new(),
        }
    }

    #[test]
    fn ten_thousand_at_once_are_six_messages() {
        let mut digests = Digests::default();
        let mut messages = BTreeMap::new();
        for chunk in (0..10_000).collect::<Vec<_>>().chunks(100) {
            let alerts = chunk.iter().map(|number| alert(*number, 0)).collect();
            for message in digests.pack(alerts, UnixTime(0)) {
                messages.insert(message.id.clone(), message);
            }
        }
        assert_eq!(messages.len(), 6);
        let largest = messages.values().find(|message| message.grows).unwrap();
        assert_eq!(largest.body["data"]["count"], 9_995);
        assert_eq!(largest.body["data"]["connections"].as_array().unwrap().len(), NAMED);
        assert_eq!(largest.body["type"], "connection.state_changed.digest");
        assert!(digests.closed(UnixTime(SPAN - 1)).is_empty());
        assert_eq!(digests.closed(UnixTime(SPAN)), std::slice::from_ref(&largest.id));
        assert!(digests.closed(UnixTime(SPAN)).is_empty(), "once");
        assert!(largest.text.len() < 400, "{}", largest.text);
    }

    #[test]
    fn what_goes_on_for_hours_is_told_ever_more_rarely_and_then_one_by_one_again() {
        let mut digests = Digests::default();
        let mut ids = BTreeSet::new();
        for second in 0..4 * 3600 {
            let alerts = vec![alert(second, i64::try_from(second).unwrap())];
            for message in digests.pack(alerts, UnixTime(i64::try_from(second).unwrap())) {
                ids.insert(message.id);
            }
        }
        assert!(ids.len() < 20, "{}", ids.len());
        let later = digests.pack(vec![alert(99_999, 30_000)], UnixTime(30_000));
        assert_eq!(later[0].body["type"], "connection.state_changed");
    }
}
