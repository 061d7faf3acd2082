//! What must work again when all is well: every connection whose grant the server honours, and whose newest token was
//! ever durable, serves a valid token.

use super::Order;
use crate::clocks::{DAY, MINUTE, unix};
use crate::server::ACCESS_LIFE;
use crate::store::name_of;
use crate::world::State;
use perennial::{Error, HandOut};
use std::time::Duration;

impl State {
    /// True when this connection must come back to life. A token that stands in an answer which nobody could read needs a
    /// person who reads it; and a grant of which nothing was ever durable is nobody's.
    pub(crate) fn must_live(&self, connection: usize) -> bool {
        let was_durable = |grant: usize| {
            let mut issues = self.server.issues.iter();
            issues.any(|issue| issue.grant == grant && issue.was_durable)
        };
        let mut grants = self.server.grants.iter().enumerate().rev();
        let newest = grants.find(|(number, grant)| grant.connection == connection && was_durable(*number));
        let Some((_, grant)) = newest.filter(|(_, grant)| grant.is_alive && grant.expires > self.now) else {
            return false;
        };
        self.stands_in_the_store(connection, &grant.current) || self.waits_for_the_store(&grant.current)
    }

    /// No grant is lost by neglect: whoever looks after it renews it when it has been held for seven days, long before it
    /// ends; as far as clocks can tell.
    pub(super) fn law_5_no_grant_is_neglected(&mut self, order: &Order) {
        self.laws.checks[5] += 1;
        let held = self.rows.seen(order.connection).held.as_ref().and_then(|held| held.access.as_ref());
        let issue = held.and_then(|access| self.server.issue_of(access.token.expose()));
        let ended = issue.map_or(self.now, |issue| self.server.issues[issue].access_ends);
        let held_for = self.now.saturating_sub(ended) + ACCESS_LIFE;
        let doubt = Duration::from_secs(self.doubt().unsigned_abs());
        if held_for > 7 * DAY + 2 * doubt + MINUTE {
            let days = held_for.as_secs() / DAY.as_secs();
            self.breaks(
                5,
                format!("{} is not renewed, and was held for {days} days", name_of(order.connection)),
            );
        }
    }

    /// It has been asked, in fair weather, after a person had asked once.
    pub(crate) fn law_0_it_lives(&mut self, connection: usize, result: &Result<HandOut, Error>) {
        self.laws.checks[0] += 1;
        let name = name_of(connection);
        match result {
            Ok(hand_out) => {
                let dead_for = self.dead_for(hand_out.access_token.expose());
                if dead_for >= 0 {
                    self.breaks(
                        0,
                        format!("{name} serves a dead token, in fair weather, at {}", unix(self.now)),
                    );
                }
            }
            Err(error) => self.breaks(0, format!("{name} should live, and does not: {error}")),
        }
    }
}
