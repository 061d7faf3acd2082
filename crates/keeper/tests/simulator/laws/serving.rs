//! Laws 1, 9, 10, 11 and 13: a caller gets an answer.

use super::Order;
use crate::clocks::{Moment, unix};
use crate::process::Kind;
use crate::server::ACCESS_LIFE;
use crate::shelf::File;
use crate::store::name_of;
use crate::world::{STORE_DISK, State, Who};
use perennial::{Error, HandOut};

impl State {
    /// This task is a caller's: what it reads begins no flight.
    pub(crate) fn is_a_caller(&mut self) {
        self.laws.callers.extend(tokio::task::try_id());
    }

    pub(crate) fn is_ordered(&mut self, who: Who, connection: usize, kind: Kind) -> u64 {
        self.laws.orders_so_far += 1;
        let number = self.laws.orders_so_far;
        self.tell(Some(who), || format!("order {number}: {} {kind:?}", name_of(connection)));
        if kind.is_persons() {
            self.laws.person_at.insert(connection, self.now);
        }
        let now = self.now;
        self.laws.orders.retain(|order| order.left_at.is_none_or(|left| left == now));
        self.laws.orders.push(Order { number, who, connection, kind, at: now, left_at: None });
        number
    }

    /// A caller leaves. What he has just ordered may begin all the same.
    pub(crate) fn is_forgotten(&mut self, number: u64) {
        let order = self.laws.orders.iter_mut().find(|order| order.number == number);
        order.into_iter().for_each(|order| order.left_at = Some(self.now));
    }

    pub(crate) fn is_served(&mut self, number: u64, result: &Result<HandOut, Error>) {
        let Some(at) = self.laws.orders.iter().position(|order| order.number == number) else { return };
        let order = self.laws.orders.remove(at);
        self.tally.orders += 1;
        match result {
            Ok(hand_out) => {
                self.tally.hand_outs += 1;
                self.tell(Some(order.who), || format!("order {number}: {}", hand_out.access_token.expose()));
                self.law_1_only_what_is_durable(&order, hand_out);
                self.law_11_only_what_lives(&order, hand_out);
                self.law_13_only_the_right_principals(&order, hand_out);
            }
            // What is not due says so by a deadline that nobody has.
            Err(Error::Deadline) if order.kind == Kind::Due => self.law_5_no_grant_is_neglected(&order),
            Err(Error::Deadline) if order.kind == Kind::Ahead => self.law_9_the_next_comes_in_time(&order),
            Err(error) => {
                self.tell(Some(order.who), || format!("order {number}: {error}"));
                self.law_9_serve_what_is_valid(&order, error);
                self.law_10_no_secret_in_words(error);
            }
        }
    }

    /// Law 1. What a failed write has left in the page cache is not durable; who was told so knows it, and others cannot.
    fn law_1_only_what_is_durable(&mut self, order: &Order, hand_out: &HandOut) {
        self.laws.checks[1] += 1;
        let token = hand_out.access_token.expose();
        let row = &self.rows.row(order.connection).connection;
        let is_its_own = self.laws.replaced.get(&order.connection).is_some_and(|(_, by)| *by == order.who);
        let rows = row.good_for(order.who).chain(Some(&row.seen).filter(|_| !is_its_own));
        let in_store = rows.into_iter().any(|row| {
            let held = row.held.as_ref().and_then(|held| held.access.as_ref());
            let late = row.candidates.iter().map(|kept| &kept.response.access_token);
            held.map(|access| &access.token).into_iter().chain(late).any(|access| access.expose() == token)
        });
        let holds_it = |file: &Option<File>| file.as_ref().is_some_and(|file| file.plain.contains(token));
        let on_a_shelf =
            self.shelves.iter().flatten().any(|(_, file)| file.good_for(order.who).any(holds_it));
        if !in_store && !on_a_shelf {
            self.breaks(1, format!("{token} is handed out and is not durable"));
        }
    }

    /// Law 9: while a living token stands in the store, a caller gets it, whatever failed.
    fn law_9_serve_what_is_valid(&mut self, order: &Order, error: &Error) {
        let Kind::Wanted { .. } = order.kind else { return };
        self.laws.checks[9] += 1;
        let left = self.access_left(order.connection);
        // An expiry counts from before the request: where the answer was slow, it looks that much nearer.
        let slack = self.doubt() + 2 + i64::try_from(self.answer_within.as_secs()).unwrap_or(0);
        let replaced = self.laws.replaced.get(&order.connection).is_none_or(|(at, _)| *at < order.at);
        let could_read = self.disks[STORE_DISK].was_well_since(order.at, self.now);
        let could_know = could_read && self.clocks_agree();
        if left > slack && replaced && could_know && !matches!(error, Error::NotPermitted { .. }) {
            self.breaks(9, format!("no token, and one lives {left} s: {error}"));
        }
    }

    /// Whoever asks for the next token ahead gets it before the last tenth of this one's life, so that no caller waits.
    fn law_9_the_next_comes_in_time(&mut self, order: &Order) {
        self.laws.checks[9] += 1;
        let (left, issued) = (self.access_left(order.connection), unix(ACCESS_LIFE) - unix(Moment::ZERO));
        let slack = self.doubt() + 2;
        if left > 0 && left + slack < issued / 10 && self.clocks_agree() {
            self.breaks(9, format!("{left} s are left, and the next token is not fetched"));
        }
    }

    /// Law 10: what is told carries no secret.
    fn law_10_no_secret_in_words(&mut self, error: &Error) {
        self.laws.checks[10] += 1;
        let words = format!("{error} {error:?}");
        if ["at-0", "rt-0", "qt-0", "secret-"].iter().any(|secret| words.contains(secret)) {
            self.breaks(10, format!("a secret is told: {error}"));
        }
    }

    /// Law 13.
    fn law_13_only_the_right_principals(&mut self, order: &Order, hand_out: &HandOut) {
        self.laws.checks[13] += 1;
        let issue = self.server.issue_of(hand_out.access_token.expose());
        let Some(issue) = issue.map(|issue| &self.server.issues[issue]) else {
            return self.breaks(13, "a token is handed out that nobody has issued");
        };
        if issue.is_strangers || self.server.grants[issue.grant].connection != order.connection {
            let what = format!("{} is handed out, and belongs to somebody else", issue.access);
            self.breaks(13, what);
        }
    }

    /// Seconds that a token has been dead.
    pub(crate) fn dead_for(&self, access: &str) -> i64 {
        let issue = self.server.issue_of(access);
        issue.map_or(i64::MAX, |issue| unix(self.now) - unix(self.server.issues[issue].access_ends))
    }
}
