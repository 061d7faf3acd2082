//! The life of a connection, told by its laws. Everything here is pure: time and jitter are arguments.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use perennial_core::connection::{Answered, Aside, Blocked, Cause, Condition, Decision, Plan};
use perennial_core::grant::Principal;
use perennial_core::profile::{Purpose, concur::CONCUR};
use perennial_core::schedule::{DEFAULT_MIN_TTL, Jitter};
use perennial_core::time::HostClock;
use perennial_core::token_endpoint::{Failure, NoAnswer, Refusal, Unreachable};
use perennial_core::verdict::judge;
use perennial_core::{Connection, Expiry, Fingerprint, Origin, Policy, State, TokenResponse, UnixTime};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: UnixTime = UnixTime(1_800_000_000);
const WANTED: Cause = Cause::Wanted { min_ttl: DEFAULT_MIN_TTL };
const DAY: i64 = 24 * 3600;

fn base() -> Origin {
    Origin::parse("https://us2.api.concursolutions.com").unwrap()
}

fn plan(purpose: Purpose, now: UnixTime) -> Plan {
    Plan {
        purpose,
        base: base(),
        presented: Fingerprint::of(purpose.as_str()),
        new_grant_id: format!("grant-{}", now.0),
        patience: Duration::from_secs(60),
        now,
        kernel: "kernel".into(),
        process: 7,
        is_request_token: purpose == Purpose::Obtain,
        forced: false,
        settled: false,
        correlation_id: "correlation".into(),
    }
}

fn answered(now: UnixTime) -> Answered {
    Answered { base: base(), sent_at: now, received_at: now.plus(1), date: None, host: host() }
}

fn host() -> HostClock {
    HostClock { kernel: "kernel".into(), boot_epoch: NOW.0 - 1_000 }
}

fn answer(members: &Value) -> TokenResponse {
    TokenResponse::from_members(members.as_object().unwrap()).unwrap()
}

fn tokens(access: &str, refresh: &str) -> TokenResponse {
    answer(&json!({"access_token": access, "refresh_token": refresh, "expires_in": 3600,
        "refresh_expires_in": NOW.0 + 183 * DAY}))
}

fn new() -> Connection {
    Connection::new("id", "default", &CONCUR)
}

fn held() -> Connection {
    new().intend(plan(Purpose::Obtain, NOW)).accept(&tokens("a1", "r1"), &answered(NOW)).unwrap()
}

fn refreshed(connection: &Connection, response: &TokenResponse, now: UnixTime) -> Connection {
    connection.intend(plan(Purpose::Refresh, now)).accept(response, &answered(now)).unwrap()
}

fn failed(connection: &Connection, purpose: Purpose, failure: &Failure, now: UnixTime) -> Connection {
    let judgement = judge(failure, purpose, &CONCUR, &Policy::of(&CONCUR));
    connection.intend(plan(purpose, now)).fail(failure, &judgement, now, Jitter::LEAST)
}

fn refusal(code: u32) -> Failure {
    Failure::Refused(Refusal { status: 400, code: Some(code), ..Refusal::default() })
}

fn refresh_token(connection: &Connection) -> &str {
    connection.held.as_ref().unwrap().refresh.as_ref().unwrap().expose()
}

#[test]
fn the_first_answer_makes_a_connection_held() {
    assert_eq!(new().state(NOW), State::AwaitingGrant);
    assert_eq!(new().intend(plan(Purpose::Obtain, NOW)).state(NOW), State::Refreshing);
    let connection = held();
    assert_eq!(connection.state(NOW), State::Held);
    assert_eq!(connection.version().generation, 1);
    assert_eq!(connection.decide(&WANTED, NOW), Decision::HandOut);
}

#[test]
fn law_4_each_use_of_a_request_token_is_counted_before_it_is_sent() {
    let once = new().intend(plan(Purpose::Obtain, NOW));
    let twice = once.intend(plan(Purpose::Obtain, NOW.plus(5)));
    assert_eq!(twice.request_token.as_ref().unwrap().uses, 2);
    assert_eq!(twice.request_token.as_ref().unwrap().first_used_at, NOW);
    let other = Plan { presented: Fingerprint::of("another"), ..plan(Purpose::Obtain, NOW) };
    assert_eq!(twice.intend(other).request_token.unwrap().uses, 1);
}

#[test]
fn a_refusal_gives_the_use_of_a_request_token_back_and_silence_does_not() {
    let uses = |failure: &Failure| failed(&new(), Purpose::Obtain, failure, NOW).request_token.unwrap().uses;
    assert_eq!(uses(&refusal(61)), 0);
    assert_eq!(uses(&Failure::NoAnswer(NoAnswer::TimedOut)), 1);
}

