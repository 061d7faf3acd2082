//! The network between keepers and the authorization server: it delays, drops, doubles and cuts requests and answers,
//! and puts other people's words in the server's mouth. A request that has left travels on, whatever becomes of its
//! sender.

use crate::answers::{self, Altered, Heard};
use crate::clocks::Moment;
use crate::laws::keeping::must_become_durable;
use crate::server::{Form, HOMES};
use crate::world::{Shared, State, Who};
use perennial::core::Origin;
use perennial::core::token_endpoint::{NoAnswer, Reply, Unreachable};
use perennial::http::{BoxFuture, Line, Question, TokenEndpoint};
use std::time::Duration;
use tokio::sync::oneshot;

/// A `Retry-After` in one of its two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    Seconds(u64),
    Date(u64),
}

impl RetryAfter {
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Self::Seconds(seconds) | Self::Date(seconds) => seconds,
        }
    }
}

/// What happens to a request, or to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Clear,
    /// No connection comes about.
    Unreachable,
    RequestLost,
    AnswerLost,
    /// The connection ends before the request arrives.
    ResetBefore,
    /// The connection ends when the server has acted.
    ResetAfter,
    /// The answer ends in the middle.
    AnswerCut,
    /// A 200 that is no JSON, with the tokens in it.
    Garbage,
    /// Underway for so many seconds.
    SlowRequest(u64),
    SlowAnswer(u64),
    /// The request arrives twice, so many seconds apart.
    Twice(u64),
    /// A 429 or 5xx, from before the server or from behind it.
    Status {
        status: u16,
        retry_after: Option<RetryAfter>,
        after: bool,
    },
    /// A page for people.
    Html {
        status: u16,
        after: bool,
    },
    /// A refusal with this code; 9999 is documented nowhere.
    Refused(u32),
    /// Code 16, and a place that is none of the provider's.
    EvilHome,
    /// Tokens, and a geolocation that is none of the provider's.
    EvilGeolocation,
    /// The `Date` is wrong by so many seconds.
    WrongDate(i64),
    /// Somebody else's tokens.
    Stranger,
}

/// The fates that are in force, each until a moment, and for so many requests at most.
#[derive(Default)]
pub(crate) struct Weather(Vec<(Fate, Moment, u32)>);

impl Weather {
    pub(crate) fn turn(&mut self, fate: Fate, until: Moment, requests: u32) {
        self.0.push((fate, until, requests));
    }

    pub(crate) fn clear_up(&mut self) {
        self.0.clear();
    }

    fn next(&mut self, now: Moment, applies: impl Fn(Fate) -> bool) -> Fate {
        self.0.retain(|(_, until, left)| *until > now && *left > 0);
        let found = self.0.iter_mut().rev().find(|(fate, ..)| applies(*fate));
        found.map_or(Fate::Clear, |(fate, _, left)| {
            *left -= 1;
            *fate
        })
    }
}

/// The network as one process sees it.
pub(crate) struct SimEndpoint {
    pub(crate) world: Shared,
    pub(crate) who: Who,
}

struct SimLine {
    world: Shared,
    who: Who,
    base: Origin,
}

impl TokenEndpoint for SimEndpoint {
    fn connect<'a>(&'a self, base: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        let (world, who, base) = (self.world.clone(), self.who, base.clone());
        Box::pin(async move {
            world.step(who, "connect");
            let (time, fate) = world.look(|state| state.connecting(who, &base));
            world.rest(who, time).await;
            world.look(|state| state.connected(who, &base, fate == Fate::Clear));
            world.step(who, "connected");
            match fate {
                Fate::Clear => Ok(Box::new(SimLine { world, who, base }) as Box<dyn Line>),
                _ => Err(Unreachable::Connect("connection refused".to_owned())),
            }
        })
    }
}

impl Line for SimLine {
    fn ask(
        self: Box<Self>,
        question: Question,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        Box::pin(async move {
            let Self { world, who, base } = *self;
            world.step(who, "send");
            let form = Form::read(question.request.form.expose());
            let (number, fate) = world.look(|state| state.sends(who, &base, &question, &form, patience));
            let (tell, told) = oneshot::channel();
            tokio::spawn(carry(world.clone(), number, form, base, fate, tell));
            world.step(who, "sent");
            let Ok(answer) = told.await else { return std::future::pending().await };
            world.awake(who).await;
            world.step(who, "answered");
            let answer = world.look(|state| state.hears(number, answer));
            if let Some(issue) = answer.1 {
                tokio::spawn(must_become_durable(world.clone(), who, issue));
            }
            answer.0
        })
    }
}

