//! The members of a successful answer (RFC 6749 section 5.1, and Concur's own).

use super::{jwt, wire};
use crate::grant::Principal;
use crate::origin::Origin;
use crate::secret::{AccessToken, IdToken, RefreshToken};
use crate::time::UnixTime;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// Tokens, as a server issued them.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenResponse {
    /// `access_token`.
    pub access_token: AccessToken,
    /// `token_type`, with RFC 6750's capital B where it is a bearer.
    pub token_type: String,
    /// `expires_in`, where it can be believed.
    pub expires_in: Option<Duration>,
    /// `refresh_token`; missing means: the one presented stays in force (RFC 6749 section 6).
    pub refresh_token: Option<RefreshToken>,
    /// Concur's `refresh_expires_in`: when the refresh token ends, in the server's time.
    pub refresh_expires_at: Option<UnixTime>,
    /// How long the refresh token lives, where a server says that in seconds: Keycloak's `refresh_expires_in`, Google's
    /// `refresh_token_expires_in`.
    pub refresh_expires_in: Option<Duration>,
    /// `scope`, space separated.
    pub scope: Option<String>,
    /// OpenID Connect's `id_token`.
    pub id_token: Option<IdToken>,
    /// Concur's `geolocation`, without the path that some documents show behind it. Not yet checked against what is
    /// permitted.
    pub geolocation: Option<Origin>,
    /// Members that nobody here knows. They are kept, because a file that SAP's sample reads holds the whole answer.
    pub others: Others,
}

/// Members of an answer that nobody here knows. They may hold anything, so they are not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Others(pub Map<String, Value>);

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Others([redacted; {} members])", self.0.len())
    }
}

/// The members that have a field of their own.
pub const KNOWN_MEMBERS: [&str; 8] = [
    "expires_in",
    "scope",
    "token_type",
    "access_token",
    "refresh_token",
    "refresh_expires_in",
    "geolocation",
    "id_token",
];

impl TokenResponse {
    /// Reads the members of a JSON object. `None` when there is no usable access token in it, or when a token is of a
    /// shape that could not be sent again unchanged.
    #[must_use]
    pub fn from_members(members: &Map<String, Value>) -> Option<Self> {
        let access_token = members.get("access_token")?.as_str().filter(|token| is_sendable(token))?;
        let refresh_token = match members.get("refresh_token") {
            None | Some(Value::Null) => None,
            Some(Value::String(token)) if token.is_empty() => None,
            Some(Value::String(token)) if is_sendable(token) => Some(RefreshToken::new(token)),
            // A refresh token that cannot be read must not be mistaken for "the old one stays in force".
            Some(_) => return None,
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        Some(Self {
            access_token: AccessToken::new(access_token),
            token_type: token_type(text("token_type")),
            expires_in: members.get("expires_in").and_then(wire::lifetime),
            refresh_token,
            refresh_expires_at: members.get("refresh_expires_in").and_then(wire::absolute_expiry),
            refresh_expires_in: ["refresh_expires_in", "refresh_token_expires_in"]
                .into_iter()
                .find_map(|name| members.get(name).and_then(wire::lifetime)),
            scope: text("scope").map(str::to_owned),
            id_token: text("id_token").map(IdToken::new),
            geolocation: text("geolocation").and_then(|base| Origin::parse(base).ok()),
            others: Others(
                members
                    .iter()
                    .filter(|(name, _)| !KNOWN_MEMBERS.contains(&name.as_str()))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
            ),
        })
    }

    /// Whom the tokens are for: the id_token's `sub`.
    #[must_use]
    pub fn principal(&self) -> Option<Principal> {
        let claims = jwt::claims(self.id_token.as_ref()?.expose())?;
        claims.get("sub").and_then(Value::as_str).and_then(Principal::named)
    }

    /// How long the access token lives: as stated, or by its own claims.
    #[must_use]
    pub fn access_lifetime(&self) -> Option<Duration> {
        self.expires_in.or_else(|| {
            let claims = jwt::claims(self.access_token.expose())?;
            let seconds =
                wire::integer(claims.get("exp")?)?.checked_sub(wire::integer(claims.get("iat")?)?)?;
            wire::lifetime(&seconds.into())
        })
    }
}

/// RFC 6749 appendix A.12 and A.17: tokens are visible ASCII and spaces. Anything else could break out of a header.
#[must_use]
pub fn is_sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

fn token_type(text: Option<&str>) -> String {
    match text.map(str::trim) {
        Some(other) if !other.eq_ignore_ascii_case("bearer") && is_sendable(other) => other.to_owned(),
        _ => "Bearer".to_owned(),
    }
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("refresh_expires_at", &self.refresh_expires_at)
            .field("scope", &self.scope)
            .field("geolocation", &self.geolocation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Option<TokenResponse> {
        TokenResponse::from_members(value.as_object().unwrap())
    }

    #[test]
    fn concurs_answer_is_read_whole() {
        let response = read(json!({
            "expires_in": "3600", "scope": "openid USER", "token_type": "bearer", "access_token": "a.b.c",
            "refresh_token": "r", "refresh_expires_in": 1_900_000_000, "id_token": "i",
            "geolocation": "https://us2.api.concursolutions.com/oauth2/v0/token", "novelty": 1,
        }))
        .unwrap();
        assert_eq!(response.expires_in, Some(Duration::from_secs(3600)));
        assert_eq!(response.token_type, "Bearer");
        assert_eq!(response.refresh_expires_at, Some(UnixTime(1_900_000_000)));
        assert_eq!(response.geolocation.unwrap().to_string(), "https://us2.api.concursolutions.com");
        assert_eq!(response.others.0.len(), 1);
    }

    #[test]
    fn without_a_refresh_token_the_old_one_stays_in_force() {
        for answer in [json!({"access_token": "a"}), json!({"access_token": "a", "refresh_token": null})] {
            assert_eq!(read(answer).unwrap().refresh_token, None);
        }
    }

    #[test]
    fn an_unreadable_refresh_token_is_not_mistaken_for_none() {
        assert!(read(json!({"access_token": "a", "refresh_token": 7})).is_none());
        assert!(read(json!({"access_token": "a", "refresh_token": "r\nX: y"})).is_none());
    }

    #[test]
    fn a_token_that_would_break_a_header_is_refused() {
        assert!(read(json!({"access_token": "a\r\nX-Evil: 1"})).is_none());
        assert!(read(json!({"access_token": ""})).is_none());
        assert!(read(json!({"access_token": 5})).is_none());
    }

    #[test]
    fn law_13_a_sub_that_says_nothing_names_nobody() {
        let sub = |claims: &str| {
            use base64::Engine;
            let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
            read(json!({"access_token": "a", "id_token": format!("e30.{claims}.s")})).unwrap().principal()
        };
        assert_eq!(sub(r#"{"sub":" company "}"#), Some(Principal::new("company")));
        for nobody in [r#"{"sub":""}"#, r#"{"sub":" "}"#, r#"{"sub":7}"#, "{}"] {
            assert_eq!(sub(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn law_10_a_response_does_not_print_its_tokens() {
        let response =
            read(json!({"access_token": "canary-a", "refresh_token": "canary-r", "x": "canary-x"}));
        let printed = format!("{response:?} {:?}", response.as_ref().unwrap().others);
        assert!(!printed.contains("canary"), "{printed}");
    }
}
