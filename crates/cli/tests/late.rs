//! Laws 6 and 8: something else writes the token file while a flight is under way, as SAP's sample does it: in place,
//! in pieces, without our bookkeeping. A late answer never overwrites and is never dropped; a refusal is not believed
//! before the file, the late answers and the credentials have been read again.

mod support;

use perennial_sandbox::{Config, Expire, Rotate};
use serde_json::{Value, json};
use std::fs;
use support::{Ended, MEANWHILE, TOKEN_FILE, World, read_json, wait_until, write_json};

fn strict() -> World {
    World::held_with(Config { tls: false, rotate: Rotate::Always, ..Config::default() })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[test]
fn law_8_a_late_answer_is_kept_beside_what_the_sample_wrote() {
    let world = strict();
    let sample = world.by_the_sample();
    let ours = world.refresh_token();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    world.write_as_the_sample(&sample);
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stdout.trim_end(), text(&sample, "access_token"), "what stands there is handed out");

    let tokens = world.tokens();
    for member in ["access_token", "refresh_token", "refresh_expires_in", "id_token", "companyUUID"] {
        assert_eq!(tokens[member], sample[member], "{member} stays as the sample wrote it");
    }
    let candidate = &tokens["perennial"]["candidates"][0];
    assert_eq!(candidate["reason"], "late");
    let late = text(&candidate["answer"], "refresh_token");
    assert!(!late.is_empty() && late != ours && late != text(&sample, "refresh_token"), "{candidate}");

    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
    assert_eq!(text(&world.tokens()["perennial"]["candidates"][0]["answer"], "refresh_token"), late);
}

#[test]
fn law_8_a_valid_token_is_handed_out_also_where_the_samples_does_not_tell_its_end() {
    let world = strict();
    let mut sample = world.by_the_sample();
    sample["access_token"] = "opaque".into();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    world.write_as_the_sample(&sample);
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    let tokens = world.tokens();
    assert_eq!(tokens["refresh_token"], sample["refresh_token"]);
    let late = &tokens["perennial"]["candidates"][0]["answer"];
    assert_eq!(ended.stdout.trim_end(), text(late, "access_token"), "it is durable, and it is valid");
}

#[test]
fn law_13_a_late_answer_is_not_handed_out_for_another_company() {
    let world = strict();
    let mut sample = world.by_the_sample();
    sample["access_token"] = "opaque".into();
    sample["companyUUID"] = "00000000-0000-4000-8000-00000000ffff".into();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    world.write_as_the_sample(&sample);
    let ended = Ended::landed(child);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert_eq!(world.tokens()["perennial"]["candidates"][0]["reason"], "late");
}

#[test]
fn law_5_a_file_that_was_broken_meanwhile_is_kept_and_makes_room() {
    let world = strict();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    fs::write(world.token_file(), "{\"access_token\": \"cut").expect("the file can be written");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stdout.trim_end(), text(&world.tokens(), "access_token"));
    let kept = world.dir().join(format!("{TOKEN_FILE}.unreadable-1"));
    assert_eq!(fs::read_to_string(kept).expect("it is kept"), "{\"access_token\": \"cut");
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn law_5_a_file_that_was_removed_meanwhile_is_written_anew() {
    let world = strict();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    fs::remove_file(world.token_file()).expect("it is there");
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn law_6_on_invalid_grant_newer_tokens_in_the_file_are_adopted() {
    let world = strict();
    world.sandbox.expire(Expire::Refresh);
    let sample = world.by_the_sample();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    world.write_as_the_sample(&sample);
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.stdout.trim_end(), text(&sample, "access_token"));
    assert_eq!(world.status()["state"], "held");
    assert_eq!(world.sandbox.stats().refreshes, 0, "nothing had to be renewed for it");
    world.run_ok(&["refresh"]);
}

#[test]
fn law_6_newer_tokens_whose_end_nobody_knows_are_renewed_at_once() {
    let world = strict();
    world.sandbox.expire(Expire::Refresh);
    let mut sample = world.by_the_sample();
    sample["access_token"] = "opaque".into();
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    world.write_as_the_sample(&sample);
    let ended = Ended::landed(child);
    assert_eq!((ended.code, world.sandbox.stats().refreshes), (0, 1), "{ended:?}");
    assert_eq!(ended.stdout.trim_end(), text(&world.tokens(), "access_token"));
}

