//! Several machines, one store.

use super::World;
use super::sample::{app, connection, holding, refreshing};
use perennial::clock::{Clock, SystemClock};
use perennial::core::token_endpoint::{BodyEnd, NoAnswer, Reply, Unreachable};
use perennial::core::{Origin, UnixTime};
use perennial::http::{BoxFuture, Line, Question, TokenEndpoint};
use perennial::store::WriteError;
use perennial::{Keeper, Options, Parts, Store};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[test]
fn law_2_who_lost_his_claim_may_not_intend() {
    let Some(world) = World::new() else { return };
    let (here, first) = world.held();
    let there = world.open();
    let mut lost = here.try_claim("acme").unwrap().unwrap();
    assert!(there.try_claim("acme").unwrap().is_none());
    world.sql("UPDATE {s}.claims SET until = clock_timestamp() - interval '1 second'");
    let mut taken = there.try_claim("acme").unwrap().unwrap();
    assert_ne!(lost.lock(), taken.lock());
    let refused = lost.intend(&first.version(), &refreshing(&first, "late"));
    assert!(matches!(&refused, Err(WriteError::Moved(now)) if **now == first), "{refused:?}");
    drop(lost);
    assert!(here.try_claim("acme").unwrap().is_none(), "what is not his he cannot give back");
    taken.intend(&first.version(), &refreshing(&first, "in time")).unwrap();
}

#[test]
fn law_2_a_claim_that_lapsed_unseen_is_still_good() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    world.sql("UPDATE {s}.claims SET until = clock_timestamp() - interval '1 second'");
    claim.intend(&first.version(), &refreshing(&first, "one")).unwrap();
    assert!(store.try_claim("acme").unwrap().is_none(), "the intent has extended it");
}

#[test]
fn law_2_an_intent_extends_its_claim_to_its_deadline_and_no_further() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    let left = || -> f64 {
        world.sql("SELECT extract(epoch FROM until - clock_timestamp()) FROM {s}.claims").parse().unwrap()
    };
    let mut claim = store.try_claim("acme").unwrap().unwrap();
    assert!((1.0..=15.0).contains(&left()), "to look again and to intend: {}", left());
    let intended = refreshing(&first, "one");
    claim.intend(&first.version(), &intended).unwrap();
    let patience = intended.intent.as_ref().unwrap().patience().as_secs_f64();
    assert!((15.0..=patience).contains(&left()), "{}", left());
    claim.read().unwrap();
    assert!(left() <= patience);
    let kept = store.read("acme").unwrap();
    assert_eq!(kept.intent, intended.intent, "its deadline stands");
    drop(claim);
    assert_eq!(world.sql("SELECT count(*) FROM {s}.claims"), "0", "given back");
}

#[test]
fn law_8_many_hosts_write_and_no_write_is_lost() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let stores: Vec<_> = (0..4).map(|_| world.open()).collect();
    thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                let mut written = 0;
                while written < 5 {
                    let Some(mut claim) = store.try_claim("acme").unwrap() else {
                        thread::yield_now();
                        continue;
                    };
                    let now = claim.read().unwrap();
                    let intended = refreshing(&now, &perennial::request_id());
                    claim.intend(&now.version(), &intended).unwrap();
                    let next = holding(&intended, &perennial::request_id());
                    claim.commit(&intended.version(), &next).unwrap();
                    written += 1;
                }
            });
        }
    });
    let last = world.open().read("acme").unwrap();
    let generation = |held: &perennial::core::Connection| held.version().generation;
    assert!(generation(&last) > generation(&first));
    assert_eq!(world.count_in_journal("refreshed"), 20);
}

#[test]
fn keepers_share_what_is_due() {
    let Some(world) = World::new() else { return };
    let store = world.open();
    let names: Vec<String> = (0..40).map(|number| format!("name-{number:02}")).collect();
    for name in &names {
        store.add(&holding(&connection(name), name), &app("app-1", "one")).unwrap();
    }
    let later = UnixTime(i64::MAX);
    assert_eq!(store.due(later).unwrap().len(), 40);
    let claim = store.try_claim("name-07").unwrap();
    let batches: Vec<Vec<String>> = thread::scope(|scope| {
        let keepers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.open().due_batch(later, 10, &BTreeSet::new()).unwrap()))
            .collect();
        keepers.into_iter().map(|keeper| keeper.join().unwrap()).collect()
    });
    let mut all: Vec<&String> = batches.iter().flatten().collect();
    let once: BTreeSet<&String> = all.iter().copied().collect();
    assert_eq!(once.len(), all.len(), "to one keeper each: {batches:?}");
    assert!(!once.contains(&"name-07".to_owned()), "somebody is at work on it");
    // Rows that another keeper was just reading were passed over: asking again finds them.
    let rest = store.due_batch(later, 100, &BTreeSet::new()).unwrap();
    all.extend(&rest);
    assert_eq!(all.len(), 39);
    assert!(store.due_batch(later, 100, &BTreeSet::new()).unwrap().is_empty());
    drop(claim);
    assert_eq!(store.due_batch(later, 100, &BTreeSet::new()).unwrap(), ["name-07"]);
    assert!(store.try_claim("name-00").unwrap().is_some(), "an offer is no claim");
    world.sql("UPDATE {s}.offers SET until = clock_timestamp() - interval '1 second'");
    assert_eq!(
        store.due_batch(later, 100, &BTreeSet::new()).unwrap().len(),
        40,
        "who died keeps nothing back"
    );
}

