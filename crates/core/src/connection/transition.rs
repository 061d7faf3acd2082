//! What each event makes of a connection. Every function takes it as it was, and returns it as it is to be written.

use super::{
    Access, Aside, Candidate, Condition, Connection, Fault, Held, Intent, Previous, RequestTokenUse, Version,
};
use crate::origin::Origin;
use crate::profile::{Purpose, ReplayRule};
use crate::schedule::{self, Jitter};
use crate::secret::{Fingerprint, RefreshToken};
use crate::time::{Expiry, HostClock, UnixTime};
use crate::token_endpoint::{Failure, TokenResponse, Unreachable};
use crate::verdict::{Judgement, Spent, Verdict, judge};
use std::time::Duration;

/// A presentation that is about to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Obtain or refresh.
    pub purpose: Purpose,
    /// To whom.
    pub base: Origin,
    /// What.
    pub presented: Fingerprint,
    /// The id that a new grant will carry; unused when refreshing.
    pub new_grant_id: String,
    /// How long the sender waits at most.
    pub patience: Duration,
    /// This host's time.
    pub now: UnixTime,
    /// The lock that the sender holds.
    pub kernel: String,
    /// The sender's process.
    pub process: u32,
    /// True when what is presented is a company request token: its uses are counted.
    pub is_request_token: bool,
    /// True when a rejection by the API forces it (law 12).
    pub forced: bool,
    /// True when the open intent was refused in this very flight: nothing about it is unknown.
    pub settled: bool,
    /// The `concur-correlationid` that the request will carry: where no answer comes, it is all that support can ask
    /// about.
    pub correlation_id: String,
}

/// The circumstances of an answer.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Who answered.
    pub base: Origin,
    /// This host's time before the request went out.
    pub sent_at: UnixTime,
    /// This host's time when the answer had come.
    pub received_at: UnixTime,
    /// The answer's `Date`.
    pub date: Option<UnixTime>,
    /// Whose clock `sent_at` and `received_at` were read from.
    pub host: HostClock,
}

impl Connection {
    /// The note that goes to the store before anything goes to the server (law 4). A use of a request token is
    /// counted here, and an origin that a person named (the shell has made sure of that) becomes a permitted one.
    #[must_use]
    pub fn intend(&self, plan: Plan) -> Self {
        let mut next = self.clone();
        let written_at = self.skew.server_time(plan.now);
        if !next.permits(&plan.base) {
            next.permitted.push(plan.base.clone());
        }
        if plan.is_request_token {
            next.count_request_token(&plan.presented, written_at);
        }
        if plan.forced {
            next.forced_at = Some(written_at);
        }
        let (grant_id, generation) = match (&self.held, plan.purpose) {
            (Some(held), Purpose::Refresh) => (held.grant_id.clone(), held.generation),
            (held, _) => (plan.new_grant_id, held.as_ref().map_or(0, |held| held.generation)),
        };
        let unsettled = match &self.intent {
            Some(intent) if plan.settled => intent.beneath.as_deref(),
            _ => self.unsettled(),
        };
        let before = unsettled.filter(|intent| intent.presented == plan.presented);
        let beneath = match plan.purpose {
            // Neither says anything about the refresh token in force.
            Purpose::Obtain => unsettled,
            Purpose::Refresh if self.is_replaced(&plan.presented) => unsettled,
            // Where a repetition is harmless there is nothing to be remembered.
            Purpose::Refresh => before.filter(|_| self.policy.replay != ReplayRule::Always),
        };
        // Whoever forced it has given up by now (law 12).
        let beneath =
            beneath.map(|intent| Box::new(Intent { beneath: None, forced: false, ..intent.clone() }));
        next.intent = Some(Intent {
            beneath,
            first_presented_at: before.map_or(written_at, |intent| intent.first_presented_at),
            purpose: plan.purpose,
            grant_id,
            generation,
            presented: plan.presented,
            base: plan.base,
            written_at,
            deadline: written_at.after(plan.patience.saturating_add(Duration::from_millis(999))),
            kernel: plan.kernel,
            process: plan.process,
            correlation_id: plan.correlation_id,
            forced: plan.forced,
        });
        next
    }

    /// The same without its intent: what was presented is not used up, and says nothing.
    #[must_use]
    pub fn not_presented(&self) -> Self {
        let beneath = self.intent.as_ref().and_then(|intent| intent.beneath.as_deref());
        Self { intent: beneath.cloned(), ..self.clone() }
    }

