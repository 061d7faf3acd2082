//! A grant is given back: the server ends it, and then it is marked here. What is held is kept all the same (law 5); only
//! its access token is forgotten, so that nobody is served from a grant that was given back. And a server is asked what it
//! thinks of a token (RFC 7662).

use crate::error::Error;
use crate::http::Errand;
use crate::keeper::Keeper;
use crate::refusal;
use crate::sign_in::redacted;
use http::Method;
use perennial_core::connection::{Condition, RequestTokenUse};
use perennial_core::grant::TokenRequest;
use perennial_core::profile::concur;
use perennial_core::secret::Credential;
use perennial_core::server::Endpoint;
use perennial_core::token_endpoint::{Reply, wire};
use perennial_core::{Connection, UnixTime};
use std::time::Duration;

/// What was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Where.
    pub at: Endpoint,
    /// Whether all refresh tokens of the principal for this app ended by it, as at Concur, or this grant alone.
    pub whole_principal: bool,
    /// What the server's support asks for.
    pub correlation_id: Option<String>,
}

/// What a server thinks of a token (RFC 7662 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// True while it is good.
    pub active: bool,
    /// When it ends, by the server's clock.
    pub expires_at: Option<UnixTime>,
    /// What it may do.
    pub scope: Option<String>,
}

impl Keeper {
    /// True when revoking this connection ends every refresh token that its principal has for the app, and not one alone.
    #[must_use]
    pub fn revokes_whole_principal(seen: &Connection) -> bool {
        seen.server.is_none()
    }

    /// Has the server end a grant, and marks the connection as revoked.
    ///
    /// # Errors
    /// When the server refused, or did not answer: then nothing is marked, and it can be tried again.
    pub async fn revoke(&self, name: &str, how: &str) -> Result<Revoked, Error> {
        let before = self.connection(name)?.request_token;
        let is_used_up = self.use_request_token_up(name).await?;
        let revoked = match self.end_at_server(name).await {
            Ok(revoked) => revoked,
            Err(error) => {
                if is_used_up {
                    let restore = |next: &mut Connection| next.request_token.clone_from(&before);
                    self.change(name, restore, "was not given back; the grant stays").await?;
                }
                return Err(error);
            }
        };
        let id = revoked.correlation_id.as_ref();
        let id = id.map_or_else(String::new, |id| format!(", correlation id {id}"));
        let mark = |next: &mut Connection| {
            next.condition = Condition::Revoked;
            if let Some(held) = &mut next.held {
                held.access = None;
            }
        };
        self.change(name, mark, format!("given back {how}{id}")).await?;
        Ok(revoked)
    }

    /// What is given back must not be fetched anew by itself: a company request token that is still good would do that
    /// (see `Kit::may_reobtain`), also where this process dies before it can mark anything. So it counts as used up before
    /// the server is asked. True where there was one.
    async fn use_request_token_up(&self, name: &str) -> Result<bool, Error> {
        let Some(token) = self.store().app(name)?.request_token else { return Ok(false) };
        let (fingerprint, now) = (token.fingerprint(), self.now());
        let used_up = |next: &mut Connection| {
            let same = next.request_token.take().filter(|used| used.fingerprint == fingerprint);
            let first_used_at = same.map_or_else(|| next.skew.server_time(now), |used| used.first_used_at);
            let uses = next.profile.request_token_uses;
            next.request_token =
                Some(RequestTokenUse { fingerprint: fingerprint.clone(), uses, first_used_at });
        };
        self.change(name, used_up, "is being given back").await?;
        Ok(true)
    }

    async fn end_at_server(&self, name: &str) -> Result<Revoked, Error> {
        let seen = self.connection(name)?;
        let (at, reply, whole_principal) = match &seen.server {
            None => self.revoke_principal(name).await?,
            Some(server) => {
                let at = server.revocation.clone().ok_or(Error::NoEndpoint("revocation"))?;
                let reply = self.revoke_token(&seen, &at).await?;
                (at, reply, false)
            }
        };
        Ok(Revoked { at, whole_principal, correlation_id: reply.correlation_id })
    }

