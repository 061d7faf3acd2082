//! What the answers of the five providers come to.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

use perennial_core::policy::Policy;
use perennial_core::profile::{Profile, Purpose};
use perennial_core::token_endpoint::{BodyEnd, Reply, read};
use perennial_core::verdict::{Verdict, judge};
use perennial_core::{Failure, UnixTime};
use serde_json::{Value, json};

fn verdict(profile: &str, status: u16, body: &Value) -> Verdict {
    let profile = Profile::named(profile).expect("it comes along");
    let reply = Reply {
        status,
        retry_after: None,
        date: None,
        correlation_id: None,
        body: body.to_string().into_bytes().into(),
        end: BodyEnd::Whole,
    };
    let failure: Failure = read(&reply, UnixTime(1_900_000_000)).expect_err("no tokens");
    judge(&failure, Purpose::Refresh, profile, &Policy::of(profile)).verdict
}

#[test]
fn the_answers_of_the_five_come_to_what_a_person_can_act_on() {
    let entra = |code: u32, error: &str| {
        verdict("entra", 400, &json!({"error": error, "error_codes": [code], "error_description": "AADSTS"}))
    };
    assert_eq!(entra(700_082, "invalid_grant"), Verdict::GrantGone);
    assert_eq!(entra(7_000_222, "invalid_client"), Verdict::FixClient);
    assert_eq!(entra(50_196, "invalid_grant"), Verdict::Retry { after: None });
    // Numbers that nobody knew when the table was written leave it to the error beside them.
    assert_eq!(entra(123_456_789, "invalid_grant"), Verdict::GrantGone);
    assert_eq!(entra(123_456_789, "interaction_required"), Verdict::GrantGone);
    assert_eq!(entra(123_456_789, "temporarily_unavailable"), Verdict::Retry { after: None });
    let rapt = json!({"error": "invalid_grant", "error_description": "reauth related error (invalid_rapt)",
        "error_subtype": "invalid_rapt"});
    assert_eq!(verdict("google", 400, &rapt), Verdict::GrantGone);
    let deleted = json!({"error": "deleted_client", "error_description": "The OAuth client was deleted."});
    assert_eq!(verdict("google", 401, &deleted), Verdict::FixClient);
    let denied =
        json!({"error": "access_denied", "error_description": "Policy evaluation failed for this request"});
    assert_eq!(verdict("okta", 400, &denied), Verdict::AskSupport);
    let ended = json!({"error": "invalid_grant", "error_description": "expired access/refresh token"});
    assert_eq!(verdict("salesforce", 400, &ended), Verdict::GrantGone);
    let inactive = json!({"error": "invalid_grant", "error_description": "Inactive user"});
    assert_eq!(verdict("salesforce", 400, &inactive), Verdict::AskSupport);
    let expired =
        json!({"error": "invalid_token", "error_description": "Invalid refresh token expired at …"});
    assert_eq!(verdict("xsuaa", 401, &expired), Verdict::GrantGone);
    let credentials = json!({"error": "unauthorized", "error_description": "Bad credentials"});
    assert_eq!(verdict("xsuaa", 401, &credentials), Verdict::FixClient);
}
