//! An archive's second line: which archive it is, and its own key, which a master key wraps.

use super::ArchiveError;
use crate::seal::{KeySource, MasterKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use perennial_core::UnixTime;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub(super) struct Header {
    pub(super) archive: String,
    made_at: UnixTime,
    /// True when the master key is one that a passphrase makes.
    pub(super) is_passphrase: bool,
    wrapped: Vec<u8>,
}

impl Header {
    /// Of a new archive, whose key this is.
    pub(super) fn new(
        archive: String,
        made_at: UnixTime,
        key: &[u8],
        master: &MasterKey,
    ) -> Result<Self, ArchiveError> {
        let wrapped = master.seal(&place(&archive), key).map_err(ArchiveError::Key)?;
        Ok(Self { archive, made_at, is_passphrase: is_passphrase(master), wrapped })
    }

    /// The archive's key.
    pub(super) fn unwrap(&self, master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
        if is_passphrase(master) != self.is_passphrase {
            return Err(ArchiveError::OtherKind(kind(self.is_passphrase)));
        }
        master.read().map_err(ArchiveError::Key)?;
        let key = master.open(&place(&self.archive), &self.wrapped);
        key.map_err(|_| ArchiveError::WrongKey(kind(self.is_passphrase)))
    }

    pub(super) fn write(&self) -> String {
        json!({
            "archive": self.archive,
            "made_at": self.made_at.0,
            "key": kind(self.is_passphrase),
            "wrapped": BASE64.encode(&self.wrapped),
        })
        .to_string()
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let header: Value = serde_json::from_str(text).ok()?;
        let is_passphrase = match header.get("key")?.as_str()? {
            "master key" => false,
            "passphrase" => true,
            _ => return None,
        };
        Some(Self {
            archive: header.get("archive")?.as_str()?.to_owned(),
            made_at: UnixTime(header.get("made_at")?.as_i64()?),
            is_passphrase,
            wrapped: BASE64.decode(header.get("wrapped")?.as_str()?).ok()?,
        })
    }
}

fn is_passphrase(master: &MasterKey) -> bool {
    *master.source() == KeySource::Passphrase
}

fn kind(is_passphrase: bool) -> &'static str {
    if is_passphrase { "passphrase" } else { "master key" }
}

/// What the wrapped key belongs to.
fn place(archive: &str) -> String {
    json!(["archive", archive, "key"]).to_string()
}
