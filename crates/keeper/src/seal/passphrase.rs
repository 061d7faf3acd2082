//! A passphrase as a master key: stretched with argon2id (RFC 9106). How much it was stretched, and its salt, stand in
//! the open with whatever was sealed, so that later versions can ask for more and still open this.

use super::master::Key;
use super::{KEY, SealError};
use argon2::{Algorithm, Argon2, Params, Version};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

const SALT: usize = 16;

/// RFC 9106, section 4, the second recommended option: 64 MiB, three passes, four lanes.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;

/// What is asked for more than this was written by somebody who wants us to stand still: 4 GiB, 64 passes.
const MOST: [u32; 3] = [4 * 1024 * 1024, 64, 64];

/// How a passphrase becomes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretching {
    /// In KiB.
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT],
}

impl Stretching {
    /// What this version asks for, with a salt of its own.
    fn draw() -> Result<Self, SealError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        Ok(Self { memory: MEMORY, passes: PASSES, lanes: LANES, salt })
    }

    /// True when it asks for no less than this version does.
    fn is_enough(&self) -> bool {
        self.memory >= MEMORY && self.passes >= PASSES
    }

    /// As it stands in a header: `argon2id m=65536,t=3,p=4 SALT`.
    pub(super) fn write(&self) -> String {
        let Self { memory, passes, lanes, salt } = self;
        let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("argon2id m={memory},t={passes},p={lanes} {salt}")
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (costs, digits) = text.strip_prefix("argon2id ")?.split_once(' ')?;
        let mut costs = costs.split(',');
        let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok();
        let (memory, passes, lanes) = (cost("m")?, cost("t")?, cost("p")?);
        let mut salt = [0; SALT];
        if digits.len() != 2 * SALT || !digits.is_ascii() {
            return None;
        }
        for (byte, pair) in salt.iter_mut().zip(0..) {
            *byte = u8::from_str_radix(digits.get(2 * pair..2 * pair + 2)?, 16).ok()?;
        }
        let is_bearable = [memory, passes, lanes].iter().zip(MOST).all(|(asked, most)| *asked <= most);
        is_bearable.then_some(Self { memory, passes, lanes, salt })
    }

    fn stretch(&self, passphrase: &str) -> Result<Key, SealError> {
        let foreign = |_| SealError::Foreign;
        let params = Params::new(self.memory, self.passes, self.lanes, Some(KEY)).map_err(foreign)?;
        let mut key = Zeroizing::new([0; KEY]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut()).map_err(foreign)?;
        Ok(Key::new(&key))
    }
}

/// A passphrase, and the keys that it was stretched to: that takes a tenth of a second each.
pub(super) struct Passphrase {
    text: Zeroizing<String>,
    keys: Mutex<Vec<(Stretching, Arc<Key>)>>,
    /// True when something has been opened with it.
    is_proven: AtomicBool,
}

impl Passphrase {
    pub(super) fn new(text: Zeroizing<String>) -> Self {
        Self { text, keys: Mutex::default(), is_proven: AtomicBool::new(false) }
    }

    /// The key for something that was sealed before.
    pub(super) fn key(&self, stretching: &Stretching) -> Result<Arc<Key>, SealError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = keys.iter().find(|(known, _)| known == stretching) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(stretching.stretch(&self.text)?);
        keys.push((stretching.clone(), Arc::clone(&key)));
        Ok(key)
    }

    /// The key to seal with: one that is known already, so that a store and its rescue files share one.
    pub(super) fn newest(&self) -> Result<(Stretching, Arc<Key>), SealError> {
        let known = {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().find(|(stretching, _)| stretching.is_enough()).cloned()
        };
        match known {
            Some(known) => Ok(known),
            None => {
                let stretching = Stretching::draw()?;
                let key = self.key(&stretching)?;
                Ok((stretching, key))
            }
        }
    }

    /// True when what was stretched so needs no other key for being new.
    pub(super) fn is_newest(&self, stretching: &Stretching) -> bool {
        stretching.is_enough()
    }

    /// It has opened something: it is the right one.
    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_and_salt_are_read_as_they_are_written() {
        let stretching = Stretching::draw().unwrap();
        let text = stretching.write();
        assert!(text.starts_with("argon2id m=65536,t=3,p=4 "), "{text}");
        assert_eq!(Stretching::read(&text), Some(stretching));
        for text in [
            "argon2id m=65536,t=3,p=4",
            "argon2id m=65536,t=3,p=4 00",
            "argon2i m=65536,t=3,p=4 00112233445566778899aabbccddeeff",
            "argon2id m=4294967295,t=3,p=4 00112233445566778899aabbccddeeff",
        ] {
            assert_eq!(Stretching::read(text), None, "{text}");
        }
    }
}
