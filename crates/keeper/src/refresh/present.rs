//! One presentation: intent → send → commit. What comes of it is durable before anybody hears of it (law 1).

use super::chances::of_write;
use crate::error::Error;
use crate::failpoint;
use crate::hand_out::{HandOut, Warning};
use crate::http::{Line, Question};
use crate::identity::{self, Answer};
use crate::kit::{Kit, Order, blocking};
use crate::rescue;
use crate::store::{App, Claim, WriteError};
use perennial_core::connection::{Answered, Aside, Cause, Plan, Version};
use perennial_core::grant::Proof;
use perennial_core::id_token::IdTokenError;
use perennial_core::profile::Purpose;
use perennial_core::token_endpoint::{self, Failure, NoAnswer, Refusal, Reply, Unreachable};
use perennial_core::verdict::{Judgement, judge};
use perennial_core::{Connection, Grant, Origin, TokenResponse, UnixTime};

/// One presentation's outcome.
pub(super) enum Outcome {
    /// The tokens are durable.
    Landed(HandOut),
    /// No tokens came.
    Refused(Refused),
    /// Somebody else wrote between our look and our intent; nothing was sent.
    Overtaken,
}

/// A presentation that brought no tokens.
pub(super) struct Refused {
    /// What was written down before it was sent.
    pub(super) from: Version,
    /// What the connection has become by that; not written down yet.
    pub(super) failed: Box<Connection>,
    /// What it means.
    pub(super) judgement: Judgement,
}

/// A grant about to be presented.
pub(super) struct Presentation<'a> {
    pub(super) kit: &'a Kit,
    pub(super) order: &'a Order,
    pub(super) seen: &'a Connection,
    pub(super) app: &'a App,
    pub(super) grant: Grant,
    /// How the client proves who it is, in this presentation.
    pub(super) proof: Proof,
    pub(super) purpose: Purpose,
    pub(super) base: &'a Origin,
    /// The open intent is this flight's own, and was refused without anything being spent.
    pub(super) settled: bool,
}

