//! The fair period at the end: no faults, clocks that are right, and then the question whether everything lives.

use crate::clocks::{DAY, HOUR, MINUTE};
use crate::disk::Disk;
use crate::process::{self, Ask, Kind, Make};
use crate::store::name_of;
use crate::world::Shared;
use perennial::{Error, HandOut};

/// No faults any more, clocks that are right, all processes started anew, the right secret; and some hours.
pub(crate) async fn comes(world: &Shared, make: &Make) {
    let (processes, connections) = world.look(|state| {
        state.tell(None, || "peace".to_owned());
        let now = state.now;
        state.weather.clear_up();
        state.disks.iter_mut().for_each(Disk::heal);
        (0..state.processes.len()).for_each(|process| state.kill(process));
        state.hosts.iter_mut().for_each(|host| host.come_to_its_senses(now));
        (0..state.rows.rows.len()).for_each(|connection| state.put_secret_right(connection));
        (state.processes.len(), state.rows.rows.len())
    });
    (0..processes).for_each(|process| process::start(world, make, process));
    let began = world.now();
    for quarter in 0..12_usize {
        world.until(began + 15 * MINUTE * u32::try_from(quarter).unwrap_or(0)).await;
        let process = quarter % processes;
        process::ask(world, process, Ask::Sweep, None);
        for connection in 0..connections {
            process::ask(world, process, Ask::Token { connection, min_ttl: 60 }, None);
        }
    }
    world.until(began + 3 * HOUR).await;
}

/// A connection is asked for a token; if there is none, a person asks once, and then there must be one. Where the grant
/// is gone, a new request token brings a new one.
pub(crate) async fn finds_it_alive(world: &Shared, connection: usize, processes: usize) {
    let mut served = token(world, connection % processes, connection).await;
    if served.is_err() {
        if world.look(|state| state.must_live(connection)) {
            persons(world, connection, Ask::Refresh { connection }).await;
        } else {
            persons(world, connection, Ask::Reauthorize { connection }).await;
        }
        served = token(world, connection % processes, connection).await;
    }
    world.look(|state| {
        state.tally.lives_proved += 1;
        state.law_0_it_lives(connection, &served);
    });
    for process in 0..processes {
        let served = token(world, process, connection).await;
        world.look(|state| state.law_0_it_lives(connection, &served));
    }
}

async fn persons(world: &Shared, connection: usize, ask: Ask) {
    process::ask(world, connection % world.look(|state| state.processes.len()), ask, None);
    let now = world.now();
    world.until(now + 10 * MINUTE).await;
}

/// A program asks for a token and uses it; where the API rejects it, because a clock stood wrong when it was stored, the
/// program says so and gets another.
async fn token(world: &Shared, process: usize, connection: usize) -> Result<HandOut, Error> {
    let Some(keeper) = world.look(|state| state.processes[process].keeper()) else {
        return Err(Error::Internal("no process runs".to_owned()));
    };
    let name = name_of(connection);
    let wanted = keeper.token(&name, MINUTE);
    let served = order(world, process, connection, Kind::Wanted { min_ttl: 60 }, wanted).await?;
    if world.look(|state| state.dead_for(served.access_token.expose())) < 0 {
        return Ok(served);
    }
    let rejected = keeper.rejected(&name, &served.access_token);
    order(world, process, connection, Kind::Rejected, rejected).await
}

async fn order(
    world: &Shared,
    process: usize,
    connection: usize,
    kind: Kind,
    served: impl Future<Output = Result<HandOut, Error>>,
) -> Result<HandOut, Error> {
    let number = world.look(|state| state.is_ordered(state.processes[process].who, connection, kind));
    let served = tokio::time::timeout(DAY, served).await.unwrap_or(Err(Error::Deadline));
    world.look(|state| state.is_served(number, &served));
    served
}
