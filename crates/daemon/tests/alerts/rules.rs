//! What is seen, and what is told of it: no IO, no clock.

use crate::delivery::fault;
use crate::stage::{DAY, NOW, seen};
use perennial::core::{Expiry, State, UnixTime};
use perennial_daemon::Config;
use perennial_daemon::alerts::alert::kind;
use perennial_daemon::alerts::{Alert, Observation, Place, Rules, Seen, Server, Vitals};

const HOUR: i64 = 3600;

fn rules_of(config: &str) -> Rules {
    let place =
        Place { tenant: "default".to_owned(), words: " --store sqlite:x".to_owned(), is_directory: false };
    Rules::new(&Config::parse(config, &[]).unwrap().alerts, place, "origin".to_owned())
}

fn rules() -> Rules {
    rules_of("")
}

fn look(rules: &mut Rules, seen: &Seen, now: UnixTime) -> Vec<String> {
    rules.observe(Observation::Connection(seen), now).iter().map(told).collect()
}

fn told(alert: &Alert) -> String {
    format!("{} {}", kind(alert.event, alert.recovered), alert.label)
}

/// A connection that is well, whose refresh token ends in so many days and was given that many.
/// Nothing else says so: no refresh fails, for there is none.
#[test]
fn the_end_of_a_grant_without_a_refresh_token_is_looked_at_when_it_comes() {
    let over = NOW.plus(600);
    let seen = Seen { over: Some(over), ends: None, ..seen("acme", State::Held) };
    let rules = rules();
    assert_eq!(rules.next_bell(&seen, NOW), Some(over));
    assert_eq!(rules.next_bell(&seen, over), None);
}

fn ends_in(days: f64, life: Option<i64>) -> Seen {
    let ends = NOW.plus((days * 86_400.0) as i64);
    Seen { ends: Some(Expiry::Stated(ends)), life: life.map(|days| days * DAY), ..seen("acme", State::Held) }
}

#[test]
fn each_state_is_told_as_it_deserves() {
    for (state, after, tells) in [
        (State::Held, 10 * HOUR, false),
        (State::Refreshing, 10 * HOUR, false),
        (State::AwaitingGrant, 10 * HOUR, false),
        (State::BackingOff, HOUR - 1, false),
        (State::BackingOff, HOUR, true),
        (State::Uncertain, HOUR - 1, false),
        (State::Uncertain, HOUR, true),
        (State::Unsaved, 299, false),
        (State::Unsaved, 300, true),
        (State::Suspended, 0, true),
        (State::NeedsReauthorization, 0, true),
        (State::Revoked, 0, true),
    ] {
        let (mut rules, seen) = (rules(), seen("acme", state));
        let mut told = look(&mut rules, &seen, NOW);
        told.extend(look(&mut rules, &seen, NOW.plus(after)));
        let wanted = format!("connection.state_changed {}", state.as_str());
        assert_eq!(
            told,
            tells.then_some(wanted).into_iter().collect::<Vec<_>>(),
            "{state:?} after {after} s"
        );
    }
}

#[test]
fn each_bell_rings_once_for_an_end_and_a_new_end_is_a_recovery() {
    let (mut rules, token) = (rules(), ends_in(100.0, Some(183)));
    let at = |days: f64| NOW.plus((days * 86_400.0) as i64);
    let mut told = Vec::new();
    for hour in 0..100 * 24 {
        told.extend(look(&mut rules, &token, at(f64::from(hour) / 24.0)));
    }
    let dies = |days: &str| format!("refresh_token.dies {days}");
    assert_eq!(told, [dies("90"), dies("30"), dies("7"), dies("1")]);
    let renewed = ends_in(283.0, Some(183));
    assert_eq!(look(&mut rules, &renewed, at(100.0)), ["refresh_token.dies.recovered renewed"]);
    assert_eq!(look(&mut rules, &renewed, at(194.0)), [dies("90")], "and the next time it rings again");
}

#[test]
fn a_token_that_lives_shorter_than_a_bell_does_not_ring_with_each_renewal() {
    let mut rules = rules();
    for week in 0..20 {
        let renewed_at = NOW.plus(week * 7 * DAY);
        let mut token = ends_in(0.0, Some(60));
        token.ends = Some(Expiry::Stated(renewed_at.plus(60 * DAY)));
        assert_eq!(look(&mut rules, &token, renewed_at.plus(HOUR)), [""; 0], "week {week}");
    }
    // Renewals have begun to fail: thirty days before the end somebody is told.
    let mut token = ends_in(0.0, Some(60));
    token.ends = Some(Expiry::Stated(NOW.plus(60 * DAY)));
    assert_eq!(look(&mut rules, &token, NOW.plus(31 * DAY)), ["refresh_token.dies 30"]);
}

