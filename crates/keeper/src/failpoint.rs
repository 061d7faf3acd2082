//! Named steps of a flight at which a test may kill the process: `PERENNIAL_FAILPOINT=step:n` ends it by SIGKILL when
//! it comes by the step for the nth time. Only builds with the feature `failpoints`, which the tests turn on, look at
//! the variable; in all others this is nothing.

/// The steps, in the order of a flight.
pub const STEPS: [&str; 10] = [
    "looked",
    "connected",
    "claimed",
    "looked_again",
    "intending",
    "intended",
    "answered",
    "committing",
    "committed",
    "landed",
];

/// Passes a step, or ends there.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_: &str) {}

/// Passes a step, or ends there.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(step: &str) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    let Ok(order) = std::env::var("PERENNIAL_FAILPOINT") else { return };
    let Some((at, count)) = order.split_once(':') else { return };
    if at == step && count.parse() == Ok(PASSED.fetch_add(1, Ordering::SeqCst) + 1) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
