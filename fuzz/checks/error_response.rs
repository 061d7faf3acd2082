//! Whatever a token endpoint answers with an error status: it is no token response, it is judged with restraint, and
//! the connection that hears it keeps its grant.

use super::canary::with_other_secrets;
use super::memory::{assert_remembered, recall};
use super::presentation::plan;
use super::reply::{NOW, reply};
use perennial::core::connection::Fault;
use perennial::core::profile::{Purpose, concur::CONCUR};
use perennial::core::schedule::Jitter;
use perennial::core::token_endpoint::{self, Failure, Reply};
use perennial::core::verdict::{Judgement, judge};
use perennial::core::{Policy, Spent, State, Verdict};
use serde_json::{Map, Value, json};

/// Checks one answer; a status that is no error becomes one.
pub fn check(bytes: &[u8]) {
    let mut reply = reply(bytes);
    if !(400..600).contains(&reply.status) {
        reply.status = 400 + reply.status % 200;
    }
    let Err(failure) = token_endpoint::read(&reply, NOW) else {
        panic!("tokens under a {} are not handed out", reply.status);
    };
    assert_tokens_do_not_matter(&failure, &reply);
    // As the shell does it: a server's texts are made fit to be shown before they go anywhere.
    let failure = match failure {
        Failure::Refused(refusal) => Failure::Refused(refusal.blotted(str::to_owned)),
        other => other,
    };
    for purpose in [Purpose::Obtain, Purpose::Refresh] {
        let judgement = judge(&failure, purpose, &CONCUR, &Policy::of(&CONCUR));
        assert_judged_with_restraint(&judgement, &failure, reply.status);
        assert_the_grant_is_kept(&judgement, &failure, purpose);
    }
}

/// Law 10: a failure is the same whatever tokens stand beside it, so none can be read out of it.
fn assert_tokens_do_not_matter(failure: &Failure, reply: &Reply) {
    let Ok(Value::Object(members)) = serde_json::from_slice(&reply.body) else { return };
    let other = with_other_secrets(&members, &["access_token", "refresh_token", "id_token"]);
    let body = Value::Object(other).to_string().into_bytes().into();
    assert_eq!(token_endpoint::read(&Reply { body, ..reply.clone() }, NOW).as_ref(), Err(failure));
}

/// Law 5: only what is known to mean it ends a grant. Law 7: an error of the server's, and a foreign answer, may come
/// after the grant was used.
fn assert_judged_with_restraint(judgement: &Judgement, failure: &Failure, status: u16) {
    let in_so_many_words = matches!(failure, Failure::Refused(_)) && (400..500).contains(&status);
    let spent = if in_so_many_words || status == 429 { Spent::No } else { Spent::Maybe };
    assert_eq!(judgement.spent, spent);
    assert_eq!(judgement.verdict == Verdict::Relocate, judgement.base.is_some());
    match failure {
        Failure::Refused(refusal) => match refusal.code {
            Some(_) if CONCUR.row(refusal).is_none() => assert_eq!(judgement.verdict, Verdict::Unknown),
            None if refusal.error.as_deref() != Some("invalid_grant") => {
                assert_ne!(judgement.verdict, Verdict::GrantGone);
            }
            _ => {}
        },
        _ => assert_ne!(judgement.verdict, Verdict::GrantGone),
    }
}

/// Law 5: whatever was said, the refresh token stays, and what happened can be shown and stored.
fn assert_the_grant_is_kept(judgement: &Judgement, failure: &Failure, purpose: Purpose) {
    let file = Map::from_iter([("refresh_token".to_owned(), json!("refresh"))]);
    let held = recall(&file);
    let failed = held.intend(plan(purpose)).fail(failure, judgement, NOW, Jitter::LEAST);
    assert_eq!(failed.held, held.held);
    if judgement.verdict != Verdict::GrantGone {
        assert_ne!(failed.state(NOW), State::NeedsReauthorization);
    }
    let Some(Fault { message, .. }) = &failed.last_fault else { panic!("a failure leaves a fault") };
    assert!(!message.contains(char::is_control), "{message:?}");
    assert_remembered(&failed, &file);
}
