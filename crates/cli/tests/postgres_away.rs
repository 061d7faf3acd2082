//! Law 1: the database goes away between an intent and its commit, and does not come back in time. By itself, since it
//! kills the server that the tests of a file share.

mod support;

use perennial_sandbox::{Config, Rotate};
use std::fs;
use support::store::{NAME, StoreKind, is_there, server};
use support::{Ended, World};

#[test]
fn law_1_what_a_database_that_went_away_did_not_take_waits_in_a_rescue_file() {
    if !is_there() {
        return;
    }
    let world = World::holding(
        StoreKind::Postgres,
        Config { tls: false, rotate: Rotate::Always, ..Config::default() },
    );
    let old = world.access_token();
    world.let_access_token_end();
    // A second for a statement, and for a write to be taken after all.
    let short = format!("{}&statement_timeout=1", StoreKind::Postgres.address(&world.dir()));
    world.inject(serde_json::json!([{"kind": "delay", "milliseconds": support::MEANWHILE}]));
    let before = world.requests();
    let child = world.command(&["token"]).env("PERENNIAL_STORE", &short).spawn().expect("the binary starts");
    support::wait_until("the request is under way", || world.requests() > before);
    server().kill();
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("they are kept in") && ended.stderr.contains("rescue"), "{ended:?}");
    let token = ended.stdout.trim_end();
    assert_ne!(token, old);
    assert_eq!(world.rescue_files().len(), 1);
    let sealed = fs::read(&world.rescue_files()[0]).expect("it can be read");
    assert!(!sealed.windows(token.len()).any(|window| window == token.as_bytes()));

    server().start_again();
    world.let_claims_lapse();
    let requests = world.requests();
    assert_eq!(world.run_ok(&["token"]).stdout.trim_end(), token, "what was rescued is taken in");
    assert_eq!((world.requests(), world.rescue_files().len()), (requests, 0));
    assert_eq!(world.store().read(NAME).expect("it can be read").version().generation, 2);
    assert_eq!(world.access_token(), token);
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}