#[test]
fn an_end_that_no_renewal_moves_is_told_at_each_bell() {
    // Renewed weekly: what is left of its life shrinks, and the server counts anew to the second.
    let (mut rules, mut told) = (rules(), Vec::new());
    for hour in 0..100 * 24 {
        let renewed = hour / (7 * 24) * 7;
        let wobble = i64::from(hour % 3);
        let seen = Seen {
            ends: Some(Expiry::Stated(NOW.plus(100 * DAY + wobble))),
            life: Some((100 - i64::from(renewed)) * DAY),
            ..seen("acme", State::Held)
        };
        told.extend(look(&mut rules, &seen, NOW.plus(i64::from(hour) * HOUR)));
    }
    let dies = |days: &str| format!("refresh_token.dies {days}");
    assert_eq!(told, [dies("90"), dies("30"), dies("7"), dies("1")]);
}

#[test]
fn law_11_a_clock_that_is_set_back_takes_nothing_back() {
    let (mut rules, token) = (rules(), ends_in(29.0, Some(183)));
    assert_eq!(look(&mut rules, &token, NOW).len(), 1);
    assert_eq!(look(&mut rules, &token, NOW.plus(-10 * DAY)), [""; 0]);
    assert_eq!(look(&mut rules, &token, NOW), [""; 0]);
}

#[test]
fn a_refused_token_rings_no_bells_as_its_state_was_told() {
    let mut rules = rules();
    let mut token = ends_in(29.0, Some(183));
    token.state = State::NeedsReauthorization;
    assert_eq!(look(&mut rules, &token, NOW), ["connection.state_changed needs_reauthorization"]);
    assert_eq!(look(&mut rules, &token, NOW.plus(28 * DAY)), [""; 0]);
}

#[test]
fn what_grows_worse_is_told_and_what_flaps_is_not() {
    let mut rules = rules();
    let mut step = |state, at| look(&mut rules, &seen("acme", state), NOW.plus(at));
    assert_eq!(step(State::Suspended, 0), ["connection.state_changed suspended"]);
    assert_eq!(step(State::NeedsReauthorization, 10), ["connection.state_changed needs_reauthorization"]);
    for second in 20..80 {
        let state = if second % 2 == 0 { State::Held } else { State::Suspended };
        assert_eq!(step(state, second), [""; 0], "{second}");
    }
    assert_eq!(step(State::Held, 100), [""; 0]);
    assert_eq!(step(State::Refreshing, 400), [""; 0], "neither well nor ill");
    assert_eq!(step(State::Held, 1000), ["connection.state_changed.recovered held"]);
    assert_eq!(step(State::Held, 2000), [""; 0]);
}

#[test]
fn time_asks_for_a_look_where_it_decides_something() {
    let mut rules = rules();
    look(&mut rules, &seen("acme", State::BackingOff), NOW);
    assert!(rules.to_look_at(NOW.plus(HOUR - 1)).is_empty());
    assert_eq!(rules.to_look_at(NOW.plus(HOUR)), ["acme".to_owned()].into());
    look(&mut rules, &seen("acme", State::Held), NOW.plus(HOUR));
    assert!(rules.to_look_at(NOW.plus(HOUR)).is_empty());
}