    fn count_request_token(&mut self, presented: &Fingerprint, at: UnixTime) {
        match &mut self.request_token {
            Some(token) if token.fingerprint == *presented => {
                token.uses = token.uses.saturating_add(1);
            }
            other => {
                *other = Some(RequestTokenUse { fingerprint: presented.clone(), uses: 1, first_used_at: at });
            }
        }
    }

    /// What was not sent, or refused in so many words, was no use: the count guards against lost answers, not against
    /// typing errors.
    fn give_request_token_back(&mut self) {
        if let Some(token) = &mut self.request_token {
            token.uses = token.uses.saturating_sub(1);
        }
    }

    /// Takes an answer's clock in, whatever else it brought (law 11).
    #[must_use]
    pub fn heard(&self, answered: &Answered) -> Self {
        let mut next = self.clone();
        if let Some(date) = answered.date {
            next.skew = self.skew.observe(date, answered.received_at);
            next.clock = Some(answered.host.clone());
        }
        next
    }

    /// Replaces the tokens by those of an answer. `self` carries the intent that the answer belongs to.
    ///
    /// # Errors
    /// The connection with the answer kept aside, when it names another principal (law 13).
    pub fn accept(&self, response: &TokenResponse, answered: &Answered) -> Result<Self, Box<Self>> {
        let mut next = self.heard(answered);
        let named = response.principal();
        if let Some((named, own)) = named.zip(self.principal.as_ref())
            && !named.is(own)
        {
            let message = format!("the answer names another principal ({named}); it is kept aside");
            return Err(Box::new(self.disbelieve(response, answered, message, Aside::OtherPrincipal)));
        }
        let held = match self.with_presented_in_force(answered) {
            // A token that was replaced has worked: whatever was held beside it stays, also what was refused.
            Some(presented) => {
                let held = presented.heard(answered).held_from(response, answered);
                next.previous = presented.kept_beside(&held, answered);
                held
            }
            None => {
                let held = next.held_from(response, answered);
                next.previous = self.kept_after(&held, answered);
                next.candidates.retain(|candidate| !self.has_outlived(candidate, &held));
                held
            }
        };
        next.principal = next.principal.or_else(|| response.principal());
        next.held = Some(held);
        next.intent = None;
        next.condition = Condition::Sound;
        Ok(next)
    }

    /// An answer that is good and yet not to be used, with the reason in words: it is kept aside (law 13). `self` carries
    /// the intent that it belongs to.
    #[must_use]
    pub fn disbelieve(
        &self,
        response: &TokenResponse,
        answered: &Answered,
        message: String,
        reason: Aside,
    ) -> Self {
        let mut next = self.heard(answered);
        next.last_fault = Some(Fault::disbelieved(message, answered, &next));
        // An obtaining request that went wrong says nothing about the grant that is held.
        let obtaining = self.intent.as_ref().is_some_and(|intent| intent.purpose == Purpose::Obtain);
        next.condition = if obtaining && self.held.is_some() { self.condition } else { Condition::Suspended };
        // A refresh token that was answered with somebody else's may have been spent all the same (law 7).
        next.intent = next.unsettled().cloned();
        let from = self.asked();
        next.keeping(&from, response, answered, reason)
    }

    fn held_from(&self, response: &TokenResponse, answered: &Answered) -> Held {
        // expires_in counts from before the request was sent: the server can only have issued it later.
        let issued = self.skew.server_time(answered.sent_at);
        let purpose = self.intent.as_ref().map_or(Purpose::Refresh, |intent| intent.purpose);
        let old = self.held.as_ref().filter(|_| purpose == Purpose::Refresh);
        let grant_id = match (&self.intent, old) {
            (_, Some(old)) => old.grant_id.clone(),
            (Some(intent), None) => intent.grant_id.clone(),
            (None, None) => String::new(),
        };
        let refresh = response.refresh_token.clone().or_else(|| old.and_then(|old| old.refresh.clone()));
        let granted_at = old.map_or(Some(issued), |old| old.granted_at);
        let expiry = match response.access_lifetime() {
            Some(life) => Expiry::Stated(issued.after(life)),
            None => Expiry::Assumed(issued.after(self.profile.assumed_access_lifetime)),
        };
        let geolocation = response.geolocation.clone().filter(|base| self.permits(base));
        Held {
            grant_id,
            generation: self.held.as_ref().map_or(0, |held| held.generation).saturating_add(1),
            access: Some(Access {
                token: response.access_token.clone(),
                token_type: response.token_type.clone(),
                expiry,
            }),
            refresh_expiry: refresh.as_ref().and_then(|_| self.refresh_expiry(response, issued, granted_at)),
            refresh,
            base: geolocation.unwrap_or_else(|| answered.base.clone()),
            scope: response.scope.clone().or_else(|| old.and_then(|old| old.scope.clone())),
            id_token: response.id_token.clone().or_else(|| old.and_then(|old| old.id_token.clone())),
            refreshed_at: Some(issued),
            granted_at,
            others: response.others.clone(),
        }
    }

