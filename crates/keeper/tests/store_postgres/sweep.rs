//! A refresh, with the connection to the database cut at each message that it sends, one after the other: once before the
//! server hears of it, once before anybody hears its answer. Nothing is lost, and nothing presented twice.

use super::World;
use super::fleet::{Asked, Rotating};
use super::postgres_server::url_by;
use super::proxy::{Cut, Proxy};
use perennial::clock::SystemClock;
use perennial::{Keeper, Options, Parts, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn law_1_and_2_a_connection_cut_at_any_message_costs_no_token() {
    let Some(world) = World::new() else { return };
    world.held();
    let proxy = Proxy::before(world.server.dir());
    let server = Arc::new(Rotating::default());
    "canary-refresh-first".clone_into(&mut server.current.lock().unwrap());
    let store = world.open_at(&url_by(proxy.dir(), &world.schema));
    let (endpoint, clock) = (Arc::new(Asked(Arc::clone(&server))), Arc::new(SystemClock));
    let keeper =
        Keeper::with_parts(Parts { store, endpoint, clock, seed: None, threads: None }, Options::default());
    let (mut refreshes, mut cuts, mut refused) = (0, 0, 0);
    for kind in [Cut::BeforeMessage, Cut::AfterMessage] {
        for message in 0.. {
            proxy.cut(kind(message));
            let when = format!("{:?}", kind(message));
            let handed_out = match keeper.refresh("acme").await {
                Ok(handed_out) => handed_out,
                // Who cannot even log in is told so, and may ask again: nothing was sent.
                Err(error) => {
                    assert!(proxy.has_cut(), "{when}: {error}");
                    assert_eq!(server.requests.load(Ordering::SeqCst), refreshes, "{when}: {error}");
                    refused += 1;
                    keeper.refresh("acme").await.unwrap_or_else(|error| panic!("{when}: {error}"))
                }
            };
            refreshes += 1;
            assert_eq!(server.requests.load(Ordering::SeqCst), refreshes, "{when}: presented once");
            assert_eq!(server.reused.load(Ordering::SeqCst), 0, "{when}: each token once");
            let held = world.open().read("acme").unwrap().held.unwrap();
            assert_eq!(
                held.access.unwrap().token,
                handed_out.access_token,
                "{when}: durable before it is handed out"
            );
            assert_eq!(held.refresh.unwrap().expose(), server.current.lock().unwrap().as_str(), "{when}");
            assert_eq!(world.count_in_journal("refreshed"), refreshes, "{when}: told once");
            if !proxy.has_cut() {
                break;
            }
            cuts += 1;
            // The cut may have fallen on the giving back; the next one does not wait for the claim to lapse.
            world.sql("DELETE FROM {s}.claims");
        }
    }
    assert!(cuts > 30 && refused <= 4, "{cuts} cuts, {refused} of them told");
}
