//! Follows what changes in the store, so that nothing is handed out of memory that has been replaced or put away, and
//! what else the daemon looks at from time to time: its clients' keys, and which tokens in use are to be renewed.

use crate::shared::Shared;
use perennial::store::Changes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked: an idle look costs one read of an index.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the last uses of client keys are written down.
const USES: u32 = 60;

/// Follows until it is dropped. `changed` hears the names of connections that have changed.
pub(crate) async fn follow(shared: Arc<Shared>, changed: impl Fn(&[String])) {
    let mut mark = None;
    for round in 1_u32.. {
        mark = look(&shared, mark, &changed).await;
        for name in shared.hot.due_ahead(shared.keeper.now()) {
            shared.renew_ahead(&name);
        }
        shared.doorman.look_for_keys();
        if round % USES == 0 {
            shared.doorman.put_uses();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One look at what has changed since `mark`; where it cannot be read, nothing is forgotten (law 9).
async fn look(shared: &Arc<Shared>, mark: Option<u64>, changed: &impl Fn(&[String])) -> Option<u64> {
    let store = Arc::clone(shared.keeper.store());
    let mut mark = mark;
    loop {
        let (store, since) = (Arc::clone(&store), mark);
        let looked = tokio::task::spawn_blocking(move || store.changes(since)).await;
        let is_readable = matches!(looked, Ok(Ok(_)));
        if shared.health.store.swap(is_readable, Ordering::Relaxed) && !is_readable {
            tracing::error!("the store cannot be read; tokens that live are handed out meanwhile");
        }
        match looked {
            Ok(Ok(Changes::Named { names, mark: now, more })) => {
                names.iter().for_each(|name| shared.hot.has_changed(name));
                if !names.is_empty() {
                    changed(&names);
                }
                mark = Some(now);
                if !more {
                    return mark;
                }
            }
            Ok(Ok(_)) => {
                // This store cannot tell: it has one connection, and each look at it is cheap.
                shared.hot.all_may_have_changed();
                return None;
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the store cannot be read");
                return mark;
            }
            Err(_) => return mark,
        }
    }
}