    /// Concur: the bearer says whose grants end. A bearer that is rejected is replaced once, like any other's.
    async fn revoke_principal(&self, name: &str) -> Result<(Endpoint, Reply, bool), Error> {
        let mut hand_out = self.token(name, Duration::from_secs(30)).await?;
        let mut is_second = false;
        loop {
            let at = Endpoint::at(hand_out.base.clone(), concur::CONNECTIONS_PATH);
            let bearer = format!("{} {}", hand_out.token_type, hand_out.access_token.expose());
            let errand = Errand {
                method: Method::DELETE,
                to: at.clone(),
                form: None,
                authorization: Some(Credential::new(bearer)),
                correlation_id: crate::random::id(),
            };
            let reply = self.kit().errand(&self.connection(name)?, errand).await?;
            match reply.status {
                200..=299 => return Ok((at, reply, true)),
                401 | 403 if !is_second => {
                    hand_out = self.rejected(name, &hand_out.access_token).await?;
                    is_second = true;
                }
                _ => {
                    let token = hand_out.access_token.expose().to_owned();
                    return Err(refusal::refused(&at, &reply, |text| text.replace(&token, "[redacted]")));
                }
            }
        }
    }

    /// RFC 7009: with the refresh token the whole grant ends; where there is none, the access token.
    async fn revoke_token(&self, seen: &Connection, at: &Endpoint) -> Result<Reply, Error> {
        let (token, hint) = presented(seen)?;
        let reply = self.ask_about(seen, at, &token, hint).await?;
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        Err(refusal::refused(at, &reply, |text| text.replace(token.expose(), "[redacted]")))
    }

    /// Asks the server what it thinks of the refresh token, or of the access token where there is no other. Nothing is
    /// spent by that.
    ///
    /// # Errors
    /// When the server offers no introspection, refused, or did not answer.
    pub async fn introspect(&self, name: &str) -> Result<Introspection, Error> {
        let seen = self.connection(name)?;
        let server = seen.server.as_ref();
        let endpoint = server.and_then(|server| server.introspection.clone());
        let at = endpoint.ok_or(Error::NoEndpoint("introspection"))?;
        let (token, hint) = presented(&seen)?;
        let reply = self.ask_about(&seen, &at, &token, hint).await?;
        let members = refusal::object(&at, &reply, |text| text.replace(token.expose(), "[redacted]"))?;
        let active = members.get("active").and_then(serde_json::Value::as_bool);
        Ok(Introspection {
            active: active.ok_or_else(|| refusal::odd(&at, &reply))?,
            expires_at: members.get("exp").and_then(wire::absolute_expiry),
            scope: members.get("scope").and_then(|scope| scope.as_str()).map(str::to_owned),
        })
    }

    async fn ask_about(
        &self,
        seen: &Connection,
        at: &Endpoint,
        token: &Credential,
        hint: &str,
    ) -> Result<Reply, Error> {
        let client = self.store().app(&seen.name)?.client;
        let proof = self.kit().proof(seen, &client)?;
        let fields = [("token", token.expose()), ("token_type_hint", hint)];
        let reply = self
            .kit()
            .errand(seen, Errand::post(at.clone(), TokenRequest::new(&client, &proof, fields)))
            .await?;
        match reply.status {
            401 => Err(refusal::refused(at, &reply, |text| redacted(&client, text))),
            _ => Ok(reply),
        }
    }
}

/// The token that stands for the grant, and what RFC 7009 calls it.
fn presented(seen: &Connection) -> Result<(Credential, &'static str), Error> {
    let held = seen.held.as_ref();
    let refresh = held.and_then(|held| held.refresh.as_ref());
    let access = held.and_then(|held| held.access.as_ref());
    match (refresh, access) {
        (Some(refresh), _) => Ok((Credential::new(refresh.expose()), "refresh_token")),
        (None, Some(access)) => Ok((Credential::new(access.token.expose()), "access_token")),
        (None, None) => {
            Err(Error::Blocked { blocked: perennial_core::connection::Blocked::NoGrant, fault: None })
        }
    }
}
