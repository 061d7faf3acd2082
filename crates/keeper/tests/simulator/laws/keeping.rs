//! Laws 1, 5, 6, 8 and 13: something is written, becomes durable, or vanishes.

use crate::clocks::{Moment, SECOND};
use crate::server::{ACCESS_LIFE, Rotation};
use crate::store::name_of;
use crate::world::{STORE_DISK, Shared, State, Who, shelf_disk};
use perennial::core::Connection;
use perennial::core::connection::{Aside, Candidate, Condition, Intent, Version};
use perennial::core::secret::RefreshToken;

/// An answer that has reached a process stands somewhere, durably, after this long; if a disk lets it.
const SOON: Moment = SECOND.saturating_mul(10);

impl State {
    /// A row was replaced; it is not durable yet.
    pub(crate) fn wrote(
        &mut self,
        who: Who,
        number: usize,
        before: &Connection,
        from: &Version,
        next: &Connection,
    ) {
        self.laws.checks[8] += 1;
        self.a_row_is_written_by(who, number);
        if before.version() != *from {
            self.breaks(
                8,
                format!("{} is overwritten by what was derived from another version", name_of(number)),
            );
        }
        let patience = next.intent.as_ref().filter(|_| before.intent != next.intent).map(Intent::patience);
        if patience.is_some_and(|patience| patience > self.answer_within + SECOND) {
            self.breaks(2, "an intent's deadline is later than an answer may take".to_owned());
        }
        if before.version().same_tokens(&next.version()) {
            self.law_6_adopt_before_despair(before, next);
            return;
        }
        self.law_8_commits_never_go_back(number, before, next);
        self.law_11_an_end_is_not_put_off(who, number, before, next);
        self.laws.replaced.insert(number, (self.now, who));
        let access = next.held.as_ref().and_then(|held| held.access.as_ref());
        let issue = access.and_then(|access| self.server.issue_of(access.token.expose()));
        self.laws.checks[13] += 1;
        if issue.is_some_and(|issue| self.server.issues[issue].is_strangers) {
            self.breaks(13, format!("{} holds a stranger's tokens", name_of(number)));
        }
    }

    /// Law 8: the generation counts by one, and tokens are replaced by newer ones; unless a late answer is adopted.
    fn law_8_commits_never_go_back(&mut self, number: usize, before: &Connection, next: &Connection) {
        let (old, new) = (before.version().generation, next.version().generation);
        if new != old + 1 {
            self.breaks(8, format!("{} goes from generation {old} to {new}", name_of(number)));
        }
        let issue = |row: &Connection| {
            let access = row.held.as_ref().and_then(|held| held.access.as_ref());
            access.and_then(|access| self.server.issue_of(access.token.expose()))
        };
        let (old, new) = (issue(before), issue(next));
        let is_adopted = new.is_some_and(|new| {
            let of_candidate =
                |kept: &Candidate| self.server.issue_of(kept.response.access_token.expose()) == Some(new);
            before.candidates.iter().any(of_candidate)
        });
        if new <= old && !is_adopted {
            self.breaks(8, format!("{} goes back from answer {old:?} to {new:?}", name_of(number)));
        }
    }

    /// Law 6: no grant is given up while a late answer with a good token stands beside it.
    fn law_6_adopt_before_despair(&mut self, before: &Connection, next: &Connection) {
        let despairs = |row: &Connection| row.condition == Condition::NeedsReauthorization;
        if !despairs(next) || despairs(before) {
            return;
        }
        self.laws.checks[6] += 1;
        let refused = next.held.as_ref().and_then(|held| held.refresh.as_ref()).map(RefreshToken::expose);
        let late = next.candidates.iter().filter(|kept| kept.reason == Aside::Late);
        let good = late.filter_map(|kept| kept.response.refresh_token.as_ref()).map(RefreshToken::expose);
        let left: Option<String> = good
            .filter(|good| Some(*good) != refused)
            .find(|good| self.server.honours(good, self.now))
            .map(str::to_owned);
        let store_was_well = self.disks[STORE_DISK].was_well_since(self.now.saturating_sub(SOON), self.now);
        if let Some(left) = left.filter(|_| store_was_well) {
            self.breaks(6, format!("the grant is given up, and {left} stands beside it"));
        }
    }

    /// A row is durable now.
    pub(crate) fn became_durable(&mut self, number: usize) {
        let row = self.rows.synced(number);
        let held = row.held.iter();
        let access = held.clone().filter_map(|held| held.access.as_ref()).map(|access| access.token.expose());
        let late = row.candidates.iter().map(|kept| kept.response.access_token.expose());
        let access: Vec<usize> = access.chain(late).filter_map(|token| self.server.issue_of(token)).collect();
        let refresh: Vec<String> = refresh_tokens(row).map(|token| token.expose().to_owned()).collect();
        self.mark_durable(access, refresh);
        self.law_5_nothing_is_thrown_away();
    }