    /// When a refresh token that was issued now will end: as the server says, else as its profile knows. None where
    /// nothing is known of an end.
    fn refresh_expiry(
        &self,
        response: &TokenResponse,
        issued: UnixTime,
        granted_at: Option<UnixTime>,
    ) -> Option<Expiry> {
        let profile = self.profile;
        let stated = match response.refresh_expires_in.filter(|_| !profile.refresh_expiry_is_absolute) {
            Some(life) => Some(issued.after(life)),
            None => response.refresh_expires_at,
        };
        let idle = || profile.assumed_refresh_lifetime.map(|life| issued.after(life));
        let longest = granted_at.zip(profile.longest_grant).map(|(at, life)| at.after(life));
        let assumed = || idle().into_iter().chain(longest).min().map(Expiry::Assumed);
        stated.map(Expiry::Stated).or_else(assumed)
    }

    /// Law 5: a refresh proves the token that it presented, so what came before that one may go; what it replaces
    /// stays until the new one has proved itself, and so does a grant that a new authorization replaces.
    fn kept_after(&self, new: &Held, answered: &Answered) -> Vec<Previous> {
        let Some(old) = &self.held else { return self.previous.clone() };
        let refreshed = old.grant_id == new.grant_id;
        let mut kept = self.previous.clone();
        if refreshed {
            forget_what_is_superfluous(&mut kept, &new.grant_id);
        }
        kept.extend(self.replaced_by(new.refresh.as_ref(), Some(&new.grant_id), answered));
        kept
    }

    /// The refresh token in force, as one that another has replaced; none where that is the same.
    /// `by` is the grant whose first refresh makes it superfluous, where there is one.
    pub(super) fn replaced_by(
        &self,
        new: Option<&RefreshToken>,
        by: Option<&str>,
        answered: &Answered,
    ) -> Option<Previous> {
        let old = self.held.as_ref()?;
        let refresh = old.refresh.as_ref().filter(|refresh| Some(*refresh) != new)?;
        Some(Previous {
            grant_id: old.grant_id.clone(),
            generation: old.generation,
            refresh: refresh.clone(),
            base: old.base.clone(),
            replaced_at: self.skew.server_time(answered.received_at),
            replaced_by: by.map(str::to_owned),
        })
    }

    /// A late answer is kept until the tokens that overtook it have proved themselves by a refresh.
    fn has_outlived(&self, candidate: &Candidate, new: &Held) -> bool {
        let proved = self.held.as_ref().filter(|old| old.grant_id == new.grant_id);
        candidate.reason == Aside::Late
            && proved.is_some_and(|old| {
                candidate.grant_id == old.grant_id && candidate.generation < old.generation
            })
    }

