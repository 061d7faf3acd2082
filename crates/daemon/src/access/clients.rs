//! Client keys. The file holds their hashes, never the keys: it can be laid on many machines by whatever lays files
//! there. A key is 256 bits of randomness, so that one SHA-256 protects it as well as any slow hash would.

use super::Caller;
use crate::config::{Glob, Methods, Right};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perennial::core::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use subtle::ConstantTimeEq as _;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// What every key begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "perennial_";

/// A client key. It is shown once, when it is made.
#[derive(Clone)]
pub struct Key {
    id: String,
    whole: Zeroizing<String>,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make() -> io::Result<Self> {
        let (mut id, mut secret) = ([0_u8; 6], Zeroizing::new([0_u8; 32]));
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        getrandom::fill(secret.as_mut()).map_err(io::Error::other)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let whole = Zeroizing::new(format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret.as_ref())));
        Ok(Self { id, whole })
    }

    /// Reads one that somebody shows; `None` when it has not the form of a key.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let good = id.len() == 12 && secret.len() == 43 && secret.chars().all(plain);
        good.then(|| Self { id: id.to_owned(), whole: Zeroizing::new(text.to_owned()) })
    }

    /// The key itself, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.whole
    }

    fn hash(&self) -> String {
        Sha256::digest(self.whole.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} [redacted])", self.id)
    }
}

/// A client, as the file holds it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Client {
    /// What people call it.
    pub name: String,
    /// The part of its key that may be shown.
    pub key_id: String,
    /// SHA-256 of the key, in hexadecimal.
    pub key_hash: String,
    /// What it may do.
    pub may: Vec<Right>,
    /// With which connections.
    pub allow: Vec<Glob>,
    /// Which requests may be forwarded for it; all where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward: Vec<Methods>,
    /// When it was made: seconds since 1970.
    pub created_at: i64,
    /// When its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

#[derive(Default, Deserialize, Serialize)]
struct Document {
    clients: Vec<Client>,
}

/// Why the file of client keys could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientsError {
    /// There is a client of that name.
    #[error("there is a client named \"{0}\" already")]
    NameTaken(String),
    /// There is no client of that name.
    #[error("there is no client named \"{0}\"")]
    NoSuchClient(String),
    /// It is there and cannot be understood; it has not been touched.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operating system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What tells one file from another at the same place: its number and when it was written.
pub(crate) type Mark = (u64, SystemTime);

/// The file of client keys.
#[derive(Clone, Debug)]
pub struct ClientFile {
    path: PathBuf,
}

impl ClientFile {
    /// The file at `path`, which need not be there yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every client, revoked ones too.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn clients(&self) -> Result<Vec<Client>, ClientsError> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                serde_json::from_slice::<Document>(&bytes).map(|document| document.clients).map_err(|error| {
                    ClientsError::Unreadable { path: self.path.clone(), reason: error.to_string() }
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.io("read")(error)),
        }
    }

    /// Takes a client in, and returns its key, which nobody can tell again.
    ///
    /// # Errors
    /// When the name is taken, or the file cannot be written.
    pub fn add(&self, client: NewClient, now: UnixTime) -> Result<Key, ClientsError> {
        let key = Key::make().map_err(self.io("make a key for"))?;
        let client = Client {
            key_id: key.id.clone(),
            key_hash: key.hash(),
            name: client.name,
            may: client.may,
            allow: client.allow,
            forward: client.forward,
            created_at: now.0,
            expires_at: client.expires_at.map(|at| at.0),
            revoked_at: None,
        };
        self.change(|clients| {
            if clients.iter().any(|other| other.name == client.name && other.revoked_at.is_none()) {
                return Err(ClientsError::NameTaken(client.name.clone()));
            }
            clients.push(client.clone());
            Ok(())
        })?;
        Ok(key)
    }

    /// Takes every right from a client.
    ///
    /// # Errors
    /// When there is none of that name, or the file cannot be written.
    pub fn revoke(&self, name: &str, now: UnixTime) -> Result<(), ClientsError> {
        self.change(|clients| {
            let found = clients.iter_mut().find(|client| client.name == name && client.revoked_at.is_none());
            let client = found.ok_or_else(|| ClientsError::NoSuchClient(name.to_owned()))?;
            client.revoked_at = Some(now.0);
            Ok(())
        })
    }

    /// When each key was last used, by its id, as the daemon has written it down.
    #[must_use]
    pub fn uses(&self) -> BTreeMap<String, i64> {
        let bytes = fs::read(self.uses_path()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Writes down when keys were last used.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn put_uses(&self, registry: &Registry) -> Result<(), ClientsError> {
        let mut uses = self.uses();
        for (id, known) in &registry.by_id {
            let last = known.caller.last_used();
            if last > 0 {
                let entry = uses.entry(id.clone()).or_default();
                *entry = last.max(*entry);
            }
        }
        let bytes = serde_json::to_vec_pretty(&uses).unwrap_or_default();
        self.write(&self.uses_path(), &bytes)
    }

    /// The clients whose keys are good.
    pub(crate) fn registry(&self) -> Result<Registry, ClientsError> {
        Ok(Registry::of(self.clients()?))
    }

    /// What tells that the file is another one now.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.ino(), metadata.modified().ok()?))
    }

    fn uses_path(&self) -> PathBuf {
        self.path.with_extension("used.json")
    }

    /// One change at a time: whoever else wants to change it waits.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Client>) -> Result<(), ClientsError>,
    ) -> Result<(), ClientsError> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(self.io("make the directory of"))?;
        }
        let lock = File::create(self.path.with_extension("lock")).map_err(self.io("lock"))?;
        if let Some(dir) = self.path.parent() {
            give_to_owner_of(dir, &lock).map_err(self.io("lock"))?;
        }
        lock.lock().map_err(self.io("lock"))?;
        let mut clients = self.clients()?;
        change(&mut clients)?;
        let mut bytes = serde_json::to_vec_pretty(&Document { clients }).unwrap_or_default();
        bytes.push(b'\n');
        self.write(&self.path, &bytes)
    }

    /// Whole or not at all, and durable. Hashes are no secrets, but nobody else's business either.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ClientsError> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mode = fs::metadata(path).map_or(0o640, |metadata| metadata.permissions().mode() & 0o777);
        let written = || {
            let mut file = NamedTempFile::new_in(dir)?;
            file.write_all(bytes)?;
            file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
            give_to_owner_of(dir, file.as_file())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(dir)?.sync_all()
        };
        written().map_err(self.io("write"))
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> ClientsError {
        let path = self.path.clone();
        move |source| ClientsError::Io { action, path, source }
    }
}