#[test]
fn counts_that_a_file_put_at_their_end_stay_there() {
    let mut connection = new().intend(plan(Purpose::Obtain, NOW));
    connection.request_token.as_mut().unwrap().uses = u32::MAX;
    assert_eq!(connection.intend(plan(Purpose::Obtain, NOW)).request_token.unwrap().uses, u32::MAX);
    let mut connection = held();
    connection.held.as_mut().unwrap().generation = u64::MAX;
    assert_eq!(refreshed(&connection, &tokens("a2", "r2"), NOW).version().generation, u64::MAX);
}

#[test]
fn law_12_a_token_in_use_is_replaced_ahead_of_its_end_and_not_before_its_time() {
    let connection = held();
    let at = connection.refresh_at().unwrap();
    let life = 3600;
    assert!((NOW.plus(life * 3 / 4)..=NOW.plus(life * 9 / 10)).contains(&at), "{at:?}");
    for early in [NOW, at.plus(-1)] {
        assert_eq!(connection.decide(&Cause::Ahead, early), Decision::NotDue);
    }
    assert_eq!(connection.decide(&Cause::Ahead, at), Decision::Fly(Purpose::Refresh));
    assert_eq!(connection.decide(&WANTED, at), Decision::HandOut, "callers do not wait for it");
    // Law 3: whoever looks again after a sibling has refreshed sends nothing.
    let siblings = refreshed(&connection, &tokens("a2", "r2"), at);
    assert_eq!(siblings.decide(&Cause::Ahead, at.plus(1)), Decision::NotDue);
    assert!(siblings.refresh_at().unwrap() > at.plus(life * 3 / 4 - 1));
}

#[test]
fn every_host_comes_to_the_same_refresh_at_and_each_token_to_its_own() {
    let other = Connection { id: "another".into(), name: "other".into(), ..held() };
    assert_eq!(other.refresh_at(), held().refresh_at(), "the token says it, and nothing else");
    let tokens = (0..20).map(|number| tokens(&format!("a{number}"), "r1"));
    let times: std::collections::BTreeSet<_> =
        tokens.map(|tokens| refreshed(&held(), &tokens, NOW).refresh_at().unwrap()).collect();
    assert!(times.len() > 10, "a fleet does not march in step: {times:?}");
}

#[test]
fn law_11_where_nobody_knows_how_long_a_token_lives_nothing_is_sent_ahead() {
    let mut connection = held();
    connection.held.as_mut().unwrap().refreshed_at = None;
    assert_eq!(connection.refresh_at(), None);
    assert_eq!(connection.decide(&Cause::Ahead, NOW.plus(DAY)), Decision::NotDue);
    let mut connection = held();
    connection.held.as_mut().unwrap().access.as_mut().unwrap().expiry = Expiry::Stated(NOW.plus(-5));
    assert_eq!(connection.decide(&Cause::Ahead, NOW.plus(DAY)), Decision::NotDue);
    let mut connection = held();
    connection.held.as_mut().unwrap().refresh = None;
    assert_eq!(connection.refresh_at(), None, "there is nothing to refresh with");
}

#[test]
fn law_12_what_keeps_others_from_flying_keeps_a_flight_ahead_too() {
    let at = held().refresh_at().unwrap();
    let suspended = failed(&held(), Purpose::Refresh, &refusal(61), at);
    assert_eq!(
        suspended.decide(&Cause::Ahead, at.plus(1)),
        Decision::Stop(Blocked::PersonNeeded(State::Suspended))
    );
    let no_connection = held().unreached(&Unreachable::TimedOut, at, Jitter::LEAST);
    assert!(matches!(no_connection.decide(&Cause::Ahead, at), Decision::Stop(Blocked::Until(_))));
}

#[test]
fn law_5_no_failure_deletes_a_refresh_token() {
    let codes = perennial_core::profile::concur::CODES.iter().filter_map(|row| row.code).map(refusal);
    let others = [Failure::NoAnswer(NoAnswer::TimedOut), refusal(9_999)];
    for failure in codes.chain(others) {
        for purpose in [Purpose::Refresh, Purpose::Obtain] {
            let connection = failed(&held(), purpose, &failure, NOW);
            assert_eq!(refresh_token(&connection), "r1", "{failure:?}");
            assert!(connection.last_fault.is_some());
        }
    }
}

#[test]
fn law_5_the_previous_generation_stays_until_the_next_has_succeeded() {
    let second = refreshed(&held(), &tokens("a2", "r2"), NOW);
    assert_eq!(second.previous.len(), 1);
    assert_eq!(second.previous[0].refresh.expose(), "r1");
    let third = refreshed(&second, &tokens("a3", "r2"), NOW);
    assert_eq!(third.previous, [], "r2 has proved itself");
}

