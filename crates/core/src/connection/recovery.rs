//! What may bring a grant back that was refused or is in doubt, and in which order: nothing that is kept is given up
//! untried (law 5), a late answer goes before a person (law 6), and no token is presented that might revoke a grant
//! which is well (law 7).

use super::transition::Answered;
use super::{Aside, Condition, Connection, Held, Previous};
use crate::origin::Origin;
use crate::profile::{Purpose, ReplayRule};
use crate::secret::{Fingerprint, RefreshToken};

/// One thing to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A late answer takes the place of the tokens in force, and its refresh token is presented.
    Adopt(Fingerprint),
    /// The refresh token in force is presented.
    Current(Fingerprint),
    /// A refresh token that was replaced is presented.
    Previous(Fingerprint),
    /// A new grant is obtained with the request token that is kept.
    Obtain,
}

/// What has been tried, and was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// These refresh tokens.
    pub refused: Vec<Fingerprint>,
    /// The request token.
    pub obtained: bool,
}

impl Tried {
    /// One more.
    pub fn add(&mut self, remedy: &Remedy) {
        match remedy {
            Remedy::Adopt(print) | Remedy::Current(print) | Remedy::Previous(print) => {
                self.refused.push(print.clone());
            }
            Remedy::Obtain => self.obtained = true,
        }
    }
}

impl Connection {
    /// What is left to be tried, in the order in which it may be: each only after the one before it was refused.
    /// Nothing where nothing stands in the way. `may_obtain` tells that a request token is kept that is young and has
    /// uses left.
    #[must_use]
    pub fn remedies(&self, tried: &Tried, may_obtain: bool) -> Vec<Remedy> {
        let is_well = self.condition == Condition::Sound && self.intent.is_none() && self.held.is_some();
        if is_well && !self.ends_with_its_access_token() {
            return Vec::new();
        }
        let current =
            self.held.as_ref().and_then(|held| held.refresh.as_ref()).map(RefreshToken::fingerprint);
        let mut remedies: Vec<Remedy> = current.clone().map(Remedy::Current).into_iter().collect();
        let late = self.late().map(Remedy::Adopt);
        if self.is_refused() || self.intent.is_some() || current.is_none() {
            remedies.splice(0..0, late);
        } else {
            // The tokens in force may be well: an older answer must not take their place before they are refused.
            remedies.extend(late);
        }
        let mut previous: Vec<_> = self.previous.iter().collect();
        previous.sort_by_key(|previous| std::cmp::Reverse(previous.generation));
        remedies
            .extend(previous.into_iter().map(|previous| Remedy::Previous(previous.refresh.fingerprint())));
        remedies.push(Remedy::Obtain);
        let mut seen = tried.refused.clone();
        remedies.retain(|remedy| match remedy {
            Remedy::Obtain => may_obtain && !tried.obtained,
            Remedy::Adopt(print) | Remedy::Current(print) | Remedy::Previous(print) => {
                let is_new = !seen.contains(print);
                seen.push(print.clone());
                is_new
            }
        });
        remedies
    }

    /// The refresh tokens of late answers that are not in force, newest first.
    fn late(&self) -> impl Iterator<Item = Fingerprint> {
        let current = self.held.as_ref().and_then(|held| held.refresh.as_ref());
        let late = self.candidates.iter().rev().filter(|candidate| candidate.reason == Aside::Late);
        let offered = late.filter_map(|candidate| candidate.response.refresh_token.as_ref());
        offered.filter(move |offered| Some(*offered) != current).map(RefreshToken::fingerprint)
    }

    /// The server has said of the tokens in force that they are no good.
    fn is_refused(&self) -> bool {
        self.condition == Condition::NeedsReauthorization
    }

    /// Law 7: while the tokens in force may be well, an older one is presented only where a repetition does no harm.
    pub(super) fn may_present(&self, print: &Fingerprint) -> bool {
        let is_kept = self.previous_of(print).is_some();
        let does_no_harm = self.is_refused() || self.policy.replay == ReplayRule::Always;
        self.is_current(print) || is_kept && does_no_harm || self.gave_way_to_nothing(print)
    }

    /// True for the newest refresh token that is kept, where the grant that took its place came without one: it was never
    /// spent.
    fn gave_way_to_nothing(&self, print: &Fingerprint) -> bool {
        let newest = self.previous.iter().max_by_key(|previous| previous.generation);
        self.ends_with_its_access_token()
            && newest.is_some_and(|newest| newest.refresh.fingerprint() == *print)
    }

    fn is_current(&self, print: &Fingerprint) -> bool {
        let current = self.held.as_ref().and_then(|held| held.refresh.as_ref());
        current.is_some_and(|current| current.fingerprint() == *print)
    }

    /// A refresh token that is kept, and where it is good; the one in force where none is named.
    #[must_use]
    pub fn presentable(&self, print: Option<&Fingerprint>) -> Option<(&RefreshToken, &Origin)> {
        let held = self.held.as_ref().and_then(|held| Some((held.refresh.as_ref()?, &held.base)));
        match print {
            Some(print) if !self.is_current(print) => {
                self.previous_of(print).map(|previous| (&previous.refresh, &previous.base))
            }
            _ => held,
        }
    }

    fn previous_of(&self, print: &Fingerprint) -> Option<&Previous> {
        self.previous.iter().rev().find(|previous| previous.refresh.fingerprint() == *print)
    }

    /// True when the open intent presents a refresh token that was replaced.
    #[must_use]
    pub fn presents_a_replaced_token(&self) -> bool {
        self.replaced_and_presented().is_some()
    }

    /// True for a refresh token that is kept, and not in force any more.
    pub(super) fn is_replaced(&self, print: &Fingerprint) -> bool {
        !self.is_current(print) && self.previous_of(print).is_some()
    }

    fn replaced_and_presented(&self) -> Option<&Previous> {
        let intent = self.intent.as_ref().filter(|intent| intent.purpose == Purpose::Refresh)?;
        if self.is_current(&intent.presented) { None } else { self.previous_of(&intent.presented) }
    }

    /// The connection with the replaced token that the intent presents in the place of the one in force, which is kept.
    /// `None` where the one in force is presented, as every day.
    pub(super) fn with_presented_in_force(&self, answered: &Answered) -> Option<Self> {
        let presented = self.replaced_and_presented()?.clone();
        let mut next = self.clone();
        next.previous.retain(|previous| previous.refresh != presented.refresh);
        next.previous.extend(self.replaced_by(Some(&presented.refresh), None, answered));
        let old = self.held.as_ref()?;
        // What was said of another grant does not hold for this one.
        let same_grant = old.grant_id == presented.grant_id;
        next.held = Some(Held {
            grant_id: presented.grant_id,
            generation: old.generation,
            access: None,
            refresh: Some(presented.refresh),
            refresh_expiry: None,
            base: presented.base,
            scope: old.scope.clone().filter(|_| same_grant),
            id_token: old.id_token.clone().filter(|_| same_grant),
            refreshed_at: None,
            granted_at: None,
            others: old.others.clone(),
        });
        Some(next)
    }

    /// Law 5, when a replaced token has worked: all else is kept until the new one has proved itself.
    pub(super) fn kept_beside(&self, new: &Held, answered: &Answered) -> Vec<Previous> {
        let mut kept = self.previous.clone();
        kept.extend(self.replaced_by(new.refresh.as_ref(), None, answered));
        kept
    }
}