#[test]
fn law_6_on_invalid_grant_a_late_answer_is_adopted() {
    for living in [true, false] {
        let world = strict();
        let sample = world.by_the_sample();
        world.let_access_token_end();
        let child = world.under_way(&["token"]);
        world.write_as_the_sample(&sample);
        assert_eq!(Ended::landed(child).code, 0);
        let mut tokens = world.tokens();
        if !living {
            for time in ["sent_at", "received_at"] {
                tokens["perennial"]["candidates"][0][time] = 1_000_000_000.into();
            }
            write_json(&world.token_file(), &tokens);
        }
        let candidate = tokens["perennial"]["candidates"][0]["answer"].clone();

        world.inject(json!([{"kind": "error", "code": 108}]));
        let before = world.requests();
        let ended = world.run_ok(&["refresh"]);
        assert_eq!(world.requests() - before, if living { 1 } else { 2 }, "{ended:?}");
        let tokens = world.tokens();
        let own = &tokens["perennial"];
        assert!(own["candidates"].is_null(), "{own}");
        if living {
            assert_eq!(tokens["refresh_token"], candidate["refresh_token"]);
            let refused = own["previous"].as_array().expect("they are kept").last().expect("one").clone();
            assert_eq!(refused["refresh_token"], sample["refresh_token"], "law 5: the refused one is kept");
        }
        world.run_ok(&["refresh"]);
        let stats = world.sandbox.stats();
        assert_eq!((stats.reuse_detected, stats.refused), (0, 0), "{stats:?}");
    }
}

#[test]
fn law_5_a_grant_that_is_gone_is_kept_and_can_be_tried_again() {
    let world = strict();
    world.forget_request_token();
    let token = world.refresh_token();
    world.let_access_token_end();
    world.inject(json!([{"kind": "error", "code": 108}]));
    world.run(&["token"]).is_trouble(&world, 3, "code 108", "companyRequestToken");
    assert_eq!(world.status()["state"], "needs_reauthorization");
    assert_eq!(world.refresh_token(), token);
    world.run_ok(&["refresh"]);
    assert_eq!(world.status()["state"], "held");
}

fn set_secret(world: &World, secret: &str) {
    let mut credentials = read_json(&world.credentials());
    credentials["clientSecret"] = secret.into();
    write_json(&world.credentials(), &credentials);
}

#[test]
fn law_6_on_invalid_client_a_newer_secret_gets_one_more_try() {
    let world = strict();
    let right = world.sandbox.ready().client_secret.clone();
    set_secret(&world, "11111111-1111-4111-8111-111111111111");
    world.let_access_token_end();
    let child = world.under_way(&["token"]);
    set_secret(&world, &right);
    let ended = Ended::landed(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!((world.sandbox.stats().refreshes, world.sandbox.stats().refused), (1, 1));
    assert_eq!(world.status()["state"], "held");
}

#[test]
fn law_6_a_secret_that_is_wrong_again_is_not_tried_twice() {
    let world = strict();
    set_secret(&world, "11111111-1111-4111-8111-111111111111");
    world.let_access_token_end();
    let before = world.requests();
    let child = world.under_way(&["token"]);
    world.inject(json!([{"kind": "delay", "milliseconds": MEANWHILE}]));
    set_secret(&world, "22222222-2222-4222-8222-222222222222");
    wait_until("it is tried once more", || world.requests() == before + 2);
    set_secret(&world, "33333333-3333-4333-8333-333333333333");
    Ended::landed(child).is_trouble(&world, 3, "code 64", "clientSecret");
    assert_eq!(world.requests(), before + 2);
    assert_eq!(world.status()["state"], "suspended");
    // One that has not changed is not worth a second try at all.
    world.run(&["refresh"]).is_trouble(&world, 3, "code 64", "clientSecret");
    assert_eq!(world.requests(), before + 3);
    set_secret(&world, &world.sandbox.ready().client_secret);
    world.run_ok(&["refresh"]);
    assert_eq!(world.sandbox.stats().reuse_detected, 0);
}

#[test]
fn half_a_file_that_is_being_written_is_read_again() {
    let world = strict();
    let sample = world.by_the_sample();
    let whole = serde_json::to_vec(&sample).unwrap();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(world.token_file(), &whole[..cut]).unwrap();
        let reader = world.spawn(&["whoami"]);
        let stat = format!("/proc/{}/stat", reader.id());
        wait_until("the reader has seen half a file and pauses", || {
            fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().trim_start().starts_with('S')
        });
        fs::write(world.token_file(), &whole).unwrap();
        let ended = Ended::of(&reader.wait_with_output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert_eq!(world.tokens(), sample);
}
