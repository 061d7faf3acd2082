//! Names without an address, ports that nobody listens on, certificates that nobody trusts, silence, proxies: told
//! apart, because each has its own remedy; and before a request is sent nothing is written and nothing is spent.

#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use perennial_sandbox::{Config, Sandbox};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use support::{Ended, World};

/// An address that nobody listens on.
fn nobody() -> String {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap().to_string()
}

/// Runs against this base: nothing is sent to the sandbox, and not a byte of the directory changes.
#[track_caller]
fn unreachable(world: &World, base: &str, exit: i32, says: &str, hints: &str) -> Ended {
    let (before, sent) = (world.files(), world.requests());
    let ended = world.run(&["run", "--base-uri", base]);
    ended.is_trouble(world, exit, says, hints);
    assert!(ended.stderr.contains(&format!("no connection to {base}")), "{ended:?}");
    assert_eq!((world.files(), world.requests()), (before, sent));
    ended
}

fn filled(config: Config) -> World {
    let world = World::with(config);
    world.fill();
    world
}

#[test]
fn a_port_that_nobody_listens_on() {
    let world = filled(World::plain());
    for scheme in ["http", "https"] {
        let base = format!("{scheme}://{}", nobody());
        unreachable(
            &world,
            &base,
            4,
            "Connection refused",
            "nothing was sent; check the network and HTTPS_PROXY",
        );
    }
}

#[test]
fn a_name_without_an_address() {
    // A label of 64 letters is refused by the resolver itself: no question leaves this machine.
    let name = format!("{}.invalid", "a".repeat(64));
    let world = filled(World::plain());
    let base = format!("https://{name}");
    unreachable(
        &world,
        &base,
        4,
        "its name has no address",
        "nothing was sent; check the name and the network",
    );
}

#[test]
fn a_certificate_that_nobody_trusts_is_named() {
    let world = filled(Config::default());
    let base = world.sandbox.base_uri().to_owned();
    let before = world.files();
    let mut command = world.command(&["run"]);
    let ended = Ended::of(&command.env_remove("PERENNIAL_CA_CERT").output().unwrap());
    ended.is_trouble(&world, 3, &format!("no connection to {base}: no TLS session"), "--ca-cert FILE.pem");
    let certificate =
        "the certificate of \"localhost\", issued by \"Perennial sandbox, one run\", is refused: ";
    assert!(ended.stderr.contains("UnknownIssuer") && ended.stderr.contains(certificate), "{ended:?}");
    assert_eq!((world.files(), world.requests()), (before, 0));
    let ca = world.dir().with_file_name("ca.pem");
    let mut command = world.command(&["run", "--ca-cert", &ca.to_string_lossy()]);
    let ended = Ended::of(&command.env_remove("PERENNIAL_CA_CERT").output().unwrap());
    assert_eq!(ended.code, 0, "the hint helps: {ended:?}");
}

#[test]
fn a_certificate_of_another_name() {
    let world = filled(Config::default());
    let port = port_of(&world);
    let base = format!("https://other.example:{port}");
    let before = world.files();
    let resolve = format!("other.example:{port}:127.0.0.1");
    let ended = world.run(&["run", "--base-uri", &base, "--resolve", &resolve]);
    ended.is_trouble(&world, 3, "the certificate of \"localhost\"", "--ca-cert");
    assert!(ended.stderr.contains("not valid for name \"other.example\""), "{ended:?}");
    assert_eq!((world.files(), world.requests()), (before, 0));
}

