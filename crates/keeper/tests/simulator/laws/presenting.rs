//! Laws 2, 3, 4, 7 and 10: a request goes out.

use super::{Flight, Judged, Laws, Order, Presentation};
use crate::answers::Heard;
use crate::clocks::{Moment, SECOND, unix};
use crate::process::Kind;
use crate::server::{ACCESS_LIFE, Form, Rotation, Said};
use crate::world::{State, Who};
use perennial::core::Origin;
use perennial::core::connection::Connection;
use perennial::core::profile::Purpose;
use perennial::core::secret::Fingerprint;
use perennial::http::Question;
use std::time::Duration;

impl State {
    /// A task of a process reads a row: where it is no caller, a flight begins.
    pub(crate) fn looks(&mut self, who: Who, name: &str) {
        let Some(task) = tokio::task::try_id() else { return };
        let connection = self.rows.number(name);
        // Before it looks at its own connection, a flight looks for those whose tokens wait in rescue files.
        self.laws.flights.retain(|f| f.task != task || f.has_connected || f.connection == connection);
        let is_known = self.laws.callers.contains(&task) || self.laws.flights.iter().any(|f| f.task == task);
        if is_known {
            return;
        }
        // One flight a connection: the one before has landed.
        self.laws.flights.retain(|flight| (flight.who, flight.connection) != (who, connection));
        let own = self.laws.orders.iter().filter(|order| (order.who, order.connection) == (who, connection));
        let waits = |order: &&Order| order.left_at.is_none_or(|left| left == self.now);
        let mut kinds: Vec<Kind> = own.filter(waits).map(|order| order.kind).collect();
        if kinds.is_empty() {
            kinds.push(Kind::Due); // Nobody waits: a renewal behind somebody's back.
        }
        self.laws.flights.push(Flight {
            task,
            who,
            connection,
            looked_at: self.now,
            has_connected: false,
            kinds,
        });
    }

    /// A request leaves. Returns its number.
    pub(crate) fn is_presented(
        &mut self,
        who: Who,
        base: &Origin,
        question: &Question,
        form: &Form,
        patience: Duration,
    ) -> usize {
        let base = base.to_string();
        let connection = self.law_4_an_intent_is_durable(&base, question, form);
        let flight = self.own_flight();
        let kinds = flight.map(|flight| self.laws.flights[flight].kinds.clone()).unwrap_or_default();
        let presentation = Presentation {
            at: self.now,
            who,
            connection,
            kernel: self.hosts[who.host].kernel(),
            token: form.token.clone(),
            is_refresh: form.is_refresh,
            intent: question.correlation_id.clone(),
            deadline: self.now + patience,
            flight: flight.map(|flight| self.laws.flights[flight].task),
            kinds,
            judged: None,
            heard: None,
            reads: None,
            noted: None,
            sender_died: None,
            has_successor: false,
            base,
        };
        if patience > self.answer_within {
            self.breaks(2, format!("a request may take {} s", patience.as_secs()));
        }
        self.law_2_one_presenter(&presentation);
        let recent =
            self.laws.presentations.iter_mut().rev().take_while(|old| presentation.at <= old.deadline);
        recent
            .filter(|old| (&old.kernel, old.connection) == (&presentation.kernel, presentation.connection))
            .for_each(|old| old.has_successor = true);
        self.law_7_no_token_twice(&presentation);
        if let Some(flight) = flight {
            self.law_3_no_request_beside_a_siblings_tokens(
                &presentation,
                self.laws.flights[flight].looked_at,
            );
        }
        self.law_10_only_where_it_may_go(&presentation.base.clone());
        self.law_12_restraint(&presentation);
        self.tally.presentations += 1;
        let number = self.laws.presentations.len();
        self.laws.by_token.entry(form.token.clone()).or_default().push(number);
        self.laws.presentations.push(presentation);
        number
    }

    pub(super) fn own_flight(&self) -> Option<usize> {
        let task = tokio::task::try_id()?;
        self.laws.flights.iter().position(|flight| flight.task == task)
    }

