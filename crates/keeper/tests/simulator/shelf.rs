//! The rescue directory of a host, on a disk of its own. What the engine puts there is sealed; the simulator holds the
//! key and looks inside, for it must know whether a token is there (laws 1 and 5).

use crate::disk::{self, Kept, Spoil};
use crate::world::{Shared, State, Who, shelf_disk};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use perennial::seal::rescue::Shelf;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The key of all simulated shelves, byte by byte.
pub(crate) const KEY: u8 = 0x42;

/// The files of one host's shelf; `None` is a file that is not there.
pub(crate) type Files = BTreeMap<String, Kept<Option<File>>>;

/// A sealed file, and what is in it.
#[derive(Clone)]
pub(crate) struct File {
    sealed: Vec<u8>,
    pub(crate) plain: String,
}

/// A shelf as one process sees it.
pub(crate) struct SimShelf {
    pub(crate) world: Shared,
    pub(crate) who: Who,
}

impl fmt::Debug for SimShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimShelf")
    }
}

impl SimShelf {
    fn disk<'a>(&self, state: &'a mut State) -> &'a mut disk::Disk {
        &mut state.disks[shelf_disk(self.who.host)]
    }

    fn write_file(&self, name: &str, file: Option<File>, steps: [&'static str; 3]) -> io::Result<()> {
        self.world.step(self.who, steps[0]);
        let spoil = self.world.look(|state| {
            let now = state.now;
            let spoil = self.disk(state).fate_of_write(now);
            if spoil == Some(Spoil::Refused) {
                state.tally.spoiled_writes += 1;
                state.tell(Some(self.who), || format!("{}: the shelf refuses", steps[0]));
                return Err(disk::error(spoil));
            }
            let files = &mut state.shelves[self.who.host];
            files.entry(name.to_owned()).or_insert_with(|| Kept::new(None)).write(file, now, self.who);
            state.tell(Some(self.who), || format!("{} {}", steps[0], tail(name)));
            Ok(spoil)
        })?;
        self.world.step(self.who, steps[1]);
        self.world.look(|state| {
            let file = state.shelves[self.who.host].entry(name.to_owned()).or_insert_with(|| Kept::new(None));
            match spoil {
                Some(Spoil::Unsynced) => file.sync_failed(),
                _ => {
                    file.sync();
                    state.shelf_became_durable(self.who.host, name);
                }
            }
            if spoil.is_some() {
                state.tally.spoiled_writes += 1;
                return Err(disk::error(spoil));
            }
            Ok(())
        })?;
        self.world.step(self.who, steps[2]);
        Ok(())
    }
}

impl Shelf for SimShelf {
    fn prepare(&self) -> io::Result<()> {
        self.world.step(self.who, "prepare the shelf");
        self.world.look(|state| {
            let now = state.now;
            if self.disk(state).can_read(now) { Ok(()) } else { Err(disk::error(None)) }
        })
    }

    fn names(&self) -> Vec<String> {
        self.world.look(|state| {
            let now = state.now;
            if !self.disk(state).can_read(now) {
                return Vec::new();
            }
            let files = &mut state.shelves[self.who.host];
            let written =
                files.iter_mut().filter_map(|(name, file)| file.write_back(now).then(|| name.clone()));
            let written: Vec<String> = written.collect();
            written.iter().for_each(|name| state.shelf_became_durable(self.who.host, name));
            let files = &state.shelves[self.who.host];
            files.iter().filter(|(_, file)| file.seen.is_some()).map(|(name, _)| name.clone()).collect()
        })
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.world.step(self.who, "read the shelf");
        self.world.look(|state| {
            let now = state.now;
            if !self.disk(state).can_read(now) {
                return Err(disk::error(None));
            }
            let file = state.shelves[self.who.host].get(name).and_then(|file| file.seen.as_ref());
            file.map(|file| file.sealed.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let file = File { sealed: contents.to_vec(), plain: open(name, contents) };
        self.write_file(name, Some(file), ["rescue", "rescue, unsynced", "rescued"])
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.write_file(name, None, ["forget", "forget, unsynced", "forgotten"])
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(tail(name))
    }
}

/// Without the store's fingerprint in front.
fn tail(name: &str) -> String {
    name.split_once('-').map_or(name, |(_, tail)| tail).to_owned()
}

/// What is sealed in there: docs/design.md, "The rescue file".
fn open(name: &str, sealed: &[u8]) -> String {
    let kind = if tail(name).starts_with("tokens") { "tokens" } else { "answer" };
    let line = sealed.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (line, rest) = sealed.split_at(line);
    let aad = [line, format!("rescue {kind} {}", crate::store::ADDRESS).as_bytes()].concat();
    let (nonce, text) = rest.split_first_chunk::<24>().unwrap_or((&[0; 24], &[]));
    let cipher = XChaCha20Poly1305::new(&Key::from([KEY; 32]));
    let plain = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad });
    plain.map_or_else(|_| String::new(), |plain| String::from_utf8_lossy(&plain).into_owned())
}
