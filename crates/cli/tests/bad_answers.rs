//! Answers of a token endpoint that are not quite what SAP documents: what can be understood is taken, and what
//! cannot be is kept, sealed; the refresh token stays in the file either way (law 5).

#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use perennial_sandbox::Rotate;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use support::{Ended, World};

fn held() -> World {
    World::held_with(World::plain())
}

/// One refresh that meets this fault.
fn refresh_into(world: &World, fault: Value) -> Ended {
    world.inject(json!([fault]));
    world.run(&["refresh"])
}

/// One refresh whose answer has other members.
fn refreshed_with(world: &World, set: Value, remove: &[&str]) {
    let sent = world.requests();
    let ended = refresh_into(world, json!({"kind": "fields", "set": set, "remove": remove}));
    assert_eq!(ended.code, 0, "{set} {remove:?}: {ended:?}");
    ended.shows_none_of(&world.secrets());
    assert_eq!(world.requests(), sent + 1);
}

fn seconds(world: &World, name: &str) -> i64 {
    world.tokens()["perennial"][name].as_i64().unwrap()
}

#[test]
fn without_a_refresh_token_the_old_one_stays() {
    let world = held();
    let old = world.refresh_token();
    for set in [json!({}), json!({"refresh_token": null}), json!({"refresh_token": ""})] {
        let remove: &[&str] = if set == json!({}) { &["refresh_token"] } else { &[] };
        let access = world.tokens()["access_token"].clone();
        refreshed_with(&world, set, remove);
        assert_eq!(world.refresh_token(), old);
        assert_ne!(world.tokens()["access_token"], access);
    }
    assert_eq!(world.status()["generation"], 4);
}

#[test]
fn expires_in_is_read_in_every_shape() {
    let world = held();
    for (value, lives) in [
        (json!(1800), 1800),
        (json!("1800"), 1800),
        (json!(1800.9), 1800),
        (json!("1800.9"), 1800),
        // Not believed: the access token's own claims say an hour.
        (json!(-1800), 3600),
        (json!(0), 3600),
        (json!("soon"), 3600),
        (json!(null), 3600),
        (json!(1e300), 3600),
    ] {
        refreshed_with(&world, json!({"expires_in": value}), &[]);
        assert_eq!(seconds(&world, "access_expires_at") - seconds(&world, "refreshed_at"), lives, "{value}");
    }
    refreshed_with(&world, json!({}), &["expires_in"]);
    assert_eq!(seconds(&world, "access_expires_at") - seconds(&world, "refreshed_at"), 3600);
    assert_eq!(world.tokens()["perennial"]["access_expiry"], "stated", "by its claims");
    refreshed_with(&world, json!({"access_token": "opaque"}), &["expires_in"]);
    assert_eq!(world.tokens()["perennial"]["access_expiry"], "assumed");
    assert_eq!(world.tokens()["expires_in"], 3600, "the sample finds what it expects");
}

#[test]
fn refresh_expires_in_is_a_date_in_every_shape() {
    let world = held();
    for (value, shown) in [
        (json!(1_900_000_000), "2030-03-17T17:46:40Z"),
        (json!("1900000000"), "2030-03-17T17:46:40Z"),
        (json!(1_900_000_000_123_i64), "2030-03-17T17:46:40Z"),
        (json!("1900000000123"), "2030-03-17T17:46:40Z"),
        (json!(1_300_000_000), "2011-03-13T07:06:40Z"),
    ] {
        refreshed_with(&world, json!({"refresh_expires_in": value}), &[]);
        let status = world.status();
        assert_eq!(
            (&status["refresh_expires_at"], &status["refresh_expiry"]),
            (&json!(shown), &json!("stated"))
        );
    }
    for value in [json!(null), json!(15_552_000), json!(-1), json!("never")] {
        refreshed_with(&world, json!({"refresh_expires_in": value}), &[]);
        assert_eq!(world.status()["refresh_expiry"], "assumed", "{value}: six months, as SAP documents");
    }
    refreshed_with(&world, json!({}), &["refresh_expires_in"]);
    assert_eq!(world.status()["refresh_expiry"], "assumed");
    assert_eq!(
        seconds(&world, "refreshed_at") + 181 * 86400,
        world.tokens()["refresh_expires_in"].as_i64().unwrap()
    );
}

