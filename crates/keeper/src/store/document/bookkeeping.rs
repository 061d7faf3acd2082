//! What stands under the key `perennial`, part by part: each is written by one function and read by the next. A part
//! that cannot be read is left out, never guessed.

use super::members::{Members, count, list, number, object, text, time};
use super::server::{obtaining_to, server_to};
use perennial_core::connection::{
    Aside, Candidate, Condition, Connection, Fault, Intent, Previous, RequestTokenUse,
};
use perennial_core::grant::Principal;
use perennial_core::profile::{Profile, Purpose};
use perennial_core::secret::{Fingerprint, RefreshToken};
use perennial_core::time::{Expiry, HostClock, Skew};
use perennial_core::token_endpoint::TokenResponse;
use perennial_core::verdict::Verdict;
use perennial_core::{Origin, Policy, UnixTime};
use serde_json::{Value, json};

/// `was` is what stands there now: of its lists, entries that cannot be read stay.
pub(super) fn write(connection: &Connection, was: &Members, version: i64) -> Members {
    let mut own = Members::new();
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            own.insert(name.to_owned(), value);
        }
    };
    put("version", json!(version));
    put("id", json!(connection.id));
    put("profile", json!(connection.profile.name));
    put("server", connection.server.as_ref().map_or(Value::Null, server_to));
    put("obtaining", obtaining_to(&connection.obtaining));
    put("principal", json!(connection.principal.as_ref().map(Principal::as_str)));
    if let Some(held) = &connection.held {
        put("grant_id", json!(held.grant_id));
        put("generation", json!(held.generation));
        put("refreshed_at", json!(held.refreshed_at.map(|at| at.0)));
        put("granted_at", json!(held.granted_at.map(|at| at.0)));
        put("refresh_expiry", json!(held.refresh_expiry.map(Expiry::basis)));
        if let Some(access) = &held.access {
            put("access_expires_at", json!(access.expiry.at().0));
            put("access_expiry", json!(access.expiry.basis()));
        }
    }
    put("permitted_origins", json!(connection.permitted.iter().map(Origin::to_string).collect::<Vec<_>>()));
    put("condition", condition_to(connection.condition));
    put("intent", connection.intent.as_ref().map_or(Value::Null, intent_to));
    let previous = connection.previous.iter().map(previous_to);
    put("previous", previous.chain(unread(was, "previous", previous_from)).collect());
    let candidates = connection.candidates.iter().map(candidate_to);
    put("candidates", candidates.chain(unread(was, "candidates", candidate_from)).collect());
    put("request_token", connection.request_token.as_ref().map_or(Value::Null, request_token_to));
    put("forced_at", json!(connection.forced_at.map(|at| at.0)));
    put("last_fault", connection.last_fault.as_ref().map_or(Value::Null, fault_to));
    let here = connection.clock.clone().map(|clock| (clock, connection.skew));
    put("clocks", connection.other_clocks.iter().chain(&here).map(clock_to).collect());
    let policy: Members = connection
        .policy
        .overrides(connection.profile)
        .map(|(name, text)| (name.to_owned(), json!(text)))
        .collect();
    if !policy.is_empty() {
        put("policy", Value::Object(policy));
    }
    own
}

fn clock_to((host, skew): &(HostClock, Skew)) -> Value {
    let HostClock { kernel, boot_epoch } = host;
    json!({"kernel": kernel, "boot_epoch": boot_epoch, "skew": skew.seconds, "suspected": skew.suspected})
}

pub(super) fn clock_from(value: &Value) -> Option<(HostClock, Skew)> {
    let value = value.as_object()?;
    let host =
        HostClock { kernel: text(value, "kernel")?.to_owned(), boot_epoch: number(value, "boot_epoch")? };
    let skew = Skew { seconds: number(value, "skew").unwrap_or(0), suspected: number(value, "suspected") };
    Some((host, skew))
}

