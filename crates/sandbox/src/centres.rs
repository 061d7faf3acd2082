//! The data centres of one world: each listens for itself, and a principal lives in one of them.

use crate::answer::Answer;
use crate::control::{bad, read};
use crate::errors::Refusal;
use crate::ledger::Principal;
use crate::world::World;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// A data centre: the name that it has at SAP, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Centre {
    /// `us2`, or `eu2` for the second.
    pub name: String,
    /// Scheme, address and port.
    pub base_uri: String,
}

/// The data centre that a request came to, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Here(pub(crate) usize);

/// The centre that listens at [`Config::listen`](crate::Config::listen).
pub(crate) const FIRST: Here = Here(0);

const NAMES: [&str; 2] = ["us2", "eu2"];

/// Where everybody lives.
pub(crate) struct Homes {
    centres: Vec<Centre>,
    /// Whoever is not named lives in the first.
    moved: HashMap<Principal, Here>,
}

impl Homes {
    /// If there is a second centre, the second person lives there, and with a migrated tenant everybody.
    pub(crate) fn new(base_uris: Vec<String>, migrated: bool) -> Homes {
        let centre = |(name, base_uri): (&str, String)| Centre { name: name.to_owned(), base_uri };
        let centres: Vec<Centre> = NAMES.into_iter().zip(base_uris).map(centre).collect();
        let there: &[Principal] = match (centres.len(), migrated) {
            (2, true) => &[Principal::Company, Principal::App, Principal::User(0), Principal::User(1)],
            (2, false) => &[Principal::User(1)],
            _ => &[],
        };
        let moved = there.iter().map(|principal| (*principal, Here(1))).collect();
        Homes { centres, moved }
    }

    pub(crate) fn centres(&self) -> &[Centre] {
        &self.centres
    }

    fn of(&self, principal: Principal) -> Here {
        self.moved.get(&principal).copied().unwrap_or(FIRST)
    }

    fn move_to(&mut self, principal: Principal, name: &str) -> Result<(), String> {
        let Some(number) = self.centres.iter().position(|centre| centre.name == name) else {
            return Err(format!("there is no data centre `{name}` here"));
        };
        self.moved.insert(principal, Here(number));
        Ok(())
    }

    /// Where the principal lives. A client that came by one of the real names, by a hosts override, is told a real
    /// name, since it would refuse to send a secret anywhere else.
    fn geolocation(&self, principal: Principal, here: Here, headers: &HeaderMap) -> String {
        let home = self.of(principal);
        let centre = &self.centres[home.0];
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_real_name(host));
        let scheme = centre.base_uri.split("://").next().unwrap_or("https");
        match host {
            None => centre.base_uri.clone(),
            Some(host) if home == here => format!("{scheme}://{host}"),
            Some(_) => {
                let port = centre.base_uri.rsplit(':').next().unwrap_or("443");
                let port = if port == "443" { String::new() } else { format!(":{port}") };
                format!("{scheme}://{}.api.concursolutions.com{port}", centre.name)
            }
        }
    }
}

fn is_real_name(host: &str) -> bool {
    host.split(':').next().is_some_and(|name| name.ends_with(".concursolutions.com"))
}

impl World {
    /// Where the principal lives, as this request is told.
    pub(crate) fn geolocation(&self, principal: Principal, here: Here, headers: &HeaderMap) -> String {
        self.homes().geolocation(principal, here, headers)
    }

    /// Who issues what this request brings: the centre that it came to, by the name that the client called.
    pub(crate) fn issuer(&self, here: Here, headers: &HeaderMap) -> String {
        let base = self.base_uri(here);
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_real_name(host));
        let scheme = base.split("://").next().unwrap_or("https");
        host.map_or_else(|| base.to_owned(), |host| format!("{scheme}://{host}"))
    }

    /// Refuses, with the way to go, whoever lives elsewhere.
    pub(crate) fn at_home(
        &self,
        principal: Principal,
        here: Here,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        if self.homes().of(principal) == here {
            return Ok(());
        }
        Err(Refusal::new(16).with_geolocation(Some(self.geolocation(principal, here, headers))))
    }

    /// Moves the principal with this UUID to the centre of this name.
    pub(crate) fn move_principal(&self, uuid: &str, to: &str) -> Result<(), String> {
        let users = (0..self.users.all().len()).map(Principal::User);
        let found = users.chain([Principal::Company]).find(|principal| self.subject(*principal) == uuid);
        let principal = found.ok_or("no principal has this UUID")?;
        self.homes().move_to(principal, to)
    }
}

/// POST /sandbox/move
pub(crate) async fn order_move(State(world): State<Arc<World>>, body: Bytes) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        principal: String,
        to: String,
    }
    match read::<Order>(&body).and_then(|order| world.move_principal(&order.principal, &order.to)) {
        Ok(()) => Answer::empty(StatusCode::NO_CONTENT),
        Err(problem) => bad(&problem),
    }
}
