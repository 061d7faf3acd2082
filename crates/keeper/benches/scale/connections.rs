//! The connections that are measured with.

use perennial::core::connection::{Answered, Plan};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::Purpose;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::ClientSecret;
use perennial::core::time::HostClock;
use perennial::core::{Connection, Fingerprint, Origin, TokenResponse, UnixTime};
use perennial::store::{App, Parcel};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// So many connections are due, however many there are.
pub(crate) const DUE: u64 = 100;

pub(crate) fn name(number: u64) -> String {
    format!("customer-{number:07}")
}

/// Access tokens of Concur's are JSON Web Tokens of some 1,300 characters.
pub(crate) fn answer(name: &str) -> TokenResponse {
    TokenResponse::from_members(members(name).as_object().unwrap()).unwrap()
}

/// The same as a server sends it.
pub(crate) fn body(name: &str) -> String {
    members(name).to_string()
}

fn members(name: &str) -> Value {
    json!({
        "access_token": format!("{name}-{}", "a".repeat(1300)),
        "refresh_token": format!("{name}-{}", perennial::request_id()),
        "id_token": format!("{name}-{}", "i".repeat(900)),
        "expires_in": 86_400,
        "scope": "openid user.read company.read",
        "token_type": "Bearer",
        "refresh_expires_in": now().0 + 180 * 86_400,
        "geolocation": "https://us2.api.concursolutions.com",
    })
}

pub(crate) fn parcel(number: u64, count: u64) -> Parcel {
    let every = count / DUE.min(count);
    made(number, number.is_multiple_of(every) && number / every < DUE)
}

pub(crate) fn all_due(number: u64) -> Parcel {
    made(number, true)
}

pub(crate) fn at_rest(number: u64) -> Parcel {
    made(number, false)
}

fn made(number: u64, is_due: bool) -> Parcel {
    let name = name(number);
    let fresh = Connection::new(perennial::request_id(), name.as_str(), &CONCUR);
    let obtaining = fresh.intend(plan(Purpose::Obtain, &perennial::request_id()));
    let mut connection = obtaining.accept(&answer(&name), &answered(now())).unwrap();
    // Due, and served: its access token is today's.
    if let Some(held) = connection.held.as_mut().filter(|_| is_due) {
        held.refreshed_at = Some(now().plus(-30 * 86_400));
    }
    let client =
        Client { id: format!("app-{}", number % 20), secret: ClientSecret::new("the-secret-of-an-app") };
    Parcel { connection, app: App::new(client, Some(Principal::new("company")), None), history: Vec::new() }
}

pub(crate) fn plan(purpose: Purpose, correlation_id: &str) -> Plan {
    Plan {
        purpose,
        base: base(),
        presented: Fingerprint::of("presented"),
        new_grant_id: correlation_id.to_owned(),
        patience: Duration::from_secs(60),
        now: now(),
        kernel: "lock".to_owned(),
        process: std::process::id(),
        is_request_token: purpose == Purpose::Obtain,
        forced: false,
        settled: false,
        correlation_id: correlation_id.to_owned(),
    }
}

pub(crate) fn answered(at: UnixTime) -> Answered {
    Answered {
        base: base(),
        sent_at: at,
        received_at: at,
        date: Some(at),
        host: HostClock { kernel: "kernel".to_owned(), boot_epoch: 1_700_000_000 },
    }
}

fn base() -> Origin {
    Origin::parse("https://us2.api.concursolutions.com").unwrap()
}

pub(crate) fn now() -> UnixTime {
    UnixTime(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap())
}
