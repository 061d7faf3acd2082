//! What has been issued and what is still good. Pure: the time comes as an argument, identifiers from the seed.

use crate::config::{Config, Expire, Regrant, Rotate};
use crate::errors::Refusal;
use crate::ids::{Ids, Seed, sha256};
use std::collections::HashMap;

/// What every grant carries; a request may ask for part of it, never for more.
pub(crate) const SCOPE: &str = "openid company.read company.write user.read identity.user.core.read";

pub(crate) struct Ledger {
    config: Config,
    seed: Seed,
    ids: Ids,
    request_tokens: HashMap<String, RequestToken>,
    grants: Vec<Grant>,
    /// Every refresh token ever issued, and the number of its grant: a spent one has to be recognized.
    refresh_tokens: HashMap<String, usize>,
    /// By digest, since a token is some kilobyte long.
    access_tokens: HashMap<[u8; 32], AccessToken>,
}

struct RequestToken {
    expires: u64,
    uses_left: u32,
    for_other_app: bool,
}

struct Grant {
    principal: Principal,
    scope: String,
    revoked: bool,
    expires: u64,
    refreshes: u64,
    current: String,
    /// Good until `current` has been used ([`Rotate::Sometimes`]).
    previous: Option<String>,
}

struct AccessToken {
    expires: u64,
    principal: Principal,
    scope: String,
}

/// A token that is good.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) principal: Principal,
    pub(crate) scope: String,
    pub(crate) expires: u64,
    /// The token_type of RFC 7662.
    pub(crate) kind: &'static str,
}

/// Whom an access token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Principal {
    Company,
    App,
    /// By the number among the users.
    User(usize),
}

impl Principal {
    /// The word in `concur.type`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Principal::Company => "company",
            Principal::App => "app",
            Principal::User(_) => "user",
        }
    }
}

/// A grant that was given.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) principal: Principal,
    pub(crate) scope: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) refresh_expires: u64,
    pub(crate) rotated: bool,
    /// The number of the grant; the app itself has none.
    pub(crate) grant: Option<usize>,
    /// What the authorization request wants to find again in the id_token.
    pub(crate) nonce: Option<String>,
}

/// A refusal, and whether a superseded refresh token was the reason.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) reuse: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Refused { refusal, reuse: false }
    }
}

impl Ledger {
    pub(crate) fn new(config: Config, seed: &Seed) -> Ledger {
        Ledger {
            config,
            ids: seed.stream("tokens"),
            seed: seed.clone(),
            request_tokens: HashMap::new(),
            grants: Vec::new(),
            refresh_tokens: HashMap::new(),
            access_tokens: HashMap::new(),
        }
    }

    pub(crate) fn mint_request_token(&mut self, now: u64, for_other_app: bool) -> String {
        let token = self.ids.next();
        let issued = RequestToken {
            expires: now.saturating_add(self.config.request_token_lifetime.as_secs()),
            uses_left: self.config.request_token_uses,
            for_other_app,
        };
        self.request_tokens.insert(token.clone(), issued);
        token
    }

    /// The company grant: a request token for a refresh token. Only a grant that is given uses up the token.
    pub(crate) fn company(
        &mut self,
        right_company: bool,
        request_token: &str,
        scope: Option<&str>,
        now: u64,
    ) -> Result<Granted, Refused> {
        let scope = narrowed(scope, SCOPE)?;
        let presented = self.request_tokens.get_mut(request_token).ok_or(Refusal::new(5))?;
        if presented.for_other_app {
            return Err(Refusal::new(136).into());
        }
        if presented.expires <= now {
            return Err(Refusal::because(5, "the request token has expired").into());
        }
        if presented.uses_left == 0 {
            return Err(Refusal::because(5, "the request token has been used up").into());
        }
        if !right_company {
            return Err(Refusal::new(19).into());
        }
        presented.uses_left -= 1;
        Ok(self.grant(Principal::Company, scope, now))
    }

    /// A grant for someone who has shown to be this principal.
    pub(crate) fn give(
        &mut self,
        principal: Principal,
        scope: Option<&str>,
        now: u64,
    ) -> Result<Granted, Refused> {
        let scope = narrowed(scope, SCOPE)?;
        Ok(self.grant(principal, scope, now))
    }

    /// Whose refresh token this is or was.
    pub(crate) fn holder(&self, refresh_token: &str) -> Option<Principal> {
        self.refresh_tokens.get(refresh_token).map(|number| self.grants[*number].principal)
    }

    /// The refresh grant.
    pub(crate) fn refresh(
        &mut self,
        presented: &str,
        scope: Option<&str>,
        now: u64,
    ) -> Result<Granted, Refused> {
        let number = *self.refresh_tokens.get(presented).ok_or(Refusal::new(108))?;
        let grant = &mut self.grants[number];
        if grant.current != presented && grant.previous.as_deref() != Some(presented) {
            if self.config.rotate == Rotate::Always {
                grant.revoked = true;
            }
            return Err(Refused { refusal: Refusal::new(108), reuse: true });
        }
        if grant.revoked || grant.expires <= now {
            return Err(Refusal::new(108).into());
        }
        let scope = narrowed(scope, &grant.scope)?;
        grant.expires = now.saturating_add(self.config.refresh_lifetime.as_secs());
        let rotated = self.rotate(number, presented);
        let grant = &self.grants[number];
        Ok(Granted {
            principal: grant.principal,
            scope,
            refresh_token: Some(grant.current.clone()),
            refresh_expires: grant.expires,
            rotated,
            grant: Some(number),
            nonce: None,
        })
    }

