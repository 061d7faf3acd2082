//! As a service: what systemd is told and when, sockets that it has opened, and its unit file.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use support::{Ended, World, not_here, wait_until};

/// The socket of a service manager, and all that it was told.
struct Manager {
    path: PathBuf,
    told: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn listen(world: &World) -> Self {
        let path = world.home().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = socket.recv(&mut bytes) {
                heard.lock().unwrap().push(String::from_utf8_lossy(&bytes[..count]).into_owned());
            }
        });
        Self { path, told }
    }

    fn heard(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// How often a line was told.
    fn count(&self, line: &str) -> usize {
        self.heard().iter().flat_map(|told| told.lines()).filter(|told| *told == line).count()
    }

    fn wait_for(&self, line: &str, times: usize) {
        wait_until(&format!("{line} was told {times} times: {:?}", self.heard()), || {
            self.count(line) >= times
        });
    }
}

/// The daemon, as a service manager starts it.
fn serve(world: &World, manager: &Manager) -> Command {
    let mut command = world.keeps(&["serve", "--socket", socket(world).to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", &manager.path);
    command
}

fn socket(world: &World) -> PathBuf {
    world.home().join("perennial.sock")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(sent.unwrap().success(), "kill -{name}");
}

fn get(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_service_manager_is_told_when_it_serves_reloads_and_stops() {
    let world = World::with(World::plain());
    world.add("acme");
    let manager = Manager::listen(&world);
    let child = serve(&world, &manager).spawn().unwrap();
    manager.wait_for("READY=1", 1);
    assert!(
        get(&socket(&world), "/v1/connections/acme/token").starts_with("HTTP/1.1 200"),
        "it listens by then"
    );
    let first = manager.heard()[0].clone();
    assert!(first.contains("STATUS=") && first.contains("tokens in memory"), "{first}");
    assert!(!first.contains("acme"), "no name is told: {first}");

    signal(&child, "HUP");
    manager.wait_for("READY=1", 2);
    let heard = manager.heard();
    let reloading = heard.iter().position(|told| told.starts_with("RELOADING=1\n")).unwrap();
    let since_boot = heard[reloading].lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(since_boot.parse::<u64>().unwrap() > 0, "in the same message: {heard:?}");
    let ready = heard.iter().rposition(|told| told.contains("READY=1")).unwrap();
    assert!(reloading < ready, "{heard:?}");

    signal(&child, "TERM");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    manager.wait_for("STOPPING=1", 1);
    assert_eq!(manager.count("WATCHDOG=1"), 0, "nobody has asked for that");
}

#[test]
fn a_wrong_configuration_leaves_it_ready() {
    let world = World::with(World::plain());
    let config = world.home().join("perennial.toml");
    fs::write(&config, "[limits]\nbody = \"1KiB\"\n").unwrap();
    let manager = Manager::listen(&world);
    let mut command = serve(&world, &manager);
    let child = command.args(["--config", config.to_str().unwrap()]).spawn().unwrap();
    manager.wait_for("READY=1", 1);
    fs::write(&config, "[limits]\nbdoy = 1\n").unwrap();
    signal(&child, "HUP");
    manager.wait_for("READY=1", 2);
    assert!(get(&socket(&world), "/live").starts_with("HTTP/1.1 200"));
    signal(&child, "TERM");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("the configuration stays as it was"), "{ended:?}");
}

#[test]
fn the_watchdog_is_kept_quiet_in_its_own_time() {
    let world = World::with(World::plain());
    let manager = Manager::listen(&world);
    let child = serve(&world, &manager).env("WATCHDOG_USEC", "200000").spawn().unwrap();
    manager.wait_for("WATCHDOG=1", 3);
    signal(&child, "TERM");
    assert_eq!(Ended::landed(child).code, 0);
}

#[test]
fn a_watchdog_of_another_process_is_none_of_its_business() {
    let world = World::with(World::plain());
    let manager = Manager::listen(&world);
    let mut command = serve(&world, &manager);
    let child = command.env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1").spawn().unwrap();
    manager.wait_for("READY=1", 1);
    signal(&child, "HUP");
    manager.wait_for("READY=1", 2);
    signal(&child, "TERM");
    assert_eq!(Ended::landed(child).code, 0);
    assert_eq!(manager.count("WATCHDOG=1"), 0);
}

/// What systemd does: it opens the socket, and hands it over as file descriptor 3 to the process of that number.
#[test]
fn a_socket_that_systemd_has_opened_is_served() {
    let world = World::with(World::plain());
    world.add("acme");
    let path = world.home().join("by-systemd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let manager = Manager::listen(&world);
    let inner = serve(&world, &manager);
    let mut command = Command::new("bash");
    command.args(["-c", "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\""]);
    command.arg(inner.get_program()).args(inner.get_args()).env_clear().current_dir(world.dir());
    for (name, value) in inner.get_envs() {
        value.map(|value| command.env(name, value));
    }
    command.stdin(std::os::fd::OwnedFd::from(listener));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    // Whoever comes before the daemon is there waits for it.
    assert!(get(&path, "/v1/connections/acme/token").starts_with("HTTP/1.1 200"));
    manager.wait_for("READY=1", 1);
    assert!(!socket(&world).exists(), "it opens no other one");
    signal(&child, "TERM");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("opened by systemd"), "{ended:?}");
    assert!(path.exists(), "it is systemd's");
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd")
}

/// How exposed it is, is what systemd itself says of the unit.
#[test]
fn law_10_the_unit_is_hardened() {
    let unit = packaging().join("perennial.service");
    let analyze = ["security", "--offline=true", "--no-pager", "--threshold=20"];
    let Ok(output) = Command::new("systemd-analyze").args(analyze).arg(&unit).output() else {
        return not_here("this machine has no systemd-analyze");
    };
    let told = Ended::of(&output);
    let Some(figure) = told.stdout.split("Overall exposure level for perennial.service: ").nth(1) else {
        return not_here("this systemd-analyze looks at no unit files");
    };
    let figure: f64 = figure.split(' ').next().unwrap().parse().unwrap();
    assert!(figure < 2.0, "{}", told.stdout);
}

/// What the unit promises must be what the daemon needs: time to drain, a way in, the key.
#[test]
fn the_unit_fits_the_daemon() {
    let unit = fs::read_to_string(packaging().join("perennial.service")).unwrap();
    let value = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    let types: Vec<_> = unit.lines().filter(|line| line.starts_with("Type=")).collect();
    assert_eq!(types, ["Type=notify", "Type=notify-reload"], "older systemd stays with the first");
    for broken in ["PrivateUsers=", "ProcSubset="] {
        assert!(!unit.lines().any(|line| line.starts_with(broken)), "{broken} takes away what it needs");
    }
    assert_eq!(value("RuntimeDirectoryPreserve"), "yes", "the socket may be systemd's");
    let drain = perennial_daemon::Config::default().limits.drain.0;
    let stop: u64 = value("TimeoutStopSec").parse().unwrap();
    assert!(stop > drain.as_secs(), "systemd kills after {stop} s what may take {} s", drain.as_secs());
    let sockets = perennial_daemon::Config::default().limits.sockets as u64;
    assert!(value("LimitNOFILE").parse::<u64>().unwrap() > sockets + 256);
    assert_eq!(value("LoadCredential"), "master-key:/etc/perennial/master.key");
    assert!(unit.contains("systemd:master-key"));
    let socket = fs::read_to_string(packaging().join("perennial.socket")).unwrap();
    assert!(socket.contains("ListenStream=/run/perennial/perennial.sock"), "{socket}");
}
