//! The public door: a sandbox that listens when `start` returns and is gone when it is dropped.

use crate::centres::{Centre, FIRST};
use crate::certificate::{self, Certificate, CertificateError};
use crate::config::{Config, Expire};
use crate::ids::Seed;
use crate::jwt::{Signer, SigningFailed};
use crate::stats::Stats;
use crate::users::User;
use crate::world::World;
use crate::{credentials, server};
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime;
use tokio::sync::oneshot;

/// A running sandbox, on a thread and a runtime of its own. Dropping it ends every connection at once.
pub struct Sandbox {
    ready: Ready,
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a client has to know to use the sandbox.
#[derive(Clone)]
pub struct Ready {
    /// Scheme, address and port.
    pub base_uri: String,
    /// The data centres; the first is the one at `base_uri`.
    pub centres: Vec<Centre>,
    /// The certificate authority to trust; none without TLS.
    pub ca_cert_pem: Option<String>,
    /// The app's `client_id`.
    pub app_id: String,
    /// The app's `client_secret`.
    pub client_secret: String,
    /// The company, `username` of its grant.
    pub company_uuid: String,
    /// A request token that has not been used.
    pub request_token: String,
    /// The people who can sign in: first Ann, then Bob.
    pub users: Vec<User>,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is reachable from elsewhere, where a service that hands out tokens on request must not be.
    #[error("the sandbox listens on loopback only, and {0} is not: choose 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The address could not be taken.
    #[error("could not listen on {address}: {source}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("could not start the sandbox's thread: {0}")]
    Thread(#[source] io::Error),
    /// The keys or the certificate could not be made.
    #[error("could not prepare the sandbox: {0}")]
    Prepare(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Sandbox {
    /// Starts a sandbox; it is listening when this returns.
    pub fn start(config: Config) -> Result<Sandbox, StartError> {
        let taken: Vec<(TcpListener, SocketAddr)> = [Some(config.listen), config.second_listen]
            .into_iter()
            .flatten()
            .map(listen)
            .collect::<Result<_, _>>()?;
        let (listeners, addresses): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
        let seed = Seed::new(config.seed).map_err(|error| StartError::Prepare(Box::new(error)))?;
        let signer = Signer::shared()?;
        let certificate = if config.tls { Some(certificate::make()?) } else { None };
        let (ca_cert_pem, tls) = certificate.map(|Certificate { ca_pem, server }| (ca_pem, server)).unzip();

        let scheme = if config.tls { "https" } else { "http" };
        let base_uris = addresses.iter().map(|address| format!("{scheme}://{address}")).collect();
        let world = Arc::new(World::new(config, base_uris, &seed, signer));
        let ready = Ready {
            base_uri: world.base_uri(FIRST).to_owned(),
            centres: world.homes().centres().to_vec(),
            ca_cert_pem,
            app_id: world.app_id.clone(),
            client_secret: world.client_secret.clone(),
            company_uuid: world.company_uuid.clone(),
            request_token: world.mint_request_token(false),
            users: world.users.all().to_vec(),
        };
        let (stop, stopped) = oneshot::channel();
        let thread = spawn(listeners, tls, Arc::clone(&world), stopped).map_err(StartError::Thread)?;
        Ok(Sandbox { ready, world, stop: Some(stop), thread: Some(thread) })
    }

    /// Everything that a client has to know.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Scheme, address and port.
    pub fn base_uri(&self) -> &str {
        &self.ready.base_uri
    }

    /// Scheme, address and port of the data centre with this name, `us2` or `eu2`.
    pub fn base_uri_of(&self, centre: &str) -> Option<&str> {
        let found = self.ready.centres.iter().find(|known| known.name == centre);
        found.map(|known| known.base_uri.as_str())
    }

    /// Moves the company or a user, by UUID, to the data centre with this name.
    pub fn move_principal(&self, uuid: &str, to: &str) -> Result<(), String> {
        self.world.move_principal(uuid, to)
    }

    /// The certificate authority to trust; none without TLS.
    pub fn ca_cert_pem(&self) -> Option<&str> {
        self.ready.ca_cert_pem.as_deref()
    }

    /// Queues faults, in the same JSON as `POST /sandbox/faults`: all of them, or none and a text that says why.
    pub fn inject(&self, faults: serde_json::Value) -> Result<(), String> {
        self.world.faults().inject(faults).map(|_| ())
    }

    /// Forgets the faults that have not befallen anybody yet.
    pub fn clear_faults(&self) {
        self.world.faults().clear();
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.world.counters.snapshot()
    }

    /// A new company request token, as an administrator would fetch it.
    pub fn mint_request_token(&self) -> String {
        self.world.mint_request_token(false)
    }

    /// The one-time passwords that were sent to this address, the oldest first.
    pub fn one_time_passwords(&self, address: &str) -> Vec<String> {
        self.world.mailroom().sent_to(address)
    }

    /// Every request token, refresh token, code of any kind and one-time password that was issued so far, the client secret and the users' passwords: for
    /// tests that look where none of them may be. Access tokens are kept by digest alone.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.world.ledger().secrets();
        secrets.extend(self.world.codes().secrets());
        secrets.extend(self.world.mailroom().secrets());
        secrets.extend(self.world.devices().secrets());
        secrets.push(self.ready.client_secret.clone());
        secrets.extend(self.ready.users.iter().map(|user| user.password.clone()));
        secrets
    }

    /// Makes everything of one kind that was issued so far expired, at the server alone.
    pub fn expire(&self, what: Expire) {
        self.world.expire(what);
    }

    /// Writes `credentials.json`, as SAP's Node sample shapes it, and with TLS `sandbox-ca.pem` into the directory.
    /// A `credentials.json` that is not a sandbox's own is left alone, and an error.
    pub fn write_credentials(&self, dir: &Path) -> io::Result<()> {
        credentials::write(&self.ready, dir)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have stopped by itself; then nobody is listening any more.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, its message has been printed already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("base_uri", &self.base_uri)
            .field("app_id", &self.app_id)
            .field("company_uuid", &self.company_uuid)
            .field("users", &self.users)
            .field("client_secret", &"[redacted]")
            .field("request_token", &"[redacted]")
            .finish_non_exhaustive()
    }
}

impl From<SigningFailed> for StartError {
    fn from(error: SigningFailed) -> Self {
        StartError::Prepare(Box::new(error))
    }
}

impl From<CertificateError> for StartError {
    fn from(error: CertificateError) -> Self {
        StartError::Prepare(Box::new(error))
    }
}

/// Takes the address here, and not on the thread, so that the caller hears at once if it cannot be had.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(StartError::NotLoopback(address));
    }
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let taken = listener.local_addr().map_err(failed)?;
    Ok((listener, taken))
}

fn spawn(
    listeners: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    world: Arc<World>,
    stop: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _entered = runtime.enter();
        let listeners = listeners.into_iter().map(tokio::net::TcpListener::from_std);
        listeners.collect::<io::Result<Vec<_>>>()?
    };
    std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
        runtime.block_on(server::serve(listeners, tls, world, stop));
    })
}
