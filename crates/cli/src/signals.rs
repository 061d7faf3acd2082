//! Being asked to end: Ctrl-C on a terminal, SIGTERM from a service manager, `timeout` or `kill`.

use std::io;
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
