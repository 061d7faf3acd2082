//! Law 10: planted secrets, and a look at everything that was written, sent and logged.

use crate::receiver::{Answer, Receiver};
use crate::stage::{NOW, SECRET, Stage, files, log, until};
use perennial::core::connection::{Access, Condition, Held, Previous};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{AccessToken, IdToken, RefreshToken};
use perennial::core::token_endpoint::response::Others;
use perennial::core::{Connection, Expiry, Origin};
use perennial_daemon::alerts::Seen;
use std::time::Duration;

const CANARY: &str = "canary-0f9e8d7c";

#[tokio::test]
async fn law_10_no_secret_is_in_a_message_the_outbox_or_the_log() {
    let mut receiver = Receiver::start([Answer::Status(500), Answer::Close]).await;
    let stage = Stage::new();
    let url = stage.secret(&receiver.url(&format!("/services/{CANARY}?key={CANARY}")));
    let wrong = stage.secret(&format!("https://user:{CANARY}@example.com/{CANARY}"));
    let secret = stage.secret(SECRET);
    let stage = stage
        .sink(&format!("kind = \"webhook\"\nurl = \"{url}\"\nsecret = \"{secret}\"\n"))
        .sink(&format!("kind = \"slack\"\nurl = \"{wrong}\"\n"));
    stage.world.put(Seen::of(&connection(), connection().state(NOW)));
    let alerts = stage.start();
    let mut sent = Vec::new();
    for _ in 0..3 {
        let request = receiver.next().await;
        assert!(request.path.contains(CANARY), "that is the receiver's own");
        sent.extend_from_slice(&request.body);
    }
    let tally = alerts.tally();
    until("one delivered and the other refused", || tally.delivered() == 1 && tally.failed() >= 3).await;
    for path in files(&stage.outbox()) {
        sent.extend(std::fs::read(path).unwrap());
    }
    alerts.stop(Duration::from_secs(10)).await;
    let everything =
        format!("{}{}", String::from_utf8_lossy(&sent), String::from_utf8_lossy(&log().lock().unwrap()));
    assert!(
        everything.contains("needs_reauthorization") && everything.contains("slack 2"),
        "it was looked at"
    );
    for secret in [CANARY, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        let at = everything.find(secret);
        assert_eq!(at.map(|at| &everything[at.saturating_sub(200)..at]), None, "{secret}");
    }
}

/// A connection with a canary wherever a secret may be.
fn connection() -> Connection {
    let base = Origin::parse("https://us2.api.concursolutions.com").unwrap();
    let mut connection = Connection::new("id-acme", "acme", &CONCUR);
    connection.held = Some(Held {
        grant_id: "grant".to_owned(),
        generation: 3,
        access: Some(Access {
            token: AccessToken::new(CANARY),
            token_type: "Bearer".to_owned(),
            expiry: Expiry::Stated(NOW.plus(600)),
        }),
        refresh: Some(RefreshToken::new(CANARY)),
        refresh_expiry: Some(Expiry::Stated(NOW.plus(86_400 * 5))),
        base: base.clone(),
        scope: None,
        id_token: Some(IdToken::new(CANARY)),
        refreshed_at: Some(NOW),
        granted_at: None,
        others: Others::default(),
    });
    connection.previous = vec![Previous {
        grant_id: "grant".to_owned(),
        generation: 2,
        refresh: RefreshToken::new(CANARY),
        base,
        replaced_at: NOW,
        replaced_by: None,
    }];
    connection.condition = Condition::NeedsReauthorization;
    connection
}
