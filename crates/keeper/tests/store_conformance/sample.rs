//! Connections to write down, made by the core's own functions; every secret in them begins with `canary`.

use perennial::core::connection::{Answered, Aside, Plan};
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::Purpose;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::time::{HostClock, Skew};
use perennial::core::token_endpoint::{TokenResponse, Unreachable};
use perennial::core::{Connection, Fingerprint, Origin, UnixTime, schedule};
use perennial::store::App;
use serde_json::json;
use std::time::Duration;

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

pub(crate) fn connection(name: &str) -> Connection {
    Connection::new(format!("id-of-{name}"), name, &CONCUR)
}

pub(crate) fn app(client: &str, secret: &str) -> App {
    let client =
        Client { id: client.to_owned(), secret: ClientSecret::new(format!("canary-secret-{secret}")) };
    App::new(client, Some(Principal::new("company-1")), Some(RequestToken::new("canary-request-token")))
        .known_since(NOW)
}

pub(crate) fn base() -> Origin {
    Origin::parse("https://us2.api.concursolutions.com").unwrap()
}

pub(crate) fn answer(token: &str) -> TokenResponse {
    let members = json!({
        "access_token": format!("canary-access-{token}"),
        "refresh_token": format!("canary-refresh-{token}"),
        "id_token": format!("canary-id-{token}"),
        "expires_in": 3600,
        "scope": "openid",
        "token_type": "Bearer",
        "refresh_expires_in": 1_815_000_000,
        "geolocation": "https://us2.api.concursolutions.com",
        "novelty": {"inside": format!("canary-novelty-{token}"), "number": 1.5},
    });
    TokenResponse::from_members(members.as_object().unwrap()).unwrap()
}

pub(crate) fn answered() -> Answered {
    Answered {
        base: base(),
        sent_at: NOW,
        received_at: NOW,
        date: Some(NOW.plus(100)),
        host: HostClock { kernel: "kernel".into(), boot_epoch: 1_799_000_000 },
    }
}

fn plan(purpose: Purpose, presented: &str, correlation_id: &str) -> Plan {
    Plan {
        purpose,
        base: base(),
        presented: Fingerprint::of(presented),
        new_grant_id: format!("grant-by-{correlation_id}"),
        patience: Duration::from_secs(60),
        now: NOW,
        kernel: "lock".into(),
        process: 7,
        is_request_token: purpose == Purpose::Obtain,
        forced: false,
        settled: false,
        correlation_id: correlation_id.into(),
    }
}

/// About to present the refresh token.
pub(crate) fn refreshing(connection: &Connection, correlation_id: &str) -> Connection {
    connection.intend(plan(Purpose::Refresh, "presented", correlation_id))
}

/// About to present the request token.
pub(crate) fn obtaining(connection: &Connection, correlation_id: &str) -> Connection {
    connection.intend(plan(Purpose::Obtain, "request-token", correlation_id))
}

/// The tokens of an answer in force.
pub(crate) fn holding(connection: &Connection, token: &str) -> Connection {
    let intended = match connection.held {
        Some(_) => refreshing(connection, &format!("for-{token}")),
        None => obtaining(connection, &format!("for-{token}")),
    };
    intended.accept(&answer(token), &answered()).unwrap()
}

/// With everything in it that a connection may carry.
pub(crate) fn full(name: &str) -> Connection {
    let mut full = holding(&holding(&connection(name), "first"), "second");
    full.policy.set("renew_after", "3d").unwrap();
    full.policy.set("replay", "within:30s").unwrap();
    full.permitted.push(Origin::parse("https://127.0.0.1:8443").unwrap());
    let elsewhere = HostClock { kernel: "another".into(), boot_epoch: 5 };
    full.other_clocks.push((elsewhere, Skew { seconds: 3, suspected: Some(400) }));
    full.forced_at = Some(NOW.plus(5));
    full.principal = Some(Principal::new("company-1"));
    let full = full.set_aside(&full.asked(), &answer("late"), &answered(), Aside::Late);
    let why = Unreachable::Dns("a name that nobody knows".into());
    let failed = full.unreached(&why, NOW, schedule::Jitter::new(0.5));
    obtaining(&failed, "the-open-one")
}