/// Root makes keys for a daemon of another user, which must be able to read them.
fn give_to_owner_of(dir: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(if dir.as_os_str().is_empty() { Path::new(".") } else { dir })?;
    std::os::unix::fs::fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// What a new client may do.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub may: Vec<Right>,
    /// With which connections.
    pub allow: Vec<Glob>,
    /// Which requests may be forwarded for it.
    pub forward: Vec<Methods>,
    /// When its time is over.
    pub expires_at: Option<UnixTime>,
}

/// The clients whose keys are good, by the id of their key.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    by_id: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    hash: String,
    caller: Arc<Caller>,
}

impl Registry {
    fn of(clients: Vec<Client>) -> Self {
        let good = clients.into_iter().filter(|client| client.revoked_at.is_none());
        let known = |client: Client| {
            let expires_at = client.expires_at.map(UnixTime);
            let caller = Caller::new(client.name, client.may, client.allow, client.forward, expires_at);
            (client.key_id, Known { hash: client.key_hash, caller: Arc::new(caller) })
        };
        Self { by_id: good.map(known).collect() }
    }

    /// Whose key it is, if it is good.
    pub(crate) fn find(&self, key: &Key, now: UnixTime) -> Option<Arc<Caller>> {
        let known = self.by_id.get(&key.id)?;
        let is_right = bool::from(known.hash.as_bytes().ct_eq(key.hash().as_bytes()));
        (is_right && known.caller.is_good_at(now)).then(|| Arc::clone(&known.caller))
    }

    pub(super) fn remember_uses_of(&self, before: &Self) {
        for (id, known) in &self.by_id {
            if let Some(earlier) = before.by_id.get(id) {
                known.caller.note_use(UnixTime(earlier.caller.last_used()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn new_client(name: &str, expires_at: Option<UnixTime>) -> NewClient {
        let allow = vec!["acme*".parse().unwrap()];
        NewClient { name: name.to_owned(), may: vec![Right::Token], allow, forward: Vec::new(), expires_at }
    }

    #[test]
    fn a_key_is_shown_once_kept_as_a_hash_and_good_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let file = ClientFile::at(dir.path().join("sub/clients.json"));
        let key = file.add(new_client("billing", None), NOW).unwrap();
        let kept = fs::read_to_string(file.path()).unwrap();
        assert!(!kept.contains(key.expose()) && !format!("{key:?}").contains(&key.expose()[30..]));
        let shown = Key::read(key.expose()).unwrap();
        assert_eq!(file.registry().unwrap().find(&shown, NOW).unwrap().name, "billing");

        let mut other = key.expose().to_owned();
        other.replace_range(other.len() - 1.., if other.ends_with('A') { "B" } else { "A" });
        assert!(file.registry().unwrap().find(&Key::read(&other).unwrap(), NOW).is_none());

        assert!(matches!(file.add(new_client("billing", None), NOW), Err(ClientsError::NameTaken(_))));
        file.revoke("billing", NOW).unwrap();
        assert!(file.registry().unwrap().find(&shown, NOW).is_none());
        assert!(matches!(file.revoke("billing", NOW), Err(ClientsError::NoSuchClient(_))));
        file.add(new_client("billing", None), NOW).unwrap();
    }

    #[test]
    fn a_key_ends_with_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = ClientFile::at(dir.path().join("clients.json"));
        let key = file.add(new_client("trial", Some(NOW.plus(60))), NOW).unwrap();
        let registry = file.registry().unwrap();
        assert!(registry.find(&key, NOW.plus(59)).is_some() && registry.find(&key, NOW.plus(60)).is_none());
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clients.json");
        fs::write(&path, "{\"clients\": [").unwrap();
        let file = ClientFile::at(&path);
        assert!(matches!(file.add(new_client("x", None), NOW), Err(ClientsError::Unreadable { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"clients\": [");
    }
}
