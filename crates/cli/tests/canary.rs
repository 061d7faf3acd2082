//! Law 10: secrets go nowhere else. After a long session with every fault there is, and servers that echo what they
//! were sent, no secret stands in any output, nor in any file but the two that are made for them.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::{Config, Expire, Rotate};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use support::{Ended, USERS, World, read_json, wait_until, write_json};

/// Every JWT of the sandbox begins so: access tokens and id_tokens. Ten letters, because three do occur by chance in a
/// megabyte that is sealed.
const ANY_JWT: &str = "eyJhbGciOi";

/// Nothing of a secret is anywhere but where it belongs.
#[track_caller]
fn is_clean(world: &World, what: &str, ended: &Ended) {
    let mut secrets = world.sandbox.secrets();
    secrets.push(ANY_JWT.to_owned());
    for secret in &secrets {
        assert!(!ended.stdout.contains(secret.as_str()), "{what}: {secret} on stdout: {ended:?}");
        assert!(!ended.stderr.contains(secret.as_str()), "{what}: {secret} on stderr: {ended:?}");
    }
    let root = world.dir().parent().expect("a root").to_owned();
    for path in files_below(&root) {
        if path == world.token_file() || path == world.credentials() {
            continue;
        }
        let bytes = fs::read(&path).expect("it can be read");
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{what}: {secret} in {}", path.display());
        }
    }
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).expect("a directory");
    entries.flat_map(|entry| files_below(&entry.expect("an entry").path())).collect()
}

/// `token` prints one secret, once, and on stdout.
#[track_caller]
fn token_is_clean(world: &World, words: &[&str]) {
    let mut ended = world.run(words);
    if ended.code == 0 {
        let token = world.tokens()["access_token"].as_str().expect("one").to_owned();
        assert_eq!(ended.stdout.matches(&token).count(), 1, "{ended:?}");
        ended.stdout = ended.stdout.replace(&token, "");
    }
    is_clean(world, &format!("{words:?}"), &ended);
}

/// Commands that look at everything, with all the words they have.
#[track_caller]
fn the_rest_is_clean(world: &World, what: &str) {
    for words in [&["status", "-vvv"][..], &["status", "--json"]] {
        is_clean(world, &format!("{words:?} after {what}"), &world.run(words));
    }
}

/// What a server may do to a request, and what it may say about it.
fn faults(refresh_token: &str, client_secret: &str) -> Vec<Value> {
    let echo = format!("{refresh_token} was presented with {client_secret} by {refresh_token}");
    let told =
        |status: u16, body: &Value| json!({"kind": "status", "status": status, "body": body.to_string()});
    let refused = |code: u32| {
        told(400, &json!({"code": code, "error": format!("invalid_grant {echo}"), "error_description": echo}))
    };
    let mut faults = vec![
        json!({"kind": "reset"}),
        json!({"kind": "reset", "spent": true}),
        json!({"kind": "status", "status": 500, "body": echo}),
        json!({"kind": "status", "status": 503, "retry_after": echo, "body": format!("<html>{echo}</html>")}),
        json!({"kind": "status", "status": 429, "retry_after": 1, "body": echo}),
        json!({"kind": "status", "status": 200, "body": echo}),
        json!({"kind": "html"}),
        json!({"kind": "huge", "bytes": 2_000_000}),
        json!({"kind": "redirect", "location": format!("https://127.0.0.1:9/?token={refresh_token}")}),
        json!({"kind": "empty"}),
        json!({"kind": "truncated_json"}),
        json!({"kind": "invalid_utf8"}),
        json!({"kind": "cut_body"}),
        json!({"kind": "gzip"}),
        json!({"kind": "content_type", "value": format!("text/{refresh_token}")}),
        json!({"kind": "fields", "set": {"error": echo, "error_description": echo, "code": 108}}),
        json!({"kind": "fields", "set": {"expires_in": echo, "refresh_expires_in": echo}}),
        json!({"kind": "fields", "set": {"geolocation": format!("https://{refresh_token}.example")}}),
        json!({"kind": "fields", "set": {"token_type": client_secret}}),
        json!({"kind": "fields", "remove": ["access_token"]}),
        json!({"kind": "other_principal"}),
        json!({"kind": "error", "code": 16, "geolocation": format!("https://{refresh_token}.example")}),
    ];
    faults.extend([5, 54, 61, 108, 134, 9_999].map(refused));
    faults.extend([5, 61, 108, 134].map(|code| json!({"kind": "ok_error", "code": code})));
    faults
}

