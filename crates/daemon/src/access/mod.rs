//! Who asks, and what they may do. Over TCP a client key says who; over the unix socket the kernel does, by uid and
//! gid, unless a key is shown there too.
//!
//! | file | what it answers |
//! |---|---|
//! | `mod.rs` | who asks |
//! | `caller` | what they may do |
//! | [`clients`] | the file of client keys |
//! | `peers` | users and groups of the unix socket |
//! | `failures` | who has failed too often |
//! | `addressed` | whom a request is addressed to, and which page it comes from |

mod addressed;
mod caller;
pub mod clients;
mod failures;
mod peers;

pub(crate) use addressed::Names;
pub(crate) use caller::Caller;
pub(crate) use failures::{Failures, network};
pub(crate) use peers::Peers;

use crate::config::Config;
use crate::problem::Problem;
use clients::{ClientFile, Key, Mark, Registry};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use perennial::core::UnixTime;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// From this address.
    Tcp(IpAddr),
    /// From a process of this user and group.
    Unix { uid: u32, gid: u32 },
}

/// Knows who may do what.
#[derive(Debug)]
pub(crate) struct Doorman {
    registry: RwLock<Arc<Registry>>,
    peers: RwLock<Arc<Peers>>,
    names: RwLock<Arc<Names>>,
    failures: Failures,
    /// Where client keys stand, and what the file was when it was read last.
    file: Option<(ClientFile, Mutex<Option<Mark>>)>,
    /// Grows whenever somebody may have lost a right: what was remembered before is asked anew.
    edition: AtomicU64,
}

/// What was found good on a connection, remembered from one request to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    edition: u64,
    /// Host and Origin.
    addressed: Option<[Option<HeaderValue>; 2]>,
    /// What was shown, and who shows that.
    caller: Option<(Vec<u8>, Arc<Caller>)>,
}

impl Memory {
    /// What was remembered before anybody may have lost a right is asked anew.
    fn bring_to(&mut self, edition: u64) {
        if self.edition != edition {
            *self = Self { edition, ..Self::default() };
        }
    }
}

impl Doorman {
    pub(crate) fn new(config: &Config, file: Option<ClientFile>) -> Result<Self, String> {
        let mark = file.as_ref().and_then(ClientFile::mark);
        let registry = match &file {
            Some(file) => file.registry().map_err(|error| error.to_string())?,
            None => Registry::default(),
        };
        Ok(Self {
            registry: RwLock::new(Arc::new(registry)),
            file: file.map(|file| (file, Mutex::new(mark))),
            peers: RwLock::new(Arc::new(Peers::new(&config.access.peer)?)),
            names: RwLock::new(Arc::new(Names::new(&config.listen))),
            failures: Failures::new(config.access.failures_per_minute),
            edition: AtomicU64::new(1),
        })
    }

    /// Takes a new configuration over. Nothing changes where it is wrong.
    pub(crate) fn reload(&self, config: &Config) -> Result<(), String> {
        let peers = Peers::new(&config.access.peer)?;
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(peers);
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Names::new(&config.listen));
        self.failures.allow(config.access.failures_per_minute);
        self.edition.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Takes the client keys over where the file is another one than before; their last uses stay. A file that cannot be
    /// read changes nothing.
    pub(crate) fn look_for_keys(&self) {
        let Some((file, mark)) = &self.file else { return };
        let mut mark = mark.lock().unwrap_or_else(PoisonError::into_inner);
        let now = file.mark();
        if *mark == now {
            return;
        }
        *mark = now;
        match file.registry() {
            Ok(registry) => {
                let mut kept = self.registry.write().unwrap_or_else(PoisonError::into_inner);
                registry.remember_uses_of(&kept);
                *kept = Arc::new(registry);
                self.edition.fetch_add(1, Ordering::AcqRel);
                tracing::info!("client keys read anew");
            }
            Err(error) => tracing::error!(%error, "client keys stay as they were"),
        }
    }

    /// Writes down when keys were last used. Nobody fails for that.
    pub(crate) fn put_uses(&self) {
        if let Some((file, _)) = &self.file
            && let Err(error) = file.put_uses(&self.registry())
        {
            tracing::warn!(%error, "when client keys were last used could not be written down");
        }
    }

    fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses a request that is addressed to somebody else, or that a foreign web page has made.
    pub(crate) fn check_address(
        &self,
        from: &From,
        headers: &HeaderMap,
        memory: &mut Memory,
    ) -> Result<(), Problem> {
        memory.bring_to(self.edition.load(Ordering::Acquire));
        let shown = [headers.get(HOST), headers.get(ORIGIN)];
        if memory.addressed.as_ref().is_some_and(|known| known.each_ref().map(Option::as_ref) == shown) {
            return Ok(());
        }
        let names = Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner));
        names.check(from, headers)?;
        memory.addressed = Some(shown.map(Option::<&HeaderValue>::cloned));
        Ok(())
    }

    /// Who asks. What a connection has shown before is only compared, in a time that says nothing of where it differs.
    pub(crate) fn caller(
        &self,
        from: &From,
        headers: &HeaderMap,
        memory: &mut Memory,
        now: UnixTime,
    ) -> Result<Arc<Caller>, Problem> {
        memory.bring_to(self.edition.load(Ordering::Acquire));
        let shown = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        if let Some((known, caller)) = &memory.caller
            && same(known, shown)
            && caller.is_good_at(now)
        {
            return Ok(Arc::clone(caller));
        }
        let caller = self.look_up(from, headers, now)?;
        memory.caller = Some((shown.to_vec(), Arc::clone(&caller)));
        Ok(caller)
    }

    fn look_up(&self, from: &From, headers: &HeaderMap, now: UnixTime) -> Result<Arc<Caller>, Problem> {
        match (headers.get(AUTHORIZATION), from) {
            (None, From::Unix { uid, gid }) => {
                let peers = Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner));
                peers.caller(*uid, *gid).ok_or_else(|| Problem::stranger(*uid))
            }
            (None, From::Tcp(_)) => Err(Problem::no_key()),
            (Some(value), _) => {
                let key = value.to_str().ok().and_then(bearer).and_then(Key::read);
                self.by_key(from, key.as_ref(), now)
            }
        }
    }

    /// Who shows this key; `None` stands for something that is no key.
    pub(crate) fn by_key(
        &self,
        from: &From,
        key: Option<&Key>,
        now: UnixTime,
    ) -> Result<Arc<Caller>, Problem> {
        if let Some(wait) = self.failures.turned_away(from, now) {
            return Err(Problem::failed_too_often(wait));
        }
        let find = || key.and_then(|key| self.registry().find(key, now));
        // One that was made a moment ago is good at once.
        let found = find().or_else(|| {
            self.look_for_keys();
            find()
        });
        found.ok_or_else(|| {
            self.failures.note(from, now);
            Problem::wrong_key()
        })
    }
}

/// RFC 6750 section 2.1; the scheme in any case.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn same(one: &[u8], other: &[u8]) -> bool {
    bool::from(subtle::ConstantTimeEq::ct_eq(one, other))
}