#[test]
fn law_5_a_replaced_grant_stays_until_the_new_one_has_refreshed() {
    let later = NOW.plus(10);
    let again =
        held().intend(plan(Purpose::Obtain, later)).accept(&tokens("b1", "s1"), &answered(later)).unwrap();
    assert_ne!(again.version().grant_id, held().version().grant_id);
    assert_eq!(again.version().generation, 2);
    assert_eq!(again.previous[0].refresh.expose(), "r1");
    assert_eq!(refreshed(&again, &tokens("b2", "s1"), later).previous, []);
}

#[test]
fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    let connection = refreshed(&held(), &answer(&json!({"access_token": "a2"})), NOW);
    assert_eq!(refresh_token(&connection), "r1");
    let held = connection.held.unwrap();
    assert!(matches!(held.refresh_expiry, Some(Expiry::Assumed(at)) if at > NOW.plus(180 * DAY)));
    assert!(matches!(held.access.unwrap().expiry, Expiry::Assumed(_)));
}

#[test]
fn law_6_the_newest_late_answer_is_adopted_and_the_refused_token_stays() {
    let late = held().set_aside(&held().version(), &tokens("a9", "r9"), &answered(NOW), Aside::Late);
    assert_eq!(late.decide(&WANTED, NOW), Decision::HandOut, "a candidate changes nothing by itself");
    let adopted = late.adopt().unwrap();
    assert_eq!(refresh_token(&adopted), "r9");
    assert_eq!(adopted.candidates, []);
    assert!(adopted.previous.iter().any(|previous| previous.refresh.expose() == "r1"));
    assert!(held().adopt().is_none());
}

fn kept_by(rule: &str) -> Connection {
    let mut connection = held();
    connection.policy.set("replay", rule).unwrap();
    connection
}

fn unanswered(connection: &Connection, now: UnixTime) -> Connection {
    failed(connection, Purpose::Refresh, &Failure::NoAnswer(NoAnswer::TimedOut), now)
}

#[test]
fn law_7_where_a_repetition_may_revoke_the_grant_it_is_the_last_resort() {
    let connection = unanswered(&kept_by("never"), NOW.plus(3000));
    let may_fly = |cause: &Cause, now| matches!(connection.decide(cause, now), Decision::Fly(_));
    let dead = NOW.plus(3600);
    assert!(!may_fly(&Cause::Asked, dead.plus(-1)), "the access token lives: not even for a person");
    assert_eq!(connection.decide(&WANTED, NOW.plus(3100)), Decision::HandOut, "law 9");
    assert!(may_fly(&Cause::Asked, dead));
    assert!(may_fly(&WANTED, dead), "an answer that nobody holds is lost already");
    let later = unanswered(&kept_by("never"), dead.plus(10));
    assert!(
        !matches!(later.decide(&Cause::Asked, dead.plus(69)), Decision::Fly(_)),
        "not before its deadline"
    );
    assert!(matches!(later.decide(&Cause::Asked, dead.plus(70)), Decision::Fly(_)));
}

#[test]
fn law_7_within_counts_from_the_first_presentation() {
    let once = unanswered(&kept_by("within:30s"), NOW);
    let may_fly =
        |connection: &Connection, now| matches!(connection.decide(&Cause::Asked, now), Decision::Fly(_));
    assert!(may_fly(&once, NOW.plus(24)));
    assert!(!may_fly(&once, NOW.plus(25)), "it would arrive too late");
    let twice = unanswered(&once, NOW.plus(20));
    assert_eq!(twice.intent.as_ref().unwrap().first_presented_at, NOW);
    assert!(!may_fly(&twice, NOW.plus(26)));
    assert!(may_fly(&twice, NOW.plus(3600)), "the last resort");
}

#[test]
fn law_7_the_late_answer_of_an_open_intent_is_adopted_and_not_asked_for_again() {
    let open = unanswered(&kept_by("never"), NOW);
    assert_eq!(open.adopt_late_answer(), None);
    let late = open.set_aside(&open.asked(), &tokens("a2", "r2"), &answered(NOW), Aside::Late);
    let adopted = late.adopt_late_answer().unwrap();
    assert_eq!((refresh_token(&adopted), adopted.intent.is_none()), ("r2", true));
    assert_eq!(adopted.previous[0].refresh.expose(), "r1", "it is in doubt, and kept");
    let moved_on = refreshed(&late, &tokens("a3", "r3"), NOW);
    let stale = unanswered(&moved_on, NOW);
    assert_eq!(stale.adopt_late_answer(), None, "it answers another presentation");
    let proved = refreshed(&refreshed(&moved_on, &tokens("a4", "r4"), NOW), &tokens("a5", "r5"), NOW);
    assert_eq!(proved.candidates, [], "what overtook it has proved itself");
}