impl Presentation<'_> {
    pub(super) async fn present(self, claim: &mut dyn Claim, line: Box<dyn Line>) -> Result<Outcome, Error> {
        let Self { kit, seen, .. } = self;
        let started = kit.clock.since_boot();
        let sent_at = kit.now();
        let intended = self.intended(sent_at, claim.lock());
        if let Err(error) = blocking(|| kit.rescue.prepare()) {
            tracing::warn!(%error, "no rescue file could be written if the store failed");
        }
        failpoint::pass("intending");
        match blocking(|| kit.tally.intend.time(|| claim.intend(&seen.version(), &intended))) {
            Ok(()) => failpoint::pass("intended"), // intent
            Err(WriteError::Moved(_)) => return Ok(Outcome::Overtaken),
            Err(WriteError::Store(error)) => return Err(error.into()),
        }
        // The deadline is kept on a clock that runs on while the machine sleeps (law 2).
        let left = kit.answer_within.saturating_sub(kit.clock.since_boot().saturating_sub(started));
        if left.is_zero() {
            return Ok(self.refused(&intended, &Failure::Unreachable(Unreachable::TimedOut), sent_at));
        }
        let request = self.grant.request(&self.app.client, &self.proof, &seen.obtaining);
        let correlation_id =
            intended.intent.as_ref().map(|intent| intent.correlation_id.clone()).unwrap_or_default();
        let question = Question { path: seen.token_path().to_owned(), request, correlation_id };
        let reply = tokio::select! {
            biased;
            reply = line.ask(question, left) => reply, // send
            () = kit.deadline_of(started) => Err(NoAnswer::TimedOut),
        };
        failpoint::pass("answered");
        let received_at = kit.now();
        kit.server(self.base, reply.as_ref().is_ok_and(|reply| reply.status < 500 && reply.status != 429));
        match reply {
            Ok(reply) => self.answered(claim, &intended, &reply, sent_at, received_at).await, // commit
            Err(no_answer) => Ok(self.refused(&intended, &Failure::NoAnswer(no_answer), received_at)),
        }
    }

    fn intended(&self, now: UnixTime, lock: &str) -> Connection {
        let is_request_token = matches!(self.grant, Grant::Company { .. });
        let mut before = self.seen.clone();
        if is_request_token {
            before.principal = before.principal.or_else(|| self.app.company.clone());
        }
        before.intend(Plan {
            purpose: self.purpose,
            base: self.base.clone(),
            presented: self.grant.fingerprint(&self.app.client),
            is_request_token,
            new_grant_id: self.kit.random.id(),
            patience: self.kit.answer_within,
            now,
            kernel: lock.to_owned(),
            process: std::process::id(),
            forced: matches!(self.order.cause, Cause::Rejected(_)),
            settled: self.settled,
            correlation_id: self.kit.random.id(),
        })
    }

    async fn answered(
        &self,
        claim: &mut dyn Claim,
        intended: &Connection,
        reply: &Reply,
        sent_at: UnixTime,
        received_at: UnixTime,
    ) -> Result<Outcome, Error> {
        let date = reply.date.as_deref().and_then(UnixTime::from_http_date);
        let host = self.kit.host();
        let answered = Answered { base: self.base.clone(), sent_at, received_at, date, host };
        let failure = match token_endpoint::read(reply, received_at) {
            Ok(mut response) => {
                response.geolocation = response.geolocation.filter(|base| !self.echoes(base));
                if let Err(why) = self.check_identity(&response, intended, &answered) {
                    return self.disbelieve(claim, intended, &response, &answered, &why).await;
                }
                return self.landed(claim, intended, &response, &answered).await;
            }
            Err(Failure::Refused(refusal)) if self.is_pending(&refusal) => {
                return self.not_yet(claim, intended, &answered, &refusal);
            }
            Err(Failure::Refused(mut refusal)) => {
                self.keep_unparsed(reply, received_at);
                refusal.geolocation = refusal.geolocation.filter(|base| !self.echoes(base));
                Failure::Refused(refusal.blotted(|text| self.grant.redact(&self.app.client, text)))
            }
            Err(failure) => {
                self.keep_unparsed(reply, received_at);
                failure
            }
        };
        Ok(self.refused(&intended.heard(&answered), &failure, received_at))
    }

    /// RFC 8628 section 3.5: nobody has approved yet. That is no failure, and leaves no trace.
    fn is_pending(&self, refusal: &Refusal) -> bool {
        let waits = matches!(refusal.error.as_deref(), Some("authorization_pending" | "slow_down"));
        waits && matches!(self.grant, Grant::DeviceCode { .. })
    }

    fn not_yet(
        &self,
        claim: &mut dyn Claim,
        intended: &Connection,
        answered: &Answered,
        refusal: &Refusal,
    ) -> Result<Outcome, Error> {
        let before = intended.heard(answered).not_presented();
        self.kit.commit(claim, &intended.version(), &before).map_err(of_write)?;
        Err(Error::Pending { slow_down: refusal.error.as_deref() == Some("slow_down") })
    }

    /// Law 13: whose the tokens are, and that they are for us.
    fn check_identity(
        &self,
        response: &TokenResponse,
        intended: &Connection,
        answered: &Answered,
    ) -> Result<(), IdTokenError> {
        let measured = intended.skew.server_time(answered.received_at);
        let answer = Answer {
            seen: intended,
            client: &self.app.client,
            grant: &self.grant,
            purpose: self.purpose,
            base: self.base,
            response,
            now: [answered.date.unwrap_or(measured), measured],
        };
        identity::check(&self.kit.keys, &answer)
    }

    async fn disbelieve(
        &self,
        claim: &mut dyn Claim,
        intended: &Connection,
        response: &TokenResponse,
        answered: &Answered,
        why: &IdTokenError,
    ) -> Result<Outcome, Error> {
        let message = format!("the answer's id_token is not believed: {why}; the answer is kept aside");
        let aside = intended.disbelieve(response, answered, message, Aside::Unbelieved);
        self.put_aside(claim, intended, &aside, (response, answered, Aside::Unbelieved)).await;
        Err(Error::Unbelieved(why.to_string()))
    }

    /// Makes an answer durable that is not used.
    async fn put_aside(
        &self,
        claim: &mut dyn Claim,
        intended: &Connection,
        aside: &Connection,
        (response, answered, reason): (&TokenResponse, &Answered, Aside),
    ) {
        self.kit.tally.came_of_it("other_principal");
        let kept = rescue::make_durable(self.kit, claim, &intended.version(), aside).await;
        if let rescue::Kept::Overtaken(current) = kept {
            self.keep_aside(claim, *current, &intended.asked(), response, answered, reason).await;
        }
    }

    /// True for an address made of what was sent: it is none, and would carry a secret into messages (law 10).
    fn echoes(&self, base: &Origin) -> bool {
        self.grant.occurs_in(&self.app.client, &base.to_string())
    }

    /// Law 5: the tokens may be in a 200 that nobody here understands.
    fn keep_unparsed(&self, reply: &Reply, at: UnixTime) {
        let refused = matches!(token_endpoint::read(reply, at), Err(Failure::Refused(_)));
        let may_hold_tokens = !refused || reply.body.windows(6).any(|window| window == b"_token");
        if !(200..300).contains(&reply.status) || reply.body.is_empty() || !may_hold_tokens {
            return;
        }
        let id = self.kit.random.id();
        match blocking(|| self.kit.rescue.keep_unparsed(&id, &self.order.name, &reply.body, at)) {
            Ok(path) => {
                tracing::error!(path = %path.display(), "an answer that could not be read is kept, sealed")
            }
            Err(error) => tracing::warn!(%error, "an answer that could not be read could not be kept either"),
        }
    }

    async fn landed(
        &self,
        claim: &mut dyn Claim,
        intended: &Connection,
        response: &TokenResponse,
        answered: &Answered,
    ) -> Result<Outcome, Error> {
        let from = intended.version();
        let next = match intended.accept(response, answered) {
            Ok(next) => next,
            Err(stranger) => {
                let answer = (response, answered, Aside::OtherPrincipal);
                self.put_aside(claim, intended, &stranger, answer).await;
                let own = stranger.principal.as_ref().map(ToString::to_string).unwrap_or_default();
                let named = response.principal().map(|named| named.to_string()).unwrap_or_default();
                return Err(Error::OtherPrincipal { own, named });
            }
        };
        let mut warnings = Vec::new();
        if let Some(elsewhere) = response.geolocation.as_ref().filter(|base| !next.permits(base)) {
            warnings.push(Warning::ForeignGeolocation(elsewhere.clone()));
        }
        failpoint::pass("committing");
        let overtaken_by = match rescue::make_durable(self.kit, claim, &from, &next).await {
            rescue::Kept::InStore => {
                failpoint::pass("committed");
                None
            }
            rescue::Kept::InRescueFile(path) => {
                warnings.push(Warning::Unsaved(path));
                None
            }
            rescue::Kept::Overtaken(current) => {
                let from = intended.asked();
                Some(self.keep_aside(claim, *current, &from, response, answered, Aside::Late).await)
            }
        };
        if overtaken_by.is_none() && next.ends_with_its_access_token() {
            tracing::info!(connection = next.name, "the server gave no refresh token");
            warnings.push(Warning::NoRefreshToken);
        }
        self.kit.tally.came_of_it("ok");
        let now = self.kit.now();
        // What stands in the store goes first. Where that does not live, the late answer's token does, and it is
        // durable too; but it is not handed out for another principal (law 13).
        let hand_out = overtaken_by.as_ref().and_then(|current| HandOut::of(current, now)).or_else(|| {
            let theirs = overtaken_by.as_ref().and_then(|current| current.principal.as_ref());
            let same = theirs.zip(next.principal.as_ref()).is_none_or(|(theirs, own)| theirs.is(own));
            HandOut::of(&next, now).filter(|_| same)
        });
        let hand_out =
            hand_out.ok_or_else(|| Error::Internal("the new access token has ended already".to_owned()))?;
        Ok(Outcome::Landed(warnings.into_iter().fold(hand_out, HandOut::with)))
    }

    /// Law 8: a late answer never overwrites and is never dropped, however often the tokens that stand there are
    /// replaced meanwhile. Returns what stands there.
    async fn keep_aside(
        &self,
        claim: &mut dyn Claim,
        mut current: Connection,
        from: &Version,
        response: &TokenResponse,
        answered: &Answered,
        reason: Aside,
    ) -> Connection {
        loop {
            let aside = current.set_aside(from, response, answered, reason);
            match rescue::make_durable(self.kit, claim, &current.version(), &aside).await {
                rescue::Kept::Overtaken(newer) => current = *newer,
                rescue::Kept::InStore | rescue::Kept::InRescueFile(_) => return current,
            }
        }
    }

    fn refused(&self, intended: &Connection, failure: &Failure, now: UnixTime) -> Outcome {
        let judgement = judge(failure, self.purpose, self.seen.profile, &self.seen.policy);
        self.kit.tally.came_of_it(judgement.verdict.as_str());
        let failed = intended.fail(failure, &judgement, now, self.kit.random.jitter());
        Outcome::Refused(Refused { from: intended.version(), failed: Box::new(failed), judgement })
    }
}