    /// Law 4: the intent of just this request would survive a loss of power, and a use of a request token is counted in
    /// it. Returns whose it is.
    fn law_4_an_intent_is_durable(&mut self, base: &str, question: &Question, form: &Form) -> usize {
        self.laws.checks[4] += 1;
        let presented = Fingerprint::of(&form.token);
        let own = |row: &Connection| {
            row.intent.as_ref().is_some_and(|intent| intent.correlation_id == question.correlation_id)
        };
        let by_intent = (0..self.rows.rows.len()).find(|number| own(self.rows.synced(*number)));
        let Some(connection) = by_intent else {
            self.breaks(4, format!("{} is sent, and no durable intent says so", form.token));
            let held = (0..self.rows.rows.len()).find(|number| is_of(self.rows.seen(*number), &form.token));
            return held.unwrap_or(0);
        };
        let row = self.rows.synced(connection);
        let Some(intent) = row.intent.clone() else { return connection };
        let purpose = if form.is_refresh { Purpose::Refresh } else { Purpose::Obtain };
        let uses = row
            .request_token
            .as_ref()
            .filter(|used| used.fingerprint == presented)
            .map_or(0, |used| used.uses);
        if (intent.presented != presented) || (intent.purpose != purpose) || intent.base.to_string() != base {
            self.breaks(4, format!("{} is sent to {base}, and the intent says otherwise", form.token));
        }
        // A refusal in so many words gives the use back; a row counts for the request token that it has seen last.
        let obtaining = self
            .laws
            .presentations
            .iter()
            .rev()
            .filter(|old| old.connection == connection && !old.is_refresh);
        let earlier = obtaining.take_while(|old| old.token == form.token);
        let spent = earlier.filter(|old| !old.knows_that_nothing_was_spent()).count();
        if !form.is_refresh && uses as usize <= spent {
            self.breaks(
                4,
                format!("{} was used {spent} times, is used again, and {uses} are counted", form.token),
            );
        }
        connection
    }

    /// Law 2: nobody else's request is under way. On one kernel a dead sender is known to be dead; elsewhere his deadline
    /// counts, until somebody of his own kernel has taken his place.
    fn law_2_one_presenter(&mut self, new: &Presentation) {
        self.laws.checks[2] += 1;
        let recent =
            self.laws.presentations.iter().rev().take_while(|old| new.at <= old.at + self.answer_within);
        let under_way = recent.filter(|old| old.connection == new.connection).find(|old| {
            let known_dead = old.sender_died.filter(|_| old.kernel == new.kernel || old.has_successor);
            let answered = old.heard.map(|(at, _)| at);
            let ended = [Some(old.deadline), known_dead, answered].into_iter().flatten().min();
            ended.is_some_and(|ended| new.at < ended)
        });
        if let Some(old) = under_way {
            let (token, other, left) = (&new.token, old.who.process, old.deadline.saturating_sub(new.at));
            let what =
                format!("{token} is sent while process {other}'s request has {} s left", left.as_secs());
            self.breaks(2, what);
        }
    }

    /// Law 7: where the rule forbids it, a token whose presentation may have spent it is presented again as the last
    /// resort only: no access token lives any more, and the first presenter's deadline has passed.
    fn law_7_no_token_twice(&mut self, new: &Presentation) {
        if !new.is_refresh {
            return;
        }
        self.laws.checks[7] += 1;
        let may_be_spent = |old: &&&Presentation| !old.knows_that_nothing_was_spent();
        let numbers = self.laws.by_token.get(&new.token).into_iter().flatten();
        let old: Vec<_> = numbers.map(|number| &self.laws.presentations[*number]).collect();
        // Once the server has said that a token is no good, nothing about it is unknown.
        let settled = old.iter().rposition(|old| old.was_called_no_good()).map_or(0, |last| last + 1);
        let first = old[settled..].iter().find(may_be_spent);
        let Some(first) = first else { return };
        let (first_at, deadline, doubt) = (first.at, first.deadline, self.doubt());
        let row = self.rows.seen(new.connection);
        let own_answer = row.candidates.iter().any(|kept| {
            let held = row.held.as_ref().map(|held| (&held.grant_id, held.generation));
            let from = Some((&kept.grant_id, kept.generation)) == held;
            let is_another =
                kept.response.refresh_token.as_ref().is_some_and(|refresh| refresh.expose() != new.token);
            let issue = self.server.issue_of(kept.response.access_token.expose());
            from && is_another && issue.is_some_and(|issue| !self.server.issues[issue].is_strangers)
        });
        let access = row.held.as_ref().and_then(|held| held.access.as_ref());
        let left = access.map_or(0, |access| access.expiry.at().0 - unix(new.at));
        // A clock that is set ahead is believed: it may have been a pause of the machine (law 11).
        let is_over = new.at + Duration::from_secs(doubt.unsigned_abs()) >= deadline;
        // Nor is a life believed that is longer than any: the clock under which it was stored stood wrong.
        let is_dead = left <= doubt + 1 || left > unix(ACCESS_LIFE) - unix(Duration::ZERO) + 240;
        let is_last_resort = is_dead && is_over;
        let is_permitted = match self.server.rotation {
            Rotation::Sticky | Rotation::Sometimes => true,
            Rotation::Strict => is_last_resort,
            Rotation::Window(seconds) => {
                is_last_resort
                    || new.at <= first_at + Duration::from_secs(seconds + doubt.unsigned_abs()) + SECOND
            }
        };
        let token = new.token.clone();
        if !is_permitted {
            let since = new.at.saturating_sub(first_at).as_secs();
            self.breaks(
                7,
                format!("{token} is presented again after {since} s, and an access token lives {left} s"),
            );
        } else if own_answer && row_is_open(self.rows.seen(new.connection)) {
            self.breaks(7, format!("{token} is presented again, and its late answer is at hand"));
        }
    }

