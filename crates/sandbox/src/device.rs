//! Device authorization (RFC 8628): a device asks, a person approves on another machine, the device polls.

use crate::answer::Answer;
use crate::centres::Here;
use crate::client::{authenticate, check_format};
use crate::config::Config;
use crate::errors::Refusal;
use crate::form::{Form, with_query};
use crate::ids::{Ids, Seed};
use crate::ledger::{SCOPE, narrowed};
use crate::page::{alert, escaped, page, sign_in_fields};
use crate::world::{World, now};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// What `slow_down` adds to the interval (RFC 8628, section 3.5).
const SLOWER: u64 = 5;

/// Twenty consonants, which make no word and no doubt (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

pub(crate) struct Devices {
    seed: Seed,
    ids: Ids,
    lifetime: u64,
    interval: u64,
    /// By device code.
    waiting: HashMap<String, Device>,
    started: u64,
}

struct Device {
    user_code: String,
    scope: String,
    expires: u64,
    interval: u64,
    polled: Option<u64>,
    decision: Option<Decision>,
}

#[derive(Debug, Clone, Copy)]
enum Decision {
    /// By the person of this number.
    Approved(usize),
    Denied,
}

/// What a person has approved: the person's number, and the scope.
type Approved = (usize, String);

impl Devices {
    pub(crate) fn new(config: &Config, seed: &Seed) -> Devices {
        Devices {
            seed: seed.clone(),
            ids: seed.stream("devices"),
            lifetime: config.device_lifetime.as_secs(),
            interval: config.device_interval.as_secs(),
            waiting: HashMap::new(),
            started: 0,
        }
    }

    /// A device code and a user code.
    fn start(&mut self, scope: String, now: u64) -> (String, String) {
        let drawn = self.seed.bytes("user codes", self.started);
        self.started += 1;
        let letters: String = drawn
            .iter()
            .take(8)
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
            .collect();
        let user_code = format!("{}-{}", &letters[..4], &letters[4..]);
        let device_code = self.ids.next();
        let device = Device {
            user_code: user_code.clone(),
            scope,
            expires: now.saturating_add(self.lifetime),
            interval: self.interval,
            polled: None,
            decision: None,
        };
        self.waiting.insert(device_code.clone(), device);
        (device_code, user_code)
    }

    /// The person's decision; false if no device waits under this code.
    fn decide(&mut self, user_code: &str, decision: Decision, now: u64) -> bool {
        let wanted = letters_of(user_code);
        let mut open = self.waiting.values_mut().filter(|device| device.expires > now);
        let found = open.find(|device| device.decision.is_none() && letters_of(&device.user_code) == wanted);
        found.map(|device| device.decision = Some(decision)).is_some()
    }

    /// The device asks how it stands. A decision is told once.
    fn poll(&mut self, device_code: &str, now: u64) -> Result<Approved, Refusal> {
        let unknown = Refusal::plain("invalid_grant", "there is no such device_code, or it has been used");
        let device = self.waiting.get_mut(device_code).ok_or(unknown)?;
        if device.expires <= now {
            return Err(Refusal::plain("expired_token", "the device_code has expired"));
        }
        let early = device.polled.is_some_and(|polled| now < polled.saturating_add(device.interval));
        device.polled = Some(now);
        if early {
            device.interval += SLOWER;
            return Err(Refusal::plain("slow_down", "the device asks too often"));
        }
        match device.decision {
            None => Err(Refusal::plain("authorization_pending", "nobody has decided yet")),
            Some(Decision::Denied) => {
                self.waiting.remove(device_code);
                Err(Refusal::plain("access_denied", "the user has denied the request"))
            }
            Some(Decision::Approved(user)) => {
                let scope = std::mem::take(&mut device.scope);
                self.waiting.remove(device_code);
                Ok((user, scope))
            }
        }
    }

    pub(crate) fn expire(&mut self) {
        self.waiting.values_mut().for_each(|device| device.expires = 0);
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        self.waiting.keys().cloned()
    }
}

/// The letters alone: people leave the dash out, and write small.
fn letters_of(user_code: &str) -> String {
    user_code.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase()).collect()
}

