//! What an archive is sealed with. Its own key is random; that is wrapped by a master key, or by one that is made from a
//! passphrase with Argon2id (RFC 9106), slowly on purpose.

use super::ArchiveError;
use crate::seal::{KEY, MasterKey, SealError, Sealer};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use perennial_core::UnixTime;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use zeroize::Zeroizing;

/// What an archive is sealed with.
pub enum ArchiveKey {
    /// A master key, such as a store's.
    Master(MasterKey),
    /// What a person remembers, or another program keeps.
    Passphrase(Zeroizing<String>),
}

impl fmt::Debug for ArchiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master(master) => f.debug_tuple("Master").field(master).finish(),
            Self::Passphrase(_) => f.write_str("Passphrase([redacted])"),
        }
    }
}

impl ArchiveKey {
    /// In words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Master(_) => "master key",
            Self::Passphrase(_) => "passphrase",
        }
    }
}

/// How the archive's key is wrapped.
pub(super) enum Wrapping {
    Master,
    Passphrase { salt: Vec<u8>, cost: Cost },
}

/// What wraps an archive's key, and unwraps it.
pub(super) enum Wrapper {
    Master(MasterKey),
    Stretched(Sealer),
}

impl Wrapper {
    pub(super) fn seal(&self, belongs_to: &str, key: &[u8]) -> Result<Vec<u8>, SealError> {
        match self {
            Self::Master(master) => master.seal(belongs_to, key),
            Self::Stretched(sealer) => sealer.seal(belongs_to, key),
        }
    }

    pub(super) fn open(&self, belongs_to: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        match self {
            Self::Master(master) => master.open(belongs_to, wrapped),
            Self::Stretched(sealer) => sealer.open(belongs_to, wrapped),
        }
    }
}

/// What one guess costs.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    kibibytes: u32,
    passes: u32,
    lanes: u32,
}

/// RFC 9106's second recommendation: 64 MiB, three passes, four lanes.
const COST: Cost = Cost { kibibytes: 64 * 1024, passes: 3, lanes: 4 };
/// An archive that asks for more memory than 1 GiB, or more passes than this, asks too much of its reader.
const DEAREST: Cost = Cost { kibibytes: 1024 * 1024, passes: 64, lanes: 64 };
const SALT: usize = 16;

impl Wrapping {
    /// A new wrapping, and what wraps.
    pub(super) fn new(key: &ArchiveKey) -> Result<(Self, Wrapper), ArchiveError> {
        match key {
            ArchiveKey::Master(master) => {
                master.prepare().map_err(ArchiveError::Key)?;
                Ok((Self::Master, Wrapper::Master(master.clone())))
            }
            ArchiveKey::Passphrase(text) => {
                let mut salt = vec![0; SALT];
                getrandom::fill(&mut salt).map_err(io::Error::other)?;
                let sealer = stretch(text, &salt, COST)?;
                Ok((Self::Passphrase { salt, cost: COST }, Wrapper::Stretched(sealer)))
            }
        }
    }

    /// What unwraps.
    pub(super) fn open(&self, key: &ArchiveKey) -> Result<Wrapper, ArchiveError> {
        match (self, key) {
            (Self::Master, ArchiveKey::Master(master)) => {
                master.read().map_err(ArchiveError::Key)?;
                Ok(Wrapper::Master(master.clone()))
            }
            (Self::Passphrase { salt, cost }, ArchiveKey::Passphrase(text)) => {
                stretch(text, salt, *cost).map(Wrapper::Stretched)
            }
            (Self::Master, _) => Err(ArchiveError::OtherKind("master key")),
            (Self::Passphrase { .. }, _) => Err(ArchiveError::OtherKind("passphrase")),
        }
    }

    pub(super) fn is_passphrase(&self) -> bool {
        matches!(self, Self::Passphrase { .. })
    }
}

fn stretch(text: &str, salt: &[u8], cost: Cost) -> Result<Sealer, ArchiveError> {
    let params = Params::new(cost.kibibytes, cost.passes, cost.lanes, Some(KEY));
    let params = params.map_err(|_| ArchiveError::Damaged(0))?;
    let mut key = Zeroizing::new([0; KEY]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(text.as_bytes(), salt, key.as_mut())
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Sealer::with_key(&key))
}

/// What the wrapped key belongs to.
pub(super) fn place(archive: &str) -> String {
    json!(["archive", archive, "key"]).to_string()
}

/// An archive's second line.
pub(super) struct Header {
    pub(super) archive: String,
    pub(super) made_at: UnixTime,
    pub(super) wrapping: Wrapping,
    pub(super) wrapped: Vec<u8>,
}

impl Header {
    pub(super) fn write(&self) -> String {
        let key = match &self.wrapping {
            Wrapping::Master => json!({"kind": "master_key"}),
            Wrapping::Passphrase { salt, cost } => json!({
                "kind": "passphrase", "function": "argon2id", "salt": BASE64.encode(salt),
                "kibibytes": cost.kibibytes, "passes": cost.passes, "lanes": cost.lanes,
            }),
        };
        json!({
            "archive": self.archive,
            "made_at": self.made_at.0,
            "key": key,
            "wrapped": BASE64.encode(&self.wrapped),
        })
        .to_string()
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let header: Value = serde_json::from_str(text).ok()?;
        let key = header.get("key")?;
        let bytes = |value: Option<&Value>| BASE64.decode(value?.as_str()?).ok();
        let wrapping = match key.get("kind")?.as_str()? {
            "master_key" => Wrapping::Master,
            "passphrase" => {
                let number = |name: &str, most: u32| {
                    let number = key.get(name)?.as_u64().and_then(|number| u32::try_from(number).ok())?;
                    (number <= most).then_some(number)
                };
                let cost = Cost {
                    kibibytes: number("kibibytes", DEAREST.kibibytes)?,
                    passes: number("passes", DEAREST.passes)?,
                    lanes: number("lanes", DEAREST.lanes)?,
                };
                Wrapping::Passphrase { salt: bytes(key.get("salt"))?, cost }
            }
            _ => return None,
        };
        Some(Self {
            archive: header.get("archive")?.as_str()?.to_owned(),
            made_at: UnixTime(header.get("made_at")?.as_i64()?),
            wrapping,
            wrapped: bytes(header.get("wrapped"))?,
        })
    }
}
