//! The data keys of a store, each wrapped by the master key. The newest seals; every one opens, so that a store is
//! sealed anew row by row. What is sealed names the store and the very place it belongs to, and opens nowhere else.

use crate::random;
use crate::seal::{KEY, MasterKey, SealError, Sealer, key_named_in};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use zeroize::Zeroizing;

/// The number of a store's first data key.
pub(crate) const FIRST: i64 = 1;

/// A data key as a store keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Wrapped {
    /// Rows name their key by it. It grows from key to key.
    pub(crate) number: i64,
    /// The key, sealed under the master key.
    pub(crate) key: Vec<u8>,
}

impl Wrapped {
    /// Draws a data key. The master key is made if it is not there.
    pub(crate) fn draw(master: &MasterKey, store: &str, number: i64) -> Result<Self, SealError> {
        let mut key = Zeroizing::new([0; KEY]);
        getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
        Ok(Self { number, key: master.seal(&wrapping(store, number), key.as_ref())? })
    }

    /// The same key, wrapped by the newest master key.
    pub(crate) fn rewrapped(&self, master: &MasterKey, store: &str) -> Result<Self, SealError> {
        let key = self.unwrap(master, store)?;
        Ok(Self { number: self.number, key: master.seal(&wrapping(store, self.number), &key)? })
    }

    /// The id of the master key that wraps it; `None` where that was never written down.
    pub(crate) fn master_key(&self) -> Option<String> {
        key_named_in(&self.key)
    }

    fn unwrap(&self, master: &MasterKey, store: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        master.open(&wrapping(store, self.number), &self.key)
    }
}

/// What a new store keeps of its keys.
pub(crate) struct NewKeys {
    /// The store's id.
    pub(crate) store: String,
    /// Its first data key.
    pub(crate) first: Wrapped,
}

/// The data keys of one store, unwrapped.
pub(crate) struct Keys {
    store: String,
    ring: BTreeMap<i64, Sealer>,
    current: (i64, Sealer),
}

impl Keys {
    /// Draws a store's id and its first data key. The master key is made if it is not there.
    pub(crate) fn make(master: &MasterKey) -> Result<NewKeys, SealError> {
        let store = random::id();
        let first = Wrapped::draw(master, &store, FIRST)?;
        Ok(NewKeys { store, first })
    }

    /// Unwraps the data keys of a store that is there. No master key is made: it could not open this one.
    pub(crate) fn open(master: &MasterKey, store: &str, wrapped: &[Wrapped]) -> Result<Self, SealError> {
        let mut ring = BTreeMap::new();
        for data_key in wrapped {
            let key = data_key.unwrap(master, store)?;
            let key: &[u8; KEY] = key.as_slice().try_into().map_err(|_| SealError::Foreign)?;
            ring.insert(data_key.number, Sealer::with_key(key));
        }
        let current = ring.pop_last().ok_or(SealError::Foreign)?;
        Ok(Self { store: store.to_owned(), ring, current })
    }

    /// The store's id.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// The number of the key that seals.
    pub(crate) fn current(&self) -> i64 {
        self.current.0
    }

    /// Seals `plain` for this place under the current key, in characters that JSON takes.
    pub(crate) fn seal(&self, place: &[&str], plain: &[u8]) -> Result<String, SealError> {
        Ok(BASE64.encode(self.current.1.seal(&self.names(place), plain)?))
    }

    /// Opens what was sealed for the same place under key number `key`.
    pub(crate) fn open_sealed(
        &self,
        key: i64,
        place: &[&str],
        sealed: &str,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (current, newest) = &self.current;
        let sealer = if key == *current { Some(newest) } else { self.ring.get(&key) };
        let sealed = BASE64.decode(sealed).map_err(|_| SealError::Foreign)?;
        sealer.ok_or(SealError::Closed)?.open(&self.names(place), &sealed)
    }

    /// As a list in JSON, so that no two places have one name.
    fn names(&self, place: &[&str]) -> String {
        json!([self.store, place]).to_string()
    }
}

/// What a wrapped key belongs to. The first one's place is without a number: it is older than numbers are.
fn wrapping(store: &str, number: i64) -> String {
    if number == FIRST { json!([store, "data key"]) } else { json!([store, "data key", number]) }.to_string()
}
