//! `race PAIRS FLOOR PERENNIAL DIR [STORE KEY]`: runs two commands in turn, again and again, and compares them pair by
//! pair. STORE is a store that holds the same connection as DIR, sealed with KEY.
//!
//! Wall time is taken from before the spawn until the process has been waited for. Both commands of a pair run within
//! a few milliseconds of each other, so that what else the machine does hits both alike; which of the two goes first
//! changes from pair to pair. Peak memory is the kernel's own high-water mark (`ru_maxrss`). The kernel lets a child
//! inherit its parent's mark up to the exec, which is why a program as small as this one holds the stopwatch.

use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The first runs of all fill the page cache and wake the processor up; nobody counts them.
const WARM_UP: usize = 20;

const HEAD: &str = "\
wall time in µs: lowest / median / highest; ratio: median (quartiles) of the pairs;
peak memory in KiB: rival : floor

| against the floor      | floor                | rival                | ratio              | memory             |
|------------------------|----------------------|----------------------|--------------------|--------------------|";

fn main() -> Result<()> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let (pairs, floor, perennial, dir, sealed) = match arguments.as_slice() {
        [pairs, floor, perennial, dir] => (pairs, floor, perennial, dir, None),
        [pairs, floor, perennial, dir, store, key] => (pairs, floor, perennial, dir, Some((store, key))),
        _ => return Err("usage: race PAIRS FLOOR PERENNIAL DIR [STORE KEY]".into()),
    };
    let pairs = pairs.to_str().and_then(|text| text.parse().ok()).ok_or("PAIRS is a number")?;
    let floor = Runner::new("floor", floor, [dir]);
    let mut rivals = vec![
        Runner::new("floor again", &floor.program, [dir]),
        Runner::new("perennial token", perennial, [OsStr::new("token"), OsStr::new("--dir"), dir]),
        Runner::new(
            "perennial token --json",
            perennial,
            [OsStr::new("token"), OsStr::new("--json"), OsStr::new("--dir"), dir],
        ),
        Runner::new("perennial --version", perennial, ["--version"]),
    ];
    if let Some((store, key)) = sealed {
        // As a service names them; the floor still reads its file.
        let variables = [("PERENNIAL_STORE", store), ("PERENNIAL_MASTER_KEY", key)];
        rivals.push(Runner::new("token, sealed SQLite", perennial, ["token"]).with(variables));
    }
    println!("{pairs} pairs each; {HEAD}");
    for rival in &rivals {
        println!("{}", race(pairs, &floor, rival)?);
    }
    Ok(())
}

/// One line of the table.
fn race(pairs: usize, floor: &Runner, rival: &Runner) -> Result<String> {
    for _ in 0..WARM_UP {
        floor.run()?;
        rival.run()?;
    }
    let (mut floors, mut rivals) = (Lane::default(), Lane::default());
    for number in 0..pairs {
        if number % 2 == 0 {
            floors.add(floor.run()?);
            rivals.add(rival.run()?);
        } else {
            rivals.add(rival.run()?);
            floors.add(floor.run()?);
        }
    }
    let ratios = floors.times.iter().zip(&rivals.times).map(|(floor, rival)| rival / floor);
    let [low, ratio, high] = quantiles(ratios.collect(), [0.25, 0.5, 0.75]);
    Ok(format!(
        "| {:22} | {} | {} | {ratio:.2} ({low:.2} – {high:.2}) | {:4} : {:4} = {:.2} |",
        rival.label,
        floors.times_in_words(),
        rivals.times_in_words(),
        rivals.peak,
        floors.peak,
        rivals.peak as f64 / floors.peak as f64,
    ))
}

/// A command that is run many times.
struct Runner {
    label: &'static str,
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
}

impl Runner {
    fn new<S: AsRef<OsStr>>(
        label: &'static str,
        program: &OsStr,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Self { label, program: program.to_owned(), arguments, variables: Vec::new() }
    }

    fn with<'a>(mut self, variables: impl IntoIterator<Item = (&'static str, &'a OsString)>) -> Self {
        self.variables = variables.into_iter().map(|(name, value)| (name, value.clone())).collect();
        self
    }

    /// Wall time, and peak memory in KiB.
    fn run(&self) -> Result<(Duration, u64)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let ended = child.wait4()?;
        let took = started.elapsed();
        if !ended.status.success() {
            return Err(format!("{}: {}", self.label, ended.status).into());
        }
        Ok((took, ended.rusage.maxrss / 1024))
    }
}

/// What one command's runs took.
#[derive(Default)]
struct Lane {
    times: Vec<f64>,
    peak: u64,
}

impl Lane {
    fn add(&mut self, (took, peak): (Duration, u64)) {
        self.times.push(took.as_secs_f64() * 1e6);
        self.peak = self.peak.max(peak);
    }

    fn times_in_words(&self) -> String {
        let [lowest, median, highest] = quantiles(self.times.clone(), [0.0, 0.5, 1.0]);
        format!("{lowest:5.0} / {median:4.0} / {highest:5.0}")
    }
}

fn quantiles<const N: usize>(mut values: Vec<f64>, at: [f64; N]) -> [f64; N] {
    values.sort_by(f64::total_cmp);
    at.map(|fraction| values[((values.len() - 1) as f64 * fraction).round() as usize])
}