#[test]
fn law_7_an_answer_of_another_grant_is_none_to_an_open_intent() {
    // A person authorized anew while a refresh was under way; its answer came late, and then the next one got lost.
    let under_way = held().intend(plan(Purpose::Refresh, NOW));
    let plan = Plan { new_grant_id: "another".into(), ..plan(Purpose::Obtain, NOW) };
    let anew = held().intend(plan).accept(&tokens("b1", "s1"), &answered(NOW)).unwrap();
    let late = anew.set_aside(&under_way.asked(), &tokens("a2", "r2"), &answered(NOW), Aside::Late);
    let lost = unanswered(&late, NOW);
    assert_eq!(lost.adopt_late_answer(), None, "it says nothing about what was presented");
    let twice = refreshed(&refreshed(&late, &tokens("b2", "s2"), NOW), &tokens("b3", "s3"), NOW);
    assert_eq!(twice.candidates.len(), 1, "nor has the new grant proved it to be of no use (law 8)");
}

#[test]
fn law_8_the_open_intent_is_part_of_the_version() {
    let (seen, intended) = (held(), held().intend(plan(Purpose::Refresh, NOW)));
    assert_ne!(seen.version(), intended.version(), "who has lost the claim finds another version");
    assert!(seen.version().same_tokens(&intended.version()));
}

#[test]
fn law_8_what_was_kept_aside_meanwhile_goes_along_with_an_outcome() {
    let from = held();
    let with_late = from.set_aside(&from.asked(), &tokens("late", "late"), &answered(NOW), Aside::Late);
    assert_ne!(from.version(), with_late.version(), "a write that does not know of it is refused");
    assert!(from.version().same_intent(&with_late.version()));
    let outcome = failed(&from, Purpose::Refresh, &refusal(134), NOW);
    let merged = outcome.with_latecomers(&from.version(), &with_late);
    assert_eq!(merged.candidates, with_late.candidates);
}

#[test]
fn law_6_a_late_answer_to_the_tokens_that_are_held_is_adopted_whatever_was_said_since() {
    let refused = failed(&held(), Purpose::Refresh, &refusal(108), NOW);
    assert!(matches!(refused.decide(&WANTED, NOW.plus(4000)), Decision::Stop(Blocked::PersonNeeded(_))));
    let late = refused.set_aside(&held().asked(), &tokens("a2", "r2"), &answered(NOW), Aside::Late);
    assert_eq!(late.decide(&WANTED, NOW.plus(4000)), Decision::Fly(Purpose::Refresh), "no person is needed");
    assert_eq!(refresh_token(&late.adopt_late_answer().unwrap()), "r2");
    let first = new().intend(plan(Purpose::Obtain, NOW));
    let from = first.asked();
    let lost = Connection { intent: None, ..first }.set_aside(
        &from,
        &tokens("a1", "r1"),
        &answered(NOW),
        Aside::Late,
    );
    let adopted = lost.adopt_late_answer().unwrap();
    assert_eq!(adopted.version().grant_id, from.grant_id, "the first grant may come late, too");
}

#[test]
fn law_11_the_life_of_a_late_answer_counts_from_when_it_was_asked_for() {
    let slept = Answered { received_at: NOW.plus(10_000), ..answered(NOW) };
    let late = held().set_aside(&held().asked(), &tokens("a2", "r2"), &slept, Aside::Late);
    assert!(late.adopt_late_answer().unwrap().living_access(NOW.plus(10_000)).is_none());
}

#[test]
fn law_7_what_was_unknown_stays_unknown_when_something_else_was_refused() {
    let open = unanswered(&kept_by("never"), NOW);
    let reobtaining = failed(&open, Purpose::Obtain, &refusal(5), NOW.plus(10));
    assert_eq!(reobtaining.intent, open.intent, "a request token that is no good says nothing of it");
    let replayed =
        failed(&unanswered(&kept_by("within:30s"), NOW), Purpose::Refresh, &refusal(134), NOW.plus(10));
    assert_eq!(replayed.intent.as_ref().unwrap().first_presented_at, NOW);
    let always = failed(&unanswered(&held(), NOW), Purpose::Refresh, &refusal(134), NOW.plus(10));
    assert_eq!(always.intent, None, "where it may be presented at any time nobody needs to know");
}

#[test]
fn law_11_each_host_keeps_its_own_skew() {
    let here = host();
    let there = HostClock { kernel: "there".into(), boot_epoch: 5 };
    let heard = |connection: &Connection, host: &HostClock, ahead: i64| {
        let answered = Answered { date: Some(NOW.plus(ahead + 1)), host: host.clone(), ..answered(NOW) };
        connection.clone().seen_on(host).heard(&answered)
    };
    let both = heard(&heard(&held(), &here, 100), &there, -50);
    assert_eq!(both.clone().seen_on(&there).skew.seconds, -50);
    assert_eq!(both.seen_on(&here).skew.seconds, 100);
}