/// POST /oauth2/v0/device_authorization
pub(crate) async fn start(
    State(world): State<Arc<World>>,
    Extension(here): Extension<Here>,
    parts: Parts,
    body: Bytes,
) -> Answer {
    let form = Form::read(&body);
    let asked = check_format(&parts, &form)
        .and_then(|()| authenticate(&world, here, &parts.headers, &form))
        .and_then(|()| narrowed(form.get("scope"), SCOPE));
    let scope = match asked {
        Ok(scope) => scope,
        Err(refusal) => return refusal.answer(),
    };
    let (device_code, user_code) = world.devices().start(scope, now());
    let page = format!("{}/device", world.base_uri(here));
    let answer = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": with_query(&page, &[("user_code", &user_code)]),
        "expires_in": world.config.device_lifetime.as_secs(),
        "interval": world.config.device_interval.as_secs(),
    });
    Answer::json(StatusCode::OK, &answer)
}

/// The grant: whoever approved, and what.
pub(crate) fn redeem(world: &World, form: &Form) -> Result<Approved, Refusal> {
    let missing = Refusal::plain("invalid_request", "the form has no device_code");
    world.devices().poll(form.get("device_code").ok_or(missing)?, now())
}

/// GET /device
pub(crate) async fn show(RawQuery(query): RawQuery) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    sign_in(StatusCode::OK, &form, None)
}

/// POST /device: the person has decided.
pub(crate) async fn decide(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    let form = Form::read(&body);
    let decision = match form.get("decision") {
        Some("deny") => Ok(Decision::Denied),
        Some("approve") => world.users.sign_in(&form).map(Decision::Approved),
        _ => Err("Approve or deny."),
    };
    let decision = match decision {
        Ok(decision) => decision,
        Err(why_not) => return sign_in(StatusCode::BAD_REQUEST, &form, Some(why_not)),
    };
    let user_code = form.get("user_code").unwrap_or_default();
    if !world.devices().decide(user_code, decision, now()) {
        return sign_in(StatusCode::BAD_REQUEST, &form, Some("No device waits under this code."));
    }
    let done = match decision {
        Decision::Approved(_) => "The device may go on.",
        Decision::Denied => "The device has been turned away.",
    };
    page(StatusCode::OK, "Done", &format!("<p role=\"status\">{done} You can close this page.</p>\n"))
}

fn sign_in(status: StatusCode, form: &Form, why_not: Option<&str>) -> Answer {
    let mut body = why_not.map(alert).unwrap_or_default();
    let user_code = escaped(form.get("user_code").unwrap_or_default());
    body.push_str(&format!(
        "<p>Enter the code that your device shows, and sign in.</p>\n<form method=\"post\" action=\"/device\">\n\
         <label for=\"user_code\">Code</label>\n\
         <input id=\"user_code\" name=\"user_code\" value=\"{user_code}\" autocomplete=\"off\" required>\n"
    ));
    body.push_str(sign_in_fields());
    body.push_str("</form>\n");
    page(status, "Connect a device", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(devices: &mut Devices, code: &str, now: u64) -> String {
        let body =
            devices.poll(code, now).map(|_| Vec::new()).unwrap_or_else(|refusal| refusal.answer().body);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        body["error"].as_str().unwrap_or("good").to_owned()
    }

    #[test]
    fn whoever_asks_too_often_has_to_wait_longer() {
        let mut devices = Devices::new(&Config::default(), &Seed::new(Some(1)).unwrap());
        let (code, user_code) = devices.start("openid".to_owned(), 100);
        assert_eq!(word(&mut devices, &code, 100), "authorization_pending");
        assert_eq!(word(&mut devices, &code, 105), "authorization_pending");
        assert_eq!(word(&mut devices, &code, 109), "slow_down");
        assert_eq!(word(&mut devices, &code, 118), "slow_down", "ten seconds now");
        assert_eq!(word(&mut devices, &code, 133), "authorization_pending");
        assert!(devices.decide(&user_code, Decision::Approved(0), 140));
        assert_eq!(word(&mut devices, &code, 148), "good");
        assert_eq!(word(&mut devices, &code, 200), "invalid_grant", "a decision is told once");
    }
}
