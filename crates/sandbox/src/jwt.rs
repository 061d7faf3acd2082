//! Signed tokens: RS256, one key a process, published as a JWK set.

use crate::ids::sha256;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64, Engine as _};
use serde_json::{Value, json};
use std::sync::OnceLock;

/// The key that signs every access token and id_token of this process.
pub(crate) struct Signer {
    key: RsaKeyPair,
    kid: String,
}

/// The library that makes and uses the key said no, and never says why.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("could not make or use the signing key")]
pub(crate) struct SigningFailed;

impl Signer {
    /// Making an RSA key takes a noticeable part of a second, so that all sandboxes of a process share one.
    pub(crate) fn shared() -> Result<&'static Signer, SigningFailed> {
        static SHARED: OnceLock<Signer> = OnceLock::new();
        if let Some(signer) = SHARED.get() {
            return Ok(signer);
        }
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningFailed)?;
        let kid = BASE64.encode(&sha256(key.public_key().as_ref())[..12]);
        Ok(SHARED.get_or_init(|| Signer { key, kid }))
    }

    pub(crate) fn sign(&self, claims: &Value) -> Result<String, SigningFailed> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid });
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| SigningFailed)?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// The same token with another subject, signed anew; none if it was no token.
    pub(crate) fn with_subject(&self, token: &str, subject: &str) -> Option<String> {
        let payload = token.split('.').nth(1)?;
        let mut claims: Value = serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()?;
        claims.as_object_mut()?.insert("sub".to_owned(), json!(subject));
        self.sign(&claims).ok()
    }

    pub(crate) fn jwks(&self) -> Value {
        let public = self.key.public_key();
        json!({ "keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": BASE64.encode(public.modulus().big_endian_without_leading_zero()),
            "e": BASE64.encode(public.exponent().big_endian_without_leading_zero()),
        }] })
    }
}

/// The `at_hash` of OpenID Connect: the left half of the access token's digest.
pub(crate) fn at_hash(access_token: &str) -> String {
    BASE64.encode(&sha256(access_token.as_bytes())[..16])
}

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}
