//! The authorization server, which knows the truth: which tokens it issued, which it honours, which were spent. Every
//! presentation that reaches it is judged here.

use crate::clocks::{DAY, HOUR, Moment, unix};
use crate::dice::Dice;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An access token's life.
pub(crate) const ACCESS_LIFE: Moment = HOUR;
/// A refresh token's life; it begins anew at each success.
pub(crate) const REFRESH_LIFE: Moment = DAY.saturating_mul(182);
/// A request token's life, and how often it may be used.
pub(crate) const REQUEST_TOKEN_LIFE: Moment = DAY;
pub(crate) const REQUEST_TOKEN_USES: u32 = 5;

/// Where principals live; the first is the global landing zone.
pub(crate) const HOMES: [&str; 3] = [
    "https://glz.api.concursolutions.com",
    "https://us2.api.concursolutions.com",
    "https://eu2.api.concursolutions.com",
];

/// What the server makes of a refresh token at a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// The same comes back, as at Concur.
    Sticky,
    /// A new one, each time; who presents a spent one loses the grant.
    Strict,
    /// A new one; a spent one is answered again for so many seconds, and costs the grant afterwards.
    Window(u64),
    /// Now and then a new one; a spent one is refused.
    Sometimes,
}

/// One authorization by a person, and all that came of it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) connection: usize,
    pub(crate) is_alive: bool,
    pub(crate) current: String,
    pub(crate) expires: Moment,
    spent: Vec<(String, Moment)>,
    rotations: u32,
}

/// One answer with tokens in it.
#[derive(Clone, Debug)]
pub(crate) struct Issue {
    pub(crate) grant: usize,
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) access_ends: Moment,
    /// Whom it names; another principal than the connection's where the server erred (law 13).
    pub(crate) is_strangers: bool,
    /// It stood, durably, in the store or on a shelf.
    pub(crate) was_durable: bool,
}

struct RequestToken {
    connection: usize,
    made: Moment,
    uses: u32,
}

pub(crate) struct Server {
    pub(crate) rotation: Rotation,
    pub(crate) grants: Vec<Grant>,
    pub(crate) issues: Vec<Issue>,
    by_access: BTreeMap<String, usize>,
    request_tokens: BTreeMap<String, RequestToken>,
    /// The client secret in force.
    pub(crate) secret: String,
    secrets: u32,
    /// Where each connection's principal lives.
    pub(crate) homes: Vec<usize>,
    seed: u64,
}

/// A request's form.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) secret: String,
    /// The refresh token or the request token.
    pub(crate) token: String,
    pub(crate) is_refresh: bool,
}

/// What the server said, and what it did.
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// The tokens it issued.
    pub(crate) issue: Option<usize>,
}

impl Form {
    pub(crate) fn read(form: &[u8]) -> Self {
        let text = String::from_utf8_lossy(form);
        let member = |name: &str| {
            let pair = text.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
            pair.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let is_refresh = member("grant_type") == "refresh_token";
        let token = member(if is_refresh { "refresh_token" } else { "password" });
        Self { secret: member("client_secret"), token, is_refresh }
    }
}

impl Server {
    pub(crate) fn new(rotation: Rotation, connections: usize, seed: u64) -> Self {
        Self {
            rotation,
            grants: Vec::new(),
            issues: Vec::new(),
            by_access: BTreeMap::new(),
            request_tokens: BTreeMap::new(),
            secret: "secret-0".to_owned(),
            secrets: 0,
            homes: vec![1; connections],
            seed,
        }
    }

    /// An administrator makes a request token.
    pub(crate) fn make_request_token(&mut self, connection: usize, now: Moment) -> String {
        let token = format!("qt-{:05}", self.request_tokens.len());
        self.request_tokens.insert(token.clone(), RequestToken { connection, made: now, uses: 0 });
        token
    }

    /// An administrator changes the client secret.
    pub(crate) fn change_secret(&mut self) {
        self.secrets += 1;
        self.secret = format!("secret-{}", self.secrets);
    }

    /// A request arrives at the data centre `home`.
    pub(crate) fn asked(&mut self, form: &Form, home: &str, now: Moment) -> Said {
        if form.secret != self.secret {
            return refused(64, "invalid_client");
        }
        if form.is_refresh { self.refresh(&form.token, home, now) } else { self.obtain(&form.token, now) }
    }

    fn obtain(&mut self, token: &str, now: Moment) -> Said {
        let known = self.request_tokens.get_mut(token);
        let Some(known) = known.filter(|known| now < known.made + REQUEST_TOKEN_LIFE) else {
            return refused(5, "invalid_grant");
        };
        if known.uses >= REQUEST_TOKEN_USES {
            return refused(5, "invalid_grant");
        }
        known.uses += 1;
        let (connection, number) = (known.connection, self.grants.len());
        let grant = Grant {
            connection,
            is_alive: true,
            current: refresh_token(number, 0),
            expires: now + REFRESH_LIFE,
            spent: Vec::new(),
            rotations: 0,
        };
        self.grants.push(grant);
        self.issue(number, now)
    }