    /// A file on a shelf is durable now, or durably gone.
    pub(crate) fn shelf_became_durable(&mut self, host: usize, name: &str) {
        let file = self.shelves[host].get(name).and_then(|file| file.synced.as_ref());
        let plain = file.map(|file| file.plain.clone()).unwrap_or_default();
        let access = words(&plain, "at-", 8).filter_map(|token| self.server.issue_of(token)).collect();
        let refresh = words(&plain, "rt-", 12).map(str::to_owned).collect();
        self.mark_durable(access, refresh);
        self.law_5_nothing_is_thrown_away();
    }

    fn mark_durable(&mut self, access: Vec<usize>, refresh: Vec<String>) {
        access.into_iter().for_each(|issue| self.server.issues[issue].was_durable = true);
        self.laws.were_durable.extend(refresh);
    }

    /// Law 5: what the server honours and what ever stood in a durable answer still stands somewhere. Grants that a newer
    /// one replaced count until that one has refreshed.
    pub(crate) fn law_5_nothing_is_thrown_away(&mut self) {
        self.laws.checks[5] += 1;
        for connection in 0..self.rows.rows.len() {
            if let Some(lost) = self.thrown_away(connection) {
                self.breaks(5, format!("{lost} of {} is nowhere any more", name_of(connection)));
            }
        }
    }

    fn thrown_away(&self, connection: usize) -> Option<String> {
        for (number, grant) in self.server.grants.iter().enumerate().rev() {
            if grant.connection != connection {
                continue;
            }
            let was_durable = |token: &&str| self.laws.were_durable.contains(*token);
            let before = grant.last_spent().filter(|_| matches!(self.server.rotation, Rotation::Window(_)));
            let token = Some(grant.current.as_str()).filter(was_durable).or(before.filter(was_durable));
            if let Some(token) = token.filter(|token| self.server.honours(token, self.now))
                && !self.stands_somewhere(connection, token)
                && !self.was_replaced_for_good(connection, token)
            {
                return Some(token.to_owned());
            }
            let durable =
                self.server.issues.iter().filter(|issue| issue.grant == number && issue.was_durable);
            if durable.take(2).count() == 2 {
                return None; // It has proved itself: what was before it may go.
            }
        }
        None
    }

    /// The server had called it no good, and another token of the connection has been refreshed since.
    fn was_replaced_for_good(&self, connection: usize, refresh: &str) -> bool {
        let Some(refused_at) = self.laws.called_no_good_at(refresh) else { return false };
        self.server.issues.iter().any(|issue| {
            let own = self.server.grants[issue.grant].connection == connection;
            own && issue.was_durable && issue.access_ends > refused_at + ACCESS_LIFE
        })
    }

    fn stands_somewhere(&self, connection: usize, refresh: &str) -> bool {
        self.stands_in_the_store(connection, refresh) || self.stands_on_a_shelf(refresh)
    }

    pub(super) fn stands_in_the_store(&self, connection: usize, refresh: &str) -> bool {
        refresh_tokens(self.rows.synced(connection)).any(|token| token.expose() == refresh)
    }

    pub(super) fn stands_on_a_shelf(&self, token: &str) -> bool {
        self.files().any(|(_, plain)| plain.contains(token))
    }

    /// On a shelf, in an answer that could be read.
    pub(super) fn waits_for_the_store(&self, token: &str) -> bool {
        self.files().any(|(name, plain)| name.contains("-tokens-") && plain.contains(token))
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.shelves.iter().flatten();
        files.filter_map(|(name, file)| Some((name.as_str(), file.synced.as_ref()?.plain.as_str())))
    }
}

fn refresh_tokens(row: &Connection) -> impl Iterator<Item = &RefreshToken> {
    let held = row.held.iter().filter_map(|held| held.refresh.as_ref());
    let late = row.candidates.iter().filter_map(|kept| kept.response.refresh_token.as_ref());
    held.chain(row.previous.iter().map(|previous| &previous.refresh)).chain(late)
}

/// The tokens of this shape in a text.
fn words<'a>(text: &'a str, start: &'a str, length: usize) -> impl Iterator<Item = &'a str> {
    text.match_indices(start).filter_map(move |(at, _)| text.get(at..at + length))
}

/// Laws 1 and 8: an answer that has reached a process is made durable, come what may, as long as the process lives and
/// one of its two disks works.
pub(crate) async fn must_become_durable(world: Shared, who: Who, issue: usize) {
    loop {
        let then = world.now();
        world.until(then + SOON).await;
        let is_settled = world.look(|state| state.is_settled(who, issue, then));
        if is_settled {
            return;
        }
    }
}

impl State {
    fn is_settled(&mut self, who: Who, issue: usize, then: Moment) -> bool {
        let now = self.now;
        if self.server.issues[issue].was_durable {
            return true;
        }
        if !self.is_alive(who) {
            self.tally.answers_lost_with_their_process += 1;
            return true;
        }
        let was_awake = self.hosts[who.host].asleep_between(then, now).is_zero();
        let well = |disk: &mut crate::disk::Disk| disk.was_well_since(then, now);
        let had_a_disk = well(&mut self.disks[STORE_DISK]) || well(&mut self.disks[shelf_disk(who.host)]);
        if was_awake && had_a_disk {
            let access = self.server.issues[issue].access.clone();
            self.breaks(1, format!("{access} has reached process {}, and stands nowhere", who.process));
        }
        was_awake && had_a_disk
    }
}
