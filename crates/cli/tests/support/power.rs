//! A power switch for real processes: see `kill_at.c`.

use super::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// What happens before the call of this number that changes a file below the world's root; the first one is 1.
#[derive(Clone, Copy, Debug)]
pub enum Power {
    /// The process is killed.
    Cut(usize),
    /// The call fails, and all after it work again.
    Flickers(usize),
}

/// A command of this world's, and where its trace will be: one line for each such call.
pub fn prepare(world: &World, power: Power, words: &[&str]) -> (Command, PathBuf) {
    let dir = world.dir();
    switched(world.command(words), dir.parent().expect("a root"), power)
}

/// The same for any command; the calls that count are those below this directory.
pub fn switched(mut command: Command, below: &Path, power: Power) -> (Command, PathBuf) {
    let (variable, at) = match power {
        Power::Cut(at) => ("KILL_AT", at),
        Power::Flickers(at) => ("FAIL_AT", at),
    };
    static TRACES: AtomicUsize = AtomicUsize::new(0);
    let trace = tools().join(format!("trace-{}", TRACES.fetch_add(1, Ordering::SeqCst)));
    command
        .env("LD_PRELOAD", tools().join("kill_at.so"))
        .env("KILL_BELOW", below)
        .env("KILL_TRACE", &trace)
        .env(variable, at.to_string());
    (command, trace)
}

/// The calls that a command of this trace has made, or is about to make.
pub fn calls(trace: &Path) -> Vec<String> {
    fs::read_to_string(trace).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Where the library is that is loaded before all others, compiled by the C compiler that the workspace needs anyway.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = TOOLS.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/kill_at.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(dir.path().join("kill_at.so"))
            .arg(source)
            .arg("-ldl")
            .status();
        assert!(compiled.expect("a C compiler").success());
        let path = dir.path().to_owned();
        (dir, path)
    });
    path
}