#[test]
fn while_a_server_fails_for_all_each_connections_waiting_is_not_told() {
    let mut rules = rules();
    let acme = seen("acme", State::BackingOff);
    let server = |fails| {
        let origin = acme.server.clone().unwrap();
        Vitals { servers: vec![Server { origin, fails }], ..Vitals::default() }
    };
    let vitals = |rules: &mut Rules, fails, at| {
        let alerts = rules.observe(Observation::Vitals(&server(fails)), NOW.plus(at));
        alerts.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(look(&mut rules, &acme, NOW), [""; 0]);
    assert_eq!(vitals(&mut rules, true, 5), [""; 0], "a blip is none");
    assert_eq!(vitals(&mut rules, true, 65), ["server.fails https://us2.api.concursolutions.com"]);
    assert_eq!(look(&mut rules, &acme, NOW.plus(5 * HOUR)), [""; 0]);
    assert!(rules.to_look_at(NOW.plus(9 * HOUR)).is_empty(), "and costs nothing");
    assert_eq!(vitals(&mut rules, false, 10 * HOUR), [""; 0]);
    let well = vitals(&mut rules, false, 10 * HOUR + 120);
    assert_eq!(well, ["server.fails.recovered https://us2.api.concursolutions.com"]);
    look(&mut rules, &acme, NOW.plus(11 * HOUR));
    assert_eq!(look(&mut rules, &acme, NOW.plus(12 * HOUR)), ["connection.state_changed backing_off"]);
}

#[test]
fn store_and_clock_are_told_and_so_is_their_recovery() {
    let mut rules = rules();
    let mut step = |store: Option<&str>, ahead, at| {
        let vitals =
            Vitals { store_fault: store.map(str::to_owned), clock_ahead: ahead, ..Vitals::default() };
        let alerts = rules.observe(Observation::Vitals(&vitals), NOW.plus(at));
        alerts.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(step(Some("the disk is full"), 0, 0), [""; 0]);
    assert_eq!(step(Some("the disk is full"), 301, 30), ["store.not_writable not_writable"]);
    assert_eq!(step(Some("the disk is full"), -86_400, 90), ["clock.wrong wrong"]);
    assert_eq!(step(None, 300, 100), [""; 0]);
    assert_eq!(
        step(None, 0, 220),
        ["store.not_writable.recovered not_writable", "clock.wrong.recovered wrong"]
    );
}

#[test]
fn a_connection_that_is_gone_takes_its_alert_back() {
    let mut rules = rules();
    look(&mut rules, &seen("acme", State::Suspended), NOW);
    let alerts = rules.observe(Observation::Gone("acme"), NOW.plus(5));
    assert_eq!(alerts.iter().map(told).collect::<Vec<_>>(), ["connection.state_changed.recovered removed"]);
    assert!(rules.observe(Observation::Gone("acme"), NOW.plus(6)).is_empty());
}

#[test]
fn only_what_is_wanted_is_told() {
    let mut rules =
        rules_of("[alerts]\nevents = [\"state_changed\"]\nconnections = [\"acme*\"]\ndies_in_days = [3]\n");
    assert_eq!(look(&mut rules, &ends_in(2.0, None), NOW), [""; 0]);
    assert_eq!(look(&mut rules, &seen("globex", State::Suspended), NOW), [""; 0]);
    assert_eq!(look(&mut rules, &seen("acme-eu", State::Suspended), NOW).len(), 1);
    rules.configure(&Config::parse("[alerts]\ndies_in_days = [3]\n", &[]).unwrap().alerts);
    assert_eq!(look(&mut rules, &ends_in(2.0, None), NOW), ["refresh_token.dies 3"]);
    assert_eq!(look(&mut rules, &seen("globex", State::Suspended), NOW).len(), 1);
}

#[test]
fn an_alert_says_what_to_do_and_an_id_is_one_things_own() {
    let mut rules = rules();
    let mut acme = seen("acme", State::Suspended);
    acme.fault = Some(fault("code 5: the client is wrong"));
    let alert = rules.observe(Observation::Connection(&acme), NOW).remove(0);
    assert_eq!(
        alert.text,
        "perennial: connection acme (tenant default): it is suspended (code 5: the client is wrong, correlation id abc)\n\
         next: check the App ID and the client secret, then: perennial refresh --store sqlite:x acme; with a new client \
         secret: perennial reauthorize --store sqlite:x acme --keep-grant"
    );
    let body = alert.clone().message().body;
    assert_eq!(body["timestamp"], "2027-01-15T08:00:00Z");
    assert_eq!((&body["data"]["code"], &body["data"]["verdict"]), (&5.into(), &"fix_client".into()));
    // The same rules without a memory, as after a crash: the same id. Of another installation: another one.
    let again = self::rules().observe(Observation::Connection(&acme), NOW.plus(60)).remove(0);
    assert_eq!(again.id, alert.id);
    let mut other = Rules::new(&Config::default().alerts, Place::default(), "other".to_owned());
    assert_ne!(other.observe(Observation::Connection(&acme), NOW).remove(0).id, alert.id);
}
