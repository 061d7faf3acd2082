//! Bringing a grant back: what is tried in which order, and that nothing which is kept is given up untried.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use perennial_core::connection::{Answered, Aside, Blocked, Cause, Decision, Plan, Remedy, Tried, Version};
use perennial_core::journal::{self, Event};
use perennial_core::profile::{Purpose, ReplayRule, concur::CONCUR};
use perennial_core::schedule::Jitter;
use perennial_core::time::HostClock;
use perennial_core::token_endpoint::{Failure, NoAnswer, Refusal};
use perennial_core::verdict::judge;
use perennial_core::{Connection, Fingerprint, Origin, State, TokenResponse, UnixTime};
use serde_json::json;
use std::time::Duration;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn base() -> Origin {
    Origin::parse("https://us2.api.concursolutions.com").unwrap()
}

fn print(token: &str) -> Fingerprint {
    Fingerprint::of(token)
}

fn answered() -> Answered {
    let host = HostClock { kernel: "kernel".into(), boot_epoch: NOW.0 - 1_000 };
    Answered { base: base(), sent_at: NOW, received_at: NOW, date: None, host }
}

fn presenting(connection: &Connection, purpose: Purpose, token: &str, grant: &str) -> Connection {
    connection.intend(Plan {
        purpose,
        base: base(),
        presented: print(token),
        new_grant_id: grant.into(),
        patience: Duration::from_secs(60),
        now: NOW,
        kernel: "kernel".into(),
        process: 7,
        is_request_token: purpose == Purpose::Obtain,
        forced: false,
        settled: false,
        correlation_id: format!("correlation-{token}"),
    })
}

fn tokens(refresh: &str) -> TokenResponse {
    let members =
        json!({"access_token": format!("access of {refresh}"), "refresh_token": refresh, "expires_in": 3600});
    TokenResponse::from_members(members.as_object().unwrap()).unwrap()
}

fn obtained(connection: &Connection, refresh: &str, grant: &str) -> Connection {
    presenting(connection, Purpose::Obtain, "request", grant).accept(&tokens(refresh), &answered()).unwrap()
}

fn refreshed(connection: &Connection, from: &str, to: &str) -> Connection {
    presenting(connection, Purpose::Refresh, from, "").accept(&tokens(to), &answered()).unwrap()
}

fn failed(connection: &Connection, token: &str, failure: &Failure) -> Connection {
    let judgement = judge(failure, Purpose::Refresh, &CONCUR, &connection.policy);
    presenting(connection, Purpose::Refresh, token, "").fail(failure, &judgement, NOW, Jitter::LEAST)
}

fn refused(connection: &Connection, token: &str) -> Connection {
    failed(
        connection,
        token,
        &Failure::Refused(Refusal { status: 400, code: Some(108), ..Refusal::default() }),
    )
}

