//! What a caller gets.

use perennial_core::connection::Connection;
use perennial_core::{AccessToken, Origin, UnixTime};
use std::path::PathBuf;

/// A valid access token, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOut {
    /// The connection's id, which never changes: with the generation it says which tokens these are.
    pub id: String,
    /// The connection's name.
    pub connection: String,
    /// The token.
    pub access_token: AccessToken,
    /// `Bearer`, as a rule.
    pub token_type: String,
    /// When the token ends, by this host's clock.
    pub expires_at: UnixTime,
    /// How many seconds it has left.
    pub expires_in: i64,
    /// From when on it is worth replacing, by this host's clock, where it goes on being asked for: see
    /// [`Keeper::ahead`](crate::Keeper::ahead). None where nobody knows how long it lives, or nothing can replace it.
    pub refresh_at: Option<UnixTime>,
    /// What it may do.
    pub scope: Option<String>,
    /// Where it is good: the principal's geolocation.
    pub base: Origin,
    /// How many times the connection's tokens have been replaced.
    pub generation: u64,
    /// True when the refresh token is due for renewal, and nobody has started that yet.
    pub renewal_due: bool,
    /// What the caller should know.
    pub warnings: Vec<Warning>,
}

/// Something that did not keep the token from being handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The token has less life left than was wished for, and no better one could be had now; the text says why.
    ShortLived(String),
    /// The store would not take the new tokens; they stand in this rescue file, and the next start takes them in.
    Unsaved(PathBuf),
    /// SAP named a geolocation that is not one of its own; it is not followed.
    ForeignGeolocation(Origin),
    /// The server gave no refresh token: the grant ends with this access token, and then a person must come.
    NoRefreshToken,
}

impl HandOut {
    /// From a connection whose access token lives; `None` when it does not.
    #[must_use]
    pub fn of(connection: &Connection, now: UnixTime) -> Option<Self> {
        let (access, left) = connection.living_access(now)?;
        let held = connection.held.as_ref()?;
        Some(Self {
            id: connection.id.clone(),
            connection: connection.name.clone(),
            access_token: access.token.clone(),
            token_type: access.token_type.clone(),
            expires_at: connection.skew.host_time(access.expiry.at()),
            expires_in: left,
            refresh_at: connection.refresh_at().map(|at| connection.skew.host_time(at)),
            scope: held.scope.clone(),
            base: connection.api_base().unwrap_or_else(|| held.base.clone()),
            generation: held.generation,
            renewal_due: false,
            warnings: Vec::new(),
        })
    }

    pub(crate) fn with(mut self, warning: Warning) -> Self {
        self.warnings.push(warning);
        self
    }
}
