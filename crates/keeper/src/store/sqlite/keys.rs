//! How a database is sealed: a data key of its own, wrapped by the master key. What is sealed under it names the store
//! and the very place it belongs to, so that it opens nowhere else.

use super::place::Place;
use crate::random;
use crate::seal::{KEY, KeySource, SealError, Sealer};
use crate::store::StoreError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde_json::json;
use std::io;
use zeroize::Zeroizing;

/// Seals what one database holds.
pub(super) struct Keys {
    store: String,
    data: Sealer,
}

/// What a new database keeps of its keys.
pub(super) struct NewKeys {
    /// The store's id.
    pub(super) store: String,
    /// The data key, wrapped.
    pub(super) wrapped: Vec<u8>,
}

impl Keys {
    /// Draws a data key and wraps it. The master key is made if it is not there.
    pub(super) fn make(place: &Place, source: &KeySource) -> Result<NewKeys, StoreError> {
        let closed = |error| closed(place, source, error);
        let master = Sealer::from_source(source).map_err(closed)?;
        let store = random::id();
        let mut key = Zeroizing::new([0; KEY]);
        getrandom::fill(key.as_mut()).map_err(|error| closed(io::Error::other(error).into()))?;
        let wrapped = master.seal(&wrapping(&store), key.as_ref()).map_err(closed)?;
        Ok(NewKeys { store, wrapped })
    }

    /// Unwraps the data key of a database that is there. No master key is made: it could not open this one.
    pub(super) fn open(
        place: &Place,
        source: &KeySource,
        store: String,
        wrapped: &[u8],
    ) -> Result<Self, StoreError> {
        let closed = |error| closed(place, source, error);
        let master = Sealer::from_existing(source).map_err(closed)?;
        let key = master.open(&wrapping(&store), wrapped).map_err(closed)?;
        let key: &[u8; KEY] =
            key.as_slice().try_into().map_err(|_| place.damaged("its data key is of another length"))?;
        Ok(Self { data: Sealer::with_key(key), store })
    }

    /// Seals `plain` for this place, in characters that JSON takes.
    pub(super) fn seal(&self, place: &[&str], plain: &[u8]) -> Result<String, SealError> {
        Ok(BASE64.encode(self.data.seal(&self.names(place), plain)?))
    }

    /// Opens what [`Self::seal`] sealed for the same place.
    pub(super) fn open_sealed(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let sealed = BASE64.decode(sealed).map_err(|_| SealError::Foreign)?;
        self.data.open(&self.names(place), &sealed)
    }

    /// As a list in JSON, so that no two places have one name.
    fn names(&self, place: &[&str]) -> String {
        json!([self.store, place]).to_string()
    }
}

fn wrapping(store: &str) -> String {
    json!([store, "data key"]).to_string()
}

fn closed(place: &Place, source: &KeySource, error: SealError) -> StoreError {
    let reason = match error {
        SealError::Closed | SealError::Foreign => {
            format!("the master key {source} is not the one that it was sealed under")
        }
        SealError::DamagedKey => {
            format!("the master key {source} is damaged: it must be 64 hexadecimal digits")
        }
        SealError::Io(error) => format!("the master key {source} could not be read or made: {error}"),
        SealError::NoKey(_) => {
            format!("the master key {source} is not there; put it back from where you keep a copy")
        }
        other => other.to_string(),
    };
    place.closed(reason)
}
