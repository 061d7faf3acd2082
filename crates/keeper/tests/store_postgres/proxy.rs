//! What stands between the store and the server: it passes everything on, and cuts the connection at a COMMIT, or at any
//! other message, when a test says so.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

/// When the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server never hears of the COMMIT.
    BeforeCommit,
    /// The server commits, and nobody hears of it.
    AfterCommit,
    /// So many more messages reach the server, and the next one does not.
    BeforeMessage(u32),
    /// So many more messages are answered; the next one is heard, and its answer is not.
    AfterMessage(u32),
}

impl Cut {
    /// True when it is made at this message; else there is one message less to wait for.
    fn is_now(&mut self, message: &[u8]) -> bool {
        match self {
            Self::BeforeCommit | Self::AfterCommit => message.windows(7).any(|window| window == b"COMMIT\0"),
            Self::BeforeMessage(0) | Self::AfterMessage(0) => true,
            Self::BeforeMessage(left) | Self::AfterMessage(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn is_heard(self) -> bool {
        matches!(self, Self::AfterCommit | Self::AfterMessage(_))
    }
}

/// A proxy on a socket in a directory of its own.
pub(crate) struct Proxy {
    dir: TempDir,
    next: Arc<Mutex<Option<Cut>>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl Proxy {
    /// In front of the server whose socket lies in `server`.
    pub(crate) fn before(server: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let (next, meanwhile) = (Arc::default(), Arc::default());
        let proxy = Self { dir, next: Arc::clone(&next), meanwhile: Arc::clone(&meanwhile) };
        let server = server.join(".s.PGSQL.5432");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // While the server is away, so are we.
                if let Ok(server) = UnixStream::connect(&server) {
                    pass_on(client, server, Arc::clone(&next), Arc::clone(&meanwhile));
                }
            }
        });
        proxy
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Cuts the connection on which that is sent.
    pub(crate) fn cut(&self, cut: Cut) {
        *self.next.lock().unwrap() = Some(cut);
    }

    /// Does something between the cut and whatever comes after it.
    pub(crate) fn meanwhile(&self, work: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(work));
    }

    /// True when the cut has been made.
    pub(crate) fn has_cut(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nobody can connect any more; the listening thread ends with the process.
        let _ = fs::remove_file(self.dir.path().join(".s.PGSQL.5432"));
    }
}

fn pass_on(
    client: UnixStream,
    server: UnixStream,
    next: Arc<Mutex<Option<Cut>>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
) {
    let muted = Arc::new(AtomicBool::new(false));
    let (mut to_server, from_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let mute = Arc::clone(&muted);
    thread::spawn(move || {
        let (mut from_client, mut chunk) = (from_client, [0; 65536]);
        while let Ok(length @ 1..) = from_client.read(&mut chunk) {
            match next.lock().unwrap().take_if(|cut| cut.is_now(&chunk[..length])) {
                Some(cut) if cut.is_heard() => mute.store(true, Ordering::SeqCst),
                Some(_) => break,
                None => {}
            }
            if to_server.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
        if let Some(work) = meanwhile.lock().unwrap().take() {
            work();
        }
        let _ = from_client.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let (mut server, mut client, mut chunk) = (server, client, [0; 65536]);
        while let Ok(length @ 1..) = server.read(&mut chunk) {
            if muted.load(Ordering::SeqCst) || client.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let (_, _) = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    });
}
