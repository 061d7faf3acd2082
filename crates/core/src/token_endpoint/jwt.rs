//! The claims of a JWT (RFC 7519), read without verifying the signature: they arrived from the token endpoint over
//! TLS (OpenID Connect Core section 3.1.3.7 accepts that), and nothing is granted on their word. They only tell whom
//! the tokens are for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The claims, or `None` when the text is no JWT.
#[must_use]
pub fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(claims) => Some(claims),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_and_anything_else_is_not_a_jwt() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"sub":"company"}"#);
        let token = format!("e30.{payload}.c2ln");
        assert_eq!(claims(&token).unwrap()["sub"], "company");
        for odd in ["", "a.b", "a.b.c", "a.b.c.d", &format!("e30.{}.x", URL_SAFE_NO_PAD.encode(b"[1]"))] {
            assert_eq!(claims(odd), None, "{odd}");
        }
    }
}
