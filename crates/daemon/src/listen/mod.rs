//! Where callers come in: a unix socket, TCP, TLS, or sockets that systemd has opened. Each connection is served in a
//! task of its own; nothing that one of them does holds up another.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | listens, and accepts |
//! | `door` | one connection: who asks, and which way a request goes |
//! | `answer` | an answer's body |
//! | `tls` | certificate and key |

mod answer;
mod door;
mod tls;

pub(crate) use answer::Answer;
pub(crate) use tls::Certificates;

use crate::access::From;
use crate::config::{Config, Listen};
use crate::shared::Shared;
use door::Door;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use listenfd::ListenFd;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// With no file descriptor left, accepting fails at once; trying again without a pause would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// File descriptors that no caller gets: the store's, the keeper's own connections, files of the moment.
const KEPT_BACK: u64 = 256;

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {at}: {source}")]
pub struct ListenError {
    at: String,
    source: io::Error,
}

/// Everything that it listens on.
#[derive(Debug)]
pub(crate) struct Listeners {
    unix: Vec<(UnixListener, Option<PathBuf>)>,
    tcp: Vec<(TcpListener, SocketAddr)>,
}

impl Listeners {
    /// Takes over what systemd has opened; else opens what the configuration names.
    pub(crate) fn open(listen: &Listen, standard: Option<&Path>) -> Result<Self, ListenError> {
        let mut listeners = Self { unix: Vec::new(), tcp: Vec::new() };
        listeners
            .take_over()
            .map_err(|source| ListenError { at: "what systemd has opened".to_owned(), source })?;
        if !listeners.unix.is_empty() || !listeners.tcp.is_empty() {
            return Ok(listeners);
        }
        let unix = listen.unix.as_deref().or(standard).filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = unix {
            let failed = |source| ListenError { at: format!("unix:{}", path.display()), source };
            let mode = listen.unix_mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
            let listener = open_unix(path, mode.unwrap_or(0o666)).map_err(failed)?;
            listeners.unix.push((listener, Some(path.to_owned())));
        }
        for address in &listen.tcp {
            let failed = |source| ListenError { at: address.to_string(), source };
            let listener = std::net::TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            let own = listener.local_addr().map_err(failed)?;
            listeners.tcp.push((listener, own));
        }
        Ok(listeners)
    }

    fn take_over(&mut self) -> io::Result<()> {
        let mut given = ListenFd::from_env();
        for index in 0..given.len() {
            if let Ok(Some(listener)) = given.take_unix_listener(index) {
                listener.set_nonblocking(true)?;
                self.unix.push((UnixListener::from_std(listener)?, None));
            } else if let Some(listener) = given.take_tcp_listener(index)? {
                listener.set_nonblocking(true)?;
                let own = listener.local_addr()?;
                self.tcp.push((TcpListener::from_std(listener)?, own));
            }
        }
        Ok(())
    }

    /// Where it listens, in words.
    pub(crate) fn places(&self) -> Vec<String> {
        let name = |path: &Option<PathBuf>| {
            path.as_ref().map_or_else(
                || "unix: opened by systemd".to_owned(),
                |path| format!("unix:{}", path.display()),
            )
        };
        let unix = self.unix.iter().map(|(_, path)| name(path));
        unix.chain(self.tcp.iter().map(|(_, address)| address.to_string())).collect()
    }

    /// The TCP addresses.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().map(|(_, address)| *address).collect()
    }

    /// Accepts until `stop` says so; the tasks of the connections go on behind that, and end with their request.
    pub(crate) fn serve(
        self,
        shared: &Arc<Shared>,
        certificates: &Certificates,
        stop: &watch::Receiver<bool>,
    ) -> Serving {
        let config = shared.config();
        let room = Arc::new(Semaphore::new(room(&config)));
        let hall = Hall {
            shared: Arc::clone(shared),
            router: crate::api::router(shared),
            certificates: certificates.clone(),
            room,
            stop: stop.clone(),
        };
        let mut tasks = Vec::new();
        let mut paths = Vec::new();
        for (listener, path) in self.unix {
            paths.extend(path);
            tasks.push(tokio::spawn(hall.clone().accept_unix(listener)));
        }
        for (listener, address) in self.tcp {
            tasks.push(tokio::spawn(hall.clone().accept_tcp(listener, address)));
        }
        Serving { tasks, paths }
    }
}