#[test]
fn law_11_a_token_with_more_life_than_it_was_given_is_not_believed() {
    let connection = held();
    assert!(connection.living_access(NOW.plus(-200)).is_some(), "a slow answer");
    assert!(connection.living_access(NOW.plus(-4000)).is_none(), "a clock that was set back");
}

#[test]
fn law_11_a_pause_that_was_written_under_a_wrong_clock_ends() {
    let years_ahead = NOW.plus(3 * 365 * DAY);
    let connection = failed(&held(), Purpose::Refresh, &refusal(134), years_ahead);
    assert!(matches!(connection.decide(&WANTED, NOW.plus(4000)), Decision::Fly(_)));
}

#[test]
fn law_12_a_forced_refresh_that_is_over_forces_no_other() {
    let rejected = Cause::Rejected(Fingerprint::of("a1"));
    let forced = |connection: &Connection, failure: &Failure, now: UnixTime| {
        let judgement = judge(failure, Purpose::Refresh, &CONCUR, &Policy::of(&CONCUR));
        let intended = connection.intend(Plan { forced: true, ..plan(Purpose::Refresh, now) });
        intended.fail(failure, &judgement, now, Jitter::LEAST)
    };
    let unknown = forced(&kept_by("within:1h"), &Failure::NoAnswer(NoAnswer::TimedOut), NOW);
    let refused = forced(&unknown, &refusal(134), NOW.plus(1000));
    assert!(refused.intent.is_some(), "what the first one did is still unknown");
    let again = NOW.plus(1000 + 330);
    assert!(matches!(
        refused.decide(&rejected, NOW.plus(1200)),
        Decision::Stop(Blocked::RejectedAgain { .. })
    ));
    assert!(matches!(refused.decide(&rejected, again), Decision::Fly(_)));
}

#[test]
fn law_7_what_is_refused_on_top_of_an_unknown_leaves_it_unknown() {
    let open = unanswered(&kept_by("never"), NOW);
    let blocked = |connection: &Connection| {
        !matches!(connection.decide(&Cause::Asked, NOW.plus(200)), Decision::Fly(_))
    };
    assert!(blocked(&open), "the access token lives");
    let new_request_token = failed(&open, Purpose::Obtain, &refusal(134), NOW.plus(100));
    assert!(blocked(&new_request_token), "obtaining anew says nothing about the refresh token");
    let again = failed(&open, Purpose::Refresh, &refusal(134), NOW.plus(100));
    assert!(blocked(&again), "nor does what never came to the token");
    assert_eq!(again.intent.as_ref().unwrap().first_presented_at, NOW);
    let gone = failed(&open, Purpose::Refresh, &refusal(108), NOW.plus(100));
    assert_eq!(gone.intent, None, "the server has said what it thinks of it");
    let once = failed(&kept_by("never"), Purpose::Refresh, &refusal(134), NOW);
    assert_eq!(once.intent, None, "nothing was unknown before");
}

#[test]
fn law_12_a_server_that_is_not_reached_does_not_shorten_its_pause() {
    let asked = failed(&held(), Purpose::Refresh, &refusal(134), NOW);
    let Condition::BackingOff { until, .. } = asked.condition else { panic!("{:?}", asked.condition) };
    let unreached = asked.unreached(&Unreachable::TimedOut, NOW.plus(10), Jitter::LEAST);
    assert_eq!(unreached.condition, Condition::BackingOff { until, failures: 2 });
    let over = asked.unreached(&Unreachable::TimedOut, until.plus(10), Jitter::LEAST);
    assert_eq!(over.condition, Condition::BackingOff { until: until.plus(11), failures: 2 });
}

fn reauthorized(connection: &Connection, response: &TokenResponse, now: UnixTime) -> Connection {
    connection.intend(plan(Purpose::Obtain, now)).accept(response, &answered(now)).unwrap()
}

#[test]
fn law_5_adopting_an_older_grant_proves_nothing_against_a_newer_one() {
    let tokens_of = |connection: &Connection| -> Vec<String> {
        connection.previous.iter().map(|previous| previous.refresh.expose().to_owned()).collect()
    };
    // An answer to the first grant came when the second was there already; then a third.
    let first = held();
    let second = reauthorized(&first, &tokens("a2", "r2"), NOW.plus(10));
    let late = second.set_aside(&first.version(), &tokens("a9", "r9"), &answered(NOW), Aside::Late);
    let third = reauthorized(&late, &tokens("a3", "r3"), NOW.plus(20));
    let adopted = third.adopt().unwrap();
    assert_eq!(adopted.version().grant_id, first.version().grant_id);
    let refreshed_twice = refreshed(&refreshed(&adopted, &tokens("b1", "s1"), NOW), &tokens("b2", "s2"), NOW);
    assert_eq!(tokens_of(&refreshed_twice), ["r2", "r3", "s1"], "the first grant itself lives");
    let fourth = reauthorized(&third, &tokens("a4", "r4"), NOW.plus(30));
    assert_eq!(tokens_of(&fourth), ["r1", "r2", "r3"]);
    assert_eq!(tokens_of(&refreshed(&fourth, &tokens("a5", "r5"), NOW)), ["r4"], "all before it may go");
}

