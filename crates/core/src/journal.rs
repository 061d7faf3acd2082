//! What happened to a connection, one entry an event, never a secret: times, fingerprints, codes, correlation ids.
//!
//! The entries of a write are what differs between the connection before and after it ([`between`]). So no event can
//! be forgotten where a write is made, and a store puts both down together.

use crate::connection::{Condition, Connection, Held, Intent};
use crate::secret::{Fingerprint, RefreshToken};
use crate::time::UnixTime;
use std::fmt;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, by the server's clock as this host knew it.
    pub at: UnixTime,
    /// What.
    pub event: Event,
    /// Which request it belongs to: what SAP's support asks for.
    pub correlation_id: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A person's authorization was exchanged for a grant.
    Obtained {
        /// The new refresh token, where one was issued.
        to: Option<Fingerprint>,
        /// Its generation.
        generation: u64,
    },
    /// A refresh grant replaced the tokens.
    Refreshed {
        /// The refresh token before.
        from: Option<Fingerprint>,
        /// The refresh token after; often the same.
        to: Option<Fingerprint>,
        /// The new generation.
        generation: u64,
    },
    /// A late answer took the place of tokens that were refused or in doubt (law 6).
    Adopted {
        /// The refresh token after.
        to: Option<Fingerprint>,
        /// The new generation.
        generation: u64,
    },
    /// Another process had refreshed: its tokens were used instead of giving up (law 6).
    AdoptedFromSibling {
        /// The generation found.
        generation: u64,
    },
    /// A process died, or lost its answer, between sending and committing; its note was found (law 7).
    IntentFound {
        /// Who had written it: host kernel's process number.
        process: u32,
        /// What it had presented.
        presented: Fingerprint,
    },
    /// The same refresh token was presented again, as the replay rule permits.
    Replayed {
        /// What was presented.
        presented: Fingerprint,
    },
    /// The server refused, or did not answer, or could not be reached.
    Refused {
        /// The verdict's name.
        verdict: String,
        /// The HTTP status.
        status: Option<u16>,
        /// The provider's code.
        code: Option<u32>,
        /// The server's words.
        said: Option<String>,
        /// Our words.
        message: String,
    },
    /// An answer was kept aside as a candidate (laws 8 and 13).
    SetAside {
        /// `late`, `other_principal` or `unbelieved`.
        reason: String,
        /// Its refresh token.
        refresh: Option<Fingerprint>,
    },
    /// A person must put something right.
    Suspended,
    /// The server says that the grant is gone; its tokens are kept (law 5).
    NeedsReauthorization,
    /// The grant was given back: the server has ended it.
    Revoked,
    /// It works again after trouble.
    Recovered,
    /// What only a person or a store does: added, renamed, imported, removed, policy changed.
    Noted {
        /// One line, lower case.
        what: String,
    },
}

impl Event {
    /// The name that appears in JSON.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Obtained { .. } => "obtained",
            Self::Refreshed { .. } => "refreshed",
            Self::Adopted { .. } => "adopted",
            Self::AdoptedFromSibling { .. } => "adopted_from_sibling",
            Self::IntentFound { .. } => "intent_found",
            Self::Replayed { .. } => "replayed",
            Self::Refused { .. } => "refused",
            Self::SetAside { .. } => "set_aside",
            Self::Suspended => "suspended",
            Self::NeedsReauthorization => "needs_reauthorization",
            Self::Revoked => "revoked",
            Self::Recovered => "recovered",
            Self::Noted { .. } => "noted",
        }
    }
}

/// One line, as `perennial log` prints it behind time and name.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = |token: &Option<Fingerprint>| {
            token.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
        };
        match self {
            Self::Obtained { to, generation } => {
                write!(f, "obtained: refresh token {}, generation {generation}", print(to))
            }
            Self::Refreshed { from, to, generation } if from == to => {
                write!(f, "refreshed: refresh token {} came back, generation {generation}", print(to))
            }
            Self::Refreshed { from, to, generation } => {
                write!(f, "refreshed: {} → {}, generation {generation}", print(from), print(to))
            }
            Self::Adopted { to, generation } => {
                write!(f, "adopted a late answer: refresh token {}, generation {generation}", print(to))
            }
            Self::AdoptedFromSibling { generation } => {
                write!(f, "adopted from a sibling: generation {generation}")
            }
            Self::IntentFound { process, presented } => {
                write!(f, "found an open intent of process {process}, which had presented {presented}")
            }
            Self::Replayed { presented } => {
                write!(f, "presented {presented} again, as its answer is unknown")
            }
            Self::Refused { message, .. } => write!(f, "refused: {message}"),
            Self::SetAside { reason, refresh } => {
                write!(f, "set an answer aside ({reason}): refresh token {}", print(refresh))
            }
            Self::Suspended => f.write_str("suspended: a person must put something right"),
            Self::NeedsReauthorization => {
                f.write_str("needs reauthorization; what is held is kept, and can be tried again")
            }
            Self::Revoked => f.write_str("revoked: the server has ended the grant"),
            Self::Recovered => f.write_str("recovered: it works again"),
            Self::Noted { what } => f.write_str(what),
        }
    }
}

