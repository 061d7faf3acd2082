//! Law 4 measured: the binary is killed, at named steps, before each call that changes a file, and at random moments;
//! what the server did and what is on disk is looked up after each kill, and then a token is asked for.

use super::power::{self, Power};
use super::store::StoreKind;
use super::{Ended, World};
use perennial::failpoint::STEPS;
use perennial_sandbox::{Config, Rotate};
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

/// How one process is killed.
#[derive(Clone, Copy, Debug)]
pub enum Kill {
    /// At this step of the flight.
    AtStep(&'static str),
    /// Before the call of this number that changes a file.
    BeforeCall(usize),
    /// This long after it was started.
    After(Duration),
}

/// The kinds of kills, as the report groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// At each named step.
    Steps,
    /// Before each call.
    Calls,
    /// At random moments.
    Random,
    /// Three in a row before random calls: recoveries are killed too.
    Chains,
}

impl How {
    pub const ALL: [Self; 4] = [Self::Steps, Self::Calls, Self::Random, Self::Chains];
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "at each step",
            Self::Calls => "before each call",
            Self::Random => "at random",
            Self::Chains => "thrice in a row",
        })
    }
}

/// What came of many kills.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub kills: u64,
    /// A person had to authorize anew.
    pub lost: u64,
    /// Of these: killed between the server's commit and ours.
    pub lost_in_the_window: u64,
    /// Killed there, whether or not the grant was lost by that.
    pub in_the_window: u64,
    /// A token was presented again because the answer to its first presentation had died with the process.
    pub again: u64,
    /// A token was presented again though the answer was on disk.
    pub twice: u64,
    /// As the server counts it.
    pub reuse: u64,
    /// Of that: where no answer had been lost.
    pub needless_reuse: u64,
    /// More than one token request at a time.
    pub at_once: u64,
    requests: Vec<u64>,
    times: Vec<Duration>,
}

impl Tally {
    /// Requests from the kill to the next valid token: the median, and the most.
    pub fn requests(&self) -> (u64, u64) {
        let mut sorted = self.requests.clone();
        sorted.sort_unstable();
        (sorted.get(sorted.len() / 2).copied().unwrap_or(0), sorted.last().copied().unwrap_or(0))
    }

    fn times(&self) -> (u128, u128) {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let [median, most] = [sorted.get(sorted.len() / 2), sorted.last()];
        [median, most].map(|time| time.map_or(0, Duration::as_millis)).into()
    }
}

/// Kills in one world, until there are as many as wanted.
pub struct Killer {
    pub world: World,
    pub rotate: Rotate,
    rng: Rng,
    /// How many calls a refresh makes.
    pub calls: usize,
    /// How long a refresh takes, about.
    length: Duration,
}

impl Killer {
    pub fn new(world: World, rotate: Rotate, seed: u64) -> Self {
        let mut killer = Self { world, rotate, rng: Rng(seed | 1), calls: 0, length: Duration::ZERO };
        killer.world.let_access_token_end();
        let started = Instant::now();
        let Died { was_killed, calls, .. } = killer.kill(Kill::BeforeCall(usize::MAX));
        assert!(!was_killed, "nothing kills it");
        (killer.calls, killer.length) = (calls.len(), started.elapsed());
        killer
    }

    /// A grant of this kind of store, at a server that rotates like this.
    pub fn of(kind: StoreKind, rotate: Rotate, seed: u64) -> Self {
        let mut world = World::holding(kind, Config { tls: false, rotate, ..Config::default() });
        if kind == StoreKind::Postgres {
            // Nobody knows there that a holder died: his deadline is waited out.
            world.answer_within = Some("2s");
        }
        Self::new(world, rotate, seed)
    }

    /// Kills at least this often.
    pub fn kill_often(&mut self, how: How, kills: u64) -> Tally {
        let mut tally = Tally::default();
        let mut round = 0;
        while tally.kills < kills {
            let planned: Vec<Kill> = match how {
                How::Steps => vec![Kill::AtStep(STEPS[round % STEPS.len()])],
                // Where there are fewer kills than calls, they are spread over all of them.
                How::Calls if kills < self.calls as u64 => {
                    vec![Kill::BeforeCall(1 + round * self.calls / kills as usize % self.calls)]
                }
                How::Calls => vec![Kill::BeforeCall(1 + round % self.calls)],
                How::Random => vec![Kill::After(self.length.mul_f64(self.rng.fraction()))],
                How::Chains => (0..3).map(|_| Kill::BeforeCall(1 + self.rng.below(self.calls))).collect(),
            };
            self.round(&planned, &mut tally);
            round += 1;
            assert!(round < 20 * (kills as usize + 20), "hardly anything is killed: {tally:?}");
        }
        tally
    }

    fn round(&mut self, planned: &[Kill], tally: &mut Tally) {
        let world = &self.world;
        world.let_access_token_end();
        let begun = world.sandbox.stats();
        let (mut in_the_window, mut answered) = (false, false);
        let mut story = String::new();
        for kill in planned {
            let (before, old) = (world.sandbox.stats(), world.access_token());
            let died = self.kill(*kill);
            settle(world);
            world.let_claims_lapse();
            let (server, on_disk) = (world.sandbox.stats(), world.access_tokens_on_disk());
            let took = server.refreshes > before.refreshes;
            let is_durable = on_disk.iter().any(|token| *token != old);
            story.push_str(&format!("{kill:?}: took {took}, durable {is_durable}, {died:?}\n"));
            assert!(server.requests <= before.requests + 1, "one flight, one request: {story}");
            tally.twice += u64::from(answered && server.requests > before.requests);
            let printed = died.ended.stdout.trim_end();
            let is_kept = printed.is_empty() || on_disk.iter().any(|token| token == printed);
            assert!(is_kept, "law 1: handed out, and not on disk: {story}");
            if !died.was_killed {
                assert!(died.ended.code == 0 || in_the_window, "{story}");
                break;
            }
            tally.kills += 1;
            in_the_window |= took && !is_durable;
            answered |= is_durable;
        }
        tally.in_the_window += u64::from(in_the_window);
        self.recover(in_the_window, answered, begun.reuse_detected, &story, tally);
        tally.at_once += world_is_crowded(&self.world);
    }

