//! A keeper, looked at as alerts do.

use perennial::clock::{Clock, SystemClock};
use perennial::core::connection::{Condition, Held};
use perennial::core::grant::Client;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RefreshToken};
use perennial::core::time::{HostClock, Skew};
use perennial::core::token_endpoint::response::Others;
use perennial::core::token_endpoint::{BodyEnd, NoAnswer, Reply, Unreachable};
use perennial::core::{Connection, Expiry, Origin, State, UnixTime};
use perennial::http::{BoxFuture, Line, Question, TokenEndpoint};
use perennial::store::{App, Memory, SapSample};
use perennial::{Keeper, Options, Store};
use perennial_daemon::alerts::{OverKeeper, Watched};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The machine's clocks, with a wall clock that somebody sets.
#[derive(Default)]
struct SetBy(AtomicI64);

impl Clock for SetBy {
    fn now(&self) -> UnixTime {
        SystemClock.now().plus(self.0.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(time)
    }
}

/// A connection that was refreshed just now, by a server whose clock is so far ahead.
fn connection(name: &str, skew: i64) -> Connection {
    let now = SystemClock.now();
    let mut connection = Connection::new(format!("id-{name}"), name, &CONCUR);
    connection.held = Some(Held {
        grant_id: "grant".to_owned(),
        generation: 1,
        access: None,
        refresh: Some(RefreshToken::new("refresh")),
        refresh_expiry: Some(Expiry::Stated(now.plus(skew + 86_400))),
        base: Origin::parse("https://us2.api.concursolutions.com").unwrap(),
        scope: None,
        id_token: None,
        refreshed_at: Some(now.plus(skew)),
        granted_at: None,
        others: Others::default(),
    });
    connection.skew = Skew { seconds: skew, suspected: None };
    let boot_epoch = now.0 - i64::try_from(SystemClock.since_boot().as_secs()).unwrap();
    connection.clock = Some(HostClock { kernel: SystemClock.kernel(), boot_epoch });
    connection
}

fn store(connections: impl IntoIterator<Item = Connection>) -> Memory {
    let store = Memory::new();
    let client = Client { id: "app".to_owned(), secret: ClientSecret::new("secret") };
    for connection in connections {
        store.add(&connection, &App::new(client.clone(), None, None)).unwrap();
    }
    store
}

fn over(store: Memory, clock: Arc<dyn Clock>) -> OverKeeper {
    let endpoint = Arc::new(perennial::http::Http::new(perennial::http::Options::default()));
    let parts = perennial::Parts {
        store: Arc::new(store),
        endpoint,
        clock: Arc::clone(&clock),
        seed: None,
        threads: None,
    };
    OverKeeper::new(Arc::new(Keeper::with_parts(parts, Options::default())), clock)
}

#[test]
fn a_connection_is_seen_in_this_hosts_time() {
    let mut gone = connection("gone", 600);
    // What went wrong before these tokens were issued says nothing of them.
    let fault = |at| perennial::core::connection::Fault { at, ..crate::delivery::fault("refused") };
    gone.last_fault = Some(fault(SystemClock.now().plus(601)));
    let mut acme = connection("acme", 600);
    acme.last_fault = Some(fault(SystemClock.now()));
    gone.condition = Condition::NeedsReauthorization;
    let over = over(store([acme, gone]), Arc::new(SystemClock));
    let acme = over.connection("acme").unwrap().unwrap();
    let left = acme.ends.unwrap().at().since(SystemClock.now());
    assert_eq!((acme.state, acme.life), (State::Held, Some(86_400)));
    assert_eq!(acme.fault, None);
    assert!((86_390..=86_400).contains(&left), "{left}");
    let gone = over.connection("gone").unwrap().unwrap();
    assert_eq!(gone.state, State::NeedsReauthorization);
    assert_eq!(gone.fault.unwrap().message, "refused");
    assert_eq!(over.connection("nobody"), Ok(None));
    assert_eq!(over.names_after(Some("acme"), 10).unwrap(), ["gone"]);
}

#[test]
fn law_11_a_clock_that_is_wrong_is_noticed_by_the_servers_and_when_it_is_set_back() {
    let clock = Arc::new(SetBy::default());
    let over = over(store([connection("acme", 900)]), Arc::clone(&clock) as Arc<dyn Clock>);
    assert_eq!(over.vitals().clock_ahead, 0, "nobody knows yet");
    over.connection("acme").unwrap();
    assert!((-902..=-898).contains(&over.vitals().clock_ahead), "{}", over.vitals().clock_ahead);
    clock.0.store(-86_400, Ordering::SeqCst);
    let ahead = over.vitals().clock_ahead;
    assert!((-87_302..=-87_298).contains(&ahead), "{ahead}");
}

/// A server that can be reached, answers with the same tokens, and counts how often it is asked.
#[derive(Clone, Default)]
struct Generous(Arc<AtomicI64>);

impl TokenEndpoint for Generous {
    fn connect<'a>(&'a self, _: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn Line>) })
    }
}

impl Line for Generous {
    fn ask(self: Box<Self>, _: Question, _: Duration) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let body = br#"{"access_token": "access", "refresh_token": "refresh", "expires_in": 3600}"#;
        let (body, end) = (body.to_vec().into(), BodyEnd::Whole);
        let reply = Reply { status: 200, retry_after: None, date: None, correlation_id: None, body, end };
        Box::pin(async { Ok(reply) })
    }
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_told_until_a_refresh_has_landed() {
    let dir = tempfile::tempdir().unwrap();
    let credentials =
        r#"{"appID": "app", "clientSecret": "secret", "companyUUID": "company", "companyRequestToken": ""}"#;
    let tokens = r#"{"refresh_token": "refresh", "access_token": "access", "expires_in": "3600",
        "geolocation": "https://us2.api.concursolutions.com"}"#;
    std::fs::write(dir.path().join("credentials.json"), credentials).unwrap();
    std::fs::write(dir.path().join("refreshTokenObjectFile.json"), tokens).unwrap();
    // What is written before anything is sent cannot be: a directory has its name.
    let in_the_way = dir.path().join(".refreshTokenObjectFile.json.next");
    std::fs::create_dir(&in_the_way).unwrap();
    let server = Generous::default();
    let parts = perennial::Parts {
        store: Arc::new(SapSample::open(dir.path()).unwrap()),
        endpoint: Arc::new(server.clone()),
        clock: Arc::new(SystemClock),
        seed: None,
        threads: None,
    };
    let keeper = Arc::new(Keeper::with_parts(parts, Options::default()));
    let over = OverKeeper::new(Arc::clone(&keeper), Arc::new(SystemClock));
    assert_eq!(over.vitals().store_fault, None);
    keeper.refresh("default").await.unwrap_err();
    let told = over.vitals().store_fault.unwrap();
    assert!(told.contains("refreshTokenObjectFile.json"), "{told}");
    assert_eq!(server.0.load(Ordering::SeqCst), 0, "law 4: nothing was spent");
    std::fs::remove_dir(&in_the_way).unwrap();
    keeper.refresh("default").await.unwrap();
    assert_eq!(over.vitals().store_fault, None);
}
