//! A server that describes itself, from its issuer to the end of a grant: discovered, signed in at in a browser and on
//! another device, asked about, given back.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use crate::sign_ins::{BACK, browser, finish, press};
use crate::support::{House, Reply, ask_with, exchange, request, until};
use perennial::core::connection::Way;
use perennial::core::profile::file::ProfileFile;
use perennial::core::profile::registry;
use perennial_daemon::config::Right;
use perennial_sandbox::Config;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpStream;

/// A sandbox that is any server, whose pages a test can read without TLS.
fn house() -> House {
    let device_interval = Duration::from_secs(1);
    House::with(Config { tls: false, generic: true, device_interval, ..Config::default() })
}

async fn add(house: &House, name: &str, grant: Value) -> Reply {
    let ready = house.sandbox.ready();
    let new = json!({"name": name, "client_id": ready.app_id, "client_secret": ready.client_secret,
        "grant": grant, "scope": "openid user.read", "server": {"issuer": house.sandbox.base_uri()}});
    house.ask("POST", "/v1/connections", &new.to_string()).await
}

async fn post(house: &House, path: &str, body: &str) -> Reply {
    house.ask("POST", &format!("/v1/connections/{path}"), body).await
}

async fn shown(house: &House, name: &str) -> Value {
    house.get(&format!("/v1/connections/{name}")).await.json()
}

/// What is shown of the sign-in on another device, once it is over.
async fn outcome(house: &House, name: &str) -> Value {
    until("the sign-in is over", async || {
        let sign_in = shown(house, name).await["sign_in"].clone();
        (sign_in["state"] != "under_way").then_some(sign_in)
    })
    .await
}

