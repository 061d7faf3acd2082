//! Runs a scenario: events, then a fair period, then the question whether everything lives.

use crate::clocks::Host;
use crate::disk::{Disk, Trouble};
use crate::laws::{Laws, Violation};
use crate::network::Weather;
use crate::peace;
use crate::process::{self, Make, Process};
use crate::scenario::{Event, Scenario, What};
use crate::server::Server;
use crate::store::{Row, Rows};
use crate::story::Story;
use crate::tally::Tally;
use crate::world::{Crash, STORE_DISK, Shared, State, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Builder;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) violation: Option<Violation>,
    pub(crate) story: Vec<String>,
    pub(crate) tally: Tally,
    /// How many steps each process has made, in all its lives.
    pub(crate) steps: Vec<u64>,
    /// How many writes each disk was asked for.
    pub(crate) writes: Vec<u32>,
}

/// Runs it; `told` asks for the story.
pub(crate) fn run(scenario: &Scenario, told: bool) -> Outcome {
    expect_crashes();
    PANICS.with_borrow_mut(|panics| *panics = Some(Vec::new()));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let make = Make { seed: scenario.seed, answer_within: scenario.answer_within, key_file: key_file() };
    let world = runtime.block_on(async {
        let world = World::new(make.clone(), beginning(scenario, told));
        tokio::select! {
            biased;
            () = world.broken.notified() => {}
            () = live(&world, &make, scenario) => {}
        }
        world.look(|state| state.tally.time = state.now);
        world
    });
    let panics = PANICS.with_borrow_mut(Option::take).unwrap_or_default();
    let (outcome, held) = world.look(|state| {
        if let Some(panic) = panics.first() {
            state.breaks(0, format!("something panics: {panic}"));
        }
        state.tally.seeds = 1;
        state.tally.checked(&state.laws.checks);
        let story = std::mem::take(&mut state.story.lines);
        let steps = state.processes.iter().map(|process| process.steps).collect();
        let writes = state.disks.iter().map(|disk| disk.writes).collect();
        let (violation, tally) = (state.laws.broken.clone(), state.tally.clone());
        let held = (std::mem::take(&mut state.processes), std::mem::take(&mut state.graveyard));
        (Outcome { violation, story, tally, steps, writes }, held)
    });
    // They hold the world that holds them: a million of them would fill the machine.
    drop(held);
    outcome
}

/// The world before anything has happened.
fn beginning(scenario: &Scenario, told: bool) -> State {
    let hosts: Vec<Host> = (0..)
        .zip(&scenario.clocks)
        .map(|(number, crystal)| Host::new(number, crystal.drift, crystal.ahead))
        .collect();
    let mut server = Server::new(scenario.rotation, scenario.connections, scenario.seed);
    let mut rows = Rows::default();
    for connection in 0..scenario.connections {
        let token = server.make_request_token(connection, Duration::ZERO);
        let replay = process::replay_for(scenario.rotation);
        let (connection, app) = process::newcomer(connection, &replay, &token, Duration::ZERO);
        rows.rows
            .insert(connection.name.clone(), Row { connection: crate::disk::Kept::new(connection), app });
    }
    let mut state = State {
        now: Duration::ZERO,
        seed: scenario.seed,
        processes: (0..).zip(&scenario.processes).map(|(number, host)| Process::new(number, *host)).collect(),
        shelves: hosts.iter().map(|_| BTreeMap::new()).collect(),
        disks: (0..=hosts.len()).map(|_| Disk::default()).collect(),
        hosts,
        server,
        weather: Weather::default(),
        rows,
        laws: Laws::default(),
        story: Story { is_told: told, lines: Vec::new() },
        tally: Tally::default(),
        answer_within: scenario.answer_within,
        graveyard: Vec::new(),
    };
    scenario.clocks.iter().for_each(|crystal| state.a_clock_was_wrong(crystal.ahead));
    state
}

