//! What an id_token says, held against what was asked (OpenID Connect Core sections 3.1.3.7 and 12.2). Its signature is the
//! shell's to check; here are the claims. Nothing is granted on its word, but it says whom the tokens are for (law 13): one
//! that contradicts itself is a sign that somebody stands between.

use crate::origin::Origin;
use crate::profile::Profile;
use crate::secret::{AccessToken, IdToken};
use crate::time::UnixTime;
use crate::token_endpoint::{jwt, plain, wire};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Clocks differ: this many seconds of an expiry are forgiven.
const LEEWAY: i64 = 120;

/// What was asked, and what came along.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who must have issued it, to the letter. None at Concur, where any of its own hosts may.
    pub issuer: Option<&'a str>,
    /// The provider, and what a person has permitted beside its hosts.
    pub provider: (&'static Profile, &'a [Origin]),
    /// `client_id`.
    pub client_id: &'a str,
    /// What was sent as nonce; none where none was.
    pub nonce: Option<&'a str>,
    /// The access token that came along.
    pub access_token: &'a AccessToken,
    /// The server's time, as two clocks tell it: the answer's own date, and what was measured before. One of them may be
    /// wrong (law 11), so that a time counts as passed when it has passed by both.
    pub now: [UnixTime; 2],
}

/// Why an id_token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdTokenError {
    /// No JWT at all.
    #[error("it is no JWT")]
    NotJwt,
    /// Not signed, or in a way that nobody uses for this (RFC 8725 section 3.1).
    #[error("it is signed with \"{0}\", which is not accepted")]
    Algorithm(String),
    /// A claim is missing or says something else than was asked.
    #[error("its {claim} is {said}")]
    Claim {
        /// Which.
        claim: &'static str,
        /// What it says, or that it is missing.
        said: String,
    },
    /// The signature is not that of the key it names.
    #[error("its signature is wrong")]
    Signature,
}

/// The algorithm in its header.
///
/// # Errors
/// When it is no JWT, or not signed by a key that only the server has (or, with HMAC, by the client's secret).
pub fn algorithm(id_token: &IdToken) -> Result<String, IdTokenError> {
    let header = id_token.expose().split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| IdTokenError::NotJwt)?;
    let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| IdTokenError::NotJwt)?;
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or("none");
    const ACCEPTED: [&str; 12] = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
        "HS512",
    ];
    if ACCEPTED.contains(&algorithm) {
        Ok(algorithm.to_owned())
    } else {
        Err(IdTokenError::Algorithm(plain(algorithm)))
    }
}

/// Checks the id_token that a sign-in brought.
///
/// # Errors
/// When it is not for us, not of this server, not of this sign-in, over, or not of this access token.
pub fn check(id_token: &IdToken, expected: &Expected<'_>) -> Result<(), IdTokenError> {
    let claims = check_again(id_token, expected)?;
    let time = |name: &str| claims.get(name).and_then(wire::integer);
    match time("exp") {
        None => return Err(missing("exp")),
        Some(at) if expected.now.iter().all(|now| at.saturating_add(LEEWAY) < now.0) => {
            return Err(claim("exp", "over"));
        }
        Some(_) => {}
    }
    if time("nbf").is_some_and(|at| expected.now.iter().all(|now| at.saturating_sub(LEEWAY) > now.0)) {
        return Err(claim("nbf", "still to come"));
    }
    match (expected.nonce, text(&claims, "nonce")) {
        (Some(sent), Some(said)) if sent == said => {}
        (Some(_), Some(_)) => return Err(claim("nonce", "another sign-in's")),
        (Some(_), None) => return Err(missing("nonce")),
        (None, _) => {}
    }
    match text(&claims, "at_hash") {
        Some(said) if !is_hash_of(said, expected.access_token, &algorithm(id_token)?) => {
            Err(claim("at_hash", "that of another access token"))
        }
        _ => Ok(()),
    }
}

/// Checks the id_token that a refresh brought: whose it is, and for whom (section 12.2). When it was issued, and for which
/// access token, says nothing new there.
///
/// # Errors
/// When it is not for us, or not of this server.
pub fn check_again(id_token: &IdToken, expected: &Expected<'_>) -> Result<Map<String, Value>, IdTokenError> {
    algorithm(id_token)?;
    let claims = jwt::claims(id_token.expose()).ok_or(IdTokenError::NotJwt)?;
    let issuer = text(&claims, "iss").ok_or_else(|| missing("iss"))?;
    let is_theirs = match expected.issuer {
        Some(asked) => asked == issuer,
        None => {
            let (profile, named) = expected.provider;
            Origin::parse(issuer).is_ok_and(|origin| profile.permits(&origin, named))
        }
    };
    if !is_theirs {
        return Err(claim("iss", &format!("{}, which was not asked", plain(issuer))));
    }
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => return Err(missing("aud")),
    };
    let is_ours = |id: &&str| id.eq_ignore_ascii_case(expected.client_id);
    if !audience.iter().any(is_ours) {
        return Err(claim("aud", "another client"));
    }
    // With several, the one that it was issued to is named beside them.
    if text(&claims, "azp").is_some_and(|party| !is_ours(&party)) {
        return Err(claim("azp", "another client"));
    }
    if text(&claims, "sub").is_none() {
        return Err(missing("sub"));
    }
    Ok(claims)
}

