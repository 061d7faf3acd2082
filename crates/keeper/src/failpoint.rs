//! Named steps of a flight, for tests. `PERENNIAL_FAILPOINT=step:n` ends the process by SIGKILL when it comes by the
//! step for the nth time; `PERENNIAL_FAILPOINT=step:n:FILE` lets it stand still there until the file is there, as a
//! machine does that is suspended. `PERENNIAL_STEPS=FILE` writes each step down that is passed. Only builds with the
//! feature `failpoints`, which the tests turn on, look at these variables; in all others this is nothing.

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

/// The steps of replacing keys, in their order.
pub const REKEY_STEPS: [&str; 9] = [
    "rotating",
    "key_made",
    "rewrapping",
    "rewrapped",
    "rescue_files_sealed",
    "some_rows_sealed",
    "rows_sealed",
    "data_keys_dropped",
    "backup_made",
];

/// Passes a step, or ends there.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_: &str) {}

/// Passes a step, or ends there.
#[cfg(feature = "failpoints")]
pub(crate) fn pass(step: &str) {
    active::note(step);
    let Ok(order) = std::env::var("PERENNIAL_FAILPOINT") else { return };
    let mut parts = order.splitn(3, ':');
    let (Some(at), Some(count)) = (parts.next(), parts.next()) else { return };
    if at != step || count.parse() != Ok(active::passed()) {
        return;
    }
    match parts.next() {
        Some(file) => active::stand_still_until(file.as_ref()),
        None => active::die(),
    }
}

#[cfg(feature = "failpoints")]
mod active {
    use std::io::Write;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// How often the step that is asked for was passed, this time included.
    pub(super) fn passed() -> usize {
        static PASSED: AtomicUsize = AtomicUsize::new(0);
        PASSED.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn note(step: &str) {
        let Some(path) = std::env::var_os("PERENNIAL_STEPS") else { return };
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        if let Ok(mut file) = file {
            let _ = file.write_all(format!("{step}\n").as_bytes());
        }
    }

    pub(super) fn die() -> ! {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }

    /// A minute at most: nobody waits for ever.
    pub(super) fn stand_still_until(file: &Path) {
        for _ in 0..30_000 {
            if file.exists() {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "a process that stands still; in tests only")]
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
