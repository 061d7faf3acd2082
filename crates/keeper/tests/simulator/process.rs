//! Processes: each is the real keeper over simulated parts. They start, serve callers that come and go, and die.

use crate::clocks::{Moment, SimClock};
use crate::dice::Dice;
use crate::network::SimEndpoint;
use crate::server::{Rotation, principal};
use crate::shelf::SimShelf;
use crate::store::{SimStore, name_of};
use crate::world::{Shared, State, Who};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::{AccessToken, Connection, Policy, State as Health, UnixTime};
use perennial::seal::KeySource;
use perennial::seal::rescue::Places;
use perennial::store::App;
use perennial::{Error, HandOut, Keeper, Options, Parts};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// One process, in the life that it has now.
pub(crate) struct Process {
    pub(crate) who: Who,
    pub(crate) is_running: bool,
    /// It dies when it has made so many more steps.
    pub(crate) dies_in: Option<u32>,
    /// When it is started again after that.
    pub(crate) back_after: Duration,
    /// Its host loses its power with it.
    pub(crate) takes_power: bool,
    pub(crate) steps: u64,
    keeper: Option<Arc<Keeper>>,
    callers: Vec<AbortHandle>,
}

/// What is asked of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Every start takes in what rescue files hold.
    Start,
    /// A program wants a token.
    Token { connection: usize, min_ttl: u64 },
    /// The API rejected the token in force.
    Rejected { connection: usize },
    /// A program's token is in use and nears its end.
    Ahead { connection: usize },
    /// A person: now.
    Refresh { connection: usize },
    /// Housekeeping over all connections.
    Sweep,
    /// A person brings a new request token.
    Reauthorize { connection: usize },
    /// A person looks, and does what the state asks for.
    Person { connection: usize },
}

/// Why a flight may have been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Wanted { min_ttl: u64 },
    Rejected,
    Due,
    Ahead,
    Asked,
    Obtain,
}

impl Kind {
    pub(crate) fn is_persons(self) -> bool {
        matches!(self, Self::Asked | Self::Obtain)
    }
}

/// What all keepers of one run are made with.
#[derive(Clone)]
pub(crate) struct Make {
    pub(crate) seed: u64,
    pub(crate) answer_within: Duration,
    pub(crate) key_file: PathBuf,
}

impl Process {
    pub(crate) fn new(number: usize, host: usize) -> Self {
        Self {
            who: Who { process: number, host, life: 0 },
            is_running: false,
            dies_in: None,
            back_after: Duration::ZERO,
            takes_power: false,
            steps: 0,
            keeper: None,
            callers: Vec::new(),
        }
    }

    pub(crate) fn keeper(&self) -> Option<Arc<Keeper>> {
        self.keeper.clone()
    }
}

/// Starts a process, unless it runs or its host has no power.
pub(crate) fn start(world: &Shared, make: &Make, number: usize) {
    let Some(who) = world.look(|state| state.begins(number)) else { return };
    let seed = Dice::new(make.seed ^ u64::from(who.life), &format!("process {number}")).throw();
    let parts = Parts {
        store: Arc::new(SimStore { world: world.clone(), who }),
        endpoint: Arc::new(SimEndpoint { world: world.clone(), who }),
        clock: Arc::new(SimClock { world: world.clone(), who }),
        seed: Some(seed),
        threads: Some(Handle::current()),
    };
    let shelf = Arc::new(SimShelf { world: world.clone(), who });
    let places = Places { shelf, master_key: KeySource::File(make.key_file.clone()).into() };
    let options = Options { places: Some(places), answer_within: make.answer_within, ..Options::default() };
    let keeper = Arc::new(Keeper::with_parts(parts, options));
    world.look(|state| state.processes[number].keeper = Some(keeper));
    ask(world, number, Ask::Start, None);
}

/// Asks a process for something, if it runs. A caller without patience leaves before the answer.
pub(crate) fn ask(world: &Shared, number: usize, ask: Ask, patience: Option<Duration>) {
    let Some((who, keeper)) = world.look(|state| {
        let process = &state.processes[number];
        Some((process.who, process.keeper.clone().filter(|_| process.is_running)?))
    }) else {
        return;
    };
    let caller = Caller { world: world.clone(), who, keeper };
    let task = tokio::spawn(async move {
        caller.world.look(State::is_a_caller);
        caller.world.awake(who).await;
        match patience {
            Some(patience) => drop(tokio::time::timeout(patience, caller.go(ask)).await),
            None => caller.go(ask).await,
        }
    });
    world.look(|state| {
        let callers = &mut state.processes[number].callers;
        callers.retain(|caller| !caller.is_finished());
        callers.push(task.abort_handle());
    });
}

/// Somebody within a process who asks its keeper.
struct Caller {
    world: Shared,
    who: Who,
    keeper: Arc<Keeper>,
}