/// Section 3.1.3.6: the left half of the hash that the signature's algorithm uses.
fn is_hash_of(said: &str, access_token: &AccessToken, algorithm: &str) -> bool {
    let token = access_token.expose().as_bytes();
    let digest = match algorithm {
        "RS384" | "PS384" | "ES384" | "HS384" => Sha384::digest(token).to_vec(),
        "RS512" | "PS512" | "EdDSA" | "HS512" => Sha512::digest(token).to_vec(),
        _ => Sha256::digest(token).to_vec(),
    };
    URL_SAFE_NO_PAD.encode(&digest[..digest.len() / 2]) == said.trim_end_matches('=')
}

fn claim(claim: &'static str, said: &str) -> IdTokenError {
    IdTokenError::Claim { claim, said: said.to_owned() }
}

fn missing(name: &'static str) -> IdTokenError {
    claim(name, "missing")
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::generic::GENERIC;
    use serde_json::json;

    fn token(algorithm: &str, change: impl Fn(&mut Value)) -> IdToken {
        let access = URL_SAFE_NO_PAD.encode(&Sha256::digest(b"access")[..16]);
        let mut claims = json!({
            "iss": "https://login.example", "sub": "person", "aud": "app", "exp": 1_000, "iat": 900,
            "nonce": "no", "at_hash": access,
        });
        change(&mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        IdToken::new(format!("{}.{}.c2ln", part(&json!({"alg": algorithm})), part(&claims)))
    }

    fn checked(token: &IdToken) -> Result<(), IdTokenError> {
        let access_token = AccessToken::new("access");
        check(
            token,
            &Expected {
                issuer: Some("https://login.example"),
                provider: (&GENERIC, &[]),
                client_id: "app",
                nonce: Some("no"),
                access_token: &access_token,
                now: [UnixTime(1_050), UnixTime(1_060)],
            },
        )
    }

    #[test]
    fn a_good_one_is_believed() {
        assert_eq!(checked(&token("RS256", |_| {})), Ok(()));
        assert_eq!(checked(&token("ES256", |claims| claims["aud"] = json!(["other", "app"]))), Ok(()));
    }

    #[test]
    fn each_claim_that_says_something_else_is_named() {
        type Change = fn(&mut Value);
        let wrong: [(&str, Change); 10] = [
            ("iss", |claims| claims["iss"] = json!("https://evil.example")),
            ("iss", |claims| claims["iss"] = json!(null)),
            ("aud", |claims| claims["aud"] = json!("other")),
            ("aud", |claims| claims["aud"] = json!(null)),
            ("azp", |claims| claims["azp"] = json!("other")),
            ("sub", |claims| claims["sub"] = json!("")),
            ("exp", |claims| claims["exp"] = json!(900)),
            ("nbf", |claims| claims["nbf"] = json!(2_000)),
            ("nonce", |claims| claims["nonce"] = json!("replayed")),
            ("at_hash", |claims| claims["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
        ];
        for (name, change) in wrong {
            let error = checked(&token("RS256", change)).unwrap_err();
            assert!(matches!(&error, IdTokenError::Claim { claim, .. } if *claim == name), "{name}: {error}");
        }
        assert!(
            checked(&token("RS256", |claims| claims["nonce"] = json!(null))).is_err(),
            "a nonce was sent"
        );
    }

    #[test]
    fn law_11_a_time_has_passed_when_it_has_by_both_clocks() {
        let access_token = AccessToken::new("access");
        let at = |now: [i64; 2]| {
            let expected = Expected {
                issuer: Some("https://login.example"),
                provider: (&GENERIC, &[]),
                client_id: "app",
                nonce: Some("no"),
                access_token: &access_token,
                now: now.map(UnixTime),
            };
            check(&token("RS256", |_| {}), &expected).is_ok()
        };
        assert!(at([90_000, 950]) && at([950, 90_000]) && !at([90_000, 80_000]));
    }

    #[test]
    fn an_algorithm_that_proves_nothing_is_refused() {
        for algorithm in ["none", "None", "", "RS1", "ES256K"] {
            assert!(
                matches!(checked(&token(algorithm, |_| {})), Err(IdTokenError::Algorithm(_))),
                "{algorithm}"
            );
        }
        assert_eq!(checked(&IdToken::new("not.a.jwt")), Err(IdTokenError::NotJwt));
    }

    #[test]
    fn at_concur_any_of_its_hosts_may_have_issued_it() {
        let access_token = AccessToken::new("access");
        let with = |issuer: &'static str| {
            let token = token("RS256", |claims| claims["iss"] = json!(issuer));
            let provider = (&crate::profile::concur::CONCUR, [].as_slice());
            let expected = Expected {
                issuer: None,
                provider,
                client_id: "app",
                nonce: None,
                access_token: &access_token,
                now: [UnixTime(950); 2],
            };
            check(&token, &expected)
        };
        assert_eq!(with("https://us2.api.concursolutions.com"), Ok(()));
        assert!(with("https://concursolutions.com.evil.example").is_err());
    }
}
