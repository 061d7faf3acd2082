//! Two data centres: a person lives in one of them, is found where the other one says (code 16), and may move. No secret goes
//! to an address that nobody has permitted (law 10).

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::Config;
use std::net::{Ipv4Addr, SocketAddr};
use support::{Ended, World};

/// us2, where most live, and eu2, where Bob does.
fn world(config: Config) -> World {
    let second_listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    World::with(Config { second_listen, ..config })
}

fn eu2(world: &World) -> String {
    world.sandbox.base_uri_of("eu2").expect("there are two").to_owned()
}

/// `perennial add bob` by password, at a base of the test's choice.
fn adding_bob(world: &World, base: &str) -> Ended {
    let (ready, bob) = (world.sandbox.ready(), &world.sandbox.ready().users[1]);
    let words = [
        "add",
        "bob",
        "--by-password",
        &bob.login,
        "--i-know",
        "--password-env",
        "PASSWORD",
        "--app-id",
        &ready.app_id,
        "--client-secret-env",
        "CLIENT_SECRET",
        "--base-uri",
        base,
    ];
    Ended::of(&world.keeps(&words).env("PASSWORD", &bob.password).output().expect("it runs"))
}

#[test]
fn law_10_who_lives_elsewhere_is_told_where_and_goes_only_where_it_is_permitted() {
    let world = world(World::plain());
    let (us2, eu2) = (world.sandbox.base_uri().to_owned(), eu2(&world));
    let ended = adding_bob(&world, &us2);
    let says = format!("{eu2} is not one of the provider's addresses");
    ended.is_trouble(&world, 3, &says, &format!("--base-uri {eu2}"));
    world.keep_ok(&["remove", "bob", "--yes"]);
    let ended = adding_bob(&world, &eu2);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(world.status_of("bob")["base_uri"], eu2.as_str());
    world.keep_ok(&["refresh", "bob"]);
}

#[test]
fn law_5_who_moves_keeps_the_grant() {
    let world = world(World::plain());
    let (us2, eu2) = (world.sandbox.base_uri().to_owned(), eu2(&world));
    let bob = world.sandbox.ready().users[1].uuid.clone();
    world.sandbox.move_principal(&bob, "us2").expect("us2 is there");
    assert_eq!(adding_bob(&world, &us2).code, 0);
    world.sandbox.move_principal(&bob, "eu2").expect("eu2 is there");
    let ended = world.keep(&["refresh", "bob"]);
    ended.is_trouble(&world, 3, &eu2, &format!("perennial refresh bob --base-uri {eu2}"));
    world.keep_ok(&["token", "bob"]);
    world.keep_ok(&["refresh", "bob", "--base-uri", &eu2]);
    assert_eq!(world.status_of("bob")["base_uri"], eu2.as_str(), "it is remembered");
    world.keep_ok(&["refresh", "bob"]);
}

#[test]
fn a_geolocation_that_moves_in_an_answer_is_followed_where_it_is_permitted() {
    let world = world(Config { refresh_after_move: true, ..World::plain() });
    let (us2, eu2) = (world.sandbox.base_uri().to_owned(), eu2(&world));
    let bob = world.sandbox.ready().users[1].uuid.clone();
    // He has signed in at both, so both are permitted.
    world.sandbox.move_principal(&bob, "us2").expect("us2 is there");
    assert_eq!(adding_bob(&world, &us2).code, 0);
    world.sandbox.move_principal(&bob, "eu2").expect("eu2 is there");
    let login = &world.sandbox.ready().users[1];
    let words =
        ["reauthorize", "bob", "--by-password", &login.login, "--i-know", "--password-env", "PASSWORD"];
    let mut again = world.keeps(&[&words[..], &["--base-uri", &eu2]].concat());
    assert_eq!(Ended::of(&again.env("PASSWORD", &login.password).output().expect("it runs")).code, 0);
    world.sandbox.move_principal(&bob, "us2").expect("us2 is there");
    world.keep_ok(&["refresh", "bob"]);
    assert_eq!(world.status_of("bob")["base_uri"], us2.as_str(), "as the answer says");
    world.sandbox.move_principal(&bob, "eu2").expect("eu2 is there");
    world.keep_ok(&["refresh", "bob"]);
    assert_eq!(world.status_of("bob")["base_uri"], eu2.as_str(), "as the answer says");
}

/// A tenant of the implementation hosts that was migrated is known there, and nowhere else.
#[test]
fn a_migrated_tenant_is_told_to_look_at_its_app_or_its_place() {
    let world = world(Config { migrated: true, ..World::plain() });
    let us2 = world.sandbox.base_uri().to_owned();
    let ended = adding_bob(&world, &us2);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("code 61"), "{ended:?}");
    let eu2 = eu2(&world);
    world.keep_ok(&["remove", "bob", "--yes"]);
    assert_eq!(adding_bob(&world, &eu2).code, 0);
}