#[test]
fn an_end_in_the_past_is_tried_all_the_same() {
    let world = held();
    refreshed_with(&world, json!({"refresh_expires_in": 1_300_000_000}), &[]);
    world.run_ok(&["token"]);
    assert_eq!(world.sandbox.stats().refreshes, 1, "law 12: it is no reason to ask at each call");
    let ended = world.run_ok(&["run"]);
    assert!(ended.stdout.contains("tried all the same"), "{ended:?}");
    assert_eq!(world.sandbox.stats().refreshes, 2);
    assert_eq!(world.sandbox.stats().request_token_uses, 1);
}

#[test]
fn gzip_another_content_type_and_members_that_nobody_knows_are_taken() {
    let world = held();
    for fault in [
        json!({"kind": "gzip"}),
        json!({"kind": "content_type", "value": "text/html"}),
        json!({"kind": "slow_body", "milliseconds": 5, "chunks": 7}),
        json!({"kind": "fields", "set": {"novelty": {"kept": true}, "token_type": "bearer"}}),
    ] {
        let access = world.tokens()["access_token"].clone();
        let ended = refresh_into(&world, fault.clone());
        assert_eq!(ended.code, 0, "{fault}: {ended:?}");
        assert_ne!(world.tokens()["access_token"], access, "{fault}");
    }
    assert_eq!(world.tokens()["novelty"]["kept"], true);
    assert_eq!(world.tokens()["token_type"], "Bearer");
    assert_eq!(world.rescue_files().len(), 0);
}

/// Answers that nobody can understand; what is said of each, and whether tokens may be in it.
fn foreign() -> Vec<(Value, &'static str, bool)> {
    vec![
        (json!({"kind": "html"}), "is an HTML page", true),
        (json!({"kind": "huge"}), "is longer than 1 MiB", true),
        (json!({"kind": "invalid_utf8"}), "is not JSON, or was cut off", true),
        (json!({"kind": "truncated_json"}), "is not JSON, or was cut off", true),
        (json!({"kind": "cut_body"}), "is not JSON, or was cut off", true),
        (json!({"kind": "empty"}), "is empty", false),
        (json!({"kind": "fields", "remove": ["access_token"]}), "neither tokens nor an error", true),
        (json!({"kind": "fields", "set": {"refresh_token": 7}}), "neither tokens nor an error", true),
        (json!({"kind": "fields", "set": {"access_token": "a\r\nX-Evil: 1"}}), "neither tokens", true),
        (json!({"kind": "status", "status": 200, "body": "null"}), "is not JSON", true),
        (json!({"kind": "html", "status": 503}), "HTTP 503: the service is unavailable", false),
        (json!({"kind": "html", "status": 404}), "HTTP 404: the answer is an HTML page", false),
        (json!({"kind": "status", "status": 429, "retry_after": 7}), "HTTP 429", false),
        (json!({"kind": "reset", "spent": true}), "the connection ended before an answer came", false),
    ]
}

