//! A keeper on a stage: the token endpoint is a script, the clock stands still, the store is a real directory.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses its own part of this module"
)]

use perennial::clock::Clock;
use perennial::core::profile::concur::CONCUR;
use perennial::core::token_endpoint::{BodyEnd, NoAnswer, Reply, Unreachable};
use perennial::core::{Connection, Origin, UnixTime};
use perennial::http::{BoxFuture, Line, Question, TokenEndpoint};
use perennial::{Keeper, Options, Parts, SapSample};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Semaphore;

pub const MIN_TTL: Duration = Duration::from_secs(60);
pub const GLZ: &str = "https://glz.api.concursolutions.com";
pub const EU2: &str = "https://eu2.api.concursolutions.com";
pub const US2: &str = "https://us2.api.concursolutions.com";

/// What the script answers to one request.
pub type Answer = Result<(u16, Value), NoAnswer>;

/// What was seen when a request went out.
#[derive(Clone, Debug)]
pub struct Sent {
    pub base: String,
    pub form: String,
    pub on_disk: Value,
    pub room: u64,
}

/// A token endpoint that answers by the script.
#[derive(Clone)]
pub struct Script {
    pub answers: Arc<Mutex<VecDeque<Answer>>>,
    pub connected: Arc<Mutex<Vec<String>>>,
    pub sent: Arc<Mutex<Vec<Sent>>>,
    pub dir: PathBuf,
    /// Each answer waits for a permit.
    pub gate: Arc<Semaphore>,
    /// Where no connection comes about.
    pub nobody_at: Arc<Mutex<Option<&'static str>>>,
}

pub struct ScriptedLine {
    pub script: Script,
    pub base: String,
}

impl TokenEndpoint for Script {
    fn connect<'a>(&'a self, base: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        let line = ScriptedLine { script: self.clone(), base: base.to_string() };
        self.connected.lock().unwrap().push(line.base.clone());
        let nobody = *self.nobody_at.lock().unwrap() == Some(line.base.as_str());
        Box::pin(async move {
            if nobody { Err(Unreachable::TimedOut) } else { Ok(Box::new(line) as Box<dyn Line>) }
        })
    }
}

impl Line for ScriptedLine {
    fn ask(self: Box<Self>, question: Question, _: Duration) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        Box::pin(async move {
            let Self { script, base } = *self;
            assert_eq!(question.path, "/oauth2/v0/token");
            let form = String::from_utf8(question.request.form.expose().to_vec()).unwrap();
            let room = fs::metadata(script.dir.join(".refreshTokenObjectFile.json.next"))
                .map_or(0, |file| file.len());
            script.sent.lock().unwrap().push(Sent { base, form, on_disk: tokens(&script.dir), room });
            script.gate.acquire().await.unwrap().forget();
            let (status, body) = script.answers.lock().unwrap().pop_front().unwrap()?;
            Ok(Reply {
                status,
                retry_after: None,
                date: None,
                correlation_id: Some("correlation".into()),
                body: body.to_string().into_bytes().into(),
                end: BodyEnd::Whole,
            })
        })
    }
}

/// Stands still until a test moves it on.
#[derive(Clone, Default)]
pub struct TestClock(Arc<Mutex<Duration>>);

impl TestClock {
    pub fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        UnixTime(1_800_000_000).after(*self.0.lock().unwrap())
    }

    fn since_boot(&self) -> Duration {
        Duration::from_secs(1_000) + *self.0.lock().unwrap()
    }
}

/// A directory with credentials, a script, and a keeper of both.
pub struct Stage {
    pub keeper: Keeper,
    pub script: Script,
    pub dir: TempDir,
}

impl Stage {
    pub fn open(answers: Vec<Answer>) -> Self {
        let stage = Self::gated(answers);
        stage.script.gate.add_permits(100);
        stage
    }

    pub fn gated(answers: Vec<Answer>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let credentials = json!({"appID": "app", "clientSecret": "secret", "companyUUID": "company",
            "companyRequestToken": "request"});
        fs::write(dir.path().join("credentials.json"), credentials.to_string()).unwrap();
        let script = Script {
            answers: Arc::new(Mutex::new(answers.into())),
            connected: Arc::default(),
            sent: Arc::default(),
            dir: dir.path().into(),
            gate: Arc::new(Semaphore::new(0)),
            nobody_at: Arc::default(),
        };
        let keeper = keeper(dir.path(), &script);
        Self { keeper, script, dir }
    }

    pub fn sent(&self) -> Vec<Sent> {
        self.script.sent.lock().unwrap().clone()
    }

    pub fn on_disk(&self) -> Value {
        tokens(self.dir.path())
    }
}

pub fn keeper(dir: &Path, script: &Script) -> Keeper {
    let store = Arc::new(SapSample::open(dir).unwrap());
    let (endpoint, clock) = (Arc::new(script.clone()), Arc::new(TestClock::default()));
    Keeper::with_parts(Parts { store, endpoint, clock, seed: None, threads: None }, Options::default())
}

/// A grant is obtained in place of nothing.
pub fn nothing() -> Connection {
    Connection::new("id", "default", &CONCUR)
}

pub fn tokens(dir: &Path) -> Value {
    let file = fs::read(dir.join("refreshTokenObjectFile.json"));
    file.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
}

pub fn issued(number: u32, geolocation: &str) -> Answer {
    Ok((
        200,
        json!({"access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
            "expires_in": 3600, "refresh_expires_in": 1_815_000_000, "geolocation": geolocation}),
    ))
}

pub fn lives_at(base: &str) -> Answer {
    Ok((400, json!({"code": 16, "error": "invalid_request", "geolocation": base})))
}