#[test]
fn a_long_session_with_every_fault_leaves_no_secret_anywhere() {
    let world = World::with(Config { tls: false, rotate: Rotate::Sometimes, ..Config::default() });
    world.fill();
    let loud = ["-vvv", "--log-format", "json"];
    is_clean(&world, "run", &world.run_ok(&[&loud[..], &["run"]].concat()));
    is_clean(&world, "run", &world.run_ok(&["run", "--json"]));
    token_is_clean(&world, &["token"]);
    token_is_clean(&world, &["token", "--header", "-vvv"]);
    token_is_clean(&world, &["token", "--json"]);
    is_clean(&world, "whoami", &world.run_ok(&["whoami", "-vvv"]));
    is_clean(&world, "call", &world.run_ok(&["call", USERS, "--include", "-vvv"]));

    for number in 0..faults("", "").len() {
        let fault = || {
            let fault = faults(&world.refresh_token(), &world.sandbox.ready().client_secret)[number].clone();
            world.inject(json!([fault]));
            fault.to_string()
        };
        let what = fault();
        is_clean(&world, &what, &world.run(&[&loud[..], &["refresh"]].concat()));
        the_rest_is_clean(&world, &what);
        let what = fault();
        is_clean(&world, &what, &world.run(&["refresh", "--json", "-vvv"]));
        world.let_access_token_end();
        token_is_clean(&world, &["token", "--json", "-vvv", "--min-ttl", "2h"]);
        fault();
        token_is_clean(&world, &["token", "--min-ttl", "2h"]);
        world.sandbox.clear_faults();
        // Whatever has become of it, a person insists, and it goes on.
        is_clean(&world, &what, &world.run(&["refresh"]));
        is_clean(&world, &what, &world.run(&["run", "-v"]));
        // Sealed, searched, and in the way of a quick search for the next.
        world.rescue_files().iter().for_each(|path| fs::remove_file(path).expect("it is there"));
    }
}

#[test]
fn obtaining_leaves_no_secret_anywhere_either() {
    let number_of_faults = faults("", "").len();
    for number in 0..number_of_faults {
        let world = World::with(Config { tls: false, ..Config::default() });
        world.fill();
        let ready = world.sandbox.ready();
        let fault = faults(&ready.request_token, &ready.client_secret)[number].clone();
        world.inject(json!([fault]));
        is_clean(&world, &fault.to_string(), &world.run(&["-vvv", "--log-format", "json", "run"]));
        is_clean(&world, &fault.to_string(), &world.run(&["run", "--json"]));
        if world.token_file().exists() {
            the_rest_is_clean(&world, &fault.to_string());
        }
    }
}

#[test]
fn a_log_of_everything_tells_no_secret_under_tls_either() {
    let world = World::with(Config { rotate: Rotate::Always, ..Config::default() });
    world.fill();
    for words in [&["run"][..], &["refresh"], &["call", USERS]] {
        is_clean(&world, "under TLS", &world.run_ok(&[words, &["-vvv", "--log-format", "json"]].concat()));
        is_clean(&world, "under TLS", &world.run_ok(&[words, &["-vvv"]].concat()));
    }
}

#[test]
fn api_errors_and_rejections_show_no_bearer() {
    let world = World::held();
    world.sandbox.expire(Expire::Access);
    is_clean(&world, "an expired bearer", &world.run(&["call", USERS, "-vvv", "--include"]));
    world.inject(json!([{"kind": "status", "status": 403, "on": "api", "count": 2}]));
    is_clean(&world, "403", &world.run(&["call", USERS, "-vvv", "--json"]));
    world.inject(json!([{"kind": "reset", "on": "api"}]));
    is_clean(&world, "a reset", &world.run(&["call", USERS, "-vvv", "--json"]));
}

#[test]
fn files_that_cannot_be_understood_are_not_quoted() {
    let world = World::held();
    let (credentials, tokens) = (read_json(&world.credentials()), world.tokens());
    for spoil in [
        |text: &str| text.replace(": ", " "),
        |text: &str| text.replace('"', ""),
        |text: &str| text.replace('{', "["),
        |text: &str| format!("{text}{text}"),
        |text: &str| text[..text.len() / 2].to_owned(),
        |text: &str| text.replace(": \"", ": [\"").replace("\",", "\"],"),
    ] {
        fs::write(world.credentials(), spoil(&serde_json::to_string_pretty(&credentials).expect("JSON")))
            .expect("it can be written");
        for words in [&["run", "-vvv"][..], &["refresh", "--json"]] {
            is_clean(&world, "spoilt credentials", &world.run(words));
        }
        write_json(&world.credentials(), &credentials);
        fs::write(world.token_file(), spoil(&serde_json::to_string_pretty(&tokens).expect("JSON")))
            .expect("it can be written");
        for words in [&["token", "-vvv"][..], &["status", "--json"], &["refresh"]] {
            is_clean(&world, "spoilt tokens", &world.run(words));
        }
        write_json(&world.token_file(), &tokens);
    }
}

#[test]
fn nothing_stands_in_the_process_list_nor_on_disk_while_a_request_is_under_way() {
    let world = World::held();
    world.let_access_token_end();
    for words in [&["token"][..], &["refresh", "-vvv"], &["call", USERS]] {
        world.inject(json!([{"kind": "hang"}]));
        let before = world.requests();
        let mut child = world.spawn(words);
        wait_until("the request is under way", || world.requests() > before);
        let proc = PathBuf::from(format!("/proc/{}", child.id()));
        let read =
            |name: &str| String::from_utf8_lossy(&fs::read(proc.join(name)).unwrap_or_default()).into_owned();
        let seen = Ended { code: 0, stdout: read("cmdline"), stderr: read("environ") };
        assert!(seen.stdout.contains(words[0]), "{seen:?}");
        is_clean(&world, "while it flies", &seen);
        child.kill().expect("it is ours");
        is_clean(&world, "killed", &Ended::of(&child.wait_with_output().expect("it ends")));
    }
}