/// Ann types the code into the page, and presses a button.
async fn at_the_device(house: &House, begun: &Value, decision: &str) {
    let (ann, code) = (&house.sandbox.ready().users[0], begun["user_code"].as_str().unwrap());
    let form = format!("user_code={code}&login={}&password={}&decision={decision}", ann.login, ann.password);
    let host = house.sandbox.base_uri().strip_prefix("http://").unwrap();
    let headers = [("host", host), ("content-type", "application/x-www-form-urlencoded")];
    let page =
        exchange(TcpStream::connect(host).await.unwrap(), &request("POST", "/device", &headers, &form)).await;
    assert_eq!(page.status, 200, "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_what_it_is_and_its_endpoints_are_kept() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let added = add(&house, "app", json!({"type": "client_credentials"})).await;
    assert_eq!(added.status, 201, "{added:?}");
    let (shown, base) = (added.json(), house.sandbox.base_uri());
    assert_eq!((&shown["issuer"], &shown["profile"]), (&json!(base), &json!("generic")));
    assert_eq!(shown["token_endpoint"], format!("{base}/oauth2/v0/token"));
    assert_eq!(shown["client_authentication"], "client_secret_basic", "what most servers take goes first");
}

/// One that says where the server is, with a blank; the server is asked for the rest.
fn profile(base: &str) {
    let text = format!(
        "name = \"acme\"\ntitle = \"Acme\"\n\n\
         [facts]\nrotation = {{ is = \"always\", source = \"login\" }}\n\
         replay = {{ is = \"never\", source = \"login\" }}\n\n\
         [server]\nissuer = \"{base}\"\ndiscovers = true\napi = \"https://{{tenant}}.api.acme.example\"\n\
         scope = \"openid offline_access\"\nsources = [\"login\"]\n\n\
         [[server.blank]]\nname = \"tenant\"\nkind = \"label\"\nmeaning = \"your tenant\"\n\n\
         [[source]]\nkey = \"login\"\ntitle = \"Acme\"\naddress = \"https://docs.acme.example\"\n"
    );
    let file = ProfileFile::parse(&text);
    registry::install(file.unwrap_or_else(|mistakes| panic!("{mistakes:?}")).into_profile());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_says_where_the_server_is_and_what_it_asks_for_must_be_said() {
    let house = House::with(Config { generic: true, ..Config::default() });
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    profile(house.sandbox.base_uri());
    let ready = house.sandbox.ready();
    let add = async |name: &str, grant: &str, server: Value| {
        let new = json!({"name": name, "client_id": ready.app_id, "client_secret": ready.client_secret,
            "grant": {"type": grant}, "server": server});
        house.ask("POST", "/v1/connections", &new.to_string()).await
    };
    let settings = json!({"tenant": "west"});
    let itself = add("app", "client_credentials", json!({"profile": "acme", "settings": settings})).await;
    assert_eq!((itself.status, &itself.json()["profile"]), (201, &json!("acme")), "{itself:?}");
    let kept = house.keeper.connection("app").unwrap();
    assert_eq!(kept.server.unwrap().api.unwrap().to_string(), "https://west.api.acme.example");
    assert_eq!(kept.obtaining.scope, None, "an app is given no refresh token");
    let person = add("ann", "sign_in", json!({"profile": "acme", "settings": settings})).await;
    assert_eq!(person.status, 201, "{person:?}");
    let scope = house.keeper.connection("ann").unwrap().obtaining.scope;
    assert_eq!(scope.as_deref(), Some("openid offline_access"), "what brings a refresh token");
    let new = json!({"name": "none", "client_id": ready.app_id, "client_secret": ready.client_secret,
        "grant": {"type": "refresh_token", "refresh_token": "r"}, "scope": "",
        "server": {"profile": "acme", "settings": settings}});
    house.ask("POST", "/v1/connections", &new.to_string()).await;
    let kept = house.keeper.connection("none").unwrap();
    assert_eq!((kept.obtaining.scope, kept.obtaining.way), (None, Way::SignIn), "an empty one is none");

    let issuer = house.sandbox.base_uri();
    for (server, why) in [
        (json!({"profile": "acme"}), "a value is missing: tenant (your tenant)"),
        (json!({"profile": "acme", "settings": {"tenant": "a.evil.example/"}}), "cannot stand for tenant"),
        (json!({"profile": "acme", "settings": {"tenat": "a"}}), "nothing called"),
        (json!({"profile": "acme", "settings": settings, "issuer": issuer}), "settings fill in"),
        (json!({"profile": "acme", "settings": settings, "jwks_uri": issuer}), "name the profile alone"),
        (json!({"settings": settings}), "a profile"),
        (json!({"profile": "generic"}), "names no endpoints"),
        (json!({"profile": "concur"}), "leave the server out"),
    ] {
        let refused = add("x", "client_credentials", server).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains(why), "{refused:?}");
    }
    // Law 10: a profile's issuer is no way into this machine for whoever may not go there himself.
    let key = house.key("stranger", &[Right::Admin], "*");
    let new = json!({"name": "x", "client_id": "a", "client_secret": "b", "grant": {"type": "client_credentials"},
        "server": {"profile": "acme", "settings": settings}});
    let refused = ask_with(&daemon, &key, "POST", "/v1/connections", &new.to_string()).await;
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (403, &json!("/problems/out-of-reach")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_another_device_lives_and_is_given_back() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    assert_eq!(add(&house, "ann", json!({"type": "sign_in"})).await.status, 201);
    let begun = post(&house, "ann/sign-in", "{\"type\": \"device\"}").await;
    assert_eq!((begun.status, &begun.json()["type"]), (200, &json!("device")), "{begun:?}");
    assert_eq!(shown(&house, "ann").await["sign_in"]["state"], "under_way");
    let brought = post(&house, "ann/signed-in", "{\"otp\": \"x\"}").await;
    assert_eq!(brought.status, 409, "nothing comes back from a device: {brought:?}");
    at_the_device(&house, &begun.json(), "approve").await;
    let sign_in = outcome(&house, "ann").await;
    assert_eq!(sign_in["state"], "done", "{sign_in}");
    let held = shown(&house, "ann").await;
    assert_eq!(
        (&held["state"], &held["principal"]),
        (&json!("held"), &json!(house.sandbox.ready().users[0].uuid))
    );
    assert_eq!(house.get("/v1/connections/ann/token").await.status, 200);
    assert_eq!(post(&house, "ann/refresh", "").await.status, 200);

    let good = post(&house, "ann/introspect", "").await;
    assert_eq!((good.status, &good.json()["active"]), (200, &json!(true)), "{good:?}");
    let revoked = post(&house, "ann/revoke", "").await;
    assert_eq!(
        (revoked.status, &revoked.json()["whole_principal"]),
        (200, &json!(false)),
        "this grant alone: {revoked:?}"
    );
    let gone = post(&house, "ann/introspect", "").await;
    assert_eq!((gone.status, &gone.json()["active"]), (200, &json!(false)), "{gone:?}");
    assert_eq!(house.get("/v1/connections/ann/token").await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_denies_at_the_device_is_heard() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    assert_eq!(add(&house, "ann", json!({"type": "sign_in"})).await.status, 201);
    let begun = post(&house, "ann/sign-in", "{\"type\": \"device\"}").await;
    at_the_device(&house, &begun.json(), "deny").await;
    let sign_in = outcome(&house, "ann").await;
    assert_eq!(sign_in["state"], "failed", "{sign_in}");
    assert!(sign_in["detail"].is_string(), "{sign_in}");
    assert_eq!(shown(&house, "ann").await["principal"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_waits_for_no_person() {
    let house = house();
    let daemon = house.serve(&["keep_alive.enabled=false"]);
    assert_eq!(add(&house, "ann", json!({"type": "sign_in"})).await.status, 201);
    let begun = post(&house, "ann/sign-in", "{\"type\": \"device\"}").await;
    assert_eq!(begun.status, 200, "{begun:?}");
    assert!(daemon.drain().await, "though nobody has approved");
    assert_eq!(house.keeper.connection("ann").unwrap().intent, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_up_of_servers_ends_the_sign_in_and_presents_no_code() {
    let house = house();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    assert_eq!(add(&house, "ann", json!({"type": "sign_in"})).await.status, 201);
    let begun = post(&house, "ann/sign-in", &browser()).await.json();
    let state = begun["state"].as_str().unwrap();
    let mixed = format!("{BACK}?code=c&state={state}&iss=https%3A%2F%2Fevil.example");
    let refused = finish(&house, "ann", &mixed).await;
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (409, &json!("/problems/sign-in-failed")),
        "{refused:?}"
    );
    let begun = post(&house, "ann/sign-in", &browser()).await.json();
    let nameless = format!("{BACK}?code=c&state={}", begun["state"].as_str().unwrap());
    assert_eq!(finish(&house, "ann", &nameless).await.status, 409, "it had promised to name itself");
    assert_eq!(house.sandbox.stats().requests, 0);
    let begun = post(&house, "ann/sign-in", &browser()).await.json();
    let own = press(&house, &begun, "approve").await;
    assert_eq!(finish(&house, "ann", &own).await.status, 200);
}
