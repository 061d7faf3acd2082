//! A daemon as it runs: a real SQLite file, the sandbox over TLS, real sockets, and a clock that can be set.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses its own part of this module"
)]

use perennial::clock::{Clock, SystemClock};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::{Connection, Origin, UnixTime};
use perennial::http::{self, Http};
use perennial::seal::KeySource;
use perennial::store::{App, Store};
use perennial::{Keeper, Sqlite, SqliteOptions};
use perennial_daemon::access::clients::{ClientFile, NewClient};
use perennial_daemon::config::{Config, Right, Setting};
use perennial_daemon::{Daemon, Parts, Places, plain_advice};
use perennial_sandbox::Sandbox;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// This machine's clock, as somebody has set it.
#[derive(Clone, Default)]
pub struct SetClock(Arc<AtomicI64>);

impl SetClock {
    pub fn set_on(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixTime {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

/// A sandbox and a store, and whatever daemon is started on them.
pub struct House {
    pub sandbox: Sandbox,
    pub clock: SetClock,
    pub keeper: Arc<Keeper>,
    pub dir: TempDir,
    pub clients: ClientFile,
}

impl House {
    pub fn new() -> Self {
        Self::with(perennial_sandbox::Config::default())
    }

    pub fn with(config: perennial_sandbox::Config) -> Self {
        let sandbox = Sandbox::start(config).unwrap();
        let dir = tempfile::tempdir().unwrap();
        if let Some(pem) = sandbox.ca_cert_pem() {
            std::fs::write(dir.path().join("ca.pem"), pem).unwrap();
        }
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let clients = ClientFile::at(dir.path().join("clients.json"));
        let clock = SetClock::default();
        let keeper = Arc::new(keeper(&dir, &sandbox, &clock));
        Self { sandbox, clock, keeper, dir, clients }
    }

    pub fn http_options(&self) -> http::Options {
        http_options(&self.dir)
    }

    /// A second keeper of the same store, as another process has one.
    pub fn sibling(&self) -> Keeper {
        keeper(&self.dir, &self.sandbox, &self.clock)
    }

    /// Adds a connection, and obtains a grant for it.
    pub async fn obtain(&self, name: &str) {
        let ready = self.sandbox.ready();
        let client =
            Client { id: ready.app_id.clone(), secret: ClientSecret::new(ready.client_secret.clone()) };
        let request_token = RequestToken::new(self.sandbox.mint_request_token());
        let app = App::new(client, Some(Principal::new(&ready.company_uuid)), Some(request_token));
        let connection = Connection::new(format!("id-{name}"), name, &CONCUR);
        self.keeper.add(&connection, &app, &[], "added").unwrap();
        self.keeper.obtain(&connection).await.unwrap();
    }

    /// A client key with these rights, for these connections.
    pub fn key(&self, name: &str, may: &[Right], allow: &str) -> String {
        let client = NewClient {
            name: name.to_owned(),
            may: may.to_vec(),
            allow: vec![allow.parse().unwrap()],
            forward: Vec::new(),
            expires_at: None,
        };
        self.clients.add(client, SystemClock.now()).unwrap().expose().to_owned()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("perennial.sock")
    }

    /// Starts a daemon on a unix socket and a port of this machine.
    pub fn serve(&self, settings: &[&str]) -> Daemon {
        let config = Config::parse("[listen]\ntcp = [\"127.0.0.1:0\"]\n", &read(settings)).unwrap();
        self.serve_with(config)
    }

    pub fn serve_with(&self, config: Config) -> Daemon {
        let places = Places {
            socket: Some(self.socket()),
            clients: Some(self.clients.path().to_owned()),
            outbox: Some(self.dir.path().join("alerts")),
        };
        let keeper = Arc::clone(&self.keeper);
        Daemon::start(Parts {
            config,
            keeper,
            advise: Box::new(plain_advice),
            http: self.http_options(),
            hints: perennial_daemon::alerts::Place::default(),
            places,
        })
        .unwrap()
    }

    /// Asks over the unix socket.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        exchange(stream, &request(method, path, &[("host", "localhost")], body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }
}

pub fn read(settings: &[&str]) -> Vec<Setting> {
    settings.iter().map(|text| text.parse().unwrap()).collect()
}

fn keeper(dir: &TempDir, sandbox: &Sandbox, clock: &SetClock) -> Keeper {
    let key = KeySource::File(dir.path().join("master.key"));
    let store: Arc<dyn Store> =
        Arc::new(Sqlite::open(dir.path().join("store/perennial.db"), SqliteOptions::new(key)).unwrap());
    let http = http_options(dir);
    let base = Some(Origin::parse(sandbox.base_uri()).unwrap());
    let options = perennial::Options { base, http: http.clone(), ..perennial::Options::default() };
    let endpoint = Arc::new(Http::new(http));
    let clock = Arc::new(clock.clone());
    Keeper::with_parts(perennial::Parts { store, endpoint, clock, seed: None, threads: None }, options)
}

fn http_options(dir: &TempDir) -> http::Options {
    // A sandbox that speaks plain http has no certificate.
    let ca_cert = Some(dir.path().join("ca.pem")).filter(|path| path.exists());
    http::Options { ca_cert, resolve: Vec::new(), direct: true }
}

/// Asks over TCP.
pub async fn ask_tcp(
    daemon: &Daemon,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let address = daemon.addresses()[0];
    let stream = TcpStream::connect(address).await.unwrap();
    let host = address.to_string();
    let mut all = headers.to_vec();
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        all.push(("host", &host));
    }
    exchange(stream, &request(method, path, &all, body)).await
}

/// Asks over TCP with a client key.
pub async fn ask_with(daemon: &Daemon, key: &str, method: &str, path: &str, body: &str) -> Reply {
    ask_tcp(daemon, method, path, &[("authorization", &format!("Bearer {key}"))], body).await
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\n{headers}{length}connection: close\r\n\r\n{body}")
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn access_token(&self) -> String {
        self.json()["access_token"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

pub async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Reply {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

/// Looks again and again, for what another task does soon.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1_500 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come about: {what}");
}
