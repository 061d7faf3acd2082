//! The life of one connection: everything that is kept of it, and what each event makes of it. A store writes a
//! [`Connection`] down, the shell carries it about, and only the functions here change it; each takes the connection
//! as it was and returns the connection as it is to be written.
//!
//! | file | what it answers |
//! |---|---|
//! | `mod.rs` | what is kept, and which [`State`] that is |
//! | [`decide`] | a token is asked for: hand out, fly, or stop? (laws 9, 12) |
//! | [`transition`] | intend, accept, fail, adopt, set aside (laws 4, 5, 6, 7, 8, 13) |
//! | [`obtaining`] | how a grant is obtained, and whether that needs a person |
//! | `place` | where its secrets and its API calls go (law 10) |
//! | `times` | when to renew and to replace, what still lives, and by whose clock (law 11) |
//! | [`recovery`] | what may bring a grant back, and in which order (laws 5, 6, 7) |
//! | [`fault`] | a failure, in words that may be shown |

pub mod decide;
pub mod fault;
pub mod obtaining;
mod place;
pub mod recovery;
mod times;
pub mod transition;

pub use decide::{Blocked, Cause, Decision};
pub use fault::Fault;
pub use obtaining::{Obtaining, Way};
pub use recovery::{Remedy, Tried};
pub use transition::{Answered, Plan};

use crate::grant::Principal;
use crate::origin::Origin;
use crate::policy::Policy;
use crate::profile::{Profile, Purpose};
use crate::secret::{AccessToken, Fingerprint, IdToken, RefreshToken};
use crate::server::Server;
use crate::time::{Expiry, HostClock, Skew, UnixTime};
use crate::token_endpoint::TokenResponse;
use crate::token_endpoint::response::Others;
use std::time::Duration;

/// One grant held for one principal of one app. All times in it are the server's (law 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Never changes.
    pub id: String,
    /// What people call it; may change.
    pub name: String,
    /// The authorization server's particulars.
    pub profile: &'static Profile,
    /// The numbers that it is kept by: the profile's, and what a person has changed.
    pub policy: Policy,
    /// The authorization server's own endpoints; none where the profile knows them below each base, as at Concur.
    pub server: Option<Server>,
    /// How its grant is obtained.
    pub obtaining: Obtaining,
    /// Whom the grant is for, as soon as that is known (law 13).
    pub principal: Option<Principal>,
    /// Origins that a person named when obtaining, beyond the profile's own (law 10).
    pub permitted: Vec<Origin>,
    /// The tokens in force.
    pub held: Option<Held>,
    /// Refresh tokens that were replaced and are kept until their successor has proved itself (law 5).
    pub previous: Vec<Previous>,
    /// Answers that could not be committed, newest last (laws 8 and 13).
    pub candidates: Vec<Candidate>,
    /// The presentation that is under way, or whose outcome nobody knows (laws 4 and 7).
    pub intent: Option<Intent>,
    /// How well it is.
    pub condition: Condition,
    /// What went wrong last, and when.
    pub last_fault: Option<Fault>,
    /// How far the server's clock is from this host's.
    pub skew: Skew,
    /// The host whose clock that is; `None` where nothing has been measured.
    pub clock: Option<HostClock>,
    /// What other hosts have measured, the newest last: it says nothing here, and is kept for them.
    pub other_clocks: Vec<(HostClock, Skew)>,
    /// When a rejection by the API last forced a refresh (law 12).
    pub forced_at: Option<UnixTime>,
    /// How often the request token at hand was used (law 4).
    pub request_token: Option<RequestTokenUse>,
}

/// The tokens in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Changes when a person authorizes anew.
    pub grant_id: String,
    /// How many times this connection's tokens have been replaced; 1 for the first.
    pub generation: u64,
    /// The access token, where one is known with its expiry.
    pub access: Option<Access>,
    /// The refresh token.
    pub refresh: Option<RefreshToken>,
    /// When the refresh token ends.
    pub refresh_expiry: Option<Expiry>,
    /// Where the principal lives: the base of API calls and of the next refresh.
    pub base: Origin,
    /// What the tokens may do.
    pub scope: Option<String>,
    /// Who the principal is, signed.
    pub id_token: Option<IdToken>,
    /// When these tokens were issued; unknown where something else wrote them.
    pub refreshed_at: Option<UnixTime>,
    /// When a person signed in, or the grant was obtained otherwise; unknown where it came from elsewhere. Some servers
    /// end a grant so long after that, however often it was refreshed.
    pub granted_at: Option<UnixTime>,
    /// Members of the answer that nobody here knows.
    pub others: Others,
}