    /// Notes a failure. What was presented stays what it is; only how well the connection is changes (law 5).
    #[must_use]
    pub fn fail(&self, failure: &Failure, judgement: &Judgement, now: UnixTime, jitter: Jitter) -> Self {
        let mut next = self.clone();
        let purpose = self.intent.as_ref().map_or(Purpose::Refresh, |intent| intent.purpose);
        let at = self.skew.server_time(now);
        let mut fault = Fault::of(failure, judgement, purpose, self.profile, at);
        fault.correlation_id =
            fault.correlation_id.or_else(|| self.intent.as_ref().map(|i| i.correlation_id.clone()));
        let failures = self.count(&fault);
        let gave_undocumented_code = fault.is_undocumented();
        next.last_fault = Some(fault);
        if judgement.spent == Spent::No {
            // What an earlier presentation has left unknown stays so, unless the server says that this token is no good.
            let is_final = judgement.verdict == Verdict::GrantGone
                && purpose == Purpose::Refresh
                && !self.presents_a_replaced_token();
            next.intent =
                next.intent.and_then(|intent| intent.beneath).filter(|_| !is_final).map(|open| *open);
        }
        if purpose == Purpose::Obtain && matches!(failure, Failure::Refused(_) | Failure::Unreachable(_)) {
            next.give_request_token_back();
        }
        let earlier = self.pause_without_a_word(failure, now);
        let wait = |asked| {
            let until = at.after(schedule::backoff(failures, asked, &self.policy, jitter));
            earlier.map_or(until, |earlier| until.max(earlier))
        };
        next.condition = match (judgement.verdict, judgement.spent) {
            // Obtaining anew says nothing about the grant that is held, nor does a token that was replaced.
            _ if purpose == Purpose::Obtain && self.held.is_some() && !self.obtains_itself() => {
                self.condition
            }
            _ if self.presents_a_replaced_token() => self.condition,
            (Verdict::Retry { after }, Spent::No) => Condition::BackingOff { until: wait(after), failures },
            (Verdict::Retry { after }, Spent::Maybe) => Condition::Uncertain { until: wait(after), failures },
            (Verdict::Unknown, _) if gave_undocumented_code && failures > self.policy.unknown_code_tries => {
                Condition::Suspended
            }
            (Verdict::Unknown | Verdict::Relocate, Spent::No) => {
                Condition::BackingOff { until: wait(None), failures }
            }
            (Verdict::Unknown | Verdict::Relocate, Spent::Maybe) => {
                Condition::Uncertain { until: wait(None), failures }
            }
            (Verdict::GrantGone, _) if purpose == Purpose::Obtain && !self.obtains_itself() => {
                Condition::Sound
            }
            (Verdict::GrantGone, _) => Condition::NeedsReauthorization,
            (Verdict::FixClient | Verdict::FixScope | Verdict::AskSupport | Verdict::OurBug, _) => {
                Condition::Suspended
            }
        };
        next
    }

    /// Where the server has said nothing, the pause that it asked for before lasts (law 12).
    fn pause_without_a_word(&self, failure: &Failure, now: UnixTime) -> Option<UnixTime> {
        let (Failure::Unreachable(_) | Failure::NoAnswer(_)) = failure else { return None };
        let (Condition::BackingOff { until, .. } | Condition::Uncertain { until, .. }) = self.condition
        else {
            return None;
        };
        self.is_still_to_come(until, self.policy.longest_pause(), now).then_some(until)
    }

    /// Notes that no connection came about. Nothing was presented: an open intent stays open, and what a person must
    /// put right stays so.
    #[must_use]
    pub fn unreached(&self, why: &Unreachable, now: UnixTime, jitter: Jitter) -> Self {
        let failure = Failure::Unreachable(why.clone());
        let judgement = judge(&failure, Purpose::Refresh, self.profile, &self.policy);
        let failed = Self { intent: None, ..self.clone() }.fail(&failure, &judgement, now, jitter);
        let condition = match (self.condition, failed.condition) {
            (Condition::Sound | Condition::BackingOff { .. }, passing) => passing,
            (Condition::Uncertain { .. }, Condition::BackingOff { until, failures }) => {
                Condition::Uncertain { until, failures }
            }
            (lasting, _) => lasting,
        };
        Self { intent: self.intent.clone(), condition, ..failed }
    }

    /// How many failures in a row `fault` makes. Those with an undocumented code are counted by themselves: an outage
    /// before them says nothing about the code.
    fn count(&self, fault: &Fault) -> u32 {
        let before = match self.condition {
            Condition::BackingOff { failures, .. } | Condition::Uncertain { failures, .. } => failures,
            _ => 0,
        };
        let was_undocumented = self.last_fault.as_ref().is_some_and(Fault::is_undocumented);
        if fault.is_undocumented() && !was_undocumented { 1 } else { before.saturating_add(1) }
    }

    /// Of which grant, and of which generation of it, the answer to the open intent will be: a grant that is being
    /// obtained has its id already.
    #[must_use]
    pub fn asked(&self) -> Version {
        let version = self.version();
        match &self.intent {
            Some(intent) => {
                Version { grant_id: Some(intent.grant_id.clone()), generation: intent.generation, ..version }
            }
            None => version,
        }
    }

