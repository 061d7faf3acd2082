//! All connections of a store fall due at once, and a scheduler renews them; a server that answers at once stands in for
//! the authorization server, so that what is measured is the keeper and its store.

use crate::connections::{self, all_due, name};
use crate::place::Place;
use crate::{AT_ONCE, Times, memory, round};
use perennial::core::Origin;
use perennial::core::token_endpoint::{BodyEnd, NoAnswer, Reply, Unreachable};
use perennial::http::{BoxFuture, Line, Question, TokenEndpoint};
use perennial::scheduler::{Options, Scheduler};
use perennial::store::Parcel;
use perennial::{Keeper, Parts, clock::SystemClock};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often somebody asks for a token meanwhile.
const HAND_OUT_EVERY: Duration = Duration::from_millis(5);
/// How often it is looked whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// So many fall due at once at most.
pub(crate) const MOST: u64 = 100_000;

pub(crate) struct AnswersAtOnce;
struct Asked;

impl TokenEndpoint for AnswersAtOnce {
    fn connect<'a>(&'a self, _: &'a Origin) -> BoxFuture<'a, Result<Box<dyn Line>, Unreachable>> {
        Box::pin(async { Ok(Box::new(Asked) as Box<dyn Line>) })
    }
}

impl Line for Asked {
    fn ask(self: Box<Self>, question: Question, _: Duration) -> BoxFuture<'static, Result<Reply, NoAnswer>> {
        let body = crate::connections::body(&question.correlation_id);
        Box::pin(async move {
            Ok(Reply {
                status: 200,
                retry_after: None,
                date: None,
                correlation_id: None,
                body: body.into_bytes().into(),
                end: BodyEnd::Whole,
            })
        })
    }
}

pub(crate) fn storm(place: &Place) -> Value {
    let place = place.of_its_own("storm", MOST);
    let store = place.open();
    for first in (0..place.count).step_by(AT_ONCE as usize) {
        let last = place.count.min(first + AT_ONCE);
        let parcels: Vec<Parcel> = (first..last).map(all_due).collect();
        store.add_all(&parcels).into_iter().for_each(|taken| taken.unwrap());
    }
    let now = connections::now();
    let (mut fetched, mut counted) = (Times::default(), Times::default());
    for _ in 0..5 {
        fetched.take(|| store.due_batch(now, 1, &BTreeSet::new()).unwrap());
        counted.take(|| store.backlog(now).unwrap());
    }
    let before = place.syncs();
    let parts = Parts {
        store,
        endpoint: Arc::new(AnswersAtOnce),
        clock: Arc::new(SystemClock),
        seed: None,
        threads: None,
    };
    let keeper = Arc::new(Keeper::with_parts(parts, perennial::Options::default()));
    let options = Options { per_server: 64, ..Options::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let begun = Instant::now();
    let mut hand_outs = Times::default();
    runtime.block_on(async {
        let (stop, stopped) = oneshot::channel::<()>();
        let scheduler = Scheduler::new(Arc::clone(&keeper), options);
        let running = tokio::spawn(async move { scheduler.run(async { drop(stopped.await) }).await });
        let mut looked = Instant::now();
        let mut number = 0;
        while looked.elapsed() < LOOK_EVERY || keeper.store().backlog(keeper.now()).unwrap() > 0 {
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
            }
            number = (number + 7_919) % place.count;
            let asked = name(number);
            hand_outs.take(|| keeper.peek(&asked, Duration::from_secs(60)).unwrap().unwrap());
            tokio::time::sleep(HAND_OUT_EVERY).await;
        }
        drop(stop);
        running.await.unwrap();
        keeper.landed().await;
    });
    let seconds = begun.elapsed().as_secs_f64();
    let tally = keeper.tally();
    let syncs = place.syncs() - before;
    json!({
        "refreshes_per_second": round(place.count as f64 / seconds),
        "refreshes": tally.refreshes[0].1,
        "begun": tally.begun[2].1,
        "syncs": syncs,
        "writes_per_sync": round(2.0 * place.count as f64 / syncs as f64),
        "reads": tally.read.count,
        "read_microseconds": round(tally.read.sum.as_secs_f64() * 1e6 / tally.read.count as f64),
        "intend_microseconds": round(tally.intend.sum.as_secs_f64() * 1e6 / tally.intend.count as f64),
        "agenda": fetched.told(),
        "backlog": counted.told(),
        "hand_outs": hand_outs.told(),
        "memory": memory(),
    })
}
