//! Being asked to end: Ctrl-C on a terminal, SIGTERM from a service manager, `timeout` or `kill`.

use crate::exit::Exit;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears every wish that this process end, also one that comes between two looks. From its making on, a signal no
/// longer ends the process by itself.
pub(crate) struct AskedToEnd {
    interrupted: Signal,
    terminated: Signal,
}

impl AskedToEnd {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupted: signal(SignalKind::interrupt())?,
            terminated: signal(SignalKind::terminate())?,
        })
    }

    /// Returns when somebody asks, or has asked since the last time.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }
}

/// The same for a command that works without waiting: it looks between two steps whether it should end. A second wish
/// ends the process at once; what it has written is whole.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<AtomicBool>);

impl Bell {
    pub(crate) fn hang() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut asked_to_end = {
            let _inside = runtime.enter();
            AskedToEnd::listen()?
        };
        let rung = Arc::new(AtomicBool::new(false));
        let bell = Self(Arc::clone(&rung));
        let listen = move || {
            runtime.block_on(async {
                asked_to_end.next().await;
                rung.store(true, Ordering::Relaxed);
                asked_to_end.next().await;
            });
            std::process::exit(Exit::Interrupted.code().into());
        };
        std::thread::Builder::new().name("perennial-bell".to_owned()).spawn(listen)?;
        Ok(bell)
    }

    /// True once somebody has asked.
    pub(crate) fn has_rung(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
