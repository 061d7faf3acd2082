//! One flight, from its first look at the store to the moment when its tokens may be handed out:
//! connect → claim → look again → intent → send → commit → publish.

use crate::error::Error;
use crate::failpoint;
use crate::hand_out::{HandOut, Warning};
use crate::http::{Line, Question};
use crate::kit::{Kit, Order, blocking};
use crate::rescue;
use crate::store::{App, Claim, WriteError};
use perennial_core::connection::{Answered, Aside, Cause, Condition, Decision, Plan, Version};
use perennial_core::profile::Purpose;
use perennial_core::token_endpoint::{self, Failure, NoAnswer, Reply, Unreachable};
use perennial_core::verdict::{Judgement, Spent, Verdict, judge};
use perennial_core::{Connection, Grant, Origin, TokenResponse, UnixTime};

/// Flies.
pub(crate) async fn fly(kit: &Kit, order: &Order) -> Result<HandOut, Error> {
    blocking(|| rescue::drain(kit));
    let looked = kit.read(&order.name)?;
    if let Some(hand_out) = blocking(|| rescue::peek(kit, order, &looked)) {
        return Ok(hand_out);
    }
    let mut purpose = match looked.decide(&order.cause, kit.now()) {
        Decision::Fly(purpose) => purpose,
        other => return kit.grounded(&looked, &other),
    };
    failpoint::pass("looked");
    let mut app = blocking(|| kit.store.app(&order.name))?;
    let base_then = kit.base_for(&looked, purpose)?;
    kit.grant(&looked, &app, purpose)?;
    kit.passage(&looked, &base_then, &order.cause)?;
    let connected = kit.connect(&looked, &base_then, purpose).await; // connect
    if purpose == Purpose::Obtain {
        // A person stands before it, and there is nothing to keep: a failure leaves no trace.
        connected.as_ref().map_err(Error::clone)?;
    }
    failpoint::pass("connected");
    let connected_at = kit.clock.since_boot();
    let mut claim = kit.claim(&order.name).await?; // claim
    failpoint::pass("claimed");
    let mut seen = match look_again(kit, order, claim.as_mut(), &looked, purpose).await? {
        Look::Fly(seen) => *seen, // look again
        Look::Land(landed) => return landed,
    };
    // A sibling's tokens may live elsewhere, and an idle line may have been closed.
    let mut base = kit.base_for(&seen, purpose)?;
    let mut line = match connected {
        Ok(line) => Some(line).filter(|_| base == base_then && kit.line_keeps(connected_at)),
        Err(error) => return Err(unreached(kit, claim.as_mut(), &seen, error)),
    };
    let _in_the_air = kit.take_off()?;
    let mut chances = SecondChances::default();
    // What the last refusal made of the connection: it is written down when nothing more can be tried.
    let mut refused: Option<Box<Connection>> = None;
    let mut settled = false;
    loop {
        let grant = match kit.grant(&seen, &app, purpose) {
            Ok(grant) => grant,
            Err(error) => {
                return Err(
                    refused.map_or(error, |failed| give_up(claim.as_mut(), &seen.version(), &failed, base))
                );
            }
        };
        let ready = match line.take() {
            Some(line) => Ok(line),
            None => kit.connect(&seen, &base, purpose).await,
        };
        let line = match ready {
            Ok(line) => line,
            Err(Error::Unreachable { base, why }) => {
                let before = refused.as_deref().unwrap_or(&seen);
                let failed = before.unreached(&why, kit.now(), kit.random.jitter());
                return Err(give_up(claim.as_mut(), &seen.version(), &failed, base));
            }
            Err(error) => return Err(error),
        };
        let presentation =
            Presentation { kit, order, seen: &seen, app: &app, grant, purpose, base: &base, settled };
        let next = match presentation.present(claim.as_mut(), line).await? {
            Outcome::Landed(hand_out) => {
                failpoint::pass("landed");
                return Ok(hand_out); // publish
            }
            // Somebody else presents, or has, or took our lock away: all over again, behind his deadline.
            Outcome::Overtaken => {
                drop(claim);
                claim = kit.claim(&order.name).await?;
                match look_again(kit, order, claim.as_mut(), &seen, purpose).await? {
                    Look::Fly(seen) => Next::after_another(*seen, app, base, purpose),
                    Look::Land(landed) => return landed,
                }
            }
            // Law 6: re-read first. Whatever was said of the former tokens, a sibling's are newer.
            Outcome::Refused { .. } if kit.has_moved(claim.as_ref(), &seen) => {
                match look_again(kit, order, claim.as_mut(), &seen, purpose).await? {
                    Look::Fly(seen) => Next::after_another(*seen, app, base, purpose),
                    Look::Land(landed) => return landed,
                }
            }
            Outcome::Refused { from, failed, judgement } => {
                let last = Next { seen: seen.clone(), app, base: base.clone(), purpose };
                // A chance that cannot be taken is none: what the server said goes before that.
                let Ok(Some(next)) = chances.take(kit, claim.as_mut(), last, &from, &failed, &judgement)
                else {
                    let error = give_up(claim.as_mut(), &from, &failed, base);
                    // Who is sent where no secret may go is told so: a person may permit it.
                    let elsewhere = judgement.base.filter(|base| !kit.permits(&seen, base));
                    return Err(elsewhere.map_or(error, |origin| Error::NotPermitted { origin, purpose }));
                };
                settled = judgement.spent == Spent::No && next.seen.version() == from;
                refused = Some(failed);
                next
            }
        };
        if !next.seen.version().same_tokens(&seen.version()) {
            if let Some(hand_out) = HandOut::of(&next.seen, kit.now()) {
                return Ok(hand_out);
            }
            // What was said of the former tokens says nothing of these.
            (refused, settled) = (None, false);
        }
        Next { seen, app, base, purpose } = next;
    }
}

