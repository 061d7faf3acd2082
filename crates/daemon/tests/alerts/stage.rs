//! What every story begins with: a world to look at, a clock that runs fast, a configuration, a log that is kept.

use crate::receiver::Receiver;
use perennial::clock::Clock;
use perennial::core::{Expiry, State, UnixTime};
use perennial::http::{BoxFuture, Http, Options};
use perennial_daemon::Config;
use perennial_daemon::alerts::{Alerts, Parts, Place, Seen, Vitals, Watched};
use perennial_daemon::config;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);
pub(crate) const DAY: i64 = 86_400;
/// What webhooks are signed with here.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A clock that runs many times as fast: waits of minutes are over at once.
#[derive(Debug)]
pub(crate) struct Fast {
    started: Instant,
    begins: UnixTime,
    speed: u32,
}

impl Fast {
    /// A quarter of an hour in half a second.
    pub(crate) const SPEED: u32 = 2000;

    pub(crate) fn from(begins: UnixTime, speed: u32) -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), begins, speed })
    }
}

impl Clock for Fast {
    fn now(&self) -> UnixTime {
        self.begins.after(self.since_boot())
    }

    fn since_boot(&self) -> Duration {
        self.started.elapsed() * self.speed
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time / self.speed))
    }
}

/// What alerts look at.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) connections: Mutex<BTreeMap<String, Seen>>,
    pub(crate) vitals: Mutex<Vitals>,
    pub(crate) reads: AtomicUsize,
    pub(crate) is_away: Mutex<bool>,
}

impl World {
    pub(crate) fn put(&self, seen: Seen) {
        self.connections.lock().unwrap().insert(seen.name.clone(), seen);
    }
}

impl Watched for World {
    fn names_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, String> {
        let connections = self.connections.lock().unwrap();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let behind = connections.range::<str, _>((from, std::ops::Bound::Unbounded));
        Ok(behind.take(limit).map(|(name, _)| name.clone()).collect())
    }

    fn connection(&self, name: &str) -> Result<Option<Seen>, String> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if *self.is_away.lock().unwrap() {
            return Err("the store is away".to_owned());
        }
        Ok(self.connections.lock().unwrap().get(name).cloned())
    }

    fn vitals(&self) -> Vitals {
        self.vitals.lock().unwrap().clone()
    }
}

/// A connection in this state.
pub(crate) fn seen(name: &str, state: State) -> Seen {
    Seen {
        id: format!("id-{name}"),
        name: name.to_owned(),
        state,
        server: Some("https://us2.api.concursolutions.com".to_owned()),
        ends: Some(Expiry::Stated(NOW.plus(180 * DAY))),
        life: Some(183 * DAY),
        over: None,
        fault: None,
    }
}

/// A place for the outbox and for secrets, and the world.
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) world: Arc<World>,
    sinks: Mutex<String>,
    written: AtomicUsize,
    pub(crate) options: Options,
    pub(crate) begins: UnixTime,
    pub(crate) speed: u32,
}

impl Stage {
    pub(crate) fn new() -> Self {
        log();
        Self {
            dir: tempfile::tempdir().unwrap(),
            world: Arc::default(),
            sinks: Mutex::default(),
            written: AtomicUsize::new(0),
            options: Options { direct: true, ..Options::default() },
            begins: NOW,
            speed: Fast::SPEED,
        }
    }

    pub(crate) fn outbox(&self) -> std::path::PathBuf {
        self.dir.path().join("outbox")
    }

    /// Writes a secret down, and says where.
    pub(crate) fn secret(&self, value: &str) -> String {
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let path = self.dir.path().join(format!("secret-{number}"));
        std::fs::write(&path, format!("{value}\n")).unwrap();
        format!("file:{}", path.display())
    }

    pub(crate) fn webhook(self, receiver: &Receiver) -> Self {
        let (url, secret) = (self.secret(&receiver.url("/alerts?to=us")), self.secret(SECRET));
        self.sink(&format!("kind = \"webhook\"\nurl = \"{url}\"\nsecret = \"{secret}\"\n"))
    }

    pub(crate) fn chat(self, receiver: &Receiver) -> Self {
        let url = self.secret(&receiver.url("/services/T0/B0/canary-of-a-chat"));
        self.sink(&format!("kind = \"slack\"\nurl = \"{url}\"\n"))
    }

    pub(crate) fn sink(self, text: &str) -> Self {
        self.sinks.lock().unwrap().push_str(&format!("[[alerts.to]]\n{text}"));
        self
    }

    pub(crate) fn config(&self) -> config::Alerts {
        Config::parse(&self.sinks.lock().unwrap(), &[]).unwrap().alerts
    }

    pub(crate) fn http(&self) -> Arc<Http> {
        Arc::new(Http::new(self.options.clone()))
    }

    pub(crate) fn start(&self) -> Alerts {
        Alerts::start(&self.config(), self.parts()).unwrap()
    }

    /// The same once what was under way in the one before has let the outbox go: a look that is at the disk.
    pub(crate) async fn start_again(&self) -> Alerts {
        let clock = Fast::from(NOW, Fast::SPEED);
        for _ in 0..30_000 {
            if let Ok(alerts) = Alerts::start(&self.config(), self.parts()) {
                return alerts;
            }
            clock.sleep(Duration::from_secs(4)).await;
        }
        panic!("the outbox stays locked");
    }

    pub(crate) fn parts(&self) -> Parts {
        let place = Place { tenant: "default".to_owned(), ..Place::default() };
        Parts {
            watched: Arc::clone(&self.world) as Arc<dyn Watched>,
            http: self.http(),
            clock: Fast::from(self.begins, self.speed),
            outbox: self.outbox(),
            place,
        }
    }

    /// The messages that wait on the disk.
    pub(crate) fn waiting(&self) -> Vec<std::path::PathBuf> {
        files(&self.outbox())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect()
    }
}

pub(crate) fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Waits until it is so; a minute at most, so that a failure is one.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let clock = Fast::from(NOW, Fast::SPEED);
    let waited = async {
        while !is_so() {
            clock.sleep(Duration::from_secs(4)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// All that is logged by any test of this program.
pub(crate) fn log() -> Arc<Mutex<Vec<u8>>> {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        tracing_subscriber::fmt()
            .with_env_filter("trace")
            .with_ansi(false)
            .with_writer(move || Kept(Arc::clone(&writer)))
            .init();
        log
    });
    Arc::clone(log)
}

struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