/// What a write of `after` in place of `before` means, in the order in which it happened.
#[must_use]
pub fn between(before: &Connection, after: &Connection) -> Vec<Entry> {
    let mut entries = Vec::new();
    let at = last_moment(before, after);
    let asked = before.intent.as_ref().map(|intent| intent.correlation_id.clone());
    let mut note = |event, correlation_id| entries.push(Entry { at, event, correlation_id });

    if let (Some(open), Some(new)) = (&before.intent, &after.intent)
        && open.correlation_id != new.correlation_id
    {
        note(found(open), Some(open.correlation_id.clone()));
        if open.presented == new.presented {
            note(Event::Replayed { presented: new.presented.clone() }, Some(new.correlation_id.clone()));
        }
    }
    if after.last_fault != before.last_fault
        && let Some(fault) = &after.last_fault
    {
        let refused = Event::Refused {
            verdict: fault.verdict.as_str().to_owned(),
            status: fault.status,
            code: fault.code,
            said: fault.description.clone(),
            message: fault.message.clone(),
        };
        note(refused, fault.correlation_id.clone().or_else(|| asked.clone()));
    }
    for candidate in after.candidates.iter().filter(|candidate| !before.candidates.contains(candidate)) {
        let reason = candidate.reason.as_str();
        let refresh = candidate.response.refresh_token.as_ref().map(RefreshToken::fingerprint);
        note(Event::SetAside { reason: reason.to_owned(), refresh }, asked.clone());
    }
    if !before.version().same_tokens(&after.version())
        && let Some(held) = &after.held
    {
        note(replaced(before, after, held), asked);
        if is_trouble(before.condition) && after.condition == Condition::Sound {
            note(Event::Recovered, None);
        }
    }
    if before.condition != after.condition {
        match after.condition {
            Condition::Suspended => note(Event::Suspended, None),
            Condition::NeedsReauthorization => note(Event::NeedsReauthorization, None),
            Condition::Revoked => note(Event::Revoked, None),
            _ => {}
        }
    }
    entries
}

fn found(open: &Intent) -> Event {
    Event::IntentFound { process: open.process, presented: open.presented.clone() }
}

fn replaced(before: &Connection, after: &Connection, held: &Held) -> Event {
    let print = |held: &Held| held.refresh.as_ref().map(RefreshToken::fingerprint);
    let (to, generation) = (print(held), held.generation);
    let same_grant = before.held.as_ref().is_some_and(|old| old.grant_id == held.grant_id);
    match &before.held {
        _ if before.presents_a_replaced_token() => {
            let from = before.intent.as_ref().map(|intent| intent.presented.clone());
            Event::Refreshed { from, to, generation }
        }
        _ if takes_a_candidate(before, after) => Event::Adopted { to, generation },
        Some(old) if same_grant => Event::Refreshed { from: print(old), to, generation },
        _ => Event::Obtained { to, generation },
    }
}

/// The access token in force was a candidate's.
fn takes_a_candidate(before: &Connection, after: &Connection) -> bool {
    let now = after.held.as_ref().and_then(|held| held.access.as_ref()).map(|access| &access.token);
    before.candidates.iter().any(|candidate| Some(&candidate.response.access_token) == now)
}

/// Backing off is every day's business; what counts as trouble is what a person would have been told of.
fn is_trouble(condition: Condition) -> bool {
    matches!(condition, Condition::Suspended | Condition::NeedsReauthorization | Condition::Uncertain { .. })
}

/// The latest time that the write itself names.
fn last_moment(before: &Connection, after: &Connection) -> UnixTime {
    let fault =
        after.last_fault.as_ref().filter(|_| after.last_fault != before.last_fault).map(|fault| fault.at);
    let tokens = after.held.as_ref().filter(|_| after.held != before.held).and_then(|held| held.refreshed_at);
    let intent = after.intent.as_ref().or(before.intent.as_ref()).map(|intent| intent.written_at);
    [fault, tokens, intent].into_iter().flatten().max().unwrap_or(UnixTime(0))
}
