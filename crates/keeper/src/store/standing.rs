//! Whether a store is the one in use. Two stores that hold one grant drift apart, and with a server that ends a grant
//! when a used refresh token comes back, the second presentation is the last one. So a store that can tell knows where
//! it is in use; a copy presents with restraint, and one that was handed over presents nothing (laws 2 and 7).

use super::StoreError;
use perennial_core::Connection;
use perennial_core::profile::{Purpose, ReplayRule};
use std::fmt;

/// What a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// The one in use, as far as anybody knows.
    #[default]
    InUse,
    /// A copy of one that may be in use elsewhere.
    Copy(Origin),
    /// Handed over: another one is in use in its stead.
    Moved {
        /// Where to.
        to: String,
    },
}

/// How a copy is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was in use on another machine.
    OtherMachine,
    /// It was in use as another file of this machine.
    OtherFile,
    /// It was in use as another database, or in another cluster of servers.
    OtherDatabase,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherMachine => "what it was copied from was in use on another machine",
            Self::OtherFile => "what it was copied from was in use as another file",
            Self::OtherDatabase => "what it was copied from was in use as another database",
        })
    }
}

impl Standing {
    /// May this connection's grant be presented from here?
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, address: &str, connection: &Connection, purpose: Purpose) -> Result<(), StoreError> {
        let store = || address.to_owned();
        match self {
            Self::Moved { to } => Err(StoreError::HandedOver { store: store(), to: to.clone() }),
            // A request token is a person's, and new.
            Self::Copy(of)
                if purpose == Purpose::Refresh && connection.policy.replay == ReplayRule::Never =>
            {
                Err(StoreError::IsCopy { store: store(), of: *of, name: connection.name.clone() })
            }
            Self::InUse | Self::Copy(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perennial_core::profile::concur::CONCUR;

    #[test]
    fn law_7_a_copy_presents_only_what_may_be_presented_twice() {
        let may = |standing: &Standing, replay: &str, purpose| {
            let mut connection = Connection::new("id", "acme", &CONCUR);
            connection.policy.set("replay", replay).unwrap();
            standing.check("sqlite:x", &connection, purpose).is_ok()
        };
        let copy = Standing::Copy(Origin::OtherFile);
        let moved = Standing::Moved { to: "elsewhere".into() };
        assert!(may(&Standing::InUse, "never", Purpose::Refresh));
        assert!(may(&copy, "always", Purpose::Refresh));
        assert!(!may(&copy, "never", Purpose::Refresh));
        assert!(may(&copy, "never", Purpose::Obtain));
        assert!(!may(&moved, "always", Purpose::Refresh));
        assert!(!may(&moved, "always", Purpose::Obtain));
    }
}
