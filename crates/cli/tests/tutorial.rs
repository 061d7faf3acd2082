//! SAP's tutorial, step by step: a template, a filled template, a refresh token, a second run that finds it valid.

mod support;

use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{CREDENTIALS, TOKEN_FILE, World, read_json, write_json};

#[test]
fn the_first_run_writes_the_samples_template_and_says_what_to_fill_in() {
    let world = World::empty();
    let ended = world.run(&["run"]);
    ended.is_trouble(&world, 3, "a template was written", "companytokens");
    assert_eq!(
        read_json(&world.credentials()),
        json!({"appID": "", "clientSecret": "", "grantType": "password", "companyUUID": "",
            "companyRequestToken": "", "credentialType": "authtoken"})
    );
    let ended = world.run(&["run"]);
    ended.is_trouble(&world, 3, "appID is empty; clientSecret is empty; companyUUID is empty", "edit");
    assert_eq!(world.requests(), 0);
}

#[test]
fn a_filled_template_becomes_a_stored_refresh_token() {
    let world = World::filled();
    let ended = world.run_ok(&["run"]);
    assert!(ended.stdout.contains("refresh token received and stored"), "{ended:?}");
    assert!(ended.stdout.contains("in 6 months"), "{ended:?}");
    ended.shows_none_of(&world.secrets());
    let tokens = world.tokens();
    for member in [
        "expires_in",
        "scope",
        "token_type",
        "access_token",
        "refresh_token",
        "refresh_expires_in",
        "geolocation",
        "id_token",
        "companyUUID",
    ] {
        assert!(!tokens[member].is_null(), "{member} is missing");
    }
    assert_eq!(tokens["companyUUID"], world.sandbox.ready().company_uuid.as_str());
}

#[test]
fn the_next_run_finds_it_valid_and_sends_nothing() {
    let world = World::held();
    let ended = world.run_ok(&["run"]);
    assert!(ended.stdout.contains("the stored refresh token is valid until"), "{ended:?}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_run_renews_what_has_been_held_for_a_week() {
    let world = World::held();
    let mut tokens = world.tokens();
    let refreshed_at = tokens["perennial"]["refreshed_at"].as_i64().unwrap();
    tokens["perennial"]["refreshed_at"] = json!(refreshed_at - 8 * 24 * 3600);
    write_json(&world.token_file(), &tokens);
    let ended = world.run_ok(&["run"]);
    assert!(ended.stdout.contains("renewed by a refresh grant"), "{ended:?}");
    assert_eq!(world.sandbox.stats().refreshes, 1);
    assert_eq!(world.status()["generation"], 2);
}

#[test]
fn a_token_whose_date_has_passed_is_tried_all_the_same() {
    let world = World::held();
    let mut tokens = world.tokens();
    tokens["refresh_expires_in"] = json!(1_300_000_000);
    write_json(&world.token_file(), &tokens);
    let ended = world.run_ok(&["run"]);
    assert!(ended.stdout.contains("tried all the same") && ended.stdout.contains("renewed"), "{ended:?}");
    assert_eq!(world.sandbox.stats().request_token_uses, 1, "no request token was spent on it");
}

#[test]
fn a_refused_refresh_token_leads_to_a_new_grant_and_is_kept() {
    let world = World::held();
    let old = world.refresh_token();
    world.sandbox.expire(perennial_sandbox::Expire::Refresh);
    let mut tokens = world.tokens();
    tokens["refresh_expires_in"] = json!(1_300_000_000);
    write_json(&world.token_file(), &tokens);
    world.run_ok(&["run"]);
    assert_ne!(world.refresh_token(), old);
    assert_eq!(world.tokens()["perennial"]["previous"][0]["refresh_token"], old.as_str(), "law 5");
}

#[test]
fn a_directory_that_is_not_there_is_made() {
    let world = World::empty();
    let ended = world.run(&["run", "--dir", "acme"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("perennial run --dir acme"), "{ended:?}");
    assert!(world.dir().join("acme").join(CREDENTIALS).exists());
}

#[test]
fn files_are_for_their_owner_only() {
    let world = World::held();
    for name in [CREDENTIALS, TOKEN_FILE, "refreshTokenObjectFile.json.lock"] {
        let mode = fs::metadata(world.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn another_companys_credentials_do_not_get_this_companys_tokens() {
    let world = World::held();
    let mut credentials = read_json(&world.credentials());
    credentials["companyUUID"] = json!("00000000-0000-4000-8000-00000000ffff");
    write_json(&world.credentials(), &credentials);
    world.run(&["run"]).is_trouble(&world, 3, "belong to", "perennial run --dir");
    assert_eq!(world.requests(), 1);
}

#[test]
fn run_tells_in_json_what_status_tells() {
    let world = World::filled();
    let ended = world.run_ok(&["run", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told[0]["state"], "held");
    assert_eq!(told[0], world.status());
}