#[test]
fn tenants_of_one_database_do_not_see_each_other() {
    let Some(world) = World::new() else { return };
    let (_, first) = world.held();
    let other = perennial::Postgres::open(&world.url(), world.options().tenant("two")).unwrap();
    assert!(other.names().unwrap().is_empty() && other.read("acme").is_err());
    other.add(&first, &app("app-1", "two")).unwrap();
    assert_eq!(other.app("acme").unwrap().client.secret, app("app-1", "two").client.secret);
    assert_eq!(world.open().app("acme").unwrap().client.secret, app("app-1", "one").client.secret);
    assert!(world.open().journal(None, None, 9).unwrap().len() < 9);
}

#[tokio::test]
async fn it_can_be_asked_from_a_runtime_of_one_thread() {
    let Some(world) = World::new() else { return };
    let (store, first) = world.held();
    assert_eq!(store.read("acme").unwrap(), first);
    assert!(store.try_claim("acme").unwrap().is_some());
}

/// A server that rotates, and counts what should never happen.
#[derive(Default)]
pub(super) struct Rotating {
    pub(super) requests: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    pub(super) reused: AtomicUsize,
    pub(super) current: Mutex<String>,
}

pub(super) struct Asked(pub(super) Arc<Rotating>);

impl TokenEndpoint for Asked {
    fn connect<'a>(&'a self, _: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        let line = Asked(Arc::clone(&self.0));
        Box::pin(async move { Ok(Box::new(line) as Box<dyn Line>) })
    }
}

impl Line for Asked {
    fn ask(self: Box<Self>, question: Question, _: Duration) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        Box::pin(async move {
            let server = &self.0;
            let at_once = server.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            server.most_at_once.fetch_max(at_once, Ordering::SeqCst);
            let number = server.requests.fetch_add(1, Ordering::SeqCst);
            let form = String::from_utf8(question.request.form.expose().to_vec()).unwrap();
            // Others come meanwhile.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let next = format!("canary-refresh-rotated-{number}");
            let before = std::mem::replace(&mut *server.current.lock().unwrap(), next.clone());
            server.reused.fetch_add(usize::from(!form.contains(&before)), Ordering::SeqCst);
            server.at_once.fetch_sub(1, Ordering::SeqCst);
            let body = serde_json::json!({
                "access_token": format!("canary-access-{number}"), "refresh_token": next, "expires_in": 3600,
                "refresh_expires_in": 1_815_000_000, "geolocation": "https://us2.api.concursolutions.com",
            });
            Ok(Reply {
                status: 200,
                retry_after: None,
                date: None,
                correlation_id: None,
                body: body.to_string().into_bytes().into(),
                end: BodyEnd::Whole,
            })
        })
    }
}

/// A host whose wall clock is off.
struct Off(&'static str, i64);

impl Clock for Off {
    fn now(&self) -> UnixTime {
        UnixTime(SystemClock.now().0 + self.1)
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }

    fn kernel(&self) -> String {
        self.0.to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_2_hosts_whose_clocks_differ_by_an_hour_present_one_at_a_time() {
    let Some(world) = World::new() else { return };
    world.held();
    let server = Arc::new(Rotating::default());
    "canary-refresh-first".clone_into(&mut server.current.lock().unwrap());
    let keeper = |host: &'static str, off: i64| {
        let (endpoint, clock) = (Arc::new(Asked(Arc::clone(&server))), Arc::new(Off(host, off)));
        let parts = Parts { store: world.open(), endpoint, clock, seed: None, threads: None };
        Keeper::with_parts(parts, Options::default())
    };
    let (behind, ahead) = (keeper("behind", 0), keeper("ahead", 3600));
    for _ in 0..10 {
        let (one, other) = tokio::join!(behind.refresh("acme"), ahead.refresh("acme"));
        for handed_out in [one, other] {
            handed_out.unwrap();
        }
    }
    let count = |number: &AtomicUsize| number.load(Ordering::SeqCst);
    assert_eq!((count(&server.most_at_once), count(&server.reused)), (1, 0));
    assert!((10..=20).contains(&count(&server.requests)), "one for both, or one for each");
    let kept = world.open().read("acme").unwrap();
    let refresh = kept.held.unwrap().refresh.unwrap();
    assert_eq!(refresh.expose(), server.current.lock().unwrap().as_str());
    assert_eq!(world.count_in_journal("refreshed"), count(&server.requests));
}