/// A grant that a new authorization replaced, which was refused; a late answer stands beside it.
fn lost() -> Connection {
    let old = refreshed(&obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one"), "r1", "r2");
    let new =
        obtained(&old, "r3", "two").set_aside(&Version::default(), &tokens("late"), &answered(), Aside::Late);
    refused(&new, "r3")
}

fn refresh_token(connection: &Connection) -> &str {
    connection.held.as_ref().unwrap().refresh.as_ref().unwrap().expose()
}

fn all_kept(connection: &Connection) -> Vec<&str> {
    let previous = connection.previous.iter().map(|previous| previous.refresh.expose());
    previous.chain([refresh_token(connection)]).collect()
}

#[test]
fn what_is_well_needs_no_remedy() {
    let held = obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one");
    assert_eq!(held.remedies(&Tried::default(), true), []);
}

#[test]
fn law_6_after_a_refusal_late_answers_go_first_then_what_is_in_force_then_what_was_replaced_newest_first() {
    let order = lost().remedies(&Tried::default(), true);
    let expected = [
        Remedy::Adopt(print("late")),
        Remedy::Current(print("r3")),
        Remedy::Previous(print("r2")),
        Remedy::Previous(print("r1")),
        Remedy::Obtain,
    ];
    assert_eq!(order, expected);
    let mut tried = Tried::default();
    for (number, remedy) in expected.iter().enumerate() {
        assert_eq!(lost().remedies(&tried, true), expected[number..]);
        tried.add(remedy);
    }
    assert_eq!(lost().remedies(&tried, true), []);
    assert!(!lost().remedies(&Tried::default(), false).contains(&Remedy::Obtain));
}

#[test]
fn law_8_while_the_tokens_in_force_may_be_well_no_late_answer_goes_before_them() {
    let held = obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one");
    let aside = held.set_aside(&Version::default(), &tokens("late"), &answered(), Aside::Late);
    let maintenance = Failure::Refused(Refusal { status: 400, code: Some(134), ..Refusal::default() });
    let backing_off = failed(&aside, "r1", &maintenance);
    assert_eq!(backing_off.state(NOW), State::BackingOff);
    assert_eq!(
        backing_off.remedies(&Tried::default(), false),
        [Remedy::Current(print("r1")), Remedy::Adopt(print("late"))]
    );
    // In doubt: the late answer may be the one that is missing.
    let uncertain = failed(&aside, "r1", &Failure::NoAnswer(NoAnswer::TimedOut));
    assert_eq!(uncertain.remedies(&Tried::default(), false)[0], Remedy::Adopt(print("late")));
}

#[test]
fn law_13_another_principals_answer_is_no_remedy() {
    let held = obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one");
    let aside = refused(
        &held.set_aside(&Version::default(), &tokens("theirs"), &answered(), Aside::OtherPrincipal),
        "r1",
    );
    assert_eq!(aside.remedies(&Tried::default(), false), [Remedy::Current(print("r1"))]);
}

#[test]
fn law_7_an_older_token_is_presented_only_after_a_refusal_or_where_a_repetition_does_no_harm() {
    let tried = |connection: &Connection, token: &str| connection.decide(&Cause::Tried(print(token)), NOW);
    let mut sound = refreshed(&obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one"), "r1", "r2");
    assert_eq!(tried(&sound, "r1"), Decision::Fly(Purpose::Refresh), "Concur takes a repetition");
    sound.policy.replay = ReplayRule::Never;
    assert_eq!(tried(&sound, "r1"), Decision::Stop(Blocked::OutOfTurn));
    assert_eq!(tried(&sound, "r2"), Decision::Fly(Purpose::Refresh));
    assert_eq!(tried(&refused(&sound, "r2"), "r1"), Decision::Fly(Purpose::Refresh));
    assert_eq!(tried(&refused(&sound, "r2"), "unknown"), Decision::Stop(Blocked::OutOfTurn));
    // An open intent is waited out all the same.
    let uncertain = failed(&sound, "r2", &Failure::NoAnswer(NoAnswer::TimedOut));
    assert!(matches!(tried(&uncertain, "r2"), Decision::Stop(Blocked::Until(_))));
}

/// A new grant came without a refresh token: the old one was neither spent nor refused.
#[test]
fn law_5_a_refresh_token_that_gave_way_to_none_can_be_brought_back() {
    let tried = |connection: &Connection, token: &str| connection.decide(&Cause::Tried(print(token)), NOW);
    let mut old = refreshed(&obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one"), "r1", "r2");
    old.policy.replay = ReplayRule::Never;
    let members = json!({"access_token": "access", "expires_in": 3600});
    let without = TokenResponse::from_members(members.as_object().unwrap()).unwrap();
    let new = presenting(&old, Purpose::Obtain, "code", "two").accept(&without, &answered()).unwrap();
    assert_eq!((new.state(NOW), new.state(NOW.plus(3600))), (State::Held, State::NeedsReauthorization));
    assert_eq!(new.remedies(&Tried::default(), false)[0], Remedy::Previous(print("r2")));
    assert_eq!(
        tried(&new, "r1"),
        Decision::Stop(Blocked::OutOfTurn),
        "it was spent: a repetition may revoke r2"
    );
    assert_eq!(tried(&new, "r2"), Decision::Fly(Purpose::Refresh));
    assert_eq!(new.decide(&Cause::Asked, NOW), Decision::Stop(Blocked::NoRefreshToken));
    assert_eq!(refresh_token(&refreshed(&new, "r2", "r3")), "r3");
}

#[test]
fn law_5_a_replaced_token_that_works_is_a_new_generation_and_what_was_refused_stays() {
    let before = lost();
    let intended = presenting(&before, Purpose::Refresh, "r2", "");
    assert!(intended.presents_a_replaced_token());
    for (to, kept) in [("r2", ["r1", "r3", "r2"].as_slice()), ("r4", &["r1", "r3", "r2", "r4"])] {
        let after = intended.accept(&tokens(to), &answered()).unwrap();
        assert_eq!(after.state(NOW), State::Held);
        assert_eq!(after.version().generation, before.version().generation + 1);
        assert_eq!(after.version().grant_id.as_deref(), Some("one"), "the grant that the token belongs to");
        assert_eq!(refresh_token(&after), to);
        assert_eq!(all_kept(&after), kept);
        assert_eq!(after.candidates.len(), 1);
        let events: Vec<_> =
            journal::between(&intended, &after).into_iter().map(|entry| entry.event).collect();
        let refreshed = Event::Refreshed { from: Some(print("r2")), to: Some(print(to)), generation: 4 };
        assert_eq!(events, [refreshed, Event::Recovered]);
    }
}

#[test]
fn an_answer_without_a_refresh_token_keeps_the_one_that_was_presented() {
    let members = json!({"access_token": "access", "expires_in": 3600});
    let silent = TokenResponse::from_members(members.as_object().unwrap()).unwrap();
    let after = presenting(&lost(), Purpose::Refresh, "r2", "").accept(&silent, &answered()).unwrap();
    assert_eq!(refresh_token(&after), "r2");
}

#[test]
fn law_5_a_replaced_token_that_fails_leaves_everything_as_it_was() {
    let before = lost();
    for failure in [
        Failure::Refused(Refusal { status: 400, code: Some(108), ..Refusal::default() }),
        Failure::Refused(Refusal { status: 400, code: Some(61), ..Refusal::default() }),
        Failure::NoAnswer(NoAnswer::TimedOut),
    ] {
        let after = failed(&before, "r2", &failure);
        assert_eq!(after.condition, before.condition, "{failure:?}");
        assert_eq!(all_kept(&after), all_kept(&before));
        assert!(after.version().same_tokens(&before.version()));
    }
}

#[test]
fn law_7_a_try_with_a_replaced_token_does_not_make_an_unknown_outcome_known() {
    let held = refreshed(&obtained(&Connection::new("id", "acme", &CONCUR), "r1", "one"), "r1", "r2");
    let mut uncertain = failed(&held, "r2", &Failure::NoAnswer(NoAnswer::TimedOut));
    uncertain.policy.replay = ReplayRule::Never;
    let open = uncertain.intent.clone().unwrap();
    let tried = refused(&uncertain, "r1");
    assert_eq!(tried.intent, Some(open), "the presentation of r2 is still without an answer");
    assert_eq!(tried.condition, uncertain.condition);
    assert_eq!(
        presenting(&uncertain, Purpose::Refresh, "r1", "").accept(&tokens("r3"), &answered()).unwrap().intent,
        None
    );
}
