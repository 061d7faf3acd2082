//! What a person has given, and what is good once: it is presented for the connection that it was given for, and for no
//! other, and a refresh meanwhile is no reason to let it lie.

mod stage;

use perennial::core::Grant;
use perennial::core::connection::Connection;
use perennial::core::grant::Client;
use perennial::core::secret::{ClientSecret, Credential};
use perennial::{Error, core::profile::concur::CONCUR};
use stage::{EU2, Stage, issued, nothing};

fn code() -> Grant {
    Grant::AuthorizationCode {
        code: Credential::new("code"),
        redirect_uri: "http://127.0.0.1/".to_owned(),
        verifier: None,
        nonce: None,
    }
}

#[tokio::test]
async fn law_3_a_refresh_meanwhile_leaves_no_sign_in_lying_and_another_grant_does() {
    let stage = Stage::open(vec![issued(1, EU2), issued(2, EU2), issued(3, EU2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let seen = stage.keeper.connection("default").unwrap();
    stage.keeper.refresh("default").await.unwrap();
    let hand_out = stage.keeper.obtain_given(&seen, code()).await.unwrap();
    assert_eq!(hand_out.access_token.expose(), "access-3");
    assert!(stage.sent()[2].form.contains("code=code"), "the code was exchanged");
    // Presented again, for the grant that is gone: somebody has authorized since, and nothing is sent.
    let same = stage.keeper.obtain_given(&seen, code()).await.unwrap();
    assert_eq!((same.access_token.expose(), stage.sent().len()), ("access-3", 3));
}

#[tokio::test]
async fn law_13_what_was_given_for_one_connection_lands_in_no_other_of_its_name() {
    let stage = Stage::open(vec![issued(1, EU2)]);
    stage.keeper.obtain(&nothing()).await.unwrap();
    let other = Connection::new("another", "default", &CONCUR);
    let refused = stage.keeper.obtain_given(&other, code()).await;
    assert!(matches!(refused, Err(Error::OtherConnection)), "{refused:?}");
    assert_eq!(stage.sent().len(), 1, "and nothing was sent");
}

#[test]
fn law_10_no_fingerprint_is_made_of_what_could_be_guessed() {
    let client = Client { id: "app".to_owned(), secret: ClientSecret::new("secret") };
    let password =
        |password: &str| Grant::Password { username: "anna".to_owned(), password: Credential::new(password) };
    assert_eq!(password("summer").fingerprint(&client), password("winter").fingerprint(&client));
}
