//! A scenario is data: who is there, what happens when. It is made from a seed (see `generate`), can be cut down to what
//! matters (see `shrink`), and run again with the same outcome.

use crate::clocks::Moment;
use crate::disk::{Spoil, Trouble};
use crate::network::Fate;
use crate::process::Ask;
use crate::server::Rotation;
use crate::story::stamp;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    /// For what is left to chance within the run: latencies, and the keepers' own ids and jitter.
    pub(crate) seed: u64,
    pub(crate) rotation: Rotation,
    /// One for each host.
    pub(crate) clocks: Vec<Crystal>,
    /// The host of each process.
    pub(crate) processes: Vec<usize>,
    pub(crate) connections: usize,
    pub(crate) answer_within: Duration,
    pub(crate) length: Moment,
    pub(crate) events: Vec<Event>,
}

/// A host's clock at first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Crystal {
    /// In millionths.
    pub(crate) drift: i64,
    /// In seconds.
    pub(crate) ahead: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    pub(crate) what: What,
}

/// Something happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Ask {
        process: usize,
        ask: Ask,
        patience: Option<Duration>,
    },
    /// A process is killed where it stands.
    Kill {
        process: usize,
        back_after: Duration,
    },
    /// A process dies when it has made so many more steps, perhaps because its host loses its power.
    CrashAtStep {
        process: usize,
        steps: u32,
        back_after: Duration,
        takes_power: bool,
    },
    /// A host loses its power, and what its disks had not synced.
    Power {
        host: usize,
        dark: Duration,
    },
    /// The machine of the store does, where it is none of the hosts.
    StorePower {
        dark: Duration,
    },
    /// A host sleeps: its timers stand still.
    Suspend {
        host: usize,
        time: Duration,
    },
    /// Somebody sets a host's wall clock.
    SetClock {
        host: usize,
        by: i64,
    },
    Weather {
        fate: Fate,
        lasts: Duration,
        requests: u32,
    },
    /// Disk 0 is the store's, 1 is the shelf's of host 0 …
    DiskTrouble {
        disk: usize,
        trouble: Trouble,
        lasts: Duration,
    },
    SpoilWrite {
        disk: usize,
        after: u32,
        spoil: Spoil,
    },
    /// An administrator changes the client secret; nobody tells the keepers.
    NewSecret,
    /// A principal moves to another data centre.
    Move {
        connection: usize,
        to: usize,
    },
}

impl What {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Ask { ask, .. } => match ask {
                Ask::Start => "start",
                Ask::Token { .. } => "token",
                Ask::Rejected { .. } => "rejected",
                Ask::Ahead { .. } => "ahead",
                Ask::Refresh { .. } => "refresh",
                Ask::Sweep => "sweep",
                Ask::Reauthorize { .. } => "reauthorize",
                Ask::Person { .. } => "person",
            },
            Self::Kill { .. } => "kill",
            Self::CrashAtStep { .. } => "crash at step",
            Self::Power { .. } | Self::StorePower { .. } => "power",
            Self::Suspend { .. } => "suspend",
            Self::SetClock { .. } => "clock",
            Self::Weather { .. } => "weather",
            Self::DiskTrouble { .. } => "disk trouble",
            Self::SpoilWrite { .. } => "spoiled write",
            Self::NewSecret => "new secret",
            Self::Move { .. } => "move",
        }
    }

    /// True when it concerns something that this scenario has.
    fn applies(&self, scenario: &Scenario) -> bool {
        let (hosts, processes) = (scenario.clocks.len(), scenario.processes.len());
        match *self {
            Self::Ask { process, ask, .. } => {
                let connection = match ask {
                    Ask::Token { connection, .. }
                    | Ask::Rejected { connection }
                    | Ask::Ahead { connection }
                    | Ask::Refresh { connection }
                    | Ask::Reauthorize { connection }
                    | Ask::Person { connection } => connection,
                    Ask::Start | Ask::Sweep => 0,
                };
                process < processes && connection < scenario.connections
            }
            Self::Kill { process, .. } | Self::CrashAtStep { process, .. } => process < processes,
            Self::Power { host, .. } | Self::Suspend { host, .. } | Self::SetClock { host, .. } => {
                host < hosts
            }
            Self::DiskTrouble { disk, .. } | Self::SpoilWrite { disk, .. } => disk <= hosts,
            Self::Move { connection, .. } => connection < scenario.connections,
            Self::StorePower { .. } | Self::Weather { .. } | Self::NewSecret => true,
        }
    }
}

impl Scenario {
    /// Without events that concern nobody.
    pub(crate) fn tidied(mut self) -> Self {
        let own = std::mem::take(&mut self.events);
        self.events = own.into_iter().filter(|event| event.what.applies(&self)).collect();
        self
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rotation, clocks, processes, connections, answer_within, length, .. } = self;
        writeln!(
            f,
            "seed {seed}, server {rotation:?}, {connections} connections, {answer_within:?} an answer"
        )?;
        writeln!(f, "hosts of the processes: {processes:?}; clocks: {clocks:?}; until {}", stamp(*length))?;
        for Event { at, what } in &self.events {
            writeln!(f, "  {} {what:?}", stamp(*at))?;
        }
        Ok(())
    }
}