/// What the second look shows.
enum Look {
    /// Still a flight.
    Fly(Box<Connection>),
    /// Somebody else has landed meanwhile, or there is nothing to be done any more.
    Land(Result<HandOut, Error>),
}

/// Law 3. A token whose late answer was kept aside is not presented again: that answer takes its place.
async fn look_again(
    kit: &Kit,
    order: &Order,
    claim: &mut dyn Claim,
    looked: &Connection,
    purpose: Purpose,
) -> Result<Look, Error> {
    let mut seen = kit.look_again(&order.name, claim).await?;
    if let Some(adopted) = seen.adopt_late_answer() {
        match blocking(|| claim.commit(&seen.version(), &adopted)) {
            Ok(()) => seen = adopted,
            Err(error) => tracing::warn!(%error, "a late answer could not be adopted"),
        }
    }
    failpoint::pass("looked_again");
    if !seen.version().same_tokens(&looked.version())
        && let Some(hand_out) = HandOut::of(&seen, kit.now())
    {
        return Ok(Look::Land(Ok(hand_out)));
    }
    let decision = seen.decide(&order.cause, kit.now());
    if decision != Decision::Fly(purpose) {
        return Ok(Look::Land(kit.grounded(&seen, &decision)));
    }
    Ok(Look::Fly(Box::new(seen)))
}

/// What a presentation starts from.
struct Next {
    seen: Connection,
    app: App,
    base: Origin,
    purpose: Purpose,
}

impl Next {
    /// Somebody else's tokens stand in the store now: their base is where they are good.
    fn after_another(seen: Connection, app: App, base: Origin, purpose: Purpose) -> Self {
        let base = seen.held.as_ref().map_or(base, |held| held.base.clone());
        Self { seen, app, base, purpose }
    }
}

/// One presentation's outcome.
enum Outcome {
    /// The tokens are durable.
    Landed(HandOut),
    /// No tokens came.
    Refused {
        /// What was written down before it was sent.
        from: Version,
        /// What the connection has become by that.
        failed: Box<Connection>,
        /// What it means.
        judgement: Judgement,
    },
    /// Somebody else wrote between our look and our intent; nothing was sent.
    Overtaken,
}

/// A grant about to be presented.
struct Presentation<'a> {
    kit: &'a Kit,
    order: &'a Order,
    seen: &'a Connection,
    app: &'a App,
    grant: Grant,
    purpose: Purpose,
    base: &'a Origin,
    /// The open intent is this flight's own, and was refused without anything being spent.
    settled: bool,
}