/// Carries one request to the server and its answer back. It is nobody's: it goes on when the sender dies.
async fn carry(
    world: Shared,
    number: usize,
    form: Form,
    base: Origin,
    fate: Fate,
    tell: oneshot::Sender<Altered>,
) {
    let (there, back) = world.look(|state| state.latencies(number, fate));
    tokio::time::sleep(there).await;
    if fate == Fate::RequestLost {
        return;
    }
    let altered = world.look(|state| state.arrives(number, &form, &base, fate));
    if let Fate::Twice(gap) = fate {
        let (world, form) = (world.clone(), form.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(gap)).await;
            world.look(|state| state.arrives(number, &form, &base, Fate::Clear));
        });
    }
    tokio::time::sleep(back).await;
    if fate != Fate::AnswerLost {
        // An error means that nobody waits any more.
        let _ = tell.send(altered);
    }
}

impl State {
    fn connecting(&mut self, who: Who, base: &Origin) -> (Duration, Fate) {
        self.starts_connecting(who, base);
        let fate = self.weather.next(self.now, |fate| fate == Fate::Unreachable);
        self.tally.fate(fate);
        let most = if fate == Fate::Clear { 200 } else { 20_000 };
        let time = Duration::from_millis(self.chance("connect", who.process).between(5, most));
        (time, fate)
    }

    fn sends(
        &mut self,
        who: Who,
        base: &Origin,
        question: &Question,
        form: &Form,
        patience: Duration,
    ) -> (usize, Fate) {
        let fate = self.weather.next(self.now, |fate| fate != Fate::Unreachable);
        self.tally.fate(fate);
        let number = self.is_presented(who, base, question, form, patience);
        let base = base.to_string();
        self.tell(Some(who), || format!("sends {} to {base}; what awaits it: {fate:?}", form.token));
        (number, fate)
    }

    fn latencies(&self, number: usize, fate: Fate) -> (Duration, Duration) {
        let mut dice = self.chance("latency", self.laws.presentations[number].who.process);
        let slow = dice.one_in(20);
        let mut way = |most| Duration::from_millis(dice.between(5, if slow { most * 20 } else { most }));
        let (there, back) = (way(300), way(600));
        match fate {
            Fate::SlowRequest(seconds) => (Duration::from_secs(seconds), back),
            Fate::SlowAnswer(seconds) => (there, Duration::from_secs(seconds)),
            _ => (there, back),
        }
    }

    /// A request has arrived, or what stands before the server has answered in its place.
    fn arrives(&mut self, number: usize, form: &Form, base: &Origin, fate: Fate) -> Altered {
        let connection = self.laws.presentations[number].connection;
        if let Some(altered) = answers::instead(fate, connection, &mut self.server, self.now) {
            self.tell(None, || format!("the network answers for the server: {fate:?}"));
            return altered;
        }
        let home = base.to_string();
        let home = HOMES.into_iter().find(|known| *known == home).unwrap_or_default();
        let said = self.server.asked(form, home, self.now);
        self.was_judged(number, &said);
        let (status, issue) = (said.status, said.issue);
        let new = issue
            .map(|issue| &self.server.issues[issue])
            .map(|issue| format!(", {} {}", issue.access, issue.refresh));
        self.tell(None, || format!("the server answers {}: {status}{}", form.token, new.unwrap_or_default()));
        answers::after(fate, said, self.now)
    }

    /// The answer, and the tokens that can be read in it.
    fn hears(&mut self, number: usize, altered: Altered) -> (Result<Reply, NoAnswer>, Option<usize>) {
        let who = self.laws.presentations[number].who;
        self.tell(Some(who), || format!("hears {}", altered.heard.words()));
        self.has_heard(number, altered.heard, altered.dated);
        let issue = match altered.heard {
            Heard::Tokens { issue } => Some(issue),
            _ => None,
        };
        (altered.reply, issue)
    }
}
