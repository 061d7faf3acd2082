//! What a storm is made of, each part alone: a bare loop that asks the same server and reads its answers, and the store
//! that writes what a refresh writes. A keeper that did nothing else would take as long as both together.

use crate::connections::{all_due, name, now};
use crate::place::Place;
use crate::storm::{AnswersAtOnce, MOST};
use crate::{FLIGHTS, filled, memory, refresh, round};
use perennial::core::Origin;
use perennial::core::connection::Obtaining;
use perennial::core::grant::{Client, Grant, Proof};
use perennial::core::secret::{ClientSecret, RefreshToken};
use perennial::core::token_endpoint::read;
use perennial::http::{Question, TokenEndpoint as _};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) fn apart(place: &Place) -> Value {
    let place = place.of_its_own("apart", MOST);
    let bare = bare_loop(place.count);
    filled(&place, all_due);
    let store = place.open();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for flight in 0..FLIGHTS {
            let (store, place) = (&store, &place);
            scope.spawn(move || {
                for number in (flight..place.count).step_by(FLIGHTS as usize) {
                    refresh(store.as_ref(), &name(number));
                }
            });
        }
    });
    let alone = begun.elapsed();
    let per_second = |took: Duration| round(place.count as f64 / took.as_secs_f64());
    json!({
        "bare_loop_per_second": per_second(bare),
        "store_alone_per_second": per_second(alone),
        "both_per_second": per_second(bare + alone),
        "memory": memory(),
    })
}

/// As many flights at a time as a storm has, each with a form of its own.
fn bare_loop(count: u64) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = Origin::parse("https://us2.api.concursolutions.com").unwrap();
    let begun = Instant::now();
    runtime.block_on(async {
        let mut flights = tokio::task::JoinSet::new();
        for flight in 0..FLIGHTS {
            let server = server.clone();
            flights.spawn(async move {
                for _ in (flight..count).step_by(FLIGHTS as usize) {
                    ask(&server).await;
                }
            });
        }
        flights.join_all().await;
    });
    begun.elapsed()
}

async fn ask(server: &Origin) {
    let client = Client { id: "app".to_owned(), secret: ClientSecret::new("the-secret-of-an-app") };
    let correlation_id = perennial::request_id();
    let grant = Grant::Refresh { refresh_token: RefreshToken::new(correlation_id.as_str()) };
    let request = grant.request(&client, &Proof::Post, &Obtaining::default());
    let question = Question { path: "/oauth2/v0/token".to_owned(), request, correlation_id };
    let line = AnswersAtOnce.connect(server).await.unwrap();
    let reply = line.ask(question, Duration::from_secs(60)).await.unwrap();
    read(&reply, now()).unwrap();
}
