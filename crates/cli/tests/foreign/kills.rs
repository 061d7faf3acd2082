//! Law 4 at a server that ends a grant when a refresh token is presented twice. The binary is killed at each step of a
//! flight, before each call that changes a file, and at random moments; what the server did and what is on disk is looked
//! up after each kill. A grant is lost only to a kill between the server's answer and the first durable byte of it, which
//! no client can close, and nothing is presented twice where its answer is at hand.

use crate::keep::{Keep, NAME, tokens};
use crate::servers::Server;
use crate::support::Ended;
use crate::support::power::{self, Power};
use crate::web;
use perennial::failpoint::STEPS;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::time::{Duration, Instant};

/// How one process is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    AtStep(&'static str),
    /// Before the call of this number that changes a file.
    BeforeCall(usize),
    /// This long after it was started.
    After(Duration),
}

/// What came of many kills.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// A person had to sign in anew.
    lost: u64,
    /// Killed between the server's answer and the first durable byte.
    in_the_window: u64,
    /// As the server counts it.
    reuse: u64,
    /// The answer was on disk, and nothing was sent for it.
    saved: u64,
}

struct Killer<'s> {
    keep: Keep<'s>,
    userinfo: String,
    /// How many calls a refresh makes.
    calls: usize,
    /// How long a refresh takes, about.
    length: Duration,
}

impl<'s> Killer<'s> {
    fn at(server: &'s Server) -> Self {
        let keep = Keep::signed_in(server, "basic", &["--scope", "openid offline_access"]);
        let userinfo = server.endpoint("userinfo_endpoint");
        let mut killer = Self { keep, userinfo, calls: 0, length: Duration::ZERO };
        killer.keep.let_access_token_end();
        let started = Instant::now();
        let (ended, was_killed, calls) = killer.kill(Kill::BeforeCall(usize::MAX));
        assert!(!was_killed && ended.code == 0, "nothing kills it: {ended:?}");
        assert!(calls.len() > 10, "so few calls cannot be all of them: {calls:#?}");
        (killer.calls, killer.length) = (calls.len(), started.elapsed());
        killer
    }

    /// Asks for a token in a process that is killed.
    fn kill(&self, kill: Kill) -> (Ended, bool, Vec<String>) {
        let at = match kill {
            Kill::BeforeCall(at) => at,
            Kill::AtStep(_) | Kill::After(_) => usize::MAX,
        };
        let command = self.keep.command(&["token", NAME]);
        let (mut command, trace) = power::switched(command, self.keep.root(), Power::Cut(at));
        if let Kill::AtStep(step) = kill {
            command.env("PERENNIAL_FAILPOINT", format!("{step}:1"));
        }
        let child = command.spawn().expect("the binary starts");
        let output = match kill {
            Kill::After(time) => ended_after(child, time),
            _ => child.wait_with_output().expect("it ends"),
        };
        self.keep.server.settle();
        (Ended::of(&output), output.status.signal() == Some(9), power::calls(&trace))
    }

    /// One refresh that is killed, and the next person who asks for a token.
    fn round(&self, kill: Kill, tally: &mut Tally) {
        let (keep, server) = (&self.keep, self.keep.server);
        keep.let_access_token_end();
        let old = keep.tokens().0;
        let before = Seen::by(server);
        let (ended, was_killed, calls) = self.kill(kill);
        let story = || format!("{kill:?}: {ended:?}, last call {:?}, {}", calls.last(), server.stats());
        let on_disk = keep.on_disk();
        let after = Seen::by(server);
        let (is_open, kept) = (on_disk.intent.is_some(), tokens(on_disk).0);
        let (took, is_durable) = (after.refreshes > before.refreshes, kept != old);
        assert!(after.asked <= before.asked + 1, "one flight, one request: {}", story());
        assert!(after.asked == before.asked || is_open || is_durable, "law 4: the intent first: {}", story());
        let printed = ended.stdout.trim_end();
        assert!(printed.is_empty() || kept.as_deref() == Some(printed), "law 1: handed out: {}", story());
        if !was_killed {
            assert_eq!(ended.code, 0, "{}", story());
            return;
        }
        tally.kills += 1;
        if is_open {
            self.nothing_before_the_deadline(&after, &story());
        }
        let next = keep.run(&["token", NAME]);
        let last = Seen::by(server);
        let (presented, reuse) = (last.asked - after.asked, last.reuse - after.reuse);
        tally.reuse += reuse;
        if took && !is_durable {
            // Nobody holds the answer; the last resort was tried, once, and a person is told.
            assert_eq!((next.code, presented, reuse), (3, 1, 1), "{} {next:?}", story());
            assert!(next.stderr.contains("perennial reauthorize acme"), "{next:?}");
            (tally.in_the_window, tally.lost) = (tally.in_the_window + 1, tally.lost + 1);
            let again = keep.sign_in("reauthorize", "basic", &[]);
            assert_eq!(again.code, 0, "{again:?}");
        } else {
            let wanted = u64::from(!is_durable);
            assert_eq!((next.code, presented, reuse), (0, wanted, 0), "{} {next:?}", story());
            tally.saved += u64::from(is_durable);
        }
        let token = keep.run_ok(&["token", NAME]).stdout;
        assert_eq!(web::get_as(&self.userinfo, token.trim_end()).status, 200, "{}", story());
        // Now and then: the refresh token that is held is the one that the server expects.
        if tally.kills.is_multiple_of(7) {
            keep.run_ok(&["refresh", NAME]);
        }
    }

