//! Secrets have types that cannot be printed (law 10): no `Display`, no serialization, a `Debug` that says
//! `[redacted]`, memory that is wiped on drop. [`expose`](RefreshToken::expose) is the one door to the value, so that
//! every place where a secret leaves can be found by searching for that word.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// What may be shown of a secret: the first twelve hexadecimal digits of its SHA-256 (RFC 6234).
///
/// Enough to tell two tokens apart in a journal, too little to find one: the secrets of this field carry at least
/// 122 random bits, so that guessing one to match a fingerprint is hopeless.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of `secret`.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let digest = Sha256::digest(secret.as_bytes());
        Self(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
    }

    /// A fingerprint that was written down earlier; `None` when the text is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_fingerprint = text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_fingerprint.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The twelve digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Takes the value over; the memory is wiped on drop.
            #[must_use]
            pub fn new(value: impl Into<String>) -> Self {
                Self(SecretString::from(value.into()))
            }

            /// The value itself. Whoever calls this answers for where it goes.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }

            /// What may be shown of it.
            #[must_use]
            pub fn fingerprint(&self) -> Fingerprint {
                Fingerprint::of(self.expose())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([redacted])"))
            }
        }

        impl PartialEq for $name {
            /// Takes the same time wherever two values of one length differ.
            fn eq(&self, other: &Self) -> bool {
                self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
            }
        }

        impl Eq for $name {}
    };
}

secret! {
    /// What an API call carries as its bearer (RFC 6749 section 1.4, RFC 6750).
    AccessToken
}
secret! {
    /// What new access tokens are obtained with (RFC 6749 section 1.5).
    RefreshToken
}
secret! {
    /// An app's password (RFC 6749 section 2.3.1).
    ClientSecret
}
secret! {
    /// Concur's company request token: 24 hours, at most five uses, made by an administrator.
    RequestToken
}
secret! {
    /// What a person gives once and nobody keeps: an authorization code and its verifier (RFC 7636), a password, a
    /// one-time password, a device code (RFC 8628), an assertion (RFC 7521), somebody else's token (RFC 8693).
    Credential
}
secret! {
    /// A signed statement about the principal (OpenID Connect Core section 2). It grants nothing, but it names people.
    IdToken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn law_10_a_secret_prints_as_redacted() {
        let token = RefreshToken::new("canary-7c1f");
        assert_eq!(format!("{token:?}"), "RefreshToken([redacted])");
        assert_eq!(format!("{:?}", Some(&token)), "Some(RefreshToken([redacted]))");
    }

    #[test]
    fn equality_is_by_value_and_fingerprints_differ() {
        assert_eq!(AccessToken::new("a"), AccessToken::new("a"));
        assert_ne!(AccessToken::new("a"), AccessToken::new("b"));
        assert_ne!(AccessToken::new("a"), AccessToken::new("aa"));
        assert_ne!(AccessToken::new("a").fingerprint(), AccessToken::new("b").fingerprint());
    }

    #[test]
    fn a_fingerprint_survives_being_written_down() {
        let fingerprint = Fingerprint::of("token");
        assert_eq!(Fingerprint::parse(fingerprint.as_str()), Some(fingerprint));
        assert_eq!(Fingerprint::parse("not one"), None);
    }
}