impl Held {
    /// A refresh token that something else has obtained. Nobody knows how old it is: renewal is due at once.
    #[must_use]
    pub fn unproved(grant_id: String, refresh: RefreshToken, base: Origin) -> Self {
        Self {
            grant_id,
            generation: 1,
            access: None,
            refresh: Some(refresh),
            refresh_expiry: None,
            base,
            scope: None,
            id_token: None,
            refreshed_at: None,
            granted_at: None,
            others: Others::default(),
        }
    }
}

/// An access token and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The token.
    pub token: AccessToken,
    /// `Bearer`, as a rule.
    pub token_type: String,
    /// When it ends.
    pub expiry: Expiry,
}

/// A refresh token that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The grant it belonged to.
    pub grant_id: String,
    /// Its generation.
    pub generation: u64,
    /// The token.
    pub refresh: RefreshToken,
    /// Where it is good.
    pub base: Origin,
    /// When it was replaced.
    pub replaced_at: UnixTime,
    /// The grant whose first refresh makes this one superfluous; none where an answer to an older grant was adopted
    /// instead, which proves nothing against it.
    pub replaced_by: Option<String>,
}

/// An answer that could not be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Why it stands aside.
    pub reason: Aside,
    /// The grant that it was derived from.
    pub grant_id: String,
    /// The generation that it was derived from.
    pub generation: u64,
    /// Who answered.
    pub base: Origin,
    /// When it was asked: the life of what it brought counts from here (law 11).
    pub sent_at: UnixTime,
    /// When it came.
    pub received_at: UnixTime,
    /// The answer.
    pub response: TokenResponse,
}

/// Why an answer stands aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// The tokens had been replaced by somebody else in the meantime (law 8).
    Late,
    /// It names another principal than the connection's (law 13).
    OtherPrincipal,
    /// Its id_token does not hold what it must: somebody may stand between (law 13).
    Unbelieved,
}

impl Aside {
    /// The name that documents and journals carry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::OtherPrincipal => "other_principal",
            Self::Unbelieved => "unbelieved",
        }
    }

    /// The reason of that name; one that is not known is no reason to use the answer.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        [Self::Late, Self::Unbelieved]
            .into_iter()
            .find(|known| known.as_str() == name)
            .unwrap_or(Self::OtherPrincipal)
    }
}

/// The durable note that a grant is being presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Obtain or refresh.
    pub purpose: Purpose,
    /// The grant that is presented; for an obtaining request the one that it will become.
    pub grant_id: String,
    /// The generation that is presented; 0 where there is none yet.
    pub generation: u64,
    /// What is presented, recognizable but not readable.
    pub presented: Fingerprint,
    /// To whom.
    pub base: Origin,
    /// When the note was written.
    pub written_at: UnixTime,
    /// When what is presented was first presented: earlier than `written_at` where an answer was lost before (law 7).
    pub first_presented_at: UnixTime,
    /// After this the sender has given up for good; never extended.
    pub deadline: UnixTime,
    /// The lock under which the sender wrote it: who holds the same one knows at once that the sender died.
    pub kernel: String,
    /// The sender's process.
    pub process: u32,
    /// The `concur-correlationid` of the request.
    pub correlation_id: String,
    /// True when a rejection by the API forced it (law 12).
    pub forced: bool,
    /// An earlier presentation of a refresh token whose outcome nobody knows, and over which this one was written: it
    /// stands open again when this one is refused and nothing is spent by it (law 7).
    pub beneath: Option<Box<Intent>>,
}

impl Intent {
    /// No sender waits longer: what says otherwise was damaged, or written by hand.
    pub const LONGEST_PATIENCE: Duration = Duration::from_secs(15 * 60);

    /// How long its sender waits at most.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let seconds = u64::try_from(self.deadline.since(self.written_at)).unwrap_or(0);
        Duration::from_secs(seconds).min(Self::LONGEST_PATIENCE)
    }

    /// True when what it presents had been presented before, and nobody knows what came of that.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.first_presented_at < self.written_at
    }
}

/// How often a request token was used. Counted before each use (law 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTokenUse {
    /// Which request token.
    pub fingerprint: Fingerprint,
    /// How often it was sent.
    pub uses: u32,
    /// When it was first sent: it is at least this old.
    pub first_used_at: UnixTime,
}

