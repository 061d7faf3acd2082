//! The daemon as a process: started, asked, told to reload, killed, and started again.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod support;

use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{World, wait_until};

/// A daemon that runs, what it has said, and where it listens.
struct Served {
    child: Child,
    said: Arc<Mutex<String>>,
    socket: PathBuf,
}

impl Served {
    fn start(world: &World, more: &[&str]) -> Self {
        let socket = world.home().join("perennial.sock");
        let mut words = vec!["serve", "--socket", socket.to_str().unwrap(), "-vv"];
        words.extend(more);
        Self::of(world.keeps(&words), socket)
    }

    fn of(mut command: Command, socket: PathBuf) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, lines) = (Arc::<Mutex<String>>::default(), BufReader::new(child.stderr.take().unwrap()));
        let hears = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = hears.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let served = Self { child, said, socket };
        wait_until("it serves", || served.said().contains("serving"));
        served
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// The port of this machine that it listens on.
    fn port(&self) -> u16 {
        let said = self.said();
        let line = said.lines().find_map(|line| line.strip_prefix("listening on 127.0.0.1:")).unwrap();
        line.parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn end(mut self, signal: &str) -> i32 {
        self.signal(signal);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    fn ask(&self, path: &str) -> (u16, Value) {
        ask(UnixStream::connect(&self.socket).unwrap(), path, "")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(mut stream: impl std::io::Read + std::io::Write, path: &str, headers: &str) -> (u16, Value) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).is_err() {
        return (0, Value::Null);
    }
    let mut text = String::new();
    if stream.read_to_string(&mut text).is_err() || text.is_empty() {
        return (0, Value::Null);
    }
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (text[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn token_and_call_go_through_a_daemon_and_give_the_same() {
    let world = World::empty();
    world.keep_ok(&world.adding("acme", &[]));
    let alone = world.keep(&["token", "acme", "--json"]);
    let served = Served::start(&world, &[]);
    let through = |words: &[&str]| {
        let mut command = world.keeps(words);
        support::Ended::of(&command.env("PERENNIAL_SOCKET", &served.socket).output().unwrap())
    };
    let asked = through(&["token", "acme", "--json"]);
    wait_until("the daemon says that it was asked", || served.said().contains("/v1/connections/acme/token"));
    let object = |text: &str| {
        let mut object: Value = serde_json::from_str(text).unwrap();
        object["expires_in"] = Value::Null;
        object
    };
    assert_eq!(object(&asked.stdout), object(&alone.stdout), "the same answer");
    assert_eq!(through(&["token"]).code, 0, "the only one need not be named");
    assert_eq!(through(&["call", "acme", support::USERS]).code, 0);
    let (before, newer) = (world.requests(), through(&["token", "acme", "--min-ttl", "59m50s"]));
    assert_eq!((newer.code, world.requests() - before <= 1), (0, true));
    assert_eq!(through(&["token", "nobody"]).code, world.keep(&["token", "nobody"]).code);

    world.inject(serde_json::json!([{"kind": "status", "status": 401, "on": "api"}]));
    assert_eq!(through(&["call", "acme", support::USERS]).code, 0, "a rejected token is renewed once");

    // It goes away in the middle of things: the command works alone.
    assert_eq!(served.end("-KILL"), -1);
    let mut command = world.keeps(&["token", "acme"]);
    let ended = support::Ended::of(
        &command.env("PERENNIAL_SOCKET", world.home().join("perennial.sock")).output().unwrap(),
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn a_daemon_of_another_store_is_not_asked() {
    let (world, other) = (World::empty(), World::empty());
    world.keep_ok(&world.adding("acme", &[]));
    other.keep_ok(&other.adding("acme", &[]));
    let served = Served::start(&other, &[]);
    let mut command = world.keeps(&["token", "acme"]);
    let own = support::Ended::of(&command.env("PERENNIAL_SOCKET", &served.socket).output().unwrap());
    assert_eq!(own.stdout, world.keep(&["token", "acme"]).stdout);
    assert_ne!(own.stdout, other.keep(&["token", "acme"]).stdout);
}

#[test]
fn laws_2_and_5_killed_again_and_again_under_load_it_loses_no_grant_and_presents_none_twice() {
    let config = perennial_sandbox::Config { access_lifetime: Duration::from_secs(2), ..World::plain() };
    let world = World::with(config);
    world.keep_ok(&world.adding("acme", &[]));
    let socket = world.home().join("perennial.sock");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0_u32)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered, socket) = (Arc::clone(&stop), Arc::clone(&answered), socket.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    if let Ok(stream) = UnixStream::connect(&socket)
                        && ask(stream, "/v1/connections/acme/token?min_ttl=1s&wait=5s", "").0 == 200
                    {
                        *answered.lock().unwrap() += 1;
                    }
                }
            })
        })
        .collect();
    for _ in 0..8 {
        let served = Served::start(&world, &["--answer-within", "5s"]);
        let before = world.requests();
        wait_until("a refresh has gone out", || world.requests() > before);
        assert_eq!(served.end("-KILL"), -1);
    }
    stop.store(true, Ordering::SeqCst);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    let stats = world.sandbox.stats();
    assert!(*answered.lock().unwrap() > 0);
    assert_eq!((stats.most_in_flight, stats.reuse_detected), (1, 0), "{stats:?}");
    let ended = world.keep(&["refresh", "acme"]);
    assert_eq!(ended.code, 0, "the grant is alive: {}", ended.stderr);
}

