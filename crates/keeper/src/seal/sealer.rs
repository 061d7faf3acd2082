//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) under a key that is at hand. The nonce is drawn anew each time: 192 bits
//! of it, so that no count has to be kept.

use super::SealError;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use std::io;
use zeroize::Zeroizing;

/// What every text begins with that is sealed under a data key; the number changes with the format.
pub(super) const HEADER: &[u8] = b"perennial sealed 1\n";
const NONCE: usize = 24;

/// How long a key is.
pub(crate) const KEY: usize = 32;

/// Seals and opens. Its key is wiped when it is dropped.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// With a key that is at hand.
    pub(crate) fn with_key(key: &[u8; KEY]) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(*key)))
    }

    pub(crate) fn seal(&self, belongs_to: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok([HEADER, &self.encrypt(belongs_to.as_bytes(), plain)?].concat())
    }

    pub(crate) fn open(&self, belongs_to: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let rest = sealed.strip_prefix(HEADER).ok_or(SealError::Foreign)?;
        self.decrypt(belongs_to.as_bytes(), rest)
    }

    /// The nonce, and the sealed text.
    pub(super) fn encrypt(&self, belongs_to: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let payload = Payload { msg: plain, aad: belongs_to };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Closed)?;
        Ok([&nonce, sealed.as_slice()].concat())
    }

    pub(super) fn decrypt(&self, belongs_to: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Foreign)?;
        let payload = Payload { msg: text, aad: belongs_to };
        self.0.decrypt(&XNonce::from(*nonce), payload).map(Zeroizing::new).map_err(|_| SealError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let sealer = Sealer::with_key(&[7; KEY]);
        let sealed = sealer.seal("here", b"canary").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_eq!(sealer.open("here", &sealed).unwrap().as_slice(), b"canary");
        assert!(matches!(sealer.open("there", &sealed), Err(SealError::Closed)));
        assert!(matches!(Sealer::with_key(&[8; KEY]).open("here", &sealed), Err(SealError::Closed)));
        let mut altered = sealed.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(matches!(sealer.open("here", &altered), Err(SealError::Closed)));
        assert!(matches!(sealer.open("here", b"scribble"), Err(SealError::Foreign)));
    }
}