    /// Law 3: what a sibling has stored since this flight began is used, and nothing is sent.
    fn law_3_no_request_beside_a_siblings_tokens(&mut self, new: &Presentation, looked_at: Moment) {
        self.laws.checks[3] += 1;
        let Some((at, by)) = self.laws.replaced.get(&new.connection).copied() else { return };
        let own = by == new.who;
        let left = self.access_left(new.connection);
        if !own && at > looked_at && left > self.doubt() + 2 && self.clocks_agree() {
            let what = format!("{} is sent, and process {} has stored tokens since", new.token, by.process);
            self.breaks(3, what);
        }
    }

    /// How long the access token in the store lives, as the server knows it.
    pub(super) fn access_left(&self, connection: usize) -> i64 {
        let held = self.rows.seen(connection).held.as_ref();
        let access = held.and_then(|held| held.access.as_ref());
        let issue = access.and_then(|access| self.server.issue_of(access.token.expose()));
        issue.map_or(0, |issue| unix(self.server.issues[issue].access_ends) - unix(self.now))
    }

    /// Law 10: secrets go to the provider's own hosts and nowhere else; nobody has named another here.
    pub(super) fn law_10_only_where_it_may_go(&mut self, base: &str) {
        self.laws.checks[10] += 1;
        if !crate::server::HOMES.contains(&base) {
            self.breaks(10, format!("a connection leads to {base}"));
        }
    }

    /// The server has acted on a request.
    pub(crate) fn was_judged(&mut self, number: usize, said: &Said) {
        let judged = if said.issue.is_some() { Judged::Issued } else { Judged::Refused };
        let presentation = &mut self.laws.presentations[number];
        presentation.judged = Some(presentation.judged.unwrap_or(judged));
        self.tally.judged(said.issue.is_some());
    }

    pub(crate) fn has_died(&mut self, who: Who) {
        let recent = self.laws.presentations.iter_mut().rev().take_while(|old| self.now <= old.deadline);
        recent.filter(|old| old.who == who).for_each(|old| old.sender_died = Some(self.now));
        self.laws.orders.retain(|order| order.who != who);
        self.laws.flights.retain(|flight| flight.who != who);
        self.laws.circuits.retain(|(process, _), _| *process != who.process);
    }
}

impl Laws {
    /// When the server last called a refresh token no good, as far as a sender has heard.
    pub(super) fn called_no_good_at(&self, refresh: &str) -> Option<Moment> {
        let numbers = self.by_token.get(refresh)?.iter().rev();
        let mut old = numbers.map(|number| &self.presentations[*number]);
        old.find(|old| old.was_called_no_good()).and_then(|old| old.heard).map(|(at, _)| at)
    }
}

impl Presentation {
    /// The sender has been refused in so many words, before anything was spent.
    fn knows_that_nothing_was_spent(&self) -> bool {
        matches!(self.heard, Some((_, Heard::Refused { .. }))) && self.judged != Some(Judged::Issued)
    }

    fn was_called_no_good(&self) -> bool {
        matches!(self.heard, Some((_, Heard::Refused { code: 106 | 108, .. })))
    }
}

fn is_of(row: &Connection, refresh: &str) -> bool {
    let held = row.held.as_ref().and_then(|held| held.refresh.as_ref());
    held.is_some_and(|held| held.expose() == refresh)
}

fn row_is_open(row: &Connection) -> bool {
    row.intent.as_ref().is_some_and(|intent| intent.purpose == Purpose::Refresh)
}
