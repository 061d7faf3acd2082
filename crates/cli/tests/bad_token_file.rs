//! `refreshTokenObjectFile.json` as other programs and accidents leave it: what holds a refresh token is used, and
//! what cannot be read is kept under another name before anything takes its place.

#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use perennial_sandbox::Sandbox;
use serde_json::{Value, json};
use std::fs;
use std::thread;
use support::{TOKEN_FILE, World, write_json};

/// Contents that hold no tokens as far as anybody can tell, and what is said of them.
fn unreadable() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let utf_16 =
        "\u{feff}{\"refresh_token\": \"canary\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("empty", b"".to_vec(), "it is empty"),
        ("cut off", b"{\n  \"refresh_token\": \"canary".to_vec(), "at line 2 column 26"),
        (
            "trailing comma",
            b"{\"refresh_token\": \"canary\",}".to_vec(),
            "trailing comma at line 1 column 28",
        ),
        ("a page", b"<html>canary</html>".to_vec(), "at line 1 column 1"),
        ("UTF-16", utf_16, "it is in UTF-16"),
        ("zeros, as a power cut leaves them", vec![0; 512], "at line 1 column 1"),
        ("null, as the sample writes it", b"null".to_vec(), "must be a JSON object, and is null"),
        ("a list", b"[{\"refresh_token\": \"canary\"}]".to_vec(), "and is a list"),
        ("the sample's error answer", br#"{"code":5,"error":"canary"}"#.to_vec(), "it holds no tokens"),
        ("a list for a token", br#"{"access_token": ["canary"]}"#.to_vec(), "it holds no tokens"),
        (
            "a number for a token",
            br#"{"refresh_token": 7, "access_token": "canary"}"#.to_vec(),
            "no text in quotes",
        ),
        ("an empty token", br#"{"refresh_token": "", "access_token": ""}"#.to_vec(), "it holds no tokens"),
    ]
}

/// Each case in a world and a thread of its own: an unreadable file is looked at for a second before it is called so.
fn each_unreadable(story: impl Fn(&World, &[u8], &str) + Sync) {
    thread::scope(|scope| {
        for (name, bytes, says) in unreadable() {
            let story = &story;
            let in_its_world = move || {
                let world = World::with(World::plain());
                world.fill();
                fs::write(world.token_file(), &bytes).unwrap();
                story(&world, &bytes, says);
            };
            // A panic tells the thread's name.
            thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, in_its_world).unwrap();
        }
    });
}

#[test]
fn law_5_a_refresh_token_that_cannot_be_sent_is_kept_aside_and_not_dropped() {
    let world = World::held();
    let mut tokens = world.tokens();
    tokens["refresh_token"] = "caf\u{e9}-token".into();
    support::write_json(&world.token_file(), &tokens);
    world.run(&["refresh"]).is_trouble(&world, 3, "holds characters that no token has", "perennial run");
    world.run_ok(&["run"]);
    let kept = support::read_json(&world.dir().join("refreshTokenObjectFile.json.unreadable-1"));
    assert_eq!(kept, tokens);
}

#[test]
fn a_newer_perennials_file_is_left_alone() {
    let world = World::held();
    let mut tokens = world.tokens();
    tokens["perennial"]["version"] = 2.into();
    support::write_json(&world.token_file(), &tokens);
    for words in [["token"], ["run"], ["refresh"]] {
        world.run(&words).is_trouble(&world, 3, "was written by a newer Perennial", "use that version");
    }
    assert_eq!((world.tokens(), world.requests()), (tokens, 1));
}

#[test]
fn commands_that_need_a_token_touch_nothing_and_send_nothing() {
    each_unreadable(|world, bytes, says| {
        let before = world.files();
        let ended = world.run(&["token"]);
        ended.is_trouble(world, 3, says, "this keeps it aside and obtains a new grant: perennial run");
        assert!(ended.stderr.contains(TOKEN_FILE), "{ended:?}");
        ended.shows_none_of(&["canary".to_owned()]);
        assert_eq!(world.files(), before);
        assert_eq!(fs::read(world.token_file()).unwrap(), bytes);
        assert_eq!(world.requests(), 0);
    });
}

#[test]
fn a_run_keeps_it_under_another_name_and_obtains_a_new_grant() {
    each_unreadable(|world, bytes, says| {
        let ended = world.run_ok(&["run"]);
        assert!(ended.stderr.contains(says) && ended.stderr.contains("it is kept as"), "{ended:?}");
        ended.shows_none_of(&["canary".to_owned()]);
        let kept = world.dir().join(format!("{TOKEN_FILE}.unreadable-1"));
        assert_eq!(fs::read(kept).unwrap(), bytes, "law 5: byte for byte");
        assert!(!world.refresh_token().is_empty());
        assert_eq!(world.requests(), 1);
    });
}

