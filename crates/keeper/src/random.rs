//! Randomness, for the whole library: ids and jitter. It comes from the system, or from a seed where every run must be
//! the same.

use crate::error::Error;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perennial_core::schedule::Jitter;
use std::sync::{Mutex, PoisonError};

/// Where randomness comes from.
#[derive(Debug, Default)]
pub(crate) struct Random(Option<Mutex<u64>>);

impl Random {
    /// The same ids and the same jitter in every run.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Some(Mutex::new(seed)))
    }

    /// An identifier in the shape of a UUID.
    pub(crate) fn id(&self) -> String {
        uuid(self.draw())
    }

    /// Jitter for a backoff.
    pub(crate) fn jitter(&self) -> Jitter {
        Jitter::new(f64::from(u32::from_le_bytes(self.draw())) / 4_294_967_296.0)
    }

    fn draw<const N: usize>(&self) -> [u8; N] {
        let Some(state) = &self.0 else { return system() };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = [0; N];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&split_mix(&mut state).to_le_bytes()[..part.len()]);
        }
        bytes
    }
}

/// A random identifier in the shape of a UUID (RFC 9562, version 4): for a grant, a request's correlation id, a file.
#[must_use]
pub fn id() -> String {
    uuid(system())
}

/// A secret that nobody can guess: 32 random bytes, as 43 characters that fit into an address (RFC 7636 section 4.1).
///
/// # Errors
/// When the system has no randomness to give: then there is no secret.
pub(crate) fn secret() -> Result<String, Error> {
    let mut bytes = [0_u8; 32];
    let none = |_| Error::Internal("the system gave no randomness".to_owned());
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex =
        |range: std::ops::Range<usize>| bytes[range].iter().map(|b| format!("{b:02x}")).collect::<String>();
    [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}

/// `N` random bytes. Zeros where the system has no randomness to give: ids then repeat, which a store notices, and
/// jitter is least; keys are never made this way.
fn system<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::warn!("the system gave no randomness");
    }
    bytes
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough for jitter in a simulation. Never for secrets.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
