//! The exact next command for whoever is told.

use super::seen::Seen;
use perennial::core::{State, Verdict};

/// Where commands must look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Whose connections these are.
    pub tenant: String,
    /// What a command must name to find the same store, beginning with a space: ` --store sqlite:/var/lib/x.db`.
    pub words: String,
    /// The store is SAP's two files, with one connection that commands do not name.
    pub is_directory: bool,
}

impl Place {
    fn about(&self, verb: &str, name: &str) -> String {
        match (self.is_directory, verb) {
            (true, "reauthorize") => format!("perennial run{}", self.words),
            (true, _) => format!("perennial {verb}{}", self.words),
            (false, _) => format!("perennial {verb}{} {name}", self.words),
        }
    }

    /// A verb about all of them.
    pub(super) fn all(&self, verb: &str) -> String {
        format!("perennial {verb}{}", self.words)
    }

    /// What to do about a state.
    pub(super) fn of_state(&self, seen: &Seen) -> String {
        let about = |verb| self.about(verb, &seen.name);
        match (seen.state, seen.fault.as_ref().map(|fault| fault.verdict)) {
            (State::NeedsReauthorization | State::Revoked, _) if self.is_directory => {
                format!("with a new company request token in credentials.json: {}", about("reauthorize"))
            }
            // Nothing was refused: the server had given no refresh token, and the access token has ended.
            (State::NeedsReauthorization, None) => {
                format!("a person must come, for there was no refresh token: {}", about("reauthorize"))
            }
            (State::NeedsReauthorization, _) => format!(
                "what is kept can be tried: {}; else, with a new company request token: {}",
                about("recover"),
                about("reauthorize")
            ),
            (State::Revoked, _) => {
                format!("with a new company request token: {}", about("reauthorize"))
            }
            (State::Suspended, Some(Verdict::FixClient)) => {
                let check = format!("check the App ID and the client secret, then: {}", about("refresh"));
                match self.is_directory {
                    true => check,
                    false => {
                        format!("{check}; with a new client secret: {} --keep-grant", about("reauthorize"))
                    }
                }
            }
            (State::Suspended, Some(Verdict::FixScope)) => {
                format!("give the app its scope back, then: {}", about("refresh"))
            }
            (State::Suspended, Some(Verdict::AskSupport)) => format!(
                "the provider's support must look at this account: give them the correlation id; then: {}",
                about("refresh")
            ),
            (State::Suspended, _) => format!("once it is put right: {}", about("refresh")),
            _ => format!("to see what is wrong: {}", self.all("doctor")),
        }
    }

    /// What to do about a refresh token that ends.
    pub(super) fn of_end(&self, name: &str) -> String {
        format!(
            "to try a renewal now: {}; if its end does not move, a person authorizes anew: {}",
            self.about("refresh", name),
            self.about("reauthorize", name)
        )
    }
}