async fn live(world: &Shared, make: &Make, scenario: &Scenario) {
    for process in 0..scenario.processes.len() {
        process::start(world, make, process);
    }
    for Event { at, what } in scenario.events.iter().filter(|event| event.at <= scenario.length) {
        world.until(*at).await;
        happens(world, *what);
    }
    world.until(scenario.length).await;
    peace::comes(world, make).await;
    for connection in 0..scenario.connections {
        peace::finds_it_alive(world, connection, scenario.processes.len()).await;
    }
}

fn happens(world: &Shared, what: What) {
    world.look(|state| {
        state.tally.event(what.kind());
        if !matches!(what, What::Ask { .. }) {
            state.tell(None, || format!("{what:?}"));
        }
    });
    match what {
        What::Ask { process, ask, patience } => process::ask(world, process, ask, patience),
        What::Kill { process, back_after } => {
            let back = world.look(|state| {
                state.kill(process);
                state.now + back_after
            });
            world.start_again(process, back);
        }
        What::Power { host, dark } => lose_power(world, host, dark),
        other => world.look(|state| other.changes(state)),
    }
}

pub(crate) fn lose_power(world: &Shared, host: usize, dark: Duration) {
    let (back, processes) = world.look(|state| {
        let processes: Vec<usize> =
            (0..state.processes.len()).filter(|process| state.processes[*process].who.host == host).collect();
        processes.iter().for_each(|process| state.kill(*process));
        let (now, back) = (state.now, state.now + dark);
        state.hosts[host].reboot(now, back);
        state.shelves[host].values_mut().for_each(crate::disk::Kept::lose_power);
        if state.hosts.len() == 1 {
            state.rows.lose_power();
        }
        state.law_5_nothing_is_thrown_away();
        (back, processes)
    });
    processes.into_iter().for_each(|process| world.start_again(process, back));
}

impl What {
    /// What needs no more than a look at the world.
    fn changes(self, state: &mut State) {
        let now = state.now;
        match self {
            Self::CrashAtStep { process, steps, back_after, takes_power } => {
                let process = &mut state.processes[process];
                process.dies_in = Some(steps);
                (process.back_after, process.takes_power) = (back_after, takes_power);
            }
            Self::StorePower { dark } => {
                state.rows.lose_power();
                state.disks[STORE_DISK].trouble(Trouble::Gone, now + dark);
                state.law_5_nothing_is_thrown_away();
            }
            Self::Suspend { host, time } => state.hosts[host].nap(now, time),
            Self::SetClock { host, by } => state.a_clock_is_set(host, by),
            Self::Weather { fate, lasts, requests } => state.weather.turn(fate, now + lasts, requests),
            Self::DiskTrouble { disk, trouble, lasts } => state.disks[disk].trouble(trouble, now + lasts),
            Self::SpoilWrite { disk, after, spoil } => state.disks[disk].spoil(after, spoil),
            Self::NewSecret => state.server.change_secret(),
            Self::Move { connection, to } => state.server.homes[connection] = to,
            Self::Ask { .. } | Self::Kill { .. } | Self::Power { .. } => {}
        }
    }
}

/// One key for all shelves of all runs, in a file as the engine wants it.
fn key_file() -> PathBuf {
    static DIRECTORY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let make = || {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("no directory: {error}"));
        let path = directory.path().join("master.key");
        let digits = format!("{:02x}", crate::shelf::KEY).repeat(32);
        std::fs::write(&path, digits).unwrap_or_else(|error| panic!("no key file: {error}"));
        (directory, path)
    };
    DIRECTORY.get_or_init(make).1.clone()
}

thread_local! {
    /// What has panicked in the run on this thread, but for crashes; `None` when there is no run.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Crashes are part of the play, and any other panic in a run is its outcome: neither is printed.
fn expect_crashes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_crash = panic.payload().is::<Crash>();
            let noted = is_crash
                || PANICS.with_borrow_mut(|panics| {
                    panics.as_mut().map(|panics| panics.push(panic.to_string())).is_some()
                });
            if !noted {
                before(panic);
            }
        }));
    });
}
