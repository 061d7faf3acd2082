//! What is looked at: a connection as the store has it, and how servers, store and clock are. No token is in it.

use perennial::core::connection::Fault;
use perennial::core::{Connection, Expiry, State, UnixTime};

/// What matters of a connection. Times are this host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Never changes.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// How it is.
    pub state: State,
    /// The authorization server that renews it.
    pub server: Option<String>,
    /// When its refresh token ends.
    pub ends: Option<Expiry>,
    /// How many seconds it was given when it was issued, where that is known.
    pub life: Option<i64>,
    /// When its access token ends, where it has no refresh token: its state changes by that alone.
    pub over: Option<UnixTime>,
    /// What went wrong since its tokens were issued.
    pub fault: Option<Fault>,
}

impl Seen {
    /// What matters of this connection; `state` is what the keeper says of it.
    #[must_use]
    pub fn of(connection: &Connection, state: State) -> Self {
        let held = connection.held.as_ref();
        let ends = held.filter(|held| held.refresh.is_some()).and_then(|held| held.refresh_expiry);
        let here = |at: UnixTime| connection.skew.host_time(at);
        let issued = held.and_then(|held| held.refreshed_at);
        Self {
            id: connection.id.clone(),
            name: connection.name.clone(),
            state,
            server: held.map(|held| held.base.to_string()),
            ends: ends.map(|expiry| match expiry {
                Expiry::Stated(at) => Expiry::Stated(here(at)),
                Expiry::Assumed(at) => Expiry::Assumed(here(at)),
            }),
            life: ends.zip(issued).map(|(ends, issued)| ends.at().since(issued)),
            over: held
                .and_then(|held| held.access.as_ref())
                .filter(|_| connection.ends_with_its_access_token())
                .map(|access| here(access.expiry.at())),
            fault: connection
                .last_fault
                .clone()
                .filter(|fault| issued.is_none_or(|issued| fault.at >= issued))
                .map(|fault| Fault { at: here(fault.at), ..fault }),
        }
    }
}

/// How the daemon itself is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// The authorization servers that are known: one that fails for all, and each that has answered since.
    pub servers: Vec<Server>,
    /// Why the store takes no writes; `None` while it does.
    pub store_fault: Option<String>,
    /// So many seconds the clock of this machine is ahead of what servers say; 0 where it is right, or nobody knows.
    pub clock_ahead: i64,
}

/// How an authorization server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its origin, as [`Seen::server`] names it.
    pub origin: String,
    /// It fails for all: its breaker is open.
    pub fails: bool,
}