impl Presentation<'_> {
    async fn present(self, claim: &mut dyn Claim, line: Box<dyn Line>) -> Result<Outcome, Error> {
        let Self { kit, seen, .. } = self;
        let started = kit.clock.since_boot();
        let sent_at = kit.now();
        let intended = self.intended(sent_at);
        if let Err(error) = blocking(|| kit.rescue.prepare()) {
            tracing::warn!(%error, "no rescue file could be written if the store failed");
        }
        let mut intended = intended;
        if let Some(intent) = &mut intended.intent {
            claim.lock().clone_into(&mut intent.kernel);
        }
        failpoint::pass("intending");
        match blocking(|| claim.intend(&seen.version(), &intended)) {
            Ok(()) => failpoint::pass("intended"), // intent
            Err(WriteError::Moved(_)) => return Ok(Outcome::Overtaken),
            Err(WriteError::Store(error)) => return Err(error.into()),
        }
        // The deadline is kept on a clock that runs on while the machine sleeps (law 2).
        let left = kit.answer_within.saturating_sub(kit.clock.since_boot().saturating_sub(started));
        if left.is_zero() {
            return Ok(self.refused(&intended, &Failure::Unreachable(Unreachable::TimedOut), sent_at));
        }
        let form = self.grant.form(&self.app.client);
        let correlation_id =
            intended.intent.as_ref().map(|intent| intent.correlation_id.clone()).unwrap_or_default();
        let question = Question { path: seen.profile.token_path, form, correlation_id };
        let reply = tokio::select! {
            biased;
            reply = line.ask(question, left) => reply, // send
            () = kit.deadline_of(started) => Err(NoAnswer::TimedOut),
        };
        failpoint::pass("answered");
        let received_at = kit.now();
        let intended = with_latecomers(claim, &intended.version(), intended);
        kit.server(self.base, reply.as_ref().is_ok_and(|reply| reply.status < 500 && reply.status != 429));
        match reply {
            Ok(reply) => self.answered(claim, &intended, &reply, sent_at, received_at).await, // commit
            Err(no_answer) => Ok(self.refused(&intended, &Failure::NoAnswer(no_answer), received_at)),
        }
    }

    fn intended(&self, now: UnixTime) -> Connection {
        let presented = match &self.grant {
            Grant::Refresh { refresh_token } => refresh_token.fingerprint(),
            Grant::Company { request_token, .. } => request_token.fingerprint(),
            _ => self.app.client.secret.fingerprint(),
        };
        let mut before = self.seen.clone();
        if self.purpose == Purpose::Obtain {
            before.principal = before.principal.or_else(|| self.app.company.clone());
        }
        before.intend(Plan {
            purpose: self.purpose,
            base: self.base.clone(),
            presented,
            new_grant_id: self.kit.random.id(),
            patience: self.kit.answer_within,
            now,
            kernel: String::new(),
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
                return self.landed(claim, intended, &response, &answered).await;
            }
            Err(Failure::Refused(mut refusal)) => {
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

    /// True for an address made of what was sent: it is none, and would carry a secret into messages (law 10).
    fn echoes(&self, base: &Origin) -> bool {
        self.grant.occurs_in(&self.app.client, &base.to_string())
    }

    /// Law 5: the tokens may be in a 200 that nobody here understands.
    fn keep_unparsed(&self, reply: &Reply, at: UnixTime) {
        if !(200..300).contains(&reply.status) || reply.body.is_empty() {
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
                if let rescue::Kept::Overtaken(current) =
                    rescue::make_durable(self.kit, claim, &from, &stranger).await
                {
                    self.keep_aside(
                        claim,
                        *current,
                        &intended.asked(),
                        response,
                        answered,
                        Aside::OtherPrincipal,
                    )
                    .await;
                }
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
        let failed = intended.fail(failure, &judgement, now, self.kit.random.jitter());
        Outcome::Refused { from: intended.version(), failed: Box::new(failed), judgement }
    }
}

/// What may be tried once more within one flight, each at most once. (Late answers are adopted one after the other: each
/// is used up by that.)
#[derive(Default)]
struct SecondChances {
    relocated: bool,
    client_reread: bool,
    reobtained: bool,
}

impl SecondChances {
    /// What to start the next presentation from; `None` when there is none. `failed` is what the refusal made of the
    /// connection, and not written down yet.
    fn take(
        &mut self,
        kit: &Kit,
        claim: &mut dyn Claim,
        last: Next,
        from: &Version,
        failed: &Connection,
        judgement: &Judgement,
    ) -> Result<Option<Next>, Error> {
        let kept = kit.look(claim)?;
        if kept.version() != *from {
            return Ok(None); // Somebody else presents the same tokens: the claim is lost.
        }
        // Law 7: the answer to an earlier presentation of this token may have come meanwhile.
        if last.purpose == Purpose::Refresh
            && let Some(adopted) = kept.adopt_late_answer()
            && let Some(adopted) = Self::commit_adopted(claim, &kept, adopted)
        {
            return Ok(Some(Next::after_another(adopted, last.app, last.base, last.purpose)));
        }
        match (judgement.verdict, &judgement.base) {
            (Verdict::Relocate, Some(base)) if !self.relocated && kit.permits(&last.seen, base) => {
                self.relocated = true;
                Ok(Some(Next { seen: kept, base: base.clone(), ..last }))
            }
            // Law 6: on invalid_client the app is read again; a newer secret gets one more try.
            (Verdict::FixClient, _) if !self.client_reread => {
                self.client_reread = true;
                let app = blocking(|| kit.store.app(&last.seen.name))?;
                Ok((app.client != last.app.client).then_some(Next { seen: kept, app, ..last }))
            }
            // A request token that is no good says nothing about the refresh token that is held.
            (Verdict::GrantGone, _) if last.purpose == Purpose::Refresh => {
                if let Some(adopted) = Self::adopt(claim, &kept) {
                    return Ok(Some(Next::after_another(adopted, last.app, last.base, last.purpose)));
                }
                self.reobtain(kit, claim, last, from, failed)
            }
            _ => Ok(None),
        }
    }

    /// Law 6: adopt before despair: a late answer takes the place of what was refused.
    fn adopt(claim: &mut dyn Claim, kept: &Connection) -> Option<Connection> {
        Self::commit_adopted(claim, kept, kept.adopt()?)
    }

    fn commit_adopted(claim: &mut dyn Claim, kept: &Connection, adopted: Connection) -> Option<Connection> {
        match blocking(|| claim.commit(&kept.version(), &adopted)) {
            Ok(()) => Some(adopted),
            Err(error) => {
                tracing::warn!(%error, "a late answer could not be adopted");
                None
            }
        }
    }

    /// The grant is gone, and the request token is young: the keeper obtains a new grant by itself. What is gone is
    /// written down first; it is kept beside the new one (law 5).
    fn reobtain(
        &mut self,
        kit: &Kit,
        claim: &mut dyn Claim,
        last: Next,
        from: &Version,
        failed: &Connection,
    ) -> Result<Option<Next>, Error> {
        if std::mem::replace(&mut self.reobtained, true) || !kit.may_reobtain(failed, &last.app) {
            return Ok(None);
        }
        blocking(|| claim.commit(from, failed)).map_err(of_write)?;
        let base = kit.base_for(failed, Purpose::Obtain)?;
        Ok(Some(Next { seen: failed.clone(), base, purpose: Purpose::Obtain, ..last }))
    }
}

fn of_write(error: WriteError) -> Error {
    match error {
        WriteError::Store(error) => error.into(),
        WriteError::Moved(_) => Error::Busy,
    }
}

/// No connection came about. That is written down too, so that who comes next does not knock at once again (law 12).
fn unreached(kit: &Kit, claim: &mut dyn Claim, seen: &Connection, error: Error) -> Error {
    if let Error::Unreachable { base, why } = &error {
        let failed = seen.unreached(why, kit.now(), kit.random.jitter());
        give_up(claim, &seen.version(), &failed, base.clone());
    }
    error
}

/// Law 8: what a sender that had lost its claim has kept aside meanwhile goes along with whatever is written.
fn with_latecomers(claim: &dyn Claim, from: &Version, connection: Connection) -> Connection {
    match blocking(|| claim.read()) {
        Ok(now) if now.version() == *from => Connection { candidates: now.candidates, ..connection },
        _ => connection,
    }
}

/// The failure is written down and told, in place of what this flight saw or wrote last. If even that cannot be
/// written, the open intent says enough.
fn give_up(claim: &mut dyn Claim, from: &Version, failed: &Connection, base: Origin) -> Error {
    let failed = &with_latecomers(claim, from, failed.clone());
    if let Err(error) = blocking(|| claim.commit(from, failed)) {
        tracing::warn!(%error, "the failure could not be written down");
    }
    let retry_at = match failed.condition {
        Condition::BackingOff { until, .. } | Condition::Uncertain { until, .. } => Some(until),
        _ => None,
    };
    match failed.last_fault.clone().map(Box::new) {
        Some(fault) => Error::Failed { base, fault, retry_at },
        None => Error::Internal("a failure without a word".to_owned()),
    }
}