#[test]
fn law_11_a_strangers_answer_is_one_reading_of_the_clock() {
    use base64::Engine;
    let mut connection = held();
    connection.principal = Some(Principal::new("own"));
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"sub":"stranger"}"#);
    let members = json!({"access_token": "a", "id_token": format!("e30.{claims}.s")});
    let response = TokenResponse::from_members(members.as_object().unwrap()).unwrap();
    let odd = Answered { date: Some(NOW.plus(-731)), ..answered(NOW) };
    let intended = connection.intend(plan(Purpose::Refresh, NOW));
    let aside = intended.accept(&response, &odd).unwrap_err();
    assert_eq!((aside.skew.seconds, aside.skew.suspected), (0, Some(-732)), "not believed at once");
}

#[test]
fn law_11_a_last_resort_is_not_put_off_by_a_wrong_clock() {
    let ahead = NOW.plus(365 * DAY);
    let open = unanswered(&kept_by("never"), ahead);
    assert!(
        matches!(open.decide(&Cause::Asked, NOW.plus(3600)), Decision::Fly(_)),
        "its deadline is a year away"
    );
    let issued_ahead = unanswered(&refreshed(&kept_by("never"), &tokens("a2", "r2"), ahead), NOW);
    assert!(matches!(issued_ahead.decide(&Cause::Asked, NOW.plus(3600)), Decision::Fly(_)), "so is an end");
    let within = unanswered(&kept_by("within:30s"), ahead);
    assert!(
        !matches!(within.decide(&Cause::Asked, NOW), Decision::Fly(_)),
        "nobody knows how long ago that was"
    );
}

#[test]
fn law_11_a_renewal_is_not_put_off_by_a_wrong_clock() {
    let ahead = held_at(NOW.plus(3 * 365 * DAY));
    assert!(matches!(ahead.decide(&Cause::Due, NOW), Decision::Fly(_)), "three years are not waited for");
    assert_eq!(held_at(NOW.plus(60)).decide(&Cause::Due, NOW), Decision::NotDue);
}

fn held_at(at: UnixTime) -> Connection {
    refreshed(&held(), &tokens("a2", "r2"), at)
}

#[test]
fn law_11_processes_that_read_the_clock_otherwise_agree_about_the_server() {
    let mut connection = held();
    let host = |boot_epoch| HostClock { kernel: "kernel".into(), boot_epoch };
    (connection.skew.seconds, connection.clock) = (100, Some(host(1_000)));
    // Set back by an hour, which this process did not follow.
    let told = connection.clone().seen_on(&host(1_000 - 3600)).told_by(&host(1_000));
    assert_eq!((told.skew.seconds, told.clock), (100, Some(host(1_000))));
    let fresh = connection.seen_on(&host(1_000 - 3600)).told_by(&host(1_000 - 3600));
    assert_eq!(fresh.skew.seconds, 3700);
    // Back in the first process, which still reads the old time.
    assert_eq!(fresh.seen_on(&host(1_000 - 3600)).told_by(&host(1_000)).skew.seconds, 100);
}

#[test]
fn law_7_an_open_intent_is_an_unknown() {
    let connection = held().intend(plan(Purpose::Refresh, NOW));
    assert_eq!(connection.state(NOW.plus(30)), State::Refreshing);
    assert_eq!(connection.state(NOW.plus(61)), State::Uncertain);
    let unanswered = failed(&held(), Purpose::Refresh, &Failure::NoAnswer(NoAnswer::TimedOut), NOW);
    assert_eq!(unanswered.state(NOW), State::Uncertain);
    assert!(unanswered.intent.is_some(), "the intent stays open");
    let refused = failed(&held(), Purpose::Refresh, &refusal(134), NOW);
    assert!(refused.intent.is_none(), "a refusal is an answer");
}

