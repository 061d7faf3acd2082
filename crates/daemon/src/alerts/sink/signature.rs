//! What a webhook is signed with (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`, with a secret that is
//! written as `whsec_` and base64. Several secrets, with blanks between them, make several signatures, so that one can be
//! replaced while receivers still know the other.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use perennial::core::UnixTime;
use zeroize::Zeroizing;

/// Standard Webhooks asks for 24 to 64 bytes.
const LEAST: usize = 24;
const MOST: usize = 64;

/// The value of `webhook-signature`.
///
/// # Errors
/// In words for a person, without the secret.
pub fn sign(secrets: &str, id: &str, at: UnixTime, body: &[u8]) -> Result<String, String> {
    let mut signed = format!("{id}.{}.", at.0).into_bytes();
    signed.extend_from_slice(body);
    let signatures = secrets.split_whitespace().map(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key(secret)?);
        Ok(format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed))))
    });
    let signatures: Vec<_> = signatures.collect::<Result<_, String>>()?;
    if signatures.is_empty() { Err(wrong()) } else { Ok(signatures.join(" ")) }
}

/// True when one of these signatures is of one of these secrets.
///
/// # Errors
/// In words for a person, without the secret.
pub fn verify(secrets: &str, id: &str, at: UnixTime, body: &[u8], signatures: &str) -> Result<bool, String> {
    let own = sign(secrets, id, at, body)?;
    let is_own = |theirs: &str| {
        own.split(' ').any(|own| bool::from(subtle::ConstantTimeEq::ct_eq(own.as_bytes(), theirs.as_bytes())))
    };
    Ok(signatures.split(' ').any(is_own))
}

fn key(secret: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let digits = secret.strip_prefix("whsec_").ok_or_else(wrong)?;
    let key = STANDARD.decode(digits).map(Zeroizing::new).map_err(|_| wrong())?;
    if (LEAST..=MOST).contains(&key.len()) { Ok(key) } else { Err(wrong()) }
}

fn wrong() -> String {
    format!(
        "the secret of a webhook is whsec_ and {LEAST} to {MOST} bytes as base64; this makes one: echo \"whsec_$(openssl \
         rand -base64 32)\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        let signed = sign(SECRET, ID, UnixTime(1_614_265_330), BODY).unwrap();
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_make_two_signatures() {
        let both = format!("{SECRET} whsec_{}", STANDARD.encode([7; 32]));
        let signed = sign(&both, ID, UnixTime(1_614_265_330), BODY).unwrap();
        assert!(signed.starts_with("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,"), "{signed}");
    }

    #[test]
    fn a_signature_is_known_by_any_of_the_secrets_and_by_nothing_else() {
        let newer = format!("whsec_{}", STANDARD.encode([7; 32]));
        let at = UnixTime(1_614_265_330);
        let signed = sign(SECRET, ID, at, BODY).unwrap();
        let verify = |secrets: &str, id: &str, at: UnixTime, body: &[u8], signed: &str| {
            verify(secrets, id, at, body, signed).unwrap()
        };
        assert!(verify(SECRET, ID, at, BODY, &signed));
        assert!(verify(&format!("{newer} {SECRET}"), ID, at, BODY, &format!("v1,AAAA {signed}")));
        assert!(!verify(&newer, ID, at, BODY, &signed));
        assert!(!verify(SECRET, "other", at, BODY, &signed));
        assert!(!verify(SECRET, ID, at.plus(1), BODY, &signed));
        assert!(!verify(SECRET, ID, at, b"{}", &signed));
        assert!(!verify(SECRET, ID, at, BODY, ""));
    }

    #[test]
    fn law_10_a_wrong_secret_is_refused_and_not_shown() {
        for secret in ["", "canary", "whsec_canary", "whsec_Y2FuYXJ5", "whsec_%%%"] {
            let refused = sign(secret, ID, UnixTime(0), BODY).unwrap_err();
            assert!(!refused.contains("canary") && !refused.contains("Y2FuYXJ5"), "{refused}");
        }
    }
}