#[test]
fn without_file_descriptors_for_callers_grants_are_kept_all_the_same() {
    let world = World::empty();
    world.keep_ok(&world.adding("acme", &[]));
    let socket = world.home().join("perennial.sock");
    let binary = world.keeps(&["serve", "--socket", socket.to_str().unwrap()]);
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""])
        .arg(binary.get_program())
        .args(binary.get_args());
    command.env_clear().stdout(Stdio::null());
    for (name, value) in binary.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let served = Served::of(command, socket);
    let idle: Vec<_> = (0..400).filter_map(|_| UnixStream::connect(&served.socket).ok()).collect();
    assert!(idle.len() > 100);
    let (before, refreshed) = (world.requests(), world.keep(&["refresh", "acme"]));
    assert_eq!((refreshed.code, world.requests()), (0, before + 1));
    // One of those that were let in is served.
    let mut inside = idle.first().unwrap();
    inside
        .write_all(b"GET /v1/connections/acme/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    inside.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    drop(idle);
    wait_until("there is room again", || served.ask("/ready").0 == 200);
}

#[test]
fn a_configuration_is_checked_and_taken_over_and_one_that_is_wrong_changes_nothing() {
    let world = World::empty();
    world.keep_ok(&world.adding("acme", &[]));
    let file = world.home().join("perennial.toml");
    let config = file.to_str().unwrap();
    let clients = world.home().join("clients.json");
    let good = format!("[access]\nclients = {clients:?}\n[listen]\ntcp = [\"127.0.0.1:0\"]\n");
    fs::write(&file, &good).unwrap();
    let key = world.keep(&["client", "add", "billing", "--config", config]).stdout.trim().to_owned();
    let served = Served::start(&world, &["--config", config]);
    let bearer = format!("authorization: Bearer {key}\r\n");
    let status = |origin: &str| {
        let stream = TcpStream::connect(("127.0.0.1", served.port())).unwrap();
        ask(stream, "/v1/connections/acme/token", &format!("{bearer}{origin}")).0
    };
    assert_eq!((status(""), status("origin: https://a.example\r\n")), (200, 403));

    let wrong = format!("{good}orgins = [\"https://a.example\"]\n");
    fs::write(&file, wrong).unwrap();
    let checked = world.keep(&["config", "check", config]);
    assert_eq!(checked.code, 2);
    assert!(checked.stderr.contains("line 5, column 1: unknown field `orgins`"), "{}", checked.stderr);
    served.signal("-HUP");
    wait_until("it says what is wrong", || served.said().contains("line 5, column 1"));
    assert_eq!(status(""), 200, "and goes on as before");

    fs::write(&file, format!("{good}origins = [\"https://a.example\"]\n")).unwrap();
    assert_eq!(world.keep(&["config", "check", config]).code, 0);
    served.signal("-HUP");
    wait_until("it is taken over", || served.said().contains("the configuration is taken over"));
    assert_eq!(status("origin: https://a.example\r\n"), 200);

    assert_eq!(world.keep(&["client", "revoke", "billing", "--config", config]).code, 0);
    wait_until("the key is refused", || status("") == 401);
    assert!(!served.said().contains(&key), "law 10");
    assert_eq!(served.end("-TERM"), 0);
    let listed = world.keep(&["client", "list", "--config", config, "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert!(listed[0]["revoked_at"].is_string() && !listed.to_string().contains(&key[30..]), "{listed}");
}

#[test]
fn a_socket_in_use_is_left_alone_and_one_that_was_left_behind_is_replaced() {
    let world = World::empty();
    world.keep_ok(&world.adding("acme", &[]));
    let served = Served::start(&world, &[]);
    let second = world.keep(&["serve", "--socket", served.socket.to_str().unwrap()]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("another daemon listens there"), "{}", second.stderr);
    assert_eq!(served.ask("/live").0, 200);
    assert_eq!(served.end("-KILL"), -1);
    let again = Served::start(&world, &[]);
    assert_eq!(again.ask("/v1/connections/acme/token").0, 200);
    assert_eq!(again.end("-INT"), 0);
}
