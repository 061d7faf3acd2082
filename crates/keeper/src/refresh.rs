//! One flight, from its first look at the store to the moment when its tokens may be handed out:
//! connect → claim → look again → intent → send → commit → publish.

use crate::error::Error;
use crate::failpoint;
use crate::hand_out::{HandOut, Warning};
use crate::http::{Line, Question};
use crate::kit::{Kit, Order, blocking};
use crate::rescue;
use crate::store::{App, Claim, WriteError};
use perennial_core::connection::{Answered, Aside, Blocked, Cause, Condition, Decision, Plan, Version};
use perennial_core::journal::Event;
use perennial_core::profile::{Purpose, ReplayRule};
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
    let mut purpose = match kit.decide(&looked, &order.cause) {
        Decision::Fly(purpose) => purpose,
        other => return kit.grounded(&looked, &other),
    };
    failpoint::pass("looked");
    let mut app = blocking(|| kit.store.app(&order.name))?;
    let base_then = kit.base_for(&looked, purpose, &order.cause)?;
    kit.grant(&looked, &app, purpose, &order.cause)?;
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
    let mut seen;
    (seen, purpose) = match look_again(kit, order, claim.as_mut(), &looked).await? {
        Look::Fly(seen, purpose) => (*seen, purpose), // look again
        Look::Land(landed) => return landed,
    };
    // A sibling's tokens may live elsewhere, and an idle line may have been closed.
    let mut base = kit.base_for(&seen, purpose, &order.cause)?;
    let mut line = match connected {
        Ok(line) => Some(line).filter(|_| base == base_then && kit.line_keeps(connected_at)),
        Err(error) => return Err(unreached(kit, claim.as_mut(), &seen, error)),
    };
    let _in_the_air = kit.take_off()?;
    let mut chances = SecondChances::of(&order.cause);
    // What the last refusal made of the connection: it is written down when nothing more can be tried.
    let mut refused: Option<Box<Connection>> = None;
    loop {
        let grant = match kit.grant(&seen, &app, purpose, &order.cause) {
            Ok(grant) => grant,
            Err(error) => {
                return Err(refused
                    .map_or(error, |failed| give_up(kit, claim.as_mut(), &seen.version(), &failed, base)));
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
                return Err(give_up(kit, claim.as_mut(), &seen.version(), &failed, base));
            }
            Err(error) => return Err(error),
        };
        if refused.is_none()
            && purpose == Purpose::Refresh
            && let Some(until) = seen.forbids_presenting(kit.now())
        {
            // It took too long to come here: the window for a repetition has shut meanwhile (law 7).
            return kit.grounded(&seen, &Decision::Stop(Blocked::Until(until)));
        }
        let presentation = Presentation { kit, order, seen: &seen, app: &app, grant, purpose, base: &base };
        let chance = match presentation.present(claim.as_mut(), line).await {
            Ok(Outcome::Landed(hand_out)) => {
                failpoint::pass("landed");
                return Ok(hand_out); // publish
            }
            Ok(Outcome::Overtaken) => Chance::Afresh,
            Ok(Outcome::Refused { from, failed, judgement }) => {
                let last = Next { seen: seen.clone(), app: app.clone(), base: base.clone(), purpose };
                // A chance that cannot be taken is none: what the server said goes before that.
                let chance = chances.take(kit, claim.as_mut(), last, &from, &failed, &judgement);
                let chance = chance.unwrap_or(Chance::None);
                if matches!(chance, Chance::None) {
                    let error = give_up(kit, claim.as_mut(), &from, &failed, base);
                    // Who is sent where no secret may go is told so: a person may permit it.
                    let elsewhere = judgement.base.filter(|base| !kit.permits(&seen, base));
                    return Err(elsewhere.map_or(error, |origin| Error::NotPermitted { origin, purpose }));
                }
                refused = Some(failed);
                chance
            }
            Err(error) => {
                if let (Error::Store(_), Some(failed)) = (&error, &refused) {
                    give_up(kit, claim.as_mut(), &seen.version(), failed, base);
                }
                return Err(error);
            }
        };
        let next = match chance {
            Chance::Next(next) => *next,
            // Other tokens stand there, or somebody else presents these, or took our lock away: all over again, behind
            // his deadline. What was said of the former tokens does not concern these.
            Chance::Afresh | Chance::None => {
                refused = None;
                drop(claim);
                claim = kit.claim(&order.name).await?;
                match look_again(kit, order, claim.as_mut(), &seen).await? {
                    Look::Fly(seen, purpose) => {
                        let base = kit.base_for(&seen, purpose, &order.cause)?;
                        Next { seen: *seen, app, base, purpose }
                    }
                    Look::Land(landed) => return landed,
                }
            }
        };
        Next { seen, app, base, purpose } = next;
    }
}

/// What the second look shows.
enum Look {
    /// Still a flight, for this purpose.
    Fly(Box<Connection>, Purpose),
    /// Somebody else has landed meanwhile, or there is nothing to be done any more.
    Land(Result<HandOut, Error>),
}

