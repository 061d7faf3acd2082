//! Randomness, for the whole library: ids and jitter.

use perennial_core::schedule::Jitter;

/// A random identifier in the shape of a UUID (RFC 9562, version 4): for a grant, a request's correlation id, a file.
#[must_use]
pub fn id() -> String {
    let mut bytes: [u8; 16] = draw();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex =
        |range: std::ops::Range<usize>| bytes[range].iter().map(|b| format!("{b:02x}")).collect::<String>();
    [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}

/// Jitter for a backoff.
pub(crate) fn jitter() -> Jitter {
    Jitter::new(f64::from(u32::from_le_bytes(draw())) / 4_294_967_296.0)
}

/// `N` random bytes. Zeros where the system has no randomness to give: ids then repeat, which a store notices, and
/// jitter is least; keys are never made this way.
fn draw<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::warn!("the system gave no randomness");
    }
    bytes
}
