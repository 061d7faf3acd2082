//! A client secret. It is sealed for one version of one app, so that it opens nowhere else; and what becomes of it when
//! somebody brings another one.

use super::Unsealed;
use super::keys::Keys;
use crate::seal::SealError;
use perennial_core::secret::ClientSecret;

/// What becomes of an app's client secret when a new connection brings another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The new one is in force: a person has just typed it.
    Replaced,
    /// The connection is refused: one wrong row of a list would be wrong for all connections of the app.
    Kept,
}

/// The place of a client secret: an app, and which of its secrets.
#[derive(Clone, Debug)]
pub(crate) struct SecretPlace {
    pub(crate) tenant: String,
    pub(crate) profile: String,
    pub(crate) client: String,
    /// The number of the app.
    pub(crate) app: i64,
    /// Grows with each new secret.
    pub(crate) version: i64,
}

impl SecretPlace {
    /// Seals it under the key that is in force.
    pub(crate) fn seal(&self, keys: &Keys, secret: &ClientSecret) -> Result<String, SealError> {
        self.with_names(|names| keys.seal(names, secret.expose().as_bytes()))
    }

    /// Opens what was sealed for this place under key number `key`.
    pub(crate) fn open(&self, keys: &Keys, key: i64, sealed: &str) -> Result<ClientSecret, Unsealed> {
        let altered = || Unsealed::app(&self.client);
        let plain = self.with_names(|names| keys.open_sealed(key, names, sealed)).map_err(|_| altered())?;
        Ok(ClientSecret::new(std::str::from_utf8(&plain).map_err(|_| altered())?))
    }

    fn with_names<T>(&self, use_them: impl FnOnce(&[&str]) -> T) -> T {
        let (app, version) = (self.app.to_string(), self.version.to_string());
        use_them(&["app", &self.tenant, &self.profile, &self.client, &app, &version])
    }
}
