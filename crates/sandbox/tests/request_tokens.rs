//! A request token: five uses, twenty-four hours, one app.

mod common;
use common::*;
use perennial_sandbox::Expire;
use serde_json::json;
use std::time::Duration;

#[test]
fn five_uses_and_no_sixth() {
    let sandbox = plain();
    for _ in 0..5 {
        company(&sandbox);
    }
    let sixth = token(&sandbox, &company_fields(sandbox.ready()));
    assert_eq!((sixth.status, sixth.code()), (400, 5));
    assert_eq!(sandbox.stats().request_token_uses, 5);
}

#[test]
fn a_use_whose_answer_was_lost_counts_and_one_that_never_arrived_does_not() {
    let sandbox = start(|config| config.request_token_uses = 2);
    let fields = company_fields(sandbox.ready());
    inject(&sandbox, &json!({"kind": "reset"}));
    assert!(try_token(&sandbox, &fields).is_err());
    inject(&sandbox, &json!({"kind": "reset", "spent": true}));
    assert!(try_token(&sandbox, &fields).is_err());
    assert_eq!(token(&sandbox, &fields).status, 200);
    assert_eq!(token(&sandbox, &fields).code(), 5);
}

#[test]
fn a_day_later_it_is_refused_and_a_new_one_is_good() {
    let sandbox = plain();
    sandbox.expire(Expire::RequestToken);
    assert_eq!(token(&sandbox, &company_fields(sandbox.ready())).code(), 5);
    let fresh = sandbox.mint_request_token();
    let mut fields = company_fields(sandbox.ready());
    fields[4].1 = &fresh;
    assert_eq!(token(&sandbox, &fields).status, 200);

    let brief = start(|config| config.request_token_lifetime = Duration::ZERO);
    assert_eq!(token(&brief, &company_fields(brief.ready())).code(), 5);
}

#[test]
fn the_token_of_another_app_is_told_apart() {
    let sandbox = plain();
    let answer = order(&sandbox, "POST", "/sandbox/request-token", r#"{"other_app": true}"#);
    let foreign = answer.text("request_token");
    let mut fields = company_fields(sandbox.ready());
    fields[4].1 = &foreign;
    assert_eq!(token(&sandbox, &fields).code(), 136);
}