    /// Keeps an answer that may not replace what is there (laws 8 and 13). It was derived from `from`: whatever stands
    /// here by now, it answers that and nothing else.
    #[must_use]
    pub fn set_aside(
        &self,
        from: &Version,
        response: &TokenResponse,
        answered: &Answered,
        reason: Aside,
    ) -> Self {
        self.heard(answered).keeping(from, response, answered, reason)
    }

    /// The same once the answer's clock has been taken in: one answer is one reading (law 11).
    fn keeping(
        mut self,
        from: &Version,
        response: &TokenResponse,
        answered: &Answered,
        reason: Aside,
    ) -> Self {
        self.candidates.push(Candidate {
            reason,
            grant_id: from.grant_id.clone().unwrap_or_default(),
            generation: from.generation,
            base: answered.base.clone(),
            sent_at: self.skew.server_time(answered.sent_at),
            received_at: self.skew.server_time(answered.received_at),
            response: response.clone(),
        });
        self
    }

    /// Law 6: before a grant is given up, the newest late answer takes its place. `None` when there is none with
    /// another refresh token than the one that was refused.
    #[must_use]
    pub fn adopt(&self) -> Option<Self> {
        let refused = self.held.as_ref().and_then(|held| held.refresh.as_ref());
        self.adopt_newest(|candidate| {
            let offered: Option<&RefreshToken> = candidate.response.refresh_token.as_ref();
            offered.is_some() && offered != refused
        })
    }

    /// Laws 6 and 7: an answer that came too late and was derived from the very tokens that are held is newer than they
    /// are, whatever was said of them since: it takes their place, and nothing is presented again. The same holds for a
    /// grant where none is held yet.
    #[must_use]
    pub fn adopt_late_answer(&self) -> Option<Self> {
        self.adopt_newest(|candidate| self.is_newer(candidate))
    }

    /// True when there is one.
    #[must_use]
    pub fn has_late_answer(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.reason == Aside::Late && self.is_newer(candidate))
    }

    fn is_newer(&self, candidate: &Candidate) -> bool {
        match &self.held {
            Some(held) => (&candidate.grant_id, candidate.generation) == (&held.grant_id, held.generation),
            None => candidate.response.refresh_token.is_some(),
        }
    }

    /// Carries over what others have kept aside between the writing of `from` and now: `self` was made from `from`,
    /// and `current` is what stands there, under the same intent (law 8).
    #[must_use]
    pub fn with_latecomers(mut self, from: &Version, current: &Self) -> Self {
        let latecomers = current.candidates.iter().skip(from.candidates);
        self.candidates.extend(latecomers.cloned());
        self
    }

    fn adopt_newest(&self, is_usable: impl Fn(&Candidate) -> bool) -> Option<Self> {
        let usable = |candidate: &&Candidate| candidate.reason == Aside::Late && is_usable(candidate);
        let candidate = self.candidates.iter().rev().find(usable)?.clone();
        let mut base = self.clone();
        base.candidates.retain(|other| *other != candidate);
        base.intent = None;
        let host = self.clock.clone().unwrap_or(HostClock { kernel: String::new(), boot_epoch: 0 });
        let answered = Answered {
            base: candidate.base.clone(),
            sent_at: self.skew.host_time(candidate.sent_at),
            received_at: self.skew.host_time(candidate.received_at),
            date: None,
            host,
        };
        let mut adopted = base.accept(&candidate.response, &answered).ok()?;
        if let Some(held) = adopted.held.as_mut().filter(|held| held.grant_id != candidate.grant_id) {
            held.grant_id.clone_from(&candidate.grant_id);
            adopted.previous.iter_mut().for_each(|previous| previous.replaced_by = None);
        }
        // The token that the candidate replaces was refused or is in doubt, not proved: all that is older stays too.
        adopted.previous.splice(0..0, self.previous.iter().cloned());
        Some(adopted)
    }
}

/// A grant has been refreshed: its own former tokens may go, and the grants that it replaced, and what those replaced.
fn forget_what_is_superfluous(kept: &mut Vec<Previous>, proved: &str) {
    let mut proved = vec![proved.to_owned()];
    let is_superfluous = |previous: &Previous, proved: &[String]| {
        let replaced_by = previous.replaced_by.as_ref();
        proved.contains(&previous.grant_id) || replaced_by.is_some_and(|by| proved.contains(by))
    };
    while let Some(found) = kept.iter().position(|previous| is_superfluous(previous, &proved)) {
        proved.push(kept.remove(found).grant_id);
    }
}
