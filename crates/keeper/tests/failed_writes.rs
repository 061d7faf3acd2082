//! A write that is reported as failed may stand in the store all the same, readable and not durable. The simulator found
//! what the keeper made of that; here each finding is told by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use perennial::clock::Clock;
use perennial::core::connection::Version;
use perennial::core::grant::{Client, Principal};
use perennial::core::journal::Entry;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::token_endpoint::{BodyEnd, NoAnswer, Reply, Unreachable};
use perennial::core::{Connection, Origin, UnixTime};
use perennial::http::{BoxFuture, Line, Question, TokenEndpoint};
use perennial::seal::rescue::Places;
use perennial::store::{App, Claim, Recorded, Store, StoreError, WriteError};
use perennial::{Keeper, Memory, Options, Parts};
use serde_json::json;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// A store in memory whose next commits are carried out, and reported as failed.
#[derive(Clone)]
struct Liar {
    honest: Memory,
    lies: Arc<AtomicUsize>,
    commits: Arc<AtomicUsize>,
}

struct LyingClaim(Liar, Box<dyn Claim>);

impl Store for Liar {
    fn address(&self) -> String {
        self.honest.address()
    }
    fn names(&self) -> Result<Vec<String>, StoreError> {
        self.honest.names()
    }
    fn read(&self, name: &str) -> Result<Connection, StoreError> {
        self.honest.read(name)
    }
    fn app(&self, name: &str) -> Result<App, StoreError> {
        self.honest.app(name)
    }
    fn try_claim(&self, name: &str) -> Result<Option<Box<dyn Claim>>, StoreError> {
        let claim = self.honest.try_claim(name)?;
        Ok(claim.map(|claim| Box::new(LyingClaim(self.clone(), claim)) as Box<dyn Claim>))
    }
    fn journal(
        &self,
        name: Option<&str>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.honest.journal(name, after, limit)
    }
    fn note(&self, name: &str, entry: &Entry) -> Result<(), StoreError> {
        self.honest.note(name, entry)
    }
    fn add(&self, connection: &Connection, app: &App) -> Result<(), StoreError> {
        self.honest.add(connection, app)
    }
    fn put_app(&self, name: &str, app: &App) -> Result<(), StoreError> {
        self.honest.put_app(name, app)
    }
    fn rename(&self, name: &str, to: &str) -> Result<(), StoreError> {
        self.honest.rename(name, to)
    }
    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.honest.remove(name)
    }
    fn restore(&self, name: &str) -> Result<(), StoreError> {
        self.honest.restore(name)
    }
}

impl Claim for LyingClaim {
    fn lock(&self) -> &str {
        self.1.lock()
    }
    fn read(&self) -> Result<Connection, StoreError> {
        self.1.read()
    }
    fn intend(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.1.intend(from, next)
    }
    fn commit(&mut self, from: &Version, next: &Connection) -> Result<(), WriteError> {
        self.1.commit(from, next)?;
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        let one_less = |lies: usize| lies.checked_sub(1);
        match self.0.lies.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => {
                let source = io::Error::other("input/output error");
                Err(StoreError::Io { action: "sync", path: PathBuf::from("disk"), source }.into())
            }
            Err(_) => Ok(()),
        }
    }
    fn set_unreadable_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        Ok(None)
    }
}

/// Answers everything with the same tokens.
struct Generous;

impl TokenEndpoint for Generous {
    fn connect<'a>(&'a self, _: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        Box::pin(async { Ok(Box::new(Generous) as Box<dyn Line>) })
    }
}

impl Line for Generous {
    fn ask(self: Box<Self>, _: Question, _: Duration) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        let body = json!({"access_token": "access", "refresh_token": "refresh", "expires_in": 3600});
        let body = body.to_string().into_bytes().into();
        let reply = Reply {
            status: 200,
            retry_after: None,
            date: None,
            correlation_id: None,
            body,
            end: BodyEnd::Whole,
        };
        Box::pin(async { Ok(reply) })
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixTime {
        UnixTime(1_800_000_000)
    }
    fn since_boot(&self) -> Duration {
        Duration::from_secs(1_000)
    }
}

fn keeper(lies: usize, places: Option<Places>) -> (Keeper, Liar) {
    let liar = Liar {
        honest: Memory::new(),
        lies: Arc::new(AtomicUsize::new(lies)),
        commits: Arc::new(AtomicUsize::new(0)),
    };
    let client = Client { id: "app".into(), secret: ClientSecret::new("secret") };
    let app = App::new(client, Some(Principal::new("company")), Some(RequestToken::new("request")));
    liar.add(&Connection::new("id", "acme", &CONCUR), &app).unwrap();
    let parts = Parts {
        store: Arc::new(liar.clone()),
        endpoint: Arc::new(Generous),
        clock: Arc::new(Noon),
        seed: Some(1),
        threads: Some(Handle::current()),
    };
    (Keeper::with_parts(parts, Options { places, ..Options::default() }), liar)
}

#[tokio::test(start_paused = true)]
async fn law_8_an_answer_is_not_kept_aside_for_itself() {
    let (keeper, liar) = keeper(1, None);
    let seen = keeper.connection("acme").unwrap();
    keeper.obtain(&seen).await.unwrap();
    let row = liar.read("acme").unwrap();
    assert_eq!((row.candidates.len(), row.version().generation), (0, 1));
    assert_eq!(liar.commits.load(Ordering::SeqCst), 2, "written again, for the first may not be durable");
}

#[tokio::test(start_paused = true)]
async fn law_1_what_only_a_failed_write_shows_is_not_handed_out() {
    let (keeper, liar) = keeper(3, None);
    let seen = keeper.connection("acme").unwrap();
    let obtaining = keeper.obtain(&seen);
    tokio::pin!(obtaining);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut obtaining).await;
    assert!(early.is_err(), "it is held in memory");
    assert!(liar.read("acme").unwrap().held.is_some(), "a reader sees it");
    assert_eq!(keeper.peek("acme", Duration::ZERO).unwrap(), None);
    obtaining.await.unwrap();
    assert!(keeper.peek("acme", Duration::ZERO).unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn law_5_a_rescue_file_stays_until_the_store_has_taken_it_for_certain() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places::below(&dir.path().join("state"), &dir.path().join("config"));
    let (keeper, liar) = keeper(1, Some(places.clone()));
    let seen = keeper.connection("acme").unwrap();
    keeper.obtain(&seen).await.unwrap();
    assert_eq!(places.shelf.names().len(), 1, "the store said no");
    keeper.drain();
    assert_eq!(liar.commits.load(Ordering::SeqCst), 2, "what it shows is written once more");
    assert_eq!(places.shelf.names().len(), 0);
    assert_eq!(liar.read("acme").unwrap().candidates.len(), 0);
}