#[test]
fn what_nobody_understands_on_a_refresh_is_kept_sealed_and_the_token_stays() {
    let world = held();
    let token = world.refresh_token();
    for (fault, says, kept) in foreign() {
        let (sent, sealed) = (world.requests(), world.rescue_files());
        let ended = refresh_into(&world, fault.clone());
        ended.is_trouble(&world, 4, says, "the refresh token is kept");
        assert!(ended.stderr.contains("to insist: perennial refresh"), "{ended:?}");
        assert_eq!(world.requests(), sent + 1, "{fault}: nothing is sent twice on its own");
        assert_eq!(world.refresh_token(), token, "{fault}");
        let new: Vec<_> = world.rescue_files().into_iter().filter(|file| !sealed.contains(file)).collect();
        assert_eq!(new.len(), usize::from(kept), "{fault}: {ended:?}");
        for file in new {
            let bytes = fs::read(&file).unwrap();
            assert!(bytes.starts_with(b"perennial sealed 2 "), "{fault}");
            assert!(!contains(&bytes, token.as_bytes()) && !contains(&bytes, b"access_token"), "{fault}");
            assert!(ended.stderr.contains(&*file.to_string_lossy()), "it is told where: {ended:?}");
        }
        // The access token lives, and is handed out as if nothing had been (law 9).
        assert!(world.run_ok(&["token"]).stdout.starts_with("ey"), "{fault}");
        assert_eq!(world.requests(), sent + 1, "{fault}");
        assert_eq!(world.run_ok(&["refresh"]).code, 0, "{fault}: whoever insists is well again");
        assert_eq!(world.status()["state"], "held", "{fault}");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn what_nobody_understands_when_obtaining_can_be_tried_again() {
    for (fault, says, kept) in foreign() {
        let world = World::with(World::plain());
        world.fill();
        world.inject(json!([fault]));
        let ended = world.run(&["run"]);
        ended.is_trouble(&world, 4, says, "nothing is lost; try again");
        assert!(ended.stderr.contains(": perennial run\n"), "{ended:?}");
        assert_eq!(world.rescue_files().len(), usize::from(kept), "{fault}: {ended:?}");
        assert_eq!(world.tokens()["perennial"]["request_token"]["uses"], 1, "law 4: it is counted");
        world.run_ok(&["run"]);
        assert_eq!(world.requests(), 2, "{fault}");
        assert_eq!(world.status()["state"], "held");
    }
}

#[test]
fn a_200_with_an_error_body_is_the_error() {
    let world = held();
    let token = world.refresh_token();
    let ended = refresh_into(&world, json!({"kind": "ok_error", "code": 61}));
    ended.is_trouble(&world, 3, "code 61", "check appID and clientSecret");
    assert!(ended.stderr.contains("correlation id: "), "{ended:?}");
    assert_eq!(world.refresh_token(), token);
    assert_eq!(world.status()["state"], "suspended");
    assert!(world.run_ok(&["token"]).stdout.starts_with("ey"), "law 9");
}

#[test]
fn a_redirect_is_not_followed_and_nothing_goes_there() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let world = held();
    let token = world.refresh_token();
    for (status, scheme) in [(301, "http"), (302, "https"), (303, "http"), (307, "http"), (308, "https")] {
        let location = format!("{scheme}://{}/oauth2/v0/token", trap.local_addr().unwrap());
        let fault = json!({"kind": "redirect", "location": location, "status": status});
        let sent = world.requests();
        let ended = refresh_into(&world, fault);
        ended.is_trouble(&world, 4, "is a redirect, which is not followed with secrets", "perennial refresh");
        assert!(trap.accept().is_err(), "{status}: nobody connected to where it points");
        assert_eq!(world.requests(), sent + 1);
        assert_eq!(world.refresh_token(), token);
    }
}

#[test]
fn code_16_is_followed_once_and_only_where_secrets_may_go() {
    let world = held();
    let home = world.sandbox.base_uri().to_owned();
    let ended = refresh_into(&world, json!({"kind": "error", "code": 16, "geolocation": home}));
    assert_eq!((ended.code, world.requests()), (0, 3), "{ended:?}");

    world.inject(json!([{"kind": "error", "code": 16, "geolocation": home, "count": 2}]));
    let ended = world.run(&["refresh"]);
    ended.is_trouble(&world, 4, "code 16", "perennial refresh");
    assert_eq!(world.requests(), 5, "once there, and no further");

    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}", trap.local_addr().unwrap());
    let token = world.refresh_token();
    let ended = refresh_into(&world, json!({"kind": "error", "code": 16, "geolocation": elsewhere}));
    let hint = format!("name it once: perennial refresh --base-uri {elsewhere}");
    ended.is_trouble(&world, 3, "is not one of the provider's addresses", &hint);
    assert!(trap.accept().is_err(), "law 10");
    assert_eq!((world.requests(), world.refresh_token()), (6, token));
    assert_eq!(world.status()["last_fault"]["code"], 16);
}

#[test]
fn a_foreign_geolocation_is_told_and_not_followed() {
    let world = held();
    let home = world.sandbox.base_uri().to_owned();
    let set = json!({"geolocation": "https://evil.example/oauth2"});
    let ended = refresh_into(&world, json!({"kind": "fields", "set": set}));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("https://evil.example") && ended.stderr.contains("not followed"),
        "{ended:?}"
    );
    assert_eq!(world.status()["base_uri"], home.as_str(), "the base that answered");
}

