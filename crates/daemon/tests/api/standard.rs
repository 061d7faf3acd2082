//! The standard door: what any OAuth client library sends and understands.

use crate::support::{House, Reply, ask_tcp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use perennial_daemon::Daemon;
use perennial_daemon::config::Right;

async fn post(daemon: &Daemon, basic: Option<(&str, &str)>, form: &str) -> Reply {
    let encoded = basic.map(|(id, secret)| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
    headers.extend(encoded.as_deref().map(|value| ("authorization", value)));
    ask_tcp(daemon, "POST", "/oauth2/token", &headers, form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_give_the_providers_token() {
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "*");
    let daemon = house.serve(&[]);
    let form = "grant_type=client_credentials&scope=acme";
    let basic = post(&daemon, Some(("billing", &key)), form).await;
    let token = basic.json();
    assert_eq!(
        (basic.status, token["scope"].as_str(), token["token_type"].as_str()),
        (200, Some("acme"), Some("Bearer"))
    );
    assert_eq!(basic.header("cache-control"), Some("no-store"));
    let same = post(&daemon, None, &format!("{form}&client_id=billing&client_secret={key}")).await;
    assert_eq!(same.access_token(), basic.access_token());
    let audience = "grant_type=client_credentials&audience=acme";
    assert_eq!(post(&daemon, Some(("billing", &key)), audience).await.access_token(), basic.access_token());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_key_can_be_exchanged() {
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "acme");
    let daemon = house.serve(&[]);
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={key}&\
         subject_token_type=urn:ietf:params:oauth:token-type:access_token&audience=acme"
    );
    let reply = post(&daemon, None, &form).await;
    assert_eq!(
        reply.json()["issued_token_type"],
        "urn:ietf:params:oauth:token-type:access_token",
        "{reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_the_words_of_rfc_6749() {
    let house = House::new();
    house.obtain("acme").await;
    let key = house.key("billing", &[Right::Token], "ac*");
    let daemon = house.serve(&["access.failures_per_minute=1000"]);
    let good = Some(("billing", key.as_str()));
    for (who, form, status, error) in [
        (good, "scope=acme", 400, "invalid_request"),
        (good, "grant_type=password&scope=acme", 400, "unsupported_grant_type"),
        (good, "grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        (good, "grant_type=client_credentials", 400, "invalid_scope"),
        (good, "grant_type=client_credentials&scope=acme+west", 400, "invalid_scope"),
        (good, "grant_type=client_credentials&scope=west", 400, "invalid_scope"),
        (good, "grant_type=client_credentials&scope=acme&client_secret=x", 400, "invalid_request"),
        (Some(("billing", "wrong")), "grant_type=client_credentials&scope=acme", 401, "invalid_client"),
        (Some(("other", key.as_str())), "grant_type=client_credentials&scope=acme", 401, "invalid_client"),
        (None, "grant_type=client_credentials&scope=acme", 401, "invalid_client"),
    ] {
        let reply = post(&daemon, who, form).await;
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (status, Some(error)),
            "{form}: {reply:?}"
        );
        assert!(!reply.body.contains(&key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_names_the_door() {
    let house = House::new();
    let daemon = house.serve(&["listen.public_url=https://tokens.example.com/"]);
    let reply = ask_tcp(&daemon, "GET", "/.well-known/oauth-authorization-server", &[], "").await;
    let metadata = reply.json();
    assert_eq!(metadata["issuer"], "https://tokens.example.com");
    assert_eq!(metadata["token_endpoint"], "https://tokens.example.com/oauth2/token");
    assert_eq!(metadata["grant_types_supported"][0], "client_credentials");
}