impl Caller {
    async fn go(&self, ask: Ask) {
        match ask {
            Ask::Start => self.keeper.drain(),
            Ask::Token { connection, min_ttl } => {
                let (name, kind) = (name_of(connection), Kind::Wanted { min_ttl });
                self.served(connection, kind, self.keeper.token(&name, Duration::from_secs(min_ttl))).await;
            }
            Ask::Rejected { connection } => {
                let Some(token) = self.world.look(|state| state.token_in_force(connection)) else { return };
                self.served(connection, Kind::Rejected, self.keeper.rejected(&name_of(connection), &token))
                    .await;
            }
            Ask::Ahead { connection } => {
                let name = name_of(connection);
                let ahead = self.keeper.refresh_ahead(&name);
                let ahead = async { ahead.await.transpose().unwrap_or(Err(Error::Deadline)) };
                self.served(connection, Kind::Ahead, ahead).await;
            }
            Ask::Refresh { connection } => self.refresh(connection).await,
            Ask::Sweep => {
                let connections = self.world.look(|state| state.rows.rows.len());
                for connection in 0..connections {
                    let name = name_of(connection);
                    let due = self.keeper.refresh_if_due(&name);
                    let due = async { due.await.transpose().unwrap_or(Err(Error::Deadline)) };
                    self.served(connection, Kind::Due, due).await;
                }
            }
            Ask::Reauthorize { connection } => self.obtain(connection).await,
            Ask::Person { connection } => {
                let Ok(seen) = self.keeper.connection(&name_of(connection)) else { return };
                match self.keeper.state(&seen) {
                    Health::Held | Health::Refreshing | Health::Unsaved => {}
                    Health::AwaitingGrant | Health::NeedsReauthorization => {
                        // What is held may be good all the same: one try costs nothing.
                        if seen.held.is_some() {
                            self.refresh(connection).await;
                        }
                        let again = self.keeper.connection(&name_of(connection));
                        if again.is_ok_and(|again| !matches!(self.keeper.state(&again), Health::Held)) {
                            self.obtain(connection).await;
                        }
                    }
                    _ => self.refresh(connection).await,
                }
            }
        }
    }

    async fn refresh(&self, connection: usize) {
        self.world.look(|state| state.put_secret_right(connection));
        self.served(connection, Kind::Asked, self.keeper.refresh(&name_of(connection))).await;
    }

    async fn obtain(&self, connection: usize) {
        let Ok(seen) = self.keeper.connection(&name_of(connection)) else { return };
        self.world.look(|state| state.bring_request_token(self.who, connection));
        self.served(connection, Kind::Obtain, self.keeper.obtain(&seen)).await;
    }

    async fn served(
        &self,
        connection: usize,
        kind: Kind,
        hand_out: impl Future<Output = Result<HandOut, Error>>,
    ) {
        let order = self.world.look(|state| state.is_ordered(self.who, connection, kind));
        let leaves = Leaves { world: &self.world, order };
        let result = hand_out.await;
        self.world.look(|state| state.is_served(order, &result));
        drop(leaves);
    }
}

/// An order is forgotten when its caller has got an answer, or leaves.
struct Leaves<'a> {
    world: &'a Shared,
    order: u64,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.world.look(|state| state.is_forgotten(self.order));
    }
}

impl State {
    fn begins(&mut self, number: usize) -> Option<Who> {
        let process = &mut self.processes[number];
        if process.is_running || self.hosts[process.who.host].dark_until > self.now {
            return None;
        }
        process.who.life += 1;
        (process.is_running, process.dies_in) = (true, None);
        let who = process.who;
        self.tell(Some(who), || "starts".to_owned());
        Some(who)
    }

    /// Ends a process without a word. Its kernel takes its locks back; what it had written stays in the page cache.
    pub(crate) fn kill(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.is_running = false;
        process.callers.drain(..).for_each(|caller| caller.abort());
        let who = process.who;
        let keeper = process.keeper.take();
        self.graveyard.extend(keeper);
        self.rows.free_locks(number);
        self.has_died(who);
    }

    fn token_in_force(&self, connection: usize) -> Option<AccessToken> {
        let held = self.rows.seen(connection).held.as_ref()?;
        held.access.as_ref().map(|access| access.token.clone())
    }

    pub(crate) fn put_secret_right(&mut self, connection: usize) {
        let secret = self.server.secret.clone();
        if let Some(row) = self.rows.rows.get_mut(&name_of(connection)) {
            row.app.client.secret = ClientSecret::new(secret);
        }
    }

    fn bring_request_token(&mut self, who: Who, connection: usize) {
        let token = self.server.make_request_token(connection, self.now);
        let here = self.hosts[who.host].wall(self.now);
        self.tell(Some(who), || format!("a person brings {token} for {}", name_of(connection)));
        let app = app(&self.server.secret, connection, &token, here);
        if let Some(row) = self.rows.rows.get_mut(&name_of(connection)) {
            row.app = app;
        }
    }
}

fn app(secret: &str, connection: usize, request_token: &str, at: UnixTime) -> App {
    let client = Client { id: "app".to_owned(), secret: ClientSecret::new(secret) };
    let company = Principal::new(principal(connection));
    App::new(client, Some(company), Some(RequestToken::new(request_token))).known_since(at)
}

/// A connection that nobody has authorized yet, and its app.
pub(crate) fn newcomer(
    connection: usize,
    replay: &str,
    request_token: &str,
    at: Moment,
) -> (Connection, App) {
    let mut new = Connection::new(format!("id-{connection}"), name_of(connection), &CONCUR);
    new.policy = Policy::of(&CONCUR);
    let known = new.policy.set("replay", replay);
    debug_assert!(known.is_ok(), "{known:?}");
    let at = UnixTime(crate::clocks::unix(at));
    (new, app("secret-0", connection, request_token, at))
}

/// The replay rule that fits a server.
pub(crate) fn replay_for(rotation: Rotation) -> String {
    match rotation {
        Rotation::Sticky | Rotation::Sometimes => "always".to_owned(),
        Rotation::Strict => "never".to_owned(),
        Rotation::Window(seconds) => format!("within:{seconds}s"),
    }
}