#[test]
fn law_9_a_living_token_is_served_while_refreshing_fails() {
    let connection = failed(&held(), Purpose::Refresh, &refusal(61), NOW);
    assert_eq!(connection.state(NOW), State::Suspended);
    assert_eq!(connection.decide(&WANTED, NOW), Decision::HandOut);
    let hour = Cause::Wanted { min_ttl: Duration::from_secs(7200) };
    assert_eq!(
        connection.decide(&hour, NOW),
        Decision::HandOutAnyway(Blocked::PersonNeeded(State::Suspended))
    );
    assert_eq!(
        connection.decide(&WANTED, NOW.plus(3600)),
        Decision::Stop(Blocked::PersonNeeded(State::Suspended))
    );
}

#[test]
fn law_11_expiries_are_the_servers_and_count_from_before_sending() {
    let ahead = Answered { date: Some(NOW.plus(200 + 8)), received_at: NOW.plus(8), ..answered(NOW) };
    let connection = new().intend(plan(Purpose::Obtain, NOW)).accept(&tokens("a", "r"), &ahead).unwrap();
    assert_eq!(connection.skew.seconds, 200);
    let access = connection.held.as_ref().unwrap().access.as_ref().unwrap();
    assert_eq!(access.expiry.at(), NOW.plus(200 + 3600), "from before the request, by the server's clock");
    assert_eq!(connection.living_access(NOW).unwrap().1, 3600);
}

#[test]
fn law_12_a_rejection_forces_one_refresh_in_five_minutes() {
    let rejected = Cause::Rejected(Fingerprint::of("a1"));
    assert_eq!(held().decide(&rejected, NOW), Decision::Fly(Purpose::Refresh));
    let forced = Plan { forced: true, ..plan(Purpose::Refresh, NOW) };
    let under_way = held().intend(forced);
    assert_eq!(
        under_way.decide(&rejected, NOW),
        Decision::Fly(Purpose::Refresh),
        "a sibling waits for its claim"
    );
    let connection = under_way.accept(&tokens("a2", "r1"), &answered(NOW)).unwrap();
    assert_eq!(connection.decide(&rejected, NOW), Decision::HandOut, "another token is in force by now");
    let again = Cause::Rejected(Fingerprint::of("a2"));
    assert!(matches!(
        connection.decide(&again, NOW.plus(299)),
        Decision::Stop(Blocked::RejectedAgain { .. })
    ));
    assert_eq!(connection.decide(&again, NOW.plus(300)), Decision::Fly(Purpose::Refresh));
}

#[test]
fn law_3_what_a_sibling_has_obtained_meanwhile_is_not_obtained_again() {
    let authorized = |seen: &Connection| Cause::Authorized { instead_of: seen.version() };
    assert_eq!(new().decide(&authorized(&new()), NOW), Decision::Fly(Purpose::Obtain));
    assert_eq!(held().decide(&authorized(&held()), NOW), Decision::Fly(Purpose::Obtain));
    assert_eq!(held().decide(&authorized(&new()), NOW), Decision::HandOut);
}

#[test]
fn law_12_passing_failures_back_off_and_a_person_may_insist() {
    let connection = failed(&held(), Purpose::Refresh, &refusal(134), NOW);
    let late = NOW.plus(4000);
    assert_eq!(connection.state(NOW), State::BackingOff);
    let until = NOW.plus(300);
    assert_eq!(connection.condition, Condition::BackingOff { until, failures: 1 });
    let ended = Connection {
        held: connection.held.clone().map(|held| perennial_core::connection::Held { access: None, ..held }),
        ..connection.clone()
    };
    assert_eq!(ended.decide(&WANTED, NOW), Decision::Stop(Blocked::Until(until)));
    assert_eq!(ended.decide(&Cause::Asked, NOW), Decision::Fly(Purpose::Refresh));
    assert_eq!(ended.decide(&WANTED, late), Decision::Fly(Purpose::Refresh));
}

#[test]
fn law_12_a_server_that_is_not_there_is_backed_off_from() {
    let nowhere = |connection: &Connection| connection.unreached(&Unreachable::TimedOut, NOW, Jitter::LEAST);
    let connection = nowhere(&held());
    assert_eq!(connection.state(NOW), State::BackingOff);
    assert!(connection.last_fault.is_some());
    let uncertain = failed(&held(), Purpose::Refresh, &Failure::NoAnswer(NoAnswer::TimedOut), NOW);
    assert_eq!(nowhere(&uncertain).state(NOW), State::Uncertain);
    assert_eq!(nowhere(&uncertain).intent, uncertain.intent, "law 7: what is unknown stays unknown");
    let gone = failed(&held(), Purpose::Refresh, &refusal(108), NOW);
    assert_eq!(nowhere(&gone).state(NOW), State::NeedsReauthorization);
}

