//! The sign-in on the partner's own page: there and back, and whoever stands between.

use crate::person::{Person, SHARED, config, heading, name, redirect, shared_secret};
use crate::support::{House, Reply};
use perennial::core::UnixTime;
use perennial_daemon::Daemon;
use perennial_daemon::alerts::sink::signature;
use perennial_daemon::config::Config;

fn with_partner(house: &House) -> Config {
    let secret = shared_secret(house.dir.path());
    let sign_in = format!(
        "sign_in = {{ url = \"https://partner.example.com/concur?lang=en\", secret = \"{secret}\" }}"
    );
    config(house, &sign_in)
}

/// What the partner's page is told, as its framework would read it.
struct Request(Vec<(String, String)>);

impl Request {
    fn read(url: &str) -> Self {
        let query = url.strip_prefix("https://partner.example.com/concur?lang=en&").unwrap();
        let decode =
            |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned();
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
        Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    fn the(&self, name: &str) -> &str {
        &self.0.iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    fn expires(&self) -> UnixTime {
        UnixTime(self.the("expires").parse().unwrap())
    }
}

/// An answer as the partner's page signs it.
fn answer(state: &str, subject: &str, expires: UnixTime, app: &str) -> String {
    let signed =
        signature::sign(SHARED, state, expires, format!("answer\n{app}\n{subject}").as_bytes()).unwrap();
    path(state, subject, expires, &signed)
}

fn path(state: &str, subject: &str, expires: UnixTime, signed: &str) -> String {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    format!(
        "/connect/travel/return?state={}&subject={}&expires={}&signature={}",
        encode(state),
        encode(subject),
        expires.0,
        encode(signed)
    )
}

/// Comes from SAP; returns what the partner's page is told, and where the person's own page is.
async fn sent_off(house: &House, person: &mut Person<'_>) -> (Request, String) {
    let landed = person.ask("GET", &redirect(house, &house.sandbox.mint_request_token()), "").await;
    let own = landed.header("location").unwrap().to_owned();
    let off = person.ask("GET", &own, "").await;
    assert_eq!((off.status, off.header("referrer-policy")), (303, Some("no-referrer")));
    (Request::read(off.header("location").unwrap()), own)
}

fn now(house: &House) -> UnixTime {
    house.keeper.now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_at_the_partners_and_is_connected() {
    let house = House::new();
    let daemon = house.serve_with(with_partner(&house));
    let mut person = Person::new(&daemon);
    let (request, own) = sent_off(&house, &mut person).await;
    let back = format!("{}/connect/travel/return", person.origin());
    assert_eq!((request.the("app"), request.the("return")), ("travel", back.as_str()));
    assert_eq!(request.the("company"), name(&house));
    let body = format!("request\ntravel\n{}\n{back}", name(&house));
    let known = signature::verify(
        SHARED,
        request.the("state"),
        request.expires(),
        body.as_bytes(),
        request.the("signature"),
    );
    assert_eq!(known, Ok(true), "the partner's page can tell that it comes from us");
    assert!((1..=600).contains(&request.expires().since(now(&house))), "and for how long");

    let (_, page) = person.open(&own).await;
    assert_eq!(heading(&page), "Sign in to connect to Example Travel", "back, or reloaded: a page, no loop");
    assert_eq!(house.sandbox.stats().requests, 0);

    let (path, done) =
        person.open(&answer(request.the("state"), "account-1", now(&house).plus(60), "travel")).await;
    assert_eq!((heading(&done).as_str(), path), ("Your company is connected to Example Travel", own));
    assert!(house.keeper.connection(&name(&house)).unwrap().held.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_good_once_for_one_browser_and_not_for_long() {
    let house = House::new();
    let daemon = house.serve_with(with_partner(&house));
    let mut person = Person::new(&daemon);
    let (request, _) = sent_off(&house, &mut person).await;
    let (state, now) = (request.the("state").to_owned(), now(&house));
    let refused = async |person: &mut Person<'_>, path: &str| -> (u16, String) {
        let page: Reply = person.ask("GET", path, "").await;
        (page.status, heading(&page))
    };
    let bad = (403, "The sign-in did not come back as it should".to_owned());
    let good = answer(&state, "account-1", now.plus(60), "travel");

    for (why, path) in [
        ("expired", answer(&state, "account-1", now.plus(-1), "travel")),
        ("good for ever", answer(&state, "account-1", now.plus(86_400), "travel")),
        ("another app's", answer(&state, "account-1", now.plus(60), "hotel")),
        ("another subject", good.replace("account%2D1", "account%2D2")),
        ("another end", good.replace(&now.plus(60).0.to_string(), &now.plus(61).0.to_string())),
        ("unsigned", path(&state, "account-1", now.plus(60), "")),
        ("our own request sent back", path(&state, "account-1", request.expires(), request.the("signature"))),
        ("two subjects", format!("{good}&subject=account-2")),
        ("no subject", good.replace("account%2D1", "")),
    ] {
        assert_eq!(refused(&mut person, &path).await, bad, "{why}");
    }
    let mut thief = Person::new(&daemon);
    assert_eq!(refused(&mut thief, &good).await.0, 400, "another browser");
    sent_off(&house, &mut thief).await;
    assert_eq!(refused(&mut thief, &good).await, (404, "This page is no longer valid".to_owned()));
    let another = answer("another", "account-1", now.plus(60), "travel");
    assert_eq!(refused(&mut person, &another).await.0, 404, "another state");
    assert_eq!(house.sandbox.stats().requests, 0, "none of it was believed");

    let (_, done) = person.open(&good).await;
    assert_eq!(heading(&done), "Your company is connected to Example Travel");
    let (_, again) = person.open(&good).await;
    assert_eq!(
        heading(&again),
        "Your company is connected to Example Travel",
        "sent again: it leads there again"
    );
    assert_eq!(house.sandbox.stats().requests, 1, "and does nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_at_the_partners_is_not_connected() {
    let house = House::new();
    let daemon = house.serve_with(with_partner(&house));
    let mut person = Person::new(&daemon);
    let (request, own) = sent_off(&house, &mut person).await;
    let state = request.the("state").replace('-', "%2D").replace('_', "%5F");
    let page =
        person.ask("GET", &format!("/connect/travel/return?state={state}&error=access_denied"), "").await;
    assert_eq!((page.status, heading(&page).as_str()), (403, "You did not agree"));
    assert!(page.body.contains("Sign in again"), "a mistake can be mended");
    let again = person.ask("GET", &format!("{own}/sign-in"), "").await;
    assert!(again.header("location").unwrap().starts_with("https://partner.example.com/"));
    assert_eq!(house.sandbox.stats().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_in_place_of_a_sign_in_is_not_enough() {
    let house = House::new();
    let daemon: Daemon = house.serve_with(with_partner(&house));
    let mut person = Person::new(&daemon);
    sent_off(&house, &mut person).await;
    let (_, own) = sent_off(&house, &mut person).await;
    let (_, page) = person.open(&own).await;
    assert!(!page.body.contains("csrf"), "no form is shown");
    assert_eq!(person.ask("POST", &own, "csrf=made-up").await.status, 403);
    assert_eq!(house.sandbox.stats().requests, 0);
}