    /// Law 7: nobody knows here whether it was sent, so that nothing is presented until its sender must have given up.
    fn nothing_before_the_deadline(&self, before: &Seen, story: &str) {
        let ended = self.keep.run(&["token", NAME]);
        assert_eq!((ended.code, Seen::by(self.keep.server).asked), (4, before.asked), "{story} {ended:?}");
        self.keep.let_deadline_pass();
    }
}

/// What the server has seen of refreshes.
struct Seen {
    asked: u64,
    refreshes: u64,
    reuse: u64,
}

impl Seen {
    fn by(server: &Server) -> Self {
        let [asked, refreshes, reuse] =
            [server.asked("refresh_token"), server.count("refreshes"), server.count("reuse_detected")];
        Self { asked, refreshes, reuse }
    }
}

fn ended_after(mut child: std::process::Child, time: Duration) -> Output {
    #[expect(clippy::disallowed_methods, reason = "a random moment is a time; nothing is asserted upon it")]
    std::thread::sleep(time);
    child.kill().expect("it is ours");
    child.wait_with_output().expect("it ends")
}

/// So many kills; prints what came of them.
fn kill_often(rounds: impl Fn(&Killer<'_>) -> Vec<Kill>) -> Option<Tally> {
    let server = Server::node()?;
    let killer = Killer::at(&server);
    let mut tally = Tally::default();
    for kill in rounds(&killer) {
        killer.round(kill, &mut tally);
    }
    #[expect(clippy::print_stderr, reason = "the report is to be seen")]
    {
        eprintln!("{tally:?}, {} calls", killer.calls);
    }
    assert_eq!(tally.lost, tally.in_the_window, "lost elsewhere than in the window: {tally:?}");
    assert_eq!(
        tally.reuse, tally.in_the_window,
        "presented twice where it was not the last resort: {tally:?}"
    );
    Some(tally)
}

#[test]
fn law_4_killed_at_each_step_where_a_token_is_good_once() {
    let steps = |_: &Killer<'_>| STEPS.map(Kill::AtStep).to_vec();
    let Some(tally) = kill_often(steps) else { return };
    assert_eq!(tally.kills, STEPS.len() as u64);
}

/// Each second call here, all of them in `just crash`.
#[test]
fn law_4_killed_before_each_second_call_where_a_token_is_good_once() {
    let calls = |killer: &Killer<'_>| (1..=killer.calls).step_by(2).map(Kill::BeforeCall).collect();
    let Some(tally) = kill_often(calls) else { return };
    assert!(tally.kills > 10 && tally.in_the_window > 0 && tally.saved > 0, "{tally:?}");
}

/// CRASH_KILLS kills, 400 unless said otherwise: a half at random moments, the others before each call in turn.
#[test]
#[ignore = "takes minutes: just crash"]
fn law_4_killed_hundreds_of_times_where_a_token_is_good_once() {
    let kills: usize =
        std::env::var("CRASH_KILLS").map_or(400, |text| text.parse().expect("CRASH_KILLS is a number"));
    kill_often(|killer| {
        let moment = |number: usize| killer.length.mul_f64((number % 101) as f64 / 101.0);
        let kill = |number: usize| match number % 2 {
            0 => Kill::BeforeCall(1 + number / 2 % killer.calls),
            _ => Kill::After(moment(number * 37)),
        };
        (0..kills).map(kill).collect()
    });
}
