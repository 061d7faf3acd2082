//! An answer that contradicts itself, and one that says "not yet": neither is handed out, neither harms what is held.

mod stage;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perennial::Error;
use perennial::core::Grant;
use perennial::core::connection::{Aside, Condition};
use perennial::core::secret::Credential;
use serde_json::{Value, json};
use stage::{Answer, EU2, MIN_TTL, Stage, issued, nothing};

/// Tokens with an id_token that says `claims`, signed in name only: no key is to be had on this stage.
fn identified(number: u32, claims: &Value) -> Answer {
    let (status, mut body) = issued(number, EU2)?;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    body["id_token"] = json!(format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims)));
    Ok((status, body))
}

fn claims(change: impl Fn(&mut Value)) -> Value {
    let mut claims = json!({"iss": EU2, "aud": "app", "sub": "company", "exp": 1_800_003_600});
    change(&mut claims);
    claims
}

#[tokio::test]
async fn law_13_an_answer_that_is_not_believed_is_kept_aside_and_never_handed_out() {
    let stage = Stage::open(vec![identified(1, &claims(|claims| claims["aud"] = json!("another app")))]);
    let refused = stage.keeper.obtain(&nothing()).await;
    assert!(matches!(refused, Err(Error::Unbelieved(_))), "{refused:?}");
    let kept = stage.keeper.connection("default").unwrap();
    assert_eq!(kept.candidates.iter().map(|aside| aside.reason).collect::<Vec<_>>(), [Aside::Unbelieved]);
    assert!(kept.held.is_none() && stage.keeper.peek("default", MIN_TTL).unwrap().is_none());
    assert!(stage.keeper.token("default", MIN_TTL).await.is_err());
    assert_eq!(stage.sent().len(), 1, "and nothing more is sent");
}

#[tokio::test]
async fn law_13_a_refresh_that_is_not_believed_leaves_what_is_held() {
    let good = claims(|_| {});
    let evil = claims(|claims| claims["iss"] = json!("https://evil.example"));
    let stage = Stage::open(vec![identified(1, &good), identified(2, &evil)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let refused = stage.keeper.refresh("default").await;
    assert!(matches!(refused, Err(Error::Unbelieved(_))), "{refused:?}");
    let kept = stage.keeper.connection("default").unwrap();
    assert_eq!(kept.condition, Condition::Suspended);
    assert_eq!(kept.held.as_ref().map(|held| held.generation), Some(1));
    assert_eq!(kept.candidates.len(), 1, "law 5: the answer is not thrown away");
    let served = stage.keeper.token("default", MIN_TTL).await.unwrap();
    assert_eq!(served.access_token.expose(), "access-1", "law 9");
}

/// RFC 8628 section 3.5: a person has not approved yet. That is no failure of anything.
#[tokio::test]
async fn who_has_not_approved_yet_leaves_no_trace() {
    let not_yet = |error: &str| Ok((400, json!({"error": error})));
    let answers =
        vec![issued(1, EU2), not_yet("authorization_pending"), not_yet("slow_down"), issued(2, EU2)];
    let stage = Stage::open(answers);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let before = stage.keeper.connection("default").unwrap();
    let poll = async || {
        let device_code = Credential::new("device");
        stage.keeper.obtain_with("default", Grant::DeviceCode { device_code }).await
    };
    assert!(matches!(poll().await, Err(Error::Pending { slow_down: false })));
    assert!(matches!(poll().await, Err(Error::Pending { slow_down: true })));
    assert_eq!(stage.keeper.connection("default").unwrap(), before);
    let events = stage.keeper.store().journal(Some("default"), None, 100).unwrap();
    assert!(events.iter().all(|event| event.entry.event.as_str() != "refused"), "{events:?}");
    assert_eq!(poll().await.unwrap().access_token.expose(), "access-2");
}
