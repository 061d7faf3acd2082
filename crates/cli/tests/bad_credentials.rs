//! `credentials.json` as people leave it: it is judged before anything is sent, and never touched.

#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{CREDENTIALS, World, read_json, write_json};

/// Runs on these bytes: exit 3, these words, a hint that names the next command, nothing sent, nothing touched.
#[track_caller]
fn refused(bytes: &[u8], says: &str, hints: &str) {
    let world = World::with(World::plain());
    fs::write(world.credentials(), bytes).unwrap();
    let before = world.files();
    let ended = world.run(&["run"]);
    ended.is_trouble(&world, 3, says, hints);
    assert!(ended.stderr.contains(CREDENTIALS), "{ended:?}");
    ended.shows_none_of(&["canary".to_owned()]);
    assert_eq!(world.files(), before, "{says}");
    assert_eq!(world.requests(), 0);
}

#[track_caller]
fn accepted(bytes: impl Fn(&Value) -> Vec<u8>) {
    let world = World::with(World::plain());
    world.fill();
    let bytes = bytes(&read_json(&world.credentials()));
    fs::write(world.credentials(), &bytes).unwrap();
    world.run_ok(&["run"]);
    assert_eq!(fs::read(world.credentials()).unwrap(), bytes, "they are not touched");
    assert_eq!(world.requests(), 1);
    assert!(!world.refresh_token().is_empty());
}

#[test]
fn without_credentials_every_command_names_the_one_that_helps() {
    let world = World::with(World::plain());
    for words in [&["token"][..], &["refresh"], &["call", support::USERS], &["whoami"]] {
        world.run(words).is_trouble(&world, 3, "there are no tokens yet", "perennial run");
    }
    let run = world.run(&["run", "--dir", "a b"]);
    run.is_trouble(&world, 3, "a template was written", "then: perennial run --dir 'a b'");
    assert!(world.files().is_empty(), "only a run writes a template, and only where it was sent");
    assert_eq!(world.requests(), 0);
}

#[test]
fn credentials_that_are_gone_cost_nothing_while_the_access_token_lives() {
    let world = World::held_with(World::plain());
    fs::remove_file(world.credentials()).unwrap();
    let tokens = world.files();
    let ended = world.run_ok(&["token"]);
    assert_eq!(ended.stdout.trim(), world.tokens()["access_token"].as_str().unwrap());
    world.run(&["refresh"]).is_trouble(&world, 3, "there is no", "perennial run");
    assert_eq!(world.files(), tokens);
    assert_eq!(world.requests(), 1, "only the one that obtained the grant");
}

#[test]
fn what_is_not_json_is_told_by_line_and_column() {
    refused(b"{\n  \"appID\": \"canary", "at line 2 column 18", "mend it, then: perennial run");
    refused(b"{\n  \"appID\": canary\n}", "at line 2 column 12", "it has not been touched");
    refused(b"appID=canary", "at line 1 column 1", "perennial run");
    refused(b"{\"appID\": \"canary\"", "at line 1 column 18", "perennial run");
    refused(b"", "it is empty", "perennial run");
    refused(b" \r\n", "it is empty", "perennial run");
    refused(b"{\"appID\": \"\xff\xfe\"}", "not valid JSON", "perennial run");
}

#[test]
fn what_is_json_but_no_object_is_told() {
    for (text, is) in [("null", "null"), ("[]", "a list"), ("\"canary\"", "a text"), ("7", "a number")] {
        refused(text.as_bytes(), &format!("it must be a JSON object, and is {is}"), "perennial run");
    }
}

#[test]
fn a_trailing_comma_is_placed() {
    refused(b"{\n\"appID\": \"canary\",\n}", "trailing comma at line 3 column 1", "perennial run");
}

#[test]
fn utf_16_is_named_for_what_it_is() {
    let text = "{\"appID\": \"canary\"}";
    let little: Vec<u8> =
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    refused(&little, "it is in UTF-16; save it as UTF-8", "perennial run");
    refused(&big, "it is in UTF-16; save it as UTF-8", "perennial run");
}

#[test]
fn each_empty_or_missing_field_is_named() {
    refused(
        b"{}",
        "appID is missing; clientSecret is missing; companyUUID is missing; companyRequestToken is missing",
        "edit ",
    );
    for name in ["appID", "clientSecret", "companyUUID", "companyRequestToken"] {
        let mut filled = json!({"appID": "a", "clientSecret": "canary", "grantType": "password",
            "companyUUID": "c", "companyRequestToken": "canary", "credentialType": "authtoken"});
        for empty in ["", "  "] {
            filled[name] = json!(empty);
            refused(filled.to_string().as_bytes(), &format!("is not filled in: {name} is empty\n"), "edit ");
        }
        filled.as_object_mut().unwrap().remove(name);
        refused(filled.to_string().as_bytes(), &format!("is not filled in: {name} is missing\n"), "edit ");
    }
}

#[test]
fn wrong_types_are_named_and_no_value_is_shown() {
    for (value, is) in [
        (json!(7), "a number"),
        (json!(null), "null"),
        (json!(true), "true or false"),
        (json!(["canary"]), "a list"),
        (json!({"canary": "canary"}), "an object"),
    ] {
        let credentials = json!({"appID": value, "clientSecret": value, "companyUUID": "c",
            "companyRequestToken": "canary"});
        let says = format!(
            "appID must be a text in quotes, and is {is}; clientSecret must be a text in quotes, and is {is}"
        );
        refused(credentials.to_string().as_bytes(), &says, "then: perennial run");
    }
}

#[test]
fn another_grant_type_is_refused_and_a_missing_one_is_taken() {
    for (name, known) in [("grantType", "password"), ("credentialType", "authtoken")] {
        let mut credentials = json!({"appID": "a", "clientSecret": "canary", "companyUUID": "c",
            "companyRequestToken": "canary"});
        credentials[name] = json!("canary");
        refused(
            credentials.to_string().as_bytes(),
            &format!("{name} must be \"{known}\""),
            "then: perennial run",
        );
    }
    accepted(|filled| {
        let mut filled = filled.clone();
        let members = filled.as_object_mut().unwrap();
        members.remove("grantType");
        members["credentialType"] = json!("");
        filled.to_string().into_bytes()
    });
}

#[test]
fn a_byte_order_mark_and_crlf_are_taken() {
    accepted(|filled| {
        let text = serde_json::to_string_pretty(filled).unwrap();
        [b"\xef\xbb\xbf", text.replace('\n', "\r\n").as_bytes()].concat()
    });
}

#[test]
fn blanks_around_pasted_values_and_keys_of_ones_own_are_taken() {
    accepted(|filled| {
        let mut filled = filled.clone();
        for name in ["appID", "clientSecret", "companyUUID", "companyRequestToken"] {
            filled[name] = json!(format!(" {}\n", filled[name].as_str().unwrap()));
        }
        filled["note"] = json!("from the administrator, by telephone");
        filled.to_string().into_bytes()
    });
}

#[test]
fn an_empty_request_token_is_no_trouble_once_a_grant_is_held() {
    let world = World::held_with(World::plain());
    let mut credentials = read_json(&world.credentials());
    credentials["companyRequestToken"] = json!("");
    write_json(&world.credentials(), &credentials);
    world.run_ok(&["run"]);
    world.run_ok(&["refresh"]);
    assert_eq!(world.requests(), 2);
}
