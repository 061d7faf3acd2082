//! One presentation of a grant, and what a server that behaves answers to it.

use super::memory::KERNEL;
use super::reply::NOW;
use perennial::core::connection::{Answered, Plan};
use perennial::core::profile::Purpose;
use perennial::core::time::HostClock;
use perennial::core::{Fingerprint, Origin, TokenResponse};
use serde_json::json;
use std::time::Duration;

pub(super) fn plan(purpose: Purpose) -> Plan {
    Plan {
        purpose,
        base: base(),
        presented: Fingerprint::of("presented"),
        new_grant_id: "new grant".to_owned(),
        patience: Duration::from_secs(60),
        now: NOW,
        kernel: KERNEL.to_owned(),
        process: 1,
        is_request_token: purpose == Purpose::Obtain,
        forced: false,
        settled: false,
        correlation_id: "correlation".to_owned(),
    }
}

pub(super) fn answered() -> Answered {
    Answered { base: base(), sent_at: NOW, received_at: NOW.plus(1), date: Some(NOW.plus(100)), host: host() }
}

/// It names a principal, so that it is a stranger's to a connection that has another (law 13).
pub(super) fn answer() -> TokenResponse {
    const SUB_IS_COMPANY: &str = "e30.eyJzdWIiOiJjb21wYW55In0.c2lnbmF0dXJl";
    let answer = json!({
        "access_token": "new-access", "expires_in": 3600, "token_type": "Bearer",
        "refresh_token": "new-refresh", "refresh_expires_in": 1_900_000_000, "id_token": SUB_IS_COMPANY,
    });
    let Some(response) = answer.as_object().and_then(TokenResponse::from_members) else { unreachable!() };
    response
}

fn host() -> HostClock {
    HostClock { kernel: KERNEL.to_owned(), boot_epoch: NOW.0 }
}

fn base() -> Origin {
    let Ok(base) = Origin::parse("https://us2.api.concursolutions.com") else { unreachable!() };
    base
}
