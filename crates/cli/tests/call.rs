//! `perennial call`: the API at the connection's geolocation, one refresh and one retry when it rejects the token.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::Stdio;
use support::{Ended, USERS, World};

const ECHO: &str = "/sandbox/echo";

fn echoed(ended: &Ended) -> Value {
    assert_eq!(ended.code, 0, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn the_body_goes_to_stdout() {
    let world = World::held();
    let ended = world.run_ok(&["call", USERS]);
    let users: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(users["totalResults"].as_u64().unwrap() > 0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn method_headers_and_data_arrive() {
    let world = World::held();
    let ended =
        world.run(&["call", "PUT", &format!("{ECHO}?a=1"), "-H", "X-Note: hello", "-d", r#"{"b":2}"#]);
    let echo = echoed(&ended);
    assert_eq!(echo["method"], "PUT");
    assert_eq!(echo["body"], r#"{"b":2}"#);
    assert!(ended.stdout.contains("hello") && ended.stdout.contains("application/json"), "{ended:?}");
    assert_eq!(echoed(&world.run(&["call", "default", ECHO]))["method"], "GET");
    assert_eq!(echoed(&world.run(&["call", ECHO, "-d", "x"]))["method"], "POST");
}

#[test]
fn data_comes_from_a_file_or_from_stdin_and_the_body_goes_to_a_file() {
    let world = World::held();
    fs::write(world.dir().join("body.json"), "from a file").unwrap();
    assert_eq!(echoed(&world.run(&["call", ECHO, "-d", "@body.json"]))["body"], "from a file");
    let mut child = world.command(&["call", ECHO, "-d", "@-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin").unwrap();
    assert_eq!(echoed(&Ended::of(&child.wait_with_output().unwrap()))["body"], "from stdin");
    let ended = world.run_ok(&["call", USERS, "-o", "users.json"]);
    assert_eq!(ended.stdout, "");
    assert!(fs::read_to_string(world.dir().join("users.json")).unwrap().contains("totalResults"));
    world.run(&["call", ECHO, "-d", "@nothing"]).is_usage("cannot read nothing");
}

#[test]
fn include_shows_status_and_headers_first() {
    let world = World::held();
    let ended = world.run_ok(&["call", USERS, "--include"]);
    assert!(ended.stdout.starts_with("HTTP/1.1 200 OK\r\n"), "{ended:?}");
    assert!(ended.stdout.contains("concur-correlationid: "), "{ended:?}");
}

#[test]
fn law_12_a_rejected_token_is_refreshed_once_and_the_call_repeated() {
    let world = World::held();
    world.sandbox.expire(perennial_sandbox::Expire::Access);
    world.run_ok(&["call", USERS]);
    let stats = world.sandbox.stats();
    assert_eq!((stats.refreshes, stats.api_calls), (1, 2));
}

#[test]
fn law_12_a_403_for_ever_forces_one_refresh_and_shows_its_body() {
    let world = World::held();
    world
        .inject(json!([{"kind": "status", "status": 403, "on": "api", "count": 9, "body": "no such scope"}]));
    for refreshes in [1, 1, 1] {
        let ended = world.run(&["call", USERS]);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, "no such scope"), "{ended:?}");
        assert!(ended.stderr.contains("HTTP 403"), "{ended:?}");
        assert_eq!(world.sandbox.stats().refreshes, refreshes);
    }
}

#[test]
fn the_exit_code_tells_what_to_do() {
    let world = World::held();
    for (status, code) in [(404, 1), (500, 1), (429, 4), (503, 4), (204, 0)] {
        world.inject(json!([{"kind": "status", "status": status, "on": "api"}]));
        assert_eq!(world.run(&["call", USERS]).code, code, "{status}");
    }
}

#[test]
fn law_10_the_token_goes_to_permitted_addresses_only() {
    let world = World::held();
    let own = format!("{}{USERS}", world.sandbox.base_uri());
    world.run_ok(&["call", &own]);
    for elsewhere in
        ["https://example.com/x", "http://us2.api.concursolutions.com/x", "ftp://example.com", "users"]
    {
        let ended = world.run(&["call", elsewhere]);
        assert_eq!(ended.code, 2, "{ended:?}");
        ended.shows_none_of(&world.secrets());
    }
    world.run(&["call", USERS, "-H", "Authorization: Bearer x"]).is_usage("set by perennial");
    world.run(&["call", USERS, "-H", "no colon"]).is_usage("no colon");
    assert_eq!(world.sandbox.stats().api_calls, 1);
}