fn port_of(world: &World) -> u16 {
    world.sandbox.base_uri().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn a_ca_cert_that_is_none_is_told() {
    let world = filled(Config::default());
    let base = world.sandbox.base_uri().to_owned();
    for (file, says) in
        [("absent.pem", "cannot read absent.pem"), ("credentials.json", "there is no certificate in")]
    {
        let ended = world.run(&["run", "--ca-cert", file]);
        ended.is_trouble(&world, 3, says, "--ca-cert FILE.pem");
        assert!(ended.stderr.contains(&base), "{ended:?}");
        assert_eq!(world.requests(), 0);
    }
}

#[test]
fn plain_http_where_tls_is_spoken_and_the_other_way_round() {
    let (secure, plain) = (filled(Config::default()), filled(World::plain()));
    let https = plain.sandbox.base_uri().replace("http://", "https://");
    unreachable(&plain, &https, 3, "no TLS session", "nothing was sent");
    let http = secure.sandbox.base_uri().replace("https://", "http://");
    let ended = secure.run(&["run", "--base-uri", &http]);
    ended.is_trouble(&secure, 4, "the connection ended before an answer came", "try again");
    assert_eq!(secure.requests(), 0);
}

#[test]
fn plain_http_to_another_machine_is_refused() {
    let world = filled(World::plain());
    let before = world.files();
    for base in ["http://us2.api.concursolutions.com", "ftp://127.0.0.1", "us2", "https://u:p@127.0.0.1"] {
        let ended = world.run(&["run", "--base-uri", base]);
        ended.is_trouble(&world, 2, "the base URI", "--datacenter us2");
    }
    assert_eq!((world.files(), world.requests()), (before, 0));
}

#[test]
fn law_9_a_living_token_is_handed_out_while_nothing_can_be_reached() {
    let world = World::held_with(World::plain());
    let dead = format!("http://{}", nobody());
    let mut tokens = world.tokens();
    tokens["geolocation"] = json!(dead);
    tokens["perennial"]["permitted_origins"] = json!([dead]);
    support::write_json(&world.token_file(), &tokens);

    let ended = world.run_ok(&["token", "--min-ttl", "2h"]);
    assert_eq!(ended.stdout.trim(), tokens["access_token"]);
    assert!(ended.stderr.contains("no better one could be had: no connection to"), "{ended:?}");
    world.run(&["refresh"]).is_trouble(&world, 4, "Connection refused", "nothing was sent");
    assert_eq!(world.refresh_token(), tokens["refresh_token"]);

    // Law 12: who comes next does not knock at once again, and is told why.
    assert_eq!(world.status()["state"], "backing_off");
    world.let_access_token_end();
    let ended = world.run(&["token"]);
    ended.is_trouble(&world, 4, "Connection refused", "perennial refresh");
    assert!(ended.stdout.is_empty());
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_no_longer_than_its_deadline() {
    let world = World::held_with(World::plain());
    let token = world.refresh_token();
    world.inject(json!([{"kind": "hang"}]));
    let ended = world.run(&["refresh", "--answer-within", "1s"]);
    ended.is_trouble(
        &world,
        4,
        "no answer in time; the request may have been carried out",
        "perennial refresh",
    );
    assert_eq!((world.requests(), world.refresh_token()), (2, token));
    let status = world.status();
    assert_eq!(status["state"], "uncertain", "law 7");
    assert!(status["last_fault"]["correlation_id"].is_string(), "what support can look for");
    assert!(world.run_ok(&["token"]).stdout.starts_with("ey"), "law 9");
    world.run_ok(&["refresh"]);
    assert_eq!(world.status()["state"], "held");
    assert_eq!(world.requests(), 3);
}

#[test]
fn an_answer_that_stops_in_the_middle_is_waited_for_no_longer_either() {
    let world = World::held_with(World::plain());
    world.inject(json!([{"kind": "slow_body", "milliseconds": 60_000, "chunks": 2}]));
    let ended = world.run(&["refresh", "--answer-within", "1s"]);
    ended.is_trouble(&world, 4, "the answer is", "perennial refresh");
    assert_eq!(world.status()["state"], "uncertain");
}

#[test]
fn a_caller_in_a_hurry_gets_what_came_of_a_request_that_was_under_way() {
    let world = World::held_with(World::plain());
    world.inject(json!([{"kind": "delay", "milliseconds": 1500}]));
    let ended = world.run_ok(&["token", "--min-ttl", "2h", "--timeout", "1s"]);
    assert!(ended.stderr.contains("is seen through"), "{ended:?}");
    assert_eq!(ended.stdout.trim(), world.tokens()["access_token"]);
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_caller_in_a_hurry_leaves_while_nothing_has_been_sent() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = filled(World::plain());
    let before = world.files();
    let base = format!("https://{}", silent.local_addr().unwrap());
    let ended = world.run(&["run", "--base-uri", &base, "--timeout", "1s"]);
    ended.is_trouble(&world, 4, "no token in time", "give it more time: --timeout 2m");
    assert_eq!((world.files(), world.requests()), (before, 0));
}

#[test]
fn a_connection_that_is_reset_may_have_spent_the_token() {
    for spent in [false, true] {
        let world = World::held_with(World::plain());
        let token = world.refresh_token();
        world.inject(json!([{"kind": "reset", "spent": spent}]));
        let ended = world.run(&["refresh"]);
        ended.is_trouble(&world, 4, "the connection ended before an answer came", "perennial refresh");
        assert_eq!((world.requests(), world.refresh_token()), (2, token));
        assert_eq!(world.status()["state"], "uncertain", "nobody can tell the two apart");
        world.run_ok(&["refresh"]);
    }
}

/// A proxy that tunnels to wherever CONNECT names, and remembers what it was told.
struct Proxy {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming() {
                let hears = Arc::clone(&hears);
                // A client that breaks off ends its own thread only.
                thread::spawn(move || tunnel(client?, status, &hears));
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn tunnel(client: TcpStream, status: &str, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    while !lines.next().unwrap()?.is_empty() {}
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    heard.lock().unwrap().push(request);
    (&client).write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())?;
    if !status.starts_with("200") {
        return Ok(());
    }
    let server = TcpStream::connect(target)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let (mut from, mut to) = (server, client);
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

#[test]
fn a_proxy_is_gone_through_and_sees_nothing_but_the_name() {
    let (world, proxy) = (filled(Config::default()), Proxy::start("200 OK"));
    let through = |words: &[&str], no_proxy: &str| {
        let mut command = world.command(words);
        command.env("HTTPS_PROXY", format!("http://{}", proxy.address)).env("NO_PROXY", no_proxy);
        let ended = Ended::of(&command.output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
    };
    let connect = format!("CONNECT 127.0.0.1:{} HTTP/1.1", port_of(&world));
    through(&["run"], "");
    // One for the keys that the id_token is checked with, one for the token request.
    assert_eq!(proxy.heard(), [connect.clone(), connect.clone()]);
    through(&["call", support::USERS], "");
    assert_eq!(proxy.heard(), vec![connect; 3]);
    through(&["refresh"], "127.0.0.1");
    assert_eq!(proxy.heard().len(), 3, "NO_PROXY goes past it");
    assert_eq!(world.requests(), 2);
}

#[test]
fn a_proxy_that_refuses_or_is_not_there_is_told_apart() {
    let world = filled(Config::default());
    let before = world.files();
    let refusing = Proxy::start("407 Proxy Authentication Required");
    for address in [
        format!("http://{}", refusing.address),
        format!("http://{}", nobody()),
        "socks5://127.0.0.1:9".into(),
    ] {
        let mut command = world.command(&["run"]);
        let ended = Ended::of(&command.env("HTTPS_PROXY", &address).output().unwrap());
        ended.is_trouble(&world, 4, "the proxy would not let us through", "HTTPS_PROXY");
        assert_eq!((world.files(), world.requests()), (before.clone(), 0));
    }
}

#[test]
fn a_name_is_resolved_as_the_person_says() {
    let world = filled(Config::default());
    let port = port_of(&world);
    let base = format!("https://us2.api.concursolutions.com:{port}");
    let resolve = format!("us2.api.concursolutions.com:{port}:127.0.0.1");
    world.run_ok(&["run", "--base-uri", &base, "--resolve", &format!("other.example:1:127.0.0.1,{resolve}")]);
    assert_eq!(world.tokens()["geolocation"], base.as_str());
    world.run_ok(&["call", support::USERS, "--resolve", &resolve]);
    assert_eq!((world.requests(), world.sandbox.stats().api_calls), (1, 1));
    let ended = world.run(&["call", support::USERS, "--resolve", "us2"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("must read HOST:PORT:ADDRESS"), "{ended:?}");
}

#[test]
fn a_call_to_a_foreign_host_is_refused_before_anything_is_sent() {
    let (world, elsewhere) = (World::held_with(World::plain()), Sandbox::start(World::plain()).unwrap());
    // Even a refresh would be too much for an address that is refused anyway.
    world.let_access_token_end();
    let before = world.files();
    let secret = "?code=canary";
    for host in
        [elsewhere.base_uri(), "https://evil.example", "http://us2.api.concursolutions.com", "ftp://x"]
    {
        let ended = world.run(&["call", &format!("{host}{}{secret}", support::USERS)]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("error: ") && ended.stderr.contains("hint: name a path"), "{ended:?}");
        ended.shows_none_of(&world.secrets());
        ended.shows_none_of(&["canary".to_owned()]);
    }
    assert_eq!(world.files(), before);
    assert_eq!((world.requests(), elsewhere.stats().requests, elsewhere.stats().api_calls), (1, 0, 0));
    world.run_ok(&["call", &format!("{}{}", world.sandbox.base_uri(), support::USERS)]);
}