#[test]
fn law_12_terminal_verdicts_are_not_retried_but_by_a_person() {
    for (code, state) in [(61, State::Suspended), (54, State::Suspended), (108, State::NeedsReauthorization)]
    {
        let connection = failed(&held(), Purpose::Refresh, &refusal(code), NOW);
        assert_eq!(connection.state(NOW), state);
        let long_after = NOW.plus(30 * DAY);
        assert_eq!(connection.decide(&WANTED, long_after), Decision::Stop(Blocked::PersonNeeded(state)));
        assert_eq!(connection.decide(&Cause::Due, long_after), Decision::Stop(Blocked::PersonNeeded(state)));
        assert_eq!(connection.decide(&Cause::Asked, NOW), Decision::Fly(Purpose::Refresh));
    }
}

#[test]
fn an_undocumented_code_is_tried_three_times_and_then_suspended() {
    let mut connection = held();
    for _ in 0..3 {
        connection = failed(&connection, Purpose::Refresh, &refusal(9_999), NOW);
        assert_eq!(connection.state(NOW), State::BackingOff);
    }
    assert_eq!(failed(&connection, Purpose::Refresh, &refusal(9_999), NOW).state(NOW), State::Suspended);
}

#[test]
fn an_outage_does_not_use_up_the_tries_of_an_undocumented_code() {
    let mut connection = held();
    for code in [134, 134, 134, 9_999] {
        connection = failed(&connection, Purpose::Refresh, &refusal(code), NOW);
    }
    assert_eq!(connection.state(NOW), State::BackingOff);
}

#[test]
fn an_outage_while_obtaining_does_not_revive_a_refused_grant() {
    let gone = failed(&held(), Purpose::Refresh, &refusal(108), NOW);
    for failure in [refusal(134), Failure::NoAnswer(NoAnswer::TimedOut)] {
        assert_eq!(failed(&gone, Purpose::Obtain, &failure, NOW).state(NOW), State::NeedsReauthorization);
    }
}

#[test]
fn a_server_that_is_not_there_gives_no_use_of_a_request_token_back() {
    let lost = failed(&held(), Purpose::Obtain, &Failure::NoAnswer(NoAnswer::TimedOut), NOW);
    let nowhere = lost.unreached(&Unreachable::TimedOut, NOW, Jitter::LEAST);
    assert_eq!(nowhere.request_token, lost.request_token);
}

#[test]
fn a_bad_request_token_says_nothing_about_the_grant_that_is_held() {
    let connection = failed(&held(), Purpose::Obtain, &refusal(5), NOW);
    assert_eq!(connection.state(NOW), State::Held);
    let none = failed(&new(), Purpose::Obtain, &refusal(5), NOW);
    assert_eq!(none.state(NOW), State::AwaitingGrant);
}

#[test]
fn law_13_an_answer_for_somebody_else_is_kept_aside() {
    let named = |sub: &str| {
        use base64::Engine;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!({"sub": sub}).to_string());
        answer(&json!({"access_token": "x", "refresh_token": "y", "id_token": format!("e30.{claims}.s")}))
    };
    let own = Connection { principal: Some(Principal::new("Company-A")), ..held() };
    assert!(own.intend(plan(Purpose::Refresh, NOW)).accept(&named("company-a"), &answered(NOW)).is_ok());
    let aside =
        own.intend(plan(Purpose::Refresh, NOW)).accept(&named("company-b"), &answered(NOW)).unwrap_err();
    assert_eq!(refresh_token(&aside), "r1");
    assert_eq!(aside.candidates[0].reason, Aside::OtherPrincipal);
    assert_eq!(aside.state(NOW), State::Suspended);
    assert!(aside.adopt().is_none(), "it is never handed out");
}

#[test]
fn renewal_is_due_after_seven_days_and_harms_nothing() {
    let connection = held();
    assert_eq!(connection.decide(&Cause::Due, NOW.plus(6 * DAY)), Decision::NotDue);
    assert_eq!(connection.decide(&Cause::Due, NOW.plus(7 * DAY)), Decision::Fly(Purpose::Refresh));
    let long_lived = answer(&json!({"access_token": "a", "refresh_token": "r", "expires_in": 30 * DAY}));
    let connection = new().intend(plan(Purpose::Obtain, NOW)).accept(&long_lived, &answered(NOW)).unwrap();
    assert_eq!(connection.decide(&WANTED, NOW.plus(8 * DAY)), Decision::HandOutAndRenew);
}

#[test]
fn law_10_a_foreign_geolocation_is_not_followed() {
    let to = |base: &str| {
        let response = answer(&json!({"access_token": "a", "refresh_token": "r", "geolocation": base}));
        refreshed(&held(), &response, NOW).held.unwrap().base.to_string()
    };
    assert_eq!(to("https://eu2.api.concursolutions.com/oauth2"), "https://eu2.api.concursolutions.com");
    assert_eq!(to("https://evil.example"), base().to_string(), "what is stored is the base that answered");
}
