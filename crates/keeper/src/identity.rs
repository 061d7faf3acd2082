//! Who the tokens are for (law 13): an id_token is held against what was asked, and its signature against the keys that the
//! server publishes. The keys are fetched before a grant is obtained, so that nothing waits between an answer and its
//! commit. What cannot be checked (keys that are not to be had, a key that is not among them) rests on TLS to the token
//! endpoint, as OpenID Connect Core section 3.1.3.7 permits; what can be checked must hold.

use crate::http::{Errand, TokenEndpoint};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use perennial_core::grant::Client;
use perennial_core::id_token::{self, Expected, IdTokenError};
use perennial_core::metadata::METADATA_LIMIT;
use perennial_core::profile::{Purpose, concur};
use perennial_core::server::Endpoint;
use perennial_core::{Connection, Grant, IdToken, Origin, TokenResponse, UnixTime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Keys are fetched anew for a sign-in when they are older than this: servers replace them, and a replaced one may be a
/// stolen one.
const KEYS_KEEP: Duration = Duration::from_secs(60);

/// More keys than that are no key set: real ones hold two or three.
const MOST_KEYS: usize = 100;

/// The keys of the servers that were met, for as long as the process lives.
#[derive(Debug, Default)]
pub(crate) struct KeySets(Mutex<BTreeMap<String, (Duration, Arc<JwkSet>)>>);

impl KeySets {
    /// Fetches the keys of a server, unless that was done a moment ago. Nobody fails for it.
    pub(crate) async fn prepare(&self, endpoint: &dyn TokenEndpoint, from: &Endpoint, now: Duration) {
        if self.young(from, now) {
            return;
        }
        let fetched = endpoint.run(Errand::get(from.clone())).await;
        let keys = fetched.ok().filter(|reply| reply.status == 200).and_then(|reply| key_set(&reply.body));
        match keys {
            Some(keys) => {
                let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                sets.insert(from.to_string(), (now, Arc::new(keys)));
            }
            None => tracing::warn!(%from, "the server's keys are not to be had; its signature rests on TLS"),
        }
    }

    fn young(&self, from: &Endpoint, now: Duration) -> bool {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.get(&from.to_string()).is_some_and(|(at, _)| now.saturating_sub(*at) < KEYS_KEEP)
    }

    fn of(&self, from: &Endpoint) -> Option<Arc<JwkSet>> {
        let sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sets.get(&from.to_string()).map(|(_, keys)| Arc::clone(keys))
    }
}

/// Where a connection's server publishes its keys.
pub(crate) fn keys_of(seen: &Connection, base: &Origin) -> Option<Endpoint> {
    match &seen.server {
        Some(server) => server.keys.clone(),
        None => (!seen.profile.token_path.is_empty()).then(|| concur::keys(base)),
    }
}

/// An answer whose id_token is to be checked.
pub(crate) struct Answer<'a> {
    pub(crate) seen: &'a Connection,
    pub(crate) client: &'a Client,
    pub(crate) grant: &'a Grant,
    pub(crate) purpose: Purpose,
    pub(crate) base: &'a Origin,
    pub(crate) response: &'a TokenResponse,
    /// The server's time, as two clocks tell it.
    pub(crate) now: [UnixTime; 2],
}

/// Checks the id_token of an answer, if there is one.
///
/// # Errors
/// When something about it that can be checked does not hold.
pub(crate) fn check(keys: &KeySets, answer: &Answer<'_>) -> Result<(), IdTokenError> {
    let Answer { seen, client, response, .. } = *answer;
    let nonce = match answer.grant {
        Grant::AuthorizationCode { nonce, .. } => nonce.as_deref(),
        _ => None,
    };
    let Some(id_token) = &response.id_token else { return Ok(()) };
    let expected = Expected {
        issuer: seen.server.as_ref().and_then(|server| server.issuer.as_deref()),
        provider: (seen.profile, &seen.permitted),
        client_id: &client.id,
        nonce,
        access_token: &response.access_token,
        now: answer.now,
    };
    match answer.purpose {
        // A server that only its token endpoint is known of has not said what its issuer is.
        _ if seen.server.as_ref().is_some_and(|server| server.issuer.is_none()) => return Ok(()),
        Purpose::Obtain => id_token::check(id_token, &expected)?,
        Purpose::Refresh => drop(id_token::check_again(id_token, &expected)?),
    }
    let keys = keys_of(seen, answer.base).and_then(|from| keys.of(&from));
    check_signature(id_token, client, keys.as_deref())
}

fn check_signature(id_token: &IdToken, client: &Client, keys: Option<&JwkSet>) -> Result<(), IdTokenError> {
    let name = id_token::algorithm(id_token)?;
    let algorithm = Algorithm::from_str(&name).map_err(|_| IdTokenError::Algorithm(name))?;
    let (message, signature) = id_token.expose().rsplit_once('.').ok_or(IdTokenError::NotJwt)?;
    let holds =
        |key: &DecodingKey| crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false);
    if matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) {
        // The client's secret is the key, never one that the server publishes (RFC 8725 section 2.1).
        let secret = client.secret.expose();
        let key = DecodingKey::from_secret(secret.as_bytes());
        return if !secret.is_empty() && holds(&key) { Ok(()) } else { Err(IdTokenError::Signature) };
    }
    let Some(keys) = keys else { return Ok(()) };
    let named = jsonwebtoken::decode_header(id_token.expose()).map_err(|_| IdTokenError::NotJwt)?.kid;
    let meant = |key: &&Jwk| match (&named, &key.common.key_id) {
        (Some(named), Some(own)) => named == own,
        _ => true,
    };
    let fit: Vec<&Jwk> = keys.keys.iter().filter(|key| can_verify(key, algorithm)).filter(meant).collect();
    if fit.is_empty() {
        tracing::warn!(
            "the id_token names a key that the server does not publish; its signature rests on TLS"
        );
        return Ok(());
    }
    let holds = fit.into_iter().filter_map(|key| DecodingKey::from_jwk(key).ok()).any(|key| holds(&key));
    if holds { Ok(()) } else { Err(IdTokenError::Signature) }
}

/// A key is used for what it is: a public key is no shared secret, and one for encryption signs nothing.
fn can_verify(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_for_signing = key.common.public_key_use.as_ref().is_none_or(|own| *own == PublicKeyUse::Signature);
    let says_so = key.common.key_algorithm.is_none_or(|own| own.to_string() == format!("{algorithm:?}"));
    let fits = match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
        ),
        AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, Algorithm::ES256 | Algorithm::ES384),
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        _ => false,
    };
    is_for_signing && says_so && fits
}

/// A key set; keys of kinds that nobody here knows are left out.
fn key_set(body: &[u8]) -> Option<JwkSet> {
    if body.len() > METADATA_LIMIT {
        return None;
    }
    let set: Value = serde_json::from_slice(body).ok()?;
    let keys = set.get("keys")?.as_array().filter(|keys| keys.len() <= MOST_KEYS)?;
    let keys = keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
    Some(JwkSet { keys })
}

#[cfg(test)]
mod tests;
