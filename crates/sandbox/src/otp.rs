//! One-time passwords: POST /oauth2/v0/otp sends one, the mailbox shows it, the grant `otp` takes it.

use crate::answer::Answer;
use crate::centres::Here;
use crate::client::{authenticate, check_format};
use crate::errors::Refusal;
use crate::form::Form;
use crate::ids::{Ids, Seed};
use crate::ledger::Principal;
use crate::world::{World, now};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a one-time password lives. SAP does not say.
const LIFETIME: u64 = 900;

/// How many may be open for one address.
const MOST_OPEN: usize = 3;

/// What every request has; whatever else it has is a custom parameter, which the grant has to repeat.
const KNOWN: [&str; 10] = [
    "client_id",
    "client_secret",
    "grant_type",
    "channel_handle",
    "channel_type",
    "otp",
    "scope",
    "name",
    "company",
    "link",
];

/// The mails that the sandbox did not send.
pub(crate) struct Mailroom {
    ids: Ids,
    mails: Vec<Mail>,
}

struct Mail {
    /// The number of the person that it is for.
    user: usize,
    to: String,
    otp: String,
    custom: BTreeMap<String, String>,
    shown: Value,
    sent: u64,
    expires: u64,
    used: bool,
}

impl Mail {
    fn is_open(&self, user: usize, now: u64) -> bool {
        self.user == user && !self.used && self.expires > now
    }
}

impl Mailroom {
    pub(crate) fn new(seed: &Seed) -> Mailroom {
        Mailroom { ids: seed.stream("otp"), mails: Vec::new() }
    }

    fn send(&mut self, user: usize, to: &str, form: &Form, now: u64) -> Result<(), Refusal> {
        if self.open(user, now).count() >= MOST_OPEN {
            return Err(Refusal::new(82));
        }
        let otp: String = self.ids.next().chars().filter(|digit| *digit != '-').take(10).collect();
        let shown = json!({
            "name": form.get("name"),
            "company": form.get("company"),
            "link": form.get("link"),
        });
        self.mails.push(Mail {
            user,
            to: to.to_owned(),
            otp,
            custom: custom(form),
            shown,
            sent: now,
            expires: now.saturating_add(LIFETIME),
            used: false,
        });
        Ok(())
    }

    /// Takes the one-time password, which is used from now on. A request that does not fit leaves it open.
    fn take(&mut self, user: usize, otp: &str, form: &Form, now: u64) -> Result<(), Refusal> {
        if self.open(user, now).next().is_none() {
            return Err(Refusal::new(83));
        }
        let mut open = self.mails.iter_mut().filter(|mail| mail.is_open(user, now));
        let mail = open.find(|mail| mail.otp == otp).ok_or(Refusal::new(85))?;
        if mail.custom != custom(form) {
            return Err(Refusal::new(84));
        }
        mail.used = true;
        Ok(())
    }

    fn open(&self, user: usize, now: u64) -> impl Iterator<Item = &Mail> {
        self.mails.iter().filter(move |mail| mail.is_open(user, now))
    }

    fn list(&self, address: Option<&str>, now: u64) -> Value {
        let asked = |mail: &&Mail| address.is_none_or(|address| mail.to.eq_ignore_ascii_case(address));
        let list = self.mails.iter().filter(asked).map(|mail| {
            let mut shown = mail.shown.clone();
            shown["to"] = json!(mail.to);
            shown["otp"] = json!(mail.otp);
            shown["sent"] = json!(mail.sent);
            shown["open"] = json!(mail.is_open(mail.user, now));
            shown
        });
        list.collect()
    }

    /// The one-time passwords that were sent to this address, the oldest first.
    pub(crate) fn sent_to(&self, address: &str) -> Vec<String> {
        let to = self.mails.iter().filter(|mail| mail.to.eq_ignore_ascii_case(address));
        to.map(|mail| mail.otp.clone()).collect()
    }

    pub(crate) fn expire(&mut self) {
        self.mails.iter_mut().for_each(|mail| mail.expires = 0);
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        self.mails.iter().map(|mail| mail.otp.clone())
    }
}

fn custom(form: &Form) -> BTreeMap<String, String> {
    let fields = form.fields().filter(|(name, _)| !KNOWN.contains(name));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// POST /oauth2/v0/otp
pub(crate) async fn send(
    State(world): State<Arc<World>>,
    Extension(here): Extension<Here>,
    parts: Parts,
    body: Bytes,
) -> Answer {
    let form = Form::read(&body);
    let sent = check_format(&parts, &form)
        .and_then(|()| authenticate(&world, here, &parts.headers, &form))
        .and_then(|()| addressee(&world, &form))
        .and_then(|(user, to)| {
            world.at_home(Principal::User(user), here, &parts.headers).map(|()| (user, to))
        })
        .and_then(|(user, to)| world.mailroom().send(user, to, &form, now()));
    match sent {
        Ok(()) => Answer::json(StatusCode::OK, &json!({ "message": "otp sent" })),
        Err(refusal) => refusal.answer(),
    }
}

/// The grant: the number of the person who has shown to read the mail.
pub(crate) fn redeem(world: &World, here: Here, headers: &HeaderMap, form: &Form) -> Result<usize, Refusal> {
    let (user, _) = addressee(world, form)?;
    world.at_home(Principal::User(user), here, headers)?;
    let otp = form.get("otp").ok_or(Refusal::new(56))?;
    world.mailroom().take(user, otp, form, now())?;
    Ok(user)
}

/// Whom the channel leads to.
fn addressee<'a>(world: &World, form: &'a Form) -> Result<(usize, &'a str), Refusal> {
    let handle = form.get("channel_handle").ok_or(Refusal::new(58))?;
    let kind = form.get("channel_type").ok_or(Refusal::new(57))?;
    if kind != "email" {
        return Err(Refusal::new(80));
    }
    if !handle.contains('@') {
        return Err(Refusal::new(81));
    }
    Ok((world.users.find(handle)?, handle))
}

/// GET /sandbox/mailbox?address=…
pub(crate) async fn mailbox(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    Answer::json(StatusCode::OK, &world.mailroom().list(form.get("address"), now()))
}
