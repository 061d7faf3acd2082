//! Identifiers and secrets: UUID-shaped, drawn from a seed, so that two runs with one seed issue the same values.

use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write as _;

/// Where all identifiers of one sandbox come from.
#[derive(Clone)]
pub(crate) struct Seed(Vec<u8>);

/// One stream of identifiers. Each purpose has its own, so that one does not disturb the order of another.
pub(crate) struct Ids {
    seed: Seed,
    label: &'static str,
    drawn: u64,
}

impl Seed {
    pub(crate) fn new(seed: Option<u64>) -> Result<Seed, getrandom::Error> {
        if let Some(seed) = seed {
            return Ok(Seed(seed.to_be_bytes().to_vec()));
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        Ok(Seed(random.to_vec()))
    }

    pub(crate) fn stream(&self, label: &'static str) -> Ids {
        Ids { seed: self.clone(), label, drawn: 0 }
    }

    /// The bytes that belong to this label and this number, and to no other.
    pub(crate) fn bytes(&self, label: &str, number: u64) -> [u8; 32] {
        let mut input = self.0.clone();
        input.extend_from_slice(label.as_bytes());
        input.extend_from_slice(&number.to_be_bytes());
        sha256(&input)
    }
}

impl Ids {
    /// The next identifier, in the shape of a version 4 UUID.
    pub(crate) fn next(&mut self) -> String {
        let mut bytes = self.seed.bytes(self.label, self.drawn);
        self.drawn += 1;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().take(16).enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

pub(crate) fn sha256(input: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    output.copy_from_slice(digest(&SHA256, input).as_ref());
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_ids_and_each_label_its_own() {
        let seed = Seed::new(Some(7)).unwrap();
        let (mut one, mut same, mut other) = (seed.stream("a"), seed.stream("a"), seed.stream("b"));
        let first = one.next();
        assert_eq!(first, same.next());
        assert_ne!(first, other.next());
        assert_ne!(first, one.next());
        assert_eq!(first.len(), 36);
        assert_eq!(&first[14..15], "4");
    }
}