/// Listeners at work.
pub(crate) struct Serving {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    paths: Vec<PathBuf>,
}

impl Serving {
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &tokio::task::JoinHandle<()>> {
        self.tasks.iter()
    }

    /// Returns when nothing is accepted any more and every connection has ended its last request.
    pub(crate) async fn ended(&mut self) {
        for task in &mut self.tasks {
            let _ = task.await;
        }
    }
}

impl Drop for Serving {
    /// A socket that nobody listens on misleads whoever finds it.
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = fs::remove_file(path);
        }
    }
}

/// Opens a socket. One that was left behind by a daemon that died is replaced, one that is in use is not.
fn open_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
        }
        fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// How many sockets there may be: what is asked for, as far as the system lets us.
fn room(config: &Config) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(KEPT_BACK).max(16);
    config.limits.sockets.min(usize::try_from(most).unwrap_or(usize::MAX)).min(Semaphore::MAX_PERMITS)
}

#[derive(Clone)]
struct Hall {
    shared: Arc<Shared>,
    router: axum::Router,
    certificates: Certificates,
    room: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Hall {
    async fn accept_unix(mut self, listener: UnixListener) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream))) {
                Ok((peer, stream)) => {
                    let from = From::Unix { uid: peer.uid(), gid: peer.gid() };
                    self.let_in(stream, from, &graceful);
                }
                Err(error) => self.not_accepted(&error).await,
            }
        }
        drop(listener);
        graceful.shutdown().await;
    }

    async fn accept_tcp(mut self, listener: TcpListener, own: SocketAddr) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Without it, a small answer may wait for the acknowledgement of the one before.
                    let _ = stream.set_nodelay(true);
                    let from = From::Tcp(peer.ip().to_canonical());
                    match self.certificates.acceptor() {
                        Some(tls) => self.let_in_by_tls(tls, stream, from, &graceful),
                        None if own.ip().is_loopback() => self.let_in(stream, from, &graceful),
                        // Opened by systemd beyond this machine, without a certificate (law 10).
                        None => tracing::error!(%own, "not served: beyond this machine it takes TLS"),
                    }
                }
                Err(error) => self.not_accepted(&error).await,
            }
        }
        drop(listener);
        graceful.shutdown().await;
    }

    async fn not_accepted(&self, error: &io::Error) {
        self.shared.tally.not_accepted.add();
        tracing::warn!(%error, "a connection could not be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }

    fn let_in<S>(&self, stream: S, from: From, graceful: &GracefulShutdown)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            self.shared.tally.turned_away.add();
            return;
        };
        let served = graceful.watch(self.connection(stream, from));
        let entered = self.shared.tally.sockets.enter();
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((place, entered));
        });
    }

    /// The handshake is the caller's first chance to be slow.
    fn let_in_by_tls(
        &self,
        tls: TlsAcceptor,
        stream: tokio::net::TcpStream,
        from: From,
        graceful: &GracefulShutdown,
    ) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            self.shared.tally.turned_away.add();
            return;
        };
        let (hall, watcher) = (self.clone(), graceful.watcher());
        let entered = self.shared.tally.sockets.enter();
        tokio::spawn(async move {
            let patience = hall.shared.config().limits.slow_client.0;
            match tokio::time::timeout(patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    if let Err(error) = watcher.watch(hall.connection(stream, from)).await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
                Err(_) => tracing::debug!("no TLS session in time"),
            }
            drop((place, entered));
        });
    }

    fn connection<S>(&self, stream: S, from: From) -> http1::Connection<TokioIo<S>, Door>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let door = Door::new(Arc::clone(&self.shared), self.router.clone(), from);
        let mut builder = http1::Builder::new();
        // From the last answer to the end of the next head.
        builder.timer(TokioTimer::new()).header_read_timeout(self.shared.config().limits.idle.0);
        builder.serve_connection(TokioIo::new(stream), door)
    }
}