#[test]
fn a_second_unreadable_file_does_not_replace_the_first() {
    let world = World::with(World::plain());
    world.fill();
    for (number, text) in [(1, "first"), (2, "second")] {
        fs::write(world.token_file(), text).unwrap();
        world.run_ok(&["run"]);
        let kept = world.dir().join(format!("{TOKEN_FILE}.unreadable-{number}"));
        assert_eq!(fs::read(kept).unwrap(), text.as_bytes());
    }
}

/// A grant that is good at this sandbox, in the bare shape in which SAP's sample writes it.
fn as_the_sample(world: &World) -> Value {
    let mut tokens = world.tokens();
    tokens.as_object_mut().unwrap().remove("perennial");
    tokens
}

#[test]
fn shapes_that_others_write_are_taken() {
    let world = World::held_with(World::plain());
    let sample = as_the_sample(&world);
    let text = serde_json::to_string_pretty(&sample).unwrap();
    let shapes = [
        ("as the sample", sample.to_string().into_bytes()),
        ("byte order mark and CRLF", [b"\xef\xbb\xbf", text.replace('\n', "\r\n").as_bytes()].concat()),
        ("our bookkeeping is damaged", with(&sample, "perennial", json!("scribble"))),
        ("a key of one's own", with(&sample, "note", json!({"mine": true}))),
    ];
    for (name, bytes) in shapes {
        fs::write(world.token_file(), &bytes).unwrap();
        let sent = world.requests();
        let ended = world.run_ok(&["token"]);
        assert!(ended.stdout.starts_with("ey"), "{name}: {ended:?}");
        world.run_ok(&["refresh"]);
        assert!(world.requests() - sent <= 2, "{name}: the token may be old enough to be renewed first");
        assert_eq!(world.refresh_token(), sample["refresh_token"].as_str().unwrap(), "{name}");
    }
    assert_eq!(world.tokens()["note"]["mine"], true, "keys that nobody knows survive a rewrite");
    assert_eq!(world.sandbox.stats().request_token_uses, 1, "no new grant was needed for any of them");
}

fn with(tokens: &Value, name: &str, value: Value) -> Vec<u8> {
    let mut tokens = tokens.clone();
    tokens[name] = value;
    tokens.to_string().into_bytes()
}

#[test]
fn the_end_of_a_refresh_token_is_read_in_every_shape() {
    let world = World::held_with(World::plain());
    let sample = as_the_sample(&world);
    for (value, shown) in [
        (json!(1_900_000_000), json!("2030-03-17T17:46:40Z")),
        (json!("1900000000"), json!("2030-03-17T17:46:40Z")),
        (json!(1_900_000_000_123_i64), json!("2030-03-17T17:46:40Z")),
        (json!(1_300_000_000), json!("2011-03-13T07:06:40Z")),
        (json!(15_552_000), Value::Null),
        (json!("soon"), Value::Null),
        (json!(null), Value::Null),
        (json!(["1900000000"]), Value::Null),
    ] {
        fs::write(world.token_file(), with(&sample, "refresh_expires_in", value.clone())).unwrap();
        let before = world.files();
        assert_eq!(world.status()["refresh_expires_at"], shown, "{value}");
        assert_eq!(world.files(), before, "to look at it changes nothing");
        world.run_ok(&["run"]);
        assert_eq!(world.status()["refresh_expiry"], "stated", "{value}: the refresh told it anew");
    }
    assert_eq!(world.sandbox.stats().request_token_uses, 1, "a date in the past costs no request token");
}

#[test]
fn an_access_token_that_could_break_a_header_is_not_sent() {
    let world = World::held_with(World::plain());
    let mut tokens = as_the_sample(&world);
    tokens["access_token"] = json!("canary\r\nX-Evil: 1");
    write_json(&world.token_file(), &tokens);
    world.run_ok(&["call", support::USERS]);
    assert_eq!(world.sandbox.stats().refreshes, 1, "a fresh one took its place");
}

#[test]
fn tokens_that_belong_elsewhere_are_not_sent_to_where_the_file_says() {
    let (world, elsewhere) = (World::held_with(World::plain()), elsewhere());
    let mut tokens = as_the_sample(&world);
    tokens["geolocation"] = json!(elsewhere.base_uri());
    let hint = format!("name it once: perennial refresh --base-uri {}", elsewhere.base_uri());
    for access_token in [json!("opaque"), world.tokens()["access_token"].clone()] {
        tokens["access_token"] = access_token;
        write_json(&world.token_file(), &tokens);
        let before = world.files();
        let ended = world.run(&["call", support::USERS]);
        ended.is_trouble(&world, 3, "is not one of the provider's addresses", &hint);
        assert_eq!(world.files(), before);
        assert_eq!(
            (world.requests(), elsewhere.stats().requests, elsewhere.stats().api_calls),
            (1, 0, 0),
            "law 10"
        );
    }
}

fn elsewhere() -> Sandbox {
    Sandbox::start(World::plain()).unwrap()
}
