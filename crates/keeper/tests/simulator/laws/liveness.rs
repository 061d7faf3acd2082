//! What must work again when all is well: every connection whose grant the server honours, and whose newest token was
//! ever durable, serves a valid token.

use crate::clocks::unix;
use crate::store::name_of;
use crate::world::State;
use perennial::{Error, HandOut};

impl State {
    /// True when this connection must come back to life. A token that stands in an answer which nobody could read needs a
    /// person who reads it.
    pub(crate) fn must_live(&self, connection: usize) -> bool {
        let Some(newest) = self.server.newest_grant(connection) else { return false };
        let grant = &self.server.grants[newest];
        let is_good = grant.is_alive && grant.expires > self.now;
        is_good && (self.stands_in_the_store(connection, &grant.current) || self.waits_for_the_store(&grant.current))
    }

    /// No grant is lost by neglect: it is renewed long before it ends, whatever the clocks say.
    pub(crate) fn law_5_no_grant_expires(&mut self, connection: usize) {
        let newest = self.server.newest_grant(connection).map(|newest| &self.server.grants[newest]);
        if newest.is_some_and(|grant| grant.is_alive && grant.expires <= self.now) {
            self.breaks(5, format!("the grant of {} was not renewed in time", name_of(connection)));
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
                    self.breaks(0, format!("{name} serves a dead token, in fair weather, at {}", unix(self.now)));
                }
            }
            Err(error) => self.breaks(0, format!("{name} should live, and does not: {error}")),
        }
    }
}