    /// The client credentials grant: the app itself, and no refresh token.
    pub(crate) fn app(&self, scope: Option<&str>) -> Result<Granted, Refused> {
        Ok(Granted {
            principal: Principal::App,
            scope: narrowed(scope, SCOPE)?,
            refresh_token: None,
            refresh_expires: 0,
            rotated: false,
            grant: None,
            nonce: None,
        })
    }

    pub(crate) fn remember_access(&mut self, token: &str, granted: &Granted, expires: u64, now: u64) {
        // Looking through all of them at every doubling keeps the cost of forgetting constant for each token.
        if self.access_tokens.len() >= 1024 && self.access_tokens.len().is_power_of_two() {
            self.access_tokens.retain(|_, known| known.expires > now);
        }
        let known = AccessToken { expires, principal: granted.principal, scope: granted.scope.clone() };
        self.access_tokens.insert(sha256(token.as_bytes()), known);
    }

    /// Whom the bearer speaks for, if it is still good.
    pub(crate) fn bearer(&self, token: &str, now: u64) -> Option<Principal> {
        let known = self.access_tokens.get(&sha256(token.as_bytes()))?;
        (known.expires > now).then_some(known.principal)
    }

    /// Ends every refresh token of the principal; access tokens live on until they expire.
    pub(crate) fn revoke(&mut self, principal: Principal) {
        let theirs = self.grants.iter_mut().filter(|grant| grant.principal == principal);
        theirs.for_each(|grant| grant.revoked = true);
    }

    /// Ends one grant.
    pub(crate) fn revoke_grant(&mut self, number: usize) {
        self.grants[number].revoked = true;
    }

    /// Ends the access token, or the grant of the refresh token; false if neither is known.
    pub(crate) fn revoke_token(&mut self, token: &str) -> bool {
        if let Some(number) = self.refresh_tokens.get(token) {
            self.grants[*number].revoked = true;
            return true;
        }
        let known = self.access_tokens.get_mut(&sha256(token.as_bytes()));
        known.map(|known| known.expires = 0).is_some()
    }

    /// What stands behind a token, if it is good.
    pub(crate) fn describe(&self, token: &str, now: u64) -> Option<Described> {
        if let Some(number) = self.refresh_tokens.get(token) {
            let grant = &self.grants[*number];
            let good = !grant.revoked
                && grant.expires > now
                && (grant.current == token || grant.previous.as_deref() == Some(token));
            return good.then(|| Described {
                principal: grant.principal,
                scope: grant.scope.clone(),
                expires: grant.expires,
                kind: "refresh_token",
            });
        }
        let known = self.access_tokens.get(&sha256(token.as_bytes()))?;
        (known.expires > now).then(|| Described {
            principal: known.principal,
            scope: known.scope.clone(),
            expires: known.expires,
            kind: "Bearer",
        })
    }

    /// Every request token and every refresh token ever issued.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.request_tokens.keys().chain(self.refresh_tokens.keys()).cloned().collect()
    }

    pub(crate) fn expire(&mut self, what: Expire) {
        match what {
            Expire::Access => self.access_tokens.values_mut().for_each(|token| token.expires = 0),
            Expire::Refresh => self.grants.iter_mut().for_each(|grant| grant.expires = 0),
            // These stand in books of their own.
            Expire::Code | Expire::Otp | Expire::DeviceCode => {}
            Expire::RequestToken => self.request_tokens.values_mut().for_each(|token| token.expires = 0),
        }
    }

    fn grant(&mut self, principal: Principal, scope: String, now: u64) -> Granted {
        if self.config.regrant == Regrant::Invalidate {
            self.revoke(principal);
        }
        let token = self.ids.next();
        let expires = now.saturating_add(self.config.refresh_lifetime.as_secs());
        self.refresh_tokens.insert(token.clone(), self.grants.len());
        self.grants.push(Grant {
            principal,
            scope: scope.clone(),
            revoked: false,
            expires,
            refreshes: 0,
            current: token.clone(),
            previous: None,
        });
        Granted {
            principal,
            scope,
            refresh_token: Some(token),
            refresh_expires: expires,
            rotated: false,
            grant: Some(self.grants.len() - 1),
            nonce: None,
        }
    }

    /// Replaces the refresh token if the policy says so. Whoever presents the previous one once more is given the
    /// successor that is waiting already.
    fn rotate(&mut self, number: usize, presented: &str) -> bool {
        let grant = &mut self.grants[number];
        if grant.current != presented {
            return false;
        }
        grant.previous = None;
        let refresh = grant.refreshes;
        grant.refreshes += 1;
        let rotates = match self.config.rotate {
            Rotate::Never => false,
            Rotate::Always => true,
            Rotate::Sometimes => one_in_three(&self.seed, number, refresh),
        };
        if !rotates {
            return false;
        }
        let successor = self.ids.next();
        self.refresh_tokens.insert(successor.clone(), number);
        let replaced = std::mem::replace(&mut grant.current, successor);
        grant.previous = (self.config.rotate == Rotate::Sometimes).then_some(replaced);
        true
    }
}

/// Exactly one refresh of each three in a row; which of them, the seed says.
fn one_in_three(seed: &Seed, grant: usize, refresh: u64) -> bool {
    let drawn = seed.bytes(&format!("rotation {grant}"), refresh / 3);
    u64::from(drawn[0]) % 3 == refresh % 3
}

/// The scope that is asked for, if it is within what may be had; all of it, if none is asked for.
pub(crate) fn narrowed(asked: Option<&str>, within: &str) -> Result<String, Refusal> {
    let Some(asked) = asked else { return Ok(within.to_owned()) };
    let known = |word: &str| within.split(' ').any(|granted| granted == word);
    if asked.split_ascii_whitespace().all(known) { Ok(asked.to_owned()) } else { Err(Refusal::new(54)) }
}