#[test]
fn a_geolocation_with_a_path_gives_up_its_path() {
    let world = held();
    let home = world.sandbox.base_uri().to_owned();
    refreshed_with(&world, json!({"geolocation": format!("{home}/oauth2/v0/token")}), &[]);
    assert_eq!(world.tokens()["geolocation"], home.as_str());
    world.run_ok(&["call", support::USERS]);
}

#[test]
fn a_server_that_repeats_secrets_is_blotted() {
    let world = held();
    let secret = world.sandbox.ready().client_secret.clone();
    let token = world.refresh_token();
    let body = json!({"code": 64, "error": format!("x {secret}"),
        "error_description": format!("no {token} of {secret} \u{1b}[31m\r\nerror: forged")});
    let fault = json!({"kind": "status", "status": 401, "body": body.to_string()});
    let ended = refresh_into(&world, fault);
    ended.is_trouble(&world, 3, "no [redacted] of [redacted]", "perennial refresh");
    assert!(!ended.stderr.contains('\u{1b}') && !ended.stderr.contains("\nerror: forged"), "{ended:?}");
    let told = world.run_ok(&["status", "--json"]);
    told.shows_none_of(&world.secrets());
}

#[test]
fn a_stranger_in_the_answer_is_kept_aside_and_not_handed_out() {
    let world = held();
    let (token, access) = (world.refresh_token(), world.tokens()["access_token"].clone());
    let ended = refresh_into(&world, json!({"kind": "other_principal"}));
    ended.is_trouble(&world, 3, "the answer names principal", "kept aside");
    assert_eq!(world.refresh_token(), token);
    assert_eq!(world.tokens()["access_token"], access);
    assert_eq!(world.tokens()["perennial"]["candidates"].as_array().unwrap().len(), 1, "laws 8 and 13");
}

#[test]
fn a_refresh_token_that_changes_is_stored_and_the_old_one_kept_until_it_has_proved_itself() {
    let world = World::held_with(perennial_sandbox::Config { rotate: Rotate::Always, ..World::plain() });
    let first = world.refresh_token();
    world.run_ok(&["refresh"]);
    assert_ne!(world.refresh_token(), first);
    assert_eq!(world.tokens()["perennial"]["previous"][0]["refresh_token"], first.as_str());
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn law_10_no_remark_however_talkative_shows_a_secret() {
    let world = held();
    let mut secrets = world.secrets();
    for (words, fault) in [
        (&["refresh"][..], json!({"kind": "truncated_json"})),
        (&["refresh"], json!({"kind": "error", "code": 108})),
        (&["call", support::USERS], json!({"kind": "status", "status": 403, "on": "api"})),
        (&["refresh"], json!({"kind": "fields", "remove": ["refresh_token"]})),
        (&["run"], json!({"kind": "gzip", "count": 9})),
        (&["whoami"], json!({"kind": "gzip", "count": 9})),
        (&["status"], json!({"kind": "gzip", "count": 9})),
    ] {
        for format in ["text", "json"] {
            world.inject(json!([fault]));
            let ended = world.run(&[words, &["-vvv", "--log-format", format]].concat());
            secrets.extend(world.secrets());
            ended.shows_none_of(&secrets);
        }
    }
}

#[test]
fn with_json_every_line_on_stderr_is_an_object_and_the_last_one_is_the_error() {
    let world = held();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(world.credentials(), mode).unwrap();
    let mut tokens = world.tokens();
    tokens["refresh_expires_in"] = json!(1_300_000_000);
    support::write_json(&world.token_file(), &tokens);
    world.inject(json!([{"kind": "huge"}]));
    let ended = world.run(&["run", "--json"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{ended:?}");
    let told: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told[0]["warning"].as_str().unwrap().contains("chmod 600"), "{told:?}");
    let error = &told.last().unwrap()["error"];
    assert_eq!((&error["verdict"], &error["exit_code"]), (&json!("unknown"), &json!(4)));
    assert!(
        error["hint"].as_str().unwrap().contains("perennial refresh") && error["correlation_id"].is_string()
    );
}