    fn refresh(&mut self, token: &str, home: &str, now: Moment) -> Said {
        let Some(number) = self.grant_of(token) else { return refused(108, "invalid_grant") };
        let grant = &mut self.grants[number];
        if !grant.is_alive || grant.expires <= now {
            return refused(108, "invalid_grant");
        }
        let lives_at = HOMES[self.homes[grant.connection]];
        if lives_at != home {
            return elsewhere(lives_at);
        }
        if token == grant.current {
            let rotates = match self.rotation {
                Rotation::Sticky => false,
                Rotation::Strict | Rotation::Window(_) => true,
                // By the grant's own history, so that a story can be shortened elsewhere without changing here.
                Rotation::Sometimes => {
                    Dice::new(self.seed, &format!("rotation {token} {}", grant.expires.as_millis())).one_in(3)
                }
            };
            if rotates {
                grant.rotations += 1;
                let next = refresh_token(number, grant.rotations);
                let spent = std::mem::replace(&mut grant.current, next);
                grant.spent.push((spent, now));
            }
            return self.issue(number, now);
        }
        if grant.is_answered_again(token, self.rotation, now) {
            return self.issue(number, now);
        }
        if matches!(self.rotation, Rotation::Strict | Rotation::Window(_)) {
            grant.is_alive = false; // Reuse of a spent token: somebody has stolen it, as far as the server can tell.
        }
        refused(108, "invalid_grant")
    }

    /// Issues tokens of a grant as it stands now.
    fn issue(&mut self, number: usize, now: Moment) -> Said {
        let grant = &mut self.grants[number];
        grant.expires = now + REFRESH_LIFE;
        let (connection, refresh) = (grant.connection, grant.current.clone());
        self.write_issue(number, principal(connection), refresh, now, false)
    }

    /// The server errs, and answers with somebody else's tokens.
    pub(crate) fn issue_strangers(&mut self, connection: usize, now: Moment) -> Said {
        let number = self.grants.len();
        self.grants.push(Grant {
            connection: usize::MAX,
            is_alive: true,
            current: refresh_token(number, 0),
            expires: now + REFRESH_LIFE,
            spent: Vec::new(),
            rotations: 0,
        });
        let refresh = self.grants[number].current.clone();
        self.write_issue(number, principal(connection + 100), refresh, now, true)
    }

    fn write_issue(
        &mut self,
        grant: usize,
        whose: String,
        refresh: String,
        now: Moment,
        is_strangers: bool,
    ) -> Said {
        let number = self.issues.len();
        let access = format!("at-{number:05}");
        let connection = self.grants[grant].connection;
        let home = HOMES[self.homes.get(connection).copied().unwrap_or(0)];
        let body = json!({
            "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": ACCESS_LIFE.as_secs(),
            "refresh_expires_in": unix(now + REFRESH_LIFE), "geolocation": home, "id_token": id_token(&whose, home, unix(now + ACCESS_LIFE)),
        });
        self.by_access.insert(access.clone(), number);
        let access_ends = now + ACCESS_LIFE;
        self.issues.push(Issue { grant, access, refresh, access_ends, is_strangers, was_durable: false });
        Said { status: 200, body, issue: Some(number) }
    }

    pub(crate) fn grant_of(&self, refresh: &str) -> Option<usize> {
        let number = refresh.strip_prefix("rt-")?.split('-').next()?.parse().ok()?;
        self.grants.get(number).map(|_| number)
    }

    pub(crate) fn issue_of(&self, access: &str) -> Option<usize> {
        self.by_access.get(access).copied()
    }

    /// True when presenting it now would bring tokens.
    pub(crate) fn honours(&self, refresh: &str, now: Moment) -> bool {
        self.grant_of(refresh).is_some_and(|number| {
            let grant = &self.grants[number];
            let is_good = grant.current == refresh || grant.is_answered_again(refresh, self.rotation, now);
            grant.is_alive && grant.expires > now && is_good
        })
    }
}

impl Grant {
    pub(crate) fn last_spent(&self) -> Option<&str> {
        self.spent.last().map(|(token, _)| token.as_str())
    }

    fn is_answered_again(&self, token: &str, rotation: Rotation, now: Moment) -> bool {
        let Rotation::Window(seconds) = rotation else { return false };
        let newest = self.spent.last();
        newest.is_some_and(|(spent, at)| spent == token && now <= *at + Moment::from_secs(seconds))
    }
}

fn refresh_token(grant: usize, rotation: u32) -> String {
    format!("rt-{grant:04}-{rotation:04}")
}

/// Who a connection belongs to.
pub(crate) fn principal(connection: usize) -> String {
    format!("company-{connection}")
}

fn id_token(sub: &str, issuer: &str, ends: i64) -> String {
    use base64::Engine;
    let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": sub, "iss": issuer, "aud": "app", "exp": ends});
    format!("{}.{}.c2ln", part(json!({"alg": "RS256"})), part(claims))
}

pub(crate) fn refused(code: u32, error: &str) -> Said {
    let body = json!({"code": code, "error": error, "error_description": "no"});
    Said { status: 400, body, issue: None }
}

pub(crate) fn elsewhere(home: &str) -> Said {
    let body = json!({"code": 16, "error": "invalid_request", "geolocation": home});
    Said { status: 400, body, issue: None }
}