/// How well a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing stands in the way.
    #[default]
    Sound,
    /// A passing failure: nothing is sent before `until`.
    BackingOff {
        /// The earliest next try.
        until: UnixTime,
        /// How many in a row.
        failures: u32,
    },
    /// The last presentation's outcome is unknown; its intent is open.
    Uncertain {
        /// The earliest next try.
        until: UnixTime,
        /// How many in a row.
        failures: u32,
    },
    /// App or scope must be fixed; the grant may be well.
    Suspended,
    /// The server says that the refresh token is no good. It is kept.
    NeedsReauthorization,
    /// A person revoked it.
    Revoked,
}

/// A connection's state, as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No tokens yet.
    AwaitingGrant,
    /// Tokens are there, and nothing stands in the way.
    Held,
    /// A presentation is under way.
    Refreshing,
    /// A passing failure.
    BackingOff,
    /// A presentation had no known outcome.
    Uncertain,
    /// Tokens were issued that the store would not take; they stand in the rescue file.
    Unsaved,
    /// App or scope must be fixed.
    Suspended,
    /// A person must authorize anew.
    NeedsReauthorization,
    /// A person revoked it.
    Revoked,
}

impl State {
    /// The string that appears in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingGrant => "awaiting_grant",
            Self::Held => "held",
            Self::Refreshing => "refreshing",
            Self::BackingOff => "backing_off",
            Self::Uncertain => "uncertain",
            Self::Unsaved => "unsaved",
            Self::Suspended => "suspended",
            Self::NeedsReauthorization => "needs_reauthorization",
            Self::Revoked => "revoked",
        }
    }
}

/// What a write was derived from: a store refuses one whose version has moved (law 8). The fingerprint is in it
/// because SAP's sample replaces tokens without counting generations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The grant.
    pub grant_id: Option<String>,
    /// Its generation.
    pub generation: u64,
    /// Its refresh token.
    pub refresh: Option<Fingerprint>,
    /// The correlation id of the intent that stands open: the fence. Who has lost his claim finds another one there.
    pub intent: Option<String>,
    /// How many answers stand aside: one that came late meanwhile must not be written over (law 8).
    pub candidates: usize,
}

impl Version {
    /// True when both stand for the same tokens, whoever may be presenting them.
    #[must_use]
    pub fn same_tokens(&self, other: &Self) -> bool {
        (&self.grant_id, self.generation, &self.refresh)
            == (&other.grant_id, other.generation, &other.refresh)
    }

    /// True when both also stand under the same intent: whoever wrote it still has his claim.
    #[must_use]
    pub fn same_intent(&self, other: &Self) -> bool {
        self.same_tokens(other) && self.intent == other.intent
    }
}

impl Connection {
    /// A connection without tokens.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, profile: &'static Profile) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            profile,
            policy: Policy::of(profile),
            server: None,
            obtaining: Obtaining::default(),
            principal: None,
            permitted: Vec::new(),
            held: None,
            previous: Vec::new(),
            candidates: Vec::new(),
            intent: None,
            condition: Condition::Sound,
            last_fault: None,
            skew: Skew::default(),
            clock: None,
            other_clocks: Vec::new(),
            forced_at: None,
            request_token: None,
        }
    }

    /// What a write that starts from here must find unchanged.
    #[must_use]
    pub fn version(&self) -> Version {
        let held = self.held.as_ref();
        Version {
            grant_id: held.map(|held| held.grant_id.clone()),
            generation: held.map_or(0, |held| held.generation),
            refresh: held.and_then(|held| held.refresh.as_ref()).map(RefreshToken::fingerprint),
            intent: self.intent.as_ref().map(|intent| intent.correlation_id.clone()),
            candidates: self.candidates.len(),
        }
    }

    /// Which state this is at `now`, by this host's clock.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> State {
        match self.condition {
            Condition::BackingOff { .. } => State::BackingOff,
            Condition::Uncertain { .. } => State::Uncertain,
            Condition::Suspended => State::Suspended,
            Condition::NeedsReauthorization => State::NeedsReauthorization,
            Condition::Revoked => State::Revoked,
            Condition::Sound => match &self.intent {
                Some(intent) if intent.deadline > self.skew.server_time(now) => State::Refreshing,
                Some(_) => State::Uncertain,
                None if self.held.is_none() => State::AwaitingGrant,
                None if self.ends_with_its_access_token() && self.living_access(now).is_none() => {
                    State::NeedsReauthorization
                }
                None => State::Held,
            },
        }
    }

    /// The presentation of a refresh token whose outcome nobody knows.
    fn unsettled(&self) -> Option<&Intent> {
        let intent = self.intent.as_ref()?;
        match intent.purpose {
            Purpose::Refresh => Some(intent),
            Purpose::Obtain => intent.beneath.as_deref(),
        }
    }
}