/// Law 3. A late answer that is newer than what is held takes its place (laws 6 and 7).
async fn look_again(
    kit: &Kit,
    order: &Order,
    claim: &mut dyn Claim,
    looked: &Connection,
) -> Result<Look, Error> {
    let mut seen = kit.look_again(claim).await?;
    if let Some(adopted) = seen.adopt_late_answer() {
        kit.commit(claim, &seen.version(), &adopted).map_err(of_write)?;
        seen = adopted;
    }
    failpoint::pass("looked_again");
    if !seen.version().same_tokens(&looked.version())
        && let Some(hand_out) = HandOut::of(&seen, kit.now())
    {
        return Ok(Look::Land(Ok(hand_out)));
    }
    match kit.decide(&seen, &order.cause) {
        Decision::Fly(purpose) => Ok(Look::Fly(Box::new(seen), purpose)),
        other => Ok(Look::Land(kit.grounded(&seen, &other))),
    }
}

/// What a presentation starts from.
struct Next {
    seen: Connection,
    app: App,
    base: Origin,
    purpose: Purpose,
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

/// What may follow a refusal.
enum Chance {
    /// One more presentation.
    Next(Box<Next>),
    /// Other tokens stand in the store.
    Afresh,
    /// Nothing.
    None,
}

/// What may be tried once more within one flight, each at most once.
#[derive(Default)]
struct SecondChances {
    relocated: bool,
    client_reread: bool,
    adopted: bool,
    reobtained: bool,
    /// A person tries one token after the other: what comes next is no matter of this flight.
    one_token_only: bool,
}

impl SecondChances {
    fn of(cause: &Cause) -> Self {
        Self { one_token_only: matches!(cause, Cause::Tried(_)), ..Self::default() }
    }

    /// `failed` is what the refusal made of the connection, and not written down yet; `from` is what stands there.
    fn take(
        &mut self,
        kit: &Kit,
        claim: &mut dyn Claim,
        last: Next,
        from: &Version,
        failed: &Connection,
        judgement: &Judgement,
    ) -> Result<Chance, Error> {
        let kept = kit.look(claim)?;
        if !kept.version().same_tokens(from) {
            // Law 6: re-read first. Whatever was said of the former tokens, these are newer.
            let generation = kept.version().generation;
            kit.note(&kept, Event::AdoptedFromSibling { generation });
            return Ok(Chance::Afresh);
        }
        if !kept.version().same_intent(from) {
            return Ok(Chance::None); // Somebody else presents the same tokens: the claim is lost.
        }
        // What may have been spent is not sent again at once, unless it may be at any time (law 7).
        let may_repeat = judgement.spent == Spent::No || kept.policy.replay == ReplayRule::Always;
        match (judgement.verdict, &judgement.base) {
            (Verdict::Relocate, Some(base))
                if may_repeat && !self.relocated && kit.permits(&last.seen, base) =>
            {
                self.relocated = true;
                Ok(Chance::Next(Box::new(Next { seen: kept, base: base.clone(), ..last })))
            }
            // Law 6: on invalid_client the app is read again; a newer secret gets one more try.
            (Verdict::FixClient, _) if may_repeat && !self.client_reread => {
                self.client_reread = true;
                let app = blocking(|| kit.store.app(&last.seen.name))?;
                if app.client == last.app.client {
                    return Ok(Chance::None);
                }
                Ok(Chance::Next(Box::new(Next { seen: kept, app, ..last })))
            }
            // Who tries one token after the other wants to hear of each.
            (Verdict::GrantGone, _) if self.one_token_only => Ok(Chance::None),
            // A request token that is no good says nothing about the refresh token that is held.
            (Verdict::GrantGone, _) if last.purpose == Purpose::Refresh => {
                if self.adopt(kit, claim, &kept) {
                    return Ok(Chance::Afresh);
                }
                self.reobtain(kit, claim, last, from, failed)
            }
            _ => Ok(Chance::None),
        }
    }

    /// Law 6: adopt before despair: a late answer takes the place of what was refused.
    fn adopt(&mut self, kit: &Kit, claim: &mut dyn Claim, kept: &Connection) -> bool {
        if std::mem::replace(&mut self.adopted, true) {
            return false;
        }
        let Some(adopted) = kept.adopt() else { return false };
        let written = kit.commit(claim, &kept.version(), &adopted);
        if let Err(error) = &written {
            tracing::warn!(%error, "a late answer could not be adopted");
        }
        written.is_ok()
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
    ) -> Result<Chance, Error> {
        if std::mem::replace(&mut self.reobtained, true) || !kit.may_reobtain(failed, &last.app) {
            return Ok(Chance::None);
        }
        blocking(|| claim.commit(from, failed)).map_err(of_write)?;
        let cause = Cause::Authorized { instead_of: failed.version() };
        let base = kit.base_for(failed, Purpose::Obtain, &cause)?;
        Ok(Chance::Next(Box::new(Next { seen: failed.clone(), base, purpose: Purpose::Obtain, ..last })))
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
        give_up(kit, claim, &seen.version(), &failed, base.clone());
    }
    error
}

/// The failure is written down and told, in place of what this flight saw or wrote last. If even that cannot be
/// written, the open intent says enough.
fn give_up(kit: &Kit, claim: &mut dyn Claim, from: &Version, failed: &Connection, base: Origin) -> Error {
    if let Err(error) = kit.commit(claim, from, failed) {
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