/// The profile's numbers with those that a person has changed; one that cannot be read is the profile's.
pub(super) fn policy_from(own: &Members, profile: &Profile) -> Policy {
    let mut policy = Policy::of(profile);
    for (name, value) in object(own, "policy").into_iter().flatten() {
        if let Err(problem) = policy.set(name, value.as_str().unwrap_or_default()) {
            tracing::warn!(%problem, "a number of the policy is not understood");
        }
    }
    policy
}

/// Entries that nobody here can read: there may be a refresh token in one (law 5).
fn unread<T>(was: &Members, name: &str, read: fn(&Value) -> Option<T>) -> impl Iterator<Item = Value> {
    list(was, name).filter(move |entry| read(entry).is_none()).cloned()
}

fn condition_to(condition: Condition) -> Value {
    match condition {
        Condition::Sound => Value::Null,
        Condition::BackingOff { until, failures } => {
            json!({"state": "backing_off", "until": until.0, "failures": failures})
        }
        Condition::Uncertain { until, failures } => {
            json!({"state": "uncertain", "until": until.0, "failures": failures})
        }
        Condition::Suspended => json!({"state": "suspended"}),
        Condition::NeedsReauthorization => json!({"state": "needs_reauthorization"}),
        Condition::Revoked => json!({"state": "revoked"}),
    }
}

pub(super) fn condition_from(value: &Members) -> Option<Condition> {
    let until = time(value, "until").unwrap_or(UnixTime(0));
    let failures = number(value, "failures").and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    Some(match text(value, "state")? {
        "backing_off" => Condition::BackingOff { until, failures },
        "uncertain" => Condition::Uncertain { until, failures },
        "suspended" => Condition::Suspended,
        "needs_reauthorization" => Condition::NeedsReauthorization,
        "revoked" => Condition::Revoked,
        _ => return None,
    })
}

fn intent_to(intent: &Intent) -> Value {
    json!({
        "purpose": intent.purpose.as_str(),
        "grant_id": intent.grant_id,
        "generation": intent.generation,
        "presented": intent.presented.as_str(),
        "base": intent.base.to_string(),
        "written_at": intent.written_at.0,
        "first_presented_at": intent.first_presented_at.0,
        "deadline": intent.deadline.0,
        "kernel": intent.kernel,
        "process": intent.process,
        "correlation_id": intent.correlation_id,
        "forced": intent.forced.then_some(true),
        "beneath": intent.beneath.as_deref().map(intent_to),
    })
}

pub(super) fn intent_from(value: &Members) -> Option<Intent> {
    Some(Intent {
        purpose: purpose(value)?,
        grant_id: text(value, "grant_id").unwrap_or_default().to_owned(),
        generation: count(value, "generation")?,
        presented: Fingerprint::parse(text(value, "presented")?)?,
        base: Origin::parse(text(value, "base")?).ok()?,
        written_at: time(value, "written_at")?,
        first_presented_at: time(value, "first_presented_at").or_else(|| time(value, "written_at"))?,
        deadline: time(value, "deadline")?,
        kernel: text(value, "kernel").unwrap_or_default().to_owned(),
        process: number(value, "process").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        correlation_id: text(value, "correlation_id").unwrap_or_default().to_owned(),
        forced: value.get("forced") == Some(&Value::Bool(true)),
        beneath: object(value, "beneath").and_then(intent_from).map(Box::new),
    })
}

fn purpose(value: &Members) -> Option<Purpose> {
    let name = text(value, "purpose")?;
    [Purpose::Obtain, Purpose::Refresh].into_iter().find(|purpose| purpose.as_str() == name)
}

fn previous_to(previous: &Previous) -> Value {
    json!({
        "grant_id": previous.grant_id,
        "generation": previous.generation,
        "refresh_token": previous.refresh.expose(),
        "base": previous.base.to_string(),
        "replaced_at": previous.replaced_at.0,
        "replaced_by": previous.replaced_by,
    })
}

