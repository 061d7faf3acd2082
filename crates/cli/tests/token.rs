//! `perennial token`: from the store when it is valid, else by one refresh; alone on stdout, or as a header.

mod support;

use support::World;

#[test]
fn a_valid_token_comes_from_the_store_alone_with_a_newline() {
    let world = World::held();
    let ended = world.run_ok(&["token"]);
    assert_eq!(ended.stdout, format!("{}\n", world.tokens()["access_token"].as_str().unwrap()));
    assert_eq!(ended.stderr, "");
    assert_eq!(world.requests(), 1, "only the one that obtained it");
}

#[test]
fn the_one_connection_may_be_named_and_others_are_not_known() {
    let world = World::held();
    assert_eq!(world.run_ok(&["token", "default"]).stdout, world.run_ok(&["token"]).stdout);
    world.run(&["token", "acme"]).is_trouble(&world, 2, "no connection named \"acme\"", "default");
}

#[test]
fn an_ended_token_is_replaced_by_one_refresh_at_its_own_geolocation() {
    let world = World::held();
    world.let_access_token_end();
    let mut command = world.command(&["token"]);
    // What a later command is told about bases does not matter: the tokens know where they live.
    command.env("PERENNIAL_BASE_URI", "https://eu2.api.concursolutions.com");
    let ended = support::Ended::of(&command.output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.sandbox.stats().refreshes, 1);
    assert_eq!(world.run_ok(&["token"]).stdout, ended.stdout);
    assert_eq!(world.requests(), 2);
}

#[test]
fn min_ttl_demands_a_longer_life() {
    let world = World::held();
    world.run_ok(&["token", "--min-ttl", "59m"]);
    assert_eq!(world.requests(), 1);
    let ended = world.run_ok(&["token", "--min-ttl", "2h"]);
    assert!(ended.stderr.contains("the server issues none that live longer"), "{ended:?}");
    assert_eq!(world.requests(), 2, "one flight, then the newest token");
    world.run(&["token", "--min-ttl", "soon"]).is_usage("no duration");
}

#[test]
fn the_header_is_whole_and_the_json_has_its_seven_members() {
    let world = World::held();
    let token = world.run_ok(&["token"]).stdout;
    assert_eq!(world.run_ok(&["token", "--header"]).stdout, format!("Authorization: Bearer {token}"));
    let told: serde_json::Value = serde_json::from_str(&world.run_ok(&["token", "--json"]).stdout).unwrap();
    assert_eq!(told["access_token"], token.trim_end());
    assert_eq!(told["base_uri"], world.sandbox.base_uri());
    let left = told["expires_in"].as_i64().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
}

#[test]
fn without_tokens_a_person_is_sent_to_run() {
    let world = World::filled();
    world.run(&["token"]).is_trouble(&world, 3, "there are no tokens yet", "perennial run");
    assert_eq!(world.requests(), 0);
}

#[test]
fn refresh_due_does_nothing_before_its_time_and_refresh_does_it_now() {
    let world = World::held();
    let ended = world.run_ok(&["refresh", "--due"]);
    assert!(ended.stderr.contains("not due before"), "{ended:?}");
    assert_eq!(world.requests(), 1);
    let ended = world.run_ok(&["refresh"]);
    assert!(ended.stderr.contains("renewed"), "{ended:?}");
    assert_eq!((world.requests(), world.status()["generation"].as_u64()), (2, Some(2)));
    let quiet = world.run_ok(&["refresh", "--due", "-q"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "cron sends no mail");
}

#[test]
fn a_sap_sample_store_is_named_in_three_ways() {
    let world = World::held();
    let dir = world.dir();
    let elsewhere = |words: &[&str], variable: Option<&str>| {
        let mut command = world.command(words);
        command.current_dir("/");
        if let Some(store) = variable {
            command.env("PERENNIAL_STORE", store);
        }
        support::Ended::of(&command.output().unwrap())
    };
    let store = format!("sap-sample:{}", dir.display());
    assert_eq!(elsewhere(&["token", "--dir", dir.to_str().unwrap()], None).code, 0);
    assert_eq!(elsewhere(&["token", "--store", &store], None).code, 0);
    assert_eq!(elsewhere(&["token"], Some(&store)).code, 0);
    let dir_goes_before = elsewhere(&["token", "--dir", dir.to_str().unwrap()], Some("sap-sample:/nowhere"));
    assert_eq!(dir_goes_before.code, 0, "{dir_goes_before:?}");
    elsewhere(&["token", "--store", "mysql://x"], None).is_usage("no store that this version knows");
    elsewhere(&["token", "--dir", "/nowhere/at/all"], None).is_trouble(
        &world,
        3,
        "/nowhere/at/all",
        "--dir DIR",
    );
}
