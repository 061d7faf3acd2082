//! Being asked to end: Ctrl-C on a terminal, SIGTERM from a service manager, `timeout` or `kill`.

use tokio::signal;

/// Returns when somebody asks this process to end. From the first call on, a signal no longer ends it by itself.
pub(crate) async fn asked_to_end() {
    let Ok(mut terminated) = signal::unix::signal(signal::unix::SignalKind::terminate()) else {
        let _ = signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}
