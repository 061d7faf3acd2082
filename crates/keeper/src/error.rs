//! Why no token could be had. What a person should do about it is told by whoever talks to the person.

use crate::store::StoreError;
use perennial_core::authorization::RedirectError;
use perennial_core::connection::{Blocked, Fault};
use perennial_core::profile::Purpose;
use perennial_core::token_endpoint::Unreachable;
use perennial_core::{Origin, UnixTime};
use std::path::PathBuf;
use std::sync::Arc;

/// Why no token could be had. It can be cloned, because many callers may wait for one flight.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store could not be read or written; nothing was sent.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Nothing may be tried now.
    #[error("{}", blocked_words(blocked))]
    Blocked {
        /// Why.
        blocked: Blocked,
        /// What went wrong last.
        fault: Option<Box<Fault>>,
    },
    /// No connection to the authorization server came about; nothing was sent.
    #[error("no connection to {base}: {}", unreachable_words(why))]
    Unreachable {
        /// Where it should have led.
        base: Origin,
        /// At which step it failed.
        why: Unreachable,
    },
    /// The authorization server has failed for others just now: it is asked by one probe at a time (law 12). Nothing was
    /// sent.
    #[error("{base} has failed several times in a row, and is asked again by one request at a time")]
    ServerFails {
        /// Who.
        base: Origin,
        /// When it may be asked again, by this host's clock.
        until: UnixTime,
    },
    /// Newer tokens than the store's wait in a file that cannot be opened. Nothing is presented before it can be.
    #[error("newer tokens wait in {}, which does not open: {why}", path.display())]
    RescueClosed {
        /// The rescue file.
        path: PathBuf,
        /// Why it does not open.
        why: String,
    },
    /// The authorization server refused, or its answer is missing or useless.
    #[error("{base}: {}", fault.message)]
    Failed {
        /// Who.
        base: Origin,
        /// What.
        fault: Box<Fault>,
        /// When the next try may be made, by the server's clock, where one may be made at all.
        retry_at: Option<UnixTime>,
    },
    /// The connection's base is no place for its secrets.
    #[error(
        "{origin} is not one of the provider's addresses, and nobody named it when the grant was obtained"
    )]
    NotPermitted {
        /// Where the tokens would have gone.
        origin: Origin,
        /// To obtain a grant, or to refresh one.
        purpose: Purpose,
    },
    /// The answer was for somebody else; it is kept aside and not handed out (law 13).
    #[error("the answer names principal {named}, and the connection belongs to {own}")]
    OtherPrincipal {
        /// Whom the connection belongs to.
        own: String,
        /// Whom the answer names.
        named: String,
    },
    /// The credentials name another company than the one that the stored tokens belong to.
    #[error("the credentials name company {credentials}, and the stored tokens belong to {held}")]
    OtherCompany {
        /// In the credentials.
        credentials: String,
        /// In the store.
        held: String,
    },
    /// Nothing to obtain a grant with.
    #[error("there is no company request token to obtain a grant with")]
    NoRequestToken,
    /// The request token has been used as often as it may be.
    #[error("this company request token has been used {uses} times, and may be used no more")]
    RequestTokenUsedUp {
        /// How often.
        uses: u32,
    },
    /// Nobody has approved the sign-in on the other device yet (RFC 8628 section 3.5): ask again later.
    #[error("nobody has approved the sign-in yet")]
    Pending {
        /// True when the server was asked too often: five seconds more between two questions from now on.
        slow_down: bool,
    },
    /// The client's private key, with which it proves who it is, is of no use.
    #[error("{0}")]
    PrivateKey(String),
    /// The server has no such endpoint, as far as is known here.
    #[error("no {0} endpoint of the server is known")]
    NoEndpoint(&'static str),
    /// A request beside the token grants was refused, or not answered.
    #[error("{at}: {}{why}", code.map(|code| format!("code {code}: ")).or(status.map(|status| format!("HTTP {status}: "))).unwrap_or_default())]
    Errand {
        /// Where.
        at: String,
        /// The HTTP status, where there was an answer.
        status: Option<u16>,
        /// The provider's code.
        code: Option<u32>,
        /// What was said, or what is odd.
        why: String,
        /// What the server's support asks for.
        correlation_id: Option<String>,
    },
    /// The answer's id_token does not hold what it must; the answer is kept aside and not handed out (law 13).
    #[error("the answer's id_token is not believed: {0}; the answer is kept aside")]
    Unbelieved(String),
    /// The browser came back without a code that may be used.
    #[error(transparent)]
    SignInFailed(#[from] RedirectError),
    /// The connection that something was given for is gone, and another one has its name.
    #[error("another connection has this name by now; nothing was sent for it")]
    OtherConnection,
    /// A person must sign in again: nothing is kept that a grant could be obtained with.
    #[error("nothing is kept that a grant could be obtained with; a person must sign in")]
    SignInNeeded,
    /// Another process is refreshing, and the caller's time was up.
    #[error("another process is refreshing this connection and has not finished in time")]
    Busy,
    /// The caller's time was up; the flight goes on.
    #[error("no token in time")]
    Deadline,
    /// The keeper itself could not go on.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

fn blocked_words(blocked: &Blocked) -> String {
    match blocked {
        Blocked::NoGrant => "there are no tokens yet".to_owned(),
        Blocked::NoRefreshToken => {
            "the access token has ended, and the server had issued no refresh token".to_owned()
        }
        Blocked::Until(_) => "the last try failed, and the next one is being waited for".to_owned(),
        Blocked::PersonNeeded(state) => format!("the connection is {}", state.as_str()),
        Blocked::OutOfTurn => {
            "the refresh token in force has not been refused, so no older one may be presented".to_owned()
        }
        Blocked::RejectedAgain { .. } => {
            "the API rejected a token that had just been refreshed: it is not the token".to_owned()
        }
    }
}

pub(crate) fn unreachable_words(why: &Unreachable) -> String {
    match why {
        Unreachable::Dns(detail) => format!("its name has no address ({detail})"),
        Unreachable::Connect(detail) => detail.clone(),
        Unreachable::Tls(detail) => format!("no TLS session ({detail})"),
        Unreachable::Proxy(detail) => format!("the proxy would not let us through ({detail})"),
        Unreachable::TimedOut => "no connection in time".to_owned(),
    }
}