pub(super) fn previous_from(value: &Value) -> Option<Previous> {
    let value = value.as_object()?;
    Some(Previous {
        grant_id: text(value, "grant_id").unwrap_or_default().to_owned(),
        generation: count(value, "generation").unwrap_or(0),
        refresh: RefreshToken::new(text(value, "refresh_token")?),
        base: Origin::parse(text(value, "base")?).ok()?,
        replaced_at: time(value, "replaced_at").unwrap_or(UnixTime(0)),
        replaced_by: text(value, "replaced_by").map(str::to_owned),
    })
}

fn candidate_to(candidate: &Candidate) -> Value {
    json!({
        "reason": candidate.reason.as_str(),
        "grant_id": candidate.grant_id,
        "generation": candidate.generation,
        "base": candidate.base.to_string(),
        "sent_at": candidate.sent_at.0,
        "received_at": candidate.received_at.0,
        "answer": response_to(&candidate.response),
    })
}

pub(super) fn candidate_from(value: &Value) -> Option<Candidate> {
    let value = value.as_object()?;
    Some(Candidate {
        reason: Aside::parse(text(value, "reason").unwrap_or_default()),
        grant_id: text(value, "grant_id").unwrap_or_default().to_owned(),
        generation: count(value, "generation").unwrap_or(0),
        base: Origin::parse(text(value, "base")?).ok()?,
        sent_at: time(value, "sent_at").or_else(|| time(value, "received_at")).unwrap_or(UnixTime(0)),
        received_at: time(value, "received_at").unwrap_or(UnixTime(0)),
        response: TokenResponse::from_members(object(value, "answer")?)?,
    })
}

/// A token response as the server would have sent it.
fn response_to(response: &TokenResponse) -> Value {
    let mut answer = response.others.0.clone();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            answer.insert(name.to_owned(), value);
        }
    };
    put("expires_in", response.expires_in.map(|life| json!(life.as_secs())));
    put("scope", response.scope.as_ref().map(|scope| json!(scope)));
    put("token_type", Some(json!(response.token_type)));
    put("access_token", Some(json!(response.access_token.expose())));
    put("refresh_token", response.refresh_token.as_ref().map(|token| json!(token.expose())));
    let life = response.refresh_expires_in.map(|life| json!(life.as_secs()));
    put("refresh_expires_in", response.refresh_expires_at.map(|at| json!(at.0)).or(life));
    put("geolocation", response.geolocation.as_ref().map(|base| json!(base.to_string())));
    put("id_token", response.id_token.as_ref().map(|token| json!(token.expose())));
    Value::Object(answer)
}

fn fault_to(fault: &Fault) -> Value {
    json!({
        "at": fault.at.0,
        "purpose": fault.purpose.as_str(),
        "verdict": fault.verdict.as_str(),
        "status": fault.status,
        "code": fault.code,
        "description": fault.description,
        "correlation_id": fault.correlation_id,
        "message": fault.message,
    })
}

pub(super) fn fault_from(value: &Members) -> Option<Fault> {
    Some(Fault {
        at: time(value, "at")?,
        purpose: purpose(value)?,
        verdict: Verdict::parse(text(value, "verdict")?)?,
        status: number(value, "status").and_then(|n| u16::try_from(n).ok()),
        code: number(value, "code").and_then(|n| u32::try_from(n).ok()),
        description: text(value, "description").map(str::to_owned),
        correlation_id: text(value, "correlation_id").map(str::to_owned),
        message: text(value, "message").unwrap_or_default().to_owned(),
    })
}

fn request_token_to(token: &RequestTokenUse) -> Value {
    json!({"fingerprint": token.fingerprint.as_str(), "uses": token.uses, "first_used_at": token.first_used_at.0})
}

pub(super) fn request_token_from(value: &Members) -> Option<RequestTokenUse> {
    Some(RequestTokenUse {
        fingerprint: Fingerprint::parse(text(value, "fingerprint")?)?,
        uses: number(value, "uses").and_then(|n| u32::try_from(n).ok())?,
        first_used_at: time(value, "first_used_at")?,
    })
}