    /// A person asks for a token.
    fn recover(
        &self,
        in_the_window: bool,
        answered: bool,
        reuse_before: u64,
        story: &str,
        tally: &mut Tally,
    ) {
        let world = &self.world;
        let (before, started) = (world.sandbox.stats(), Instant::now());
        let next = world.run(&["token"]);
        let presented = world.sandbox.stats().requests > before.requests;
        tally.twice += u64::from(answered && presented);
        tally.again += u64::from(in_the_window && presented);
        if next.code != 0 {
            tally.lost += 1;
            tally.lost_in_the_window += u64::from(in_the_window);
            assert_eq!(next.code, 3, "a person is told: {story}{next:?}");
            assert!(next.stderr.contains("108") || next.stderr.contains("refused"), "{story}{next:?}");
            world.obtain_anew();
        }
        tally.times.push(started.elapsed());
        let token = world.run_ok(&["token"]).stdout;
        let stats = world.sandbox.stats();
        tally.requests.push(stats.requests - before.requests);
        let reuse = stats.reuse_detected - reuse_before;
        tally.reuse += reuse;
        tally.needless_reuse += if in_the_window { 0 } else { reuse };
        assert!(is_valid(world, token.trim_end()), "{story}");
        // Now and then: the refresh token that is held is the one that the server expects.
        if tally.kills.is_multiple_of(7) {
            world.run_ok(&["refresh"]);
            assert_eq!(world.sandbox.stats().reuse_detected, stats.reuse_detected, "{story}");
        }
    }

    /// Asks for a token in a process that is killed.
    fn kill(&self, kill: Kill) -> Died {
        let power = match kill {
            Kill::BeforeCall(at) => Power::Cut(at),
            Kill::AtStep(_) | Kill::After(_) => Power::Cut(usize::MAX),
        };
        let (mut command, trace) = power::prepare(&self.world, power, &["token"]);
        let steps = trace.with_extension("steps");
        command.env("PERENNIAL_STEPS", &steps);
        if let Kill::AtStep(step) = kill {
            command.env("PERENNIAL_FAILPOINT", format!("{step}:1"));
        }
        let child = command.spawn().expect("the binary starts");
        let output = match kill {
            Kill::After(time) => ended_after(child, time),
            _ => child.wait_with_output().expect("it ends"),
        };
        let died = Died {
            was_killed: output.status.signal() == Some(9),
            calls: power::calls(&trace),
            last_step: fs::read_to_string(&steps).unwrap_or_default().lines().last().map(str::to_owned),
            ended: Ended::of(&output),
        };
        let _ = (fs::remove_file(trace), fs::remove_file(steps));
        died
    }
}

/// How a process died, if it did.
struct Died {
    was_killed: bool,
    calls: Vec<String>,
    last_step: Option<String>,
    ended: Ended,
}

impl fmt::Debug for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (killed, step, call) = (self.was_killed, &self.last_step, self.calls.last());
        write!(f, "killed {killed}, last step {step:?}, last call {call:?}, {:?}", self.ended)
    }
}

fn ended_after(mut child: Child, time: Duration) -> Output {
    #[expect(clippy::disallowed_methods, reason = "a random moment is a time; nothing is asserted upon it")]
    std::thread::sleep(time);
    child.kill().expect("it is ours");
    child.wait_with_output().expect("it ends")
}

/// Returns when the server is done with whatever a process that is no more has sent: connections are accepted in their
/// order, so once ours is answered all others have been seen.
pub fn settle(world: &World) {
    assert!(ask(world, "/sandbox/stats", None).starts_with("HTTP/1.1 200"));
    super::wait_until("the server is idle", || world.sandbox.stats().connections == 0);
}

fn is_valid(world: &World, token: &str) -> bool {
    ask(world, super::USERS, Some(token)).starts_with("HTTP/1.1 200")
}

/// One request without any client of ours in it; the answer as it comes.
fn ask(world: &World, path: &str, bearer: Option<&str>) -> String {
    let address = world.sandbox.base_uri().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the sandbox listens");
    let bearer = bearer.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{bearer}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// 1 if ever more than one token request was under way.
fn world_is_crowded(world: &World) -> u64 {
    u64::from(world.sandbox.stats().most_in_flight > 1)
}

/// Numbers that differ from seed to seed: xorshift64*, which is enough to choose moments.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The report's head.
pub const HEAD: &str = "\
| store | rotation | killed | kills | lost | of these between the server's commit and ours | killed there | presented \
again, the answer being lost | presented twice needlessly | reuse detected | requests to the next valid token: median, \
most | ms to it: median, most |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// A line of the report.
pub fn line(killer: &Killer, how: &dyn fmt::Display, tally: &Tally) -> String {
    let Tally { kills, lost, lost_in_the_window, in_the_window, again, twice, reuse, .. } = tally;
    let ((median, most), (time, longest)) = (tally.requests(), tally.times());
    format!(
        "| {} | {} | {how} | {kills} | {lost} | {lost_in_the_window} | {in_the_window} | {again} | {twice} | {reuse} | \
         {median}, {most} | {time}, {longest} |",
        killer.world.kind.name(),
        killer.rotate,
    )
}
