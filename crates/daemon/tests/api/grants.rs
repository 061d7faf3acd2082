//! Grants of every kind, at Concur and at servers of any kind; who may name which server; giving a grant back.

use crate::support::{House, Reply, ask_with};
use perennial_daemon::config::Right;
use serde_json::{Value, json};

/// A new connection of the sandbox's app.
fn new(house: &House, name: &str, grant: Value) -> Value {
    let ready = house.sandbox.ready();
    json!({"name": name, "client_id": ready.app_id, "client_secret": ready.client_secret, "grant": grant})
}

/// The sandbox as any server, named endpoint by endpoint.
fn by_hand(house: &House) -> Value {
    let base = house.sandbox.base_uri();
    json!({"token_endpoint": format!("{base}/oauth2/v0/token"), "client_authentication": "client_secret_post"})
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

async fn add(house: &House, body: &Value) -> Reply {
    house.ask("POST", "/v1/connections", &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_speaks_for_itself_at_concur_and_at_any_server() {
    let house = House::new();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let concur = new(&house, "app", json!({"type": "client_credentials"}));
    let any = with(with(concur.clone(), "server", by_hand(&house)), "name", json!("any"));
    for (name, body, profile) in [("app", &concur, "concur"), ("any", &any, "generic")] {
        let added = add(&house, body).await;
        assert_eq!(added.status, 201, "{added:?}");
        let shown = added.json();
        assert_eq!((&shown["way"], &shown["profile"]), (&json!("client_credentials"), &json!(profile)));
        assert_eq!(
            (&shown["state"], &shown["client_authentication"]),
            (&json!("held"), &json!("client_secret_post"))
        );
        assert_eq!(house.get(&format!("/v1/connections/{name}/token")).await.status, 200);
        let again = house.ask("POST", &format!("/v1/connections/{name}/refresh"), "").await;
        assert_eq!((again.status, &again.json()["generation"]), (200, &json!(2)), "obtained anew: {again:?}");
    }
    let shown = house.get("/v1/connections/any").await.json();
    assert_eq!(shown["token_endpoint"], format!("{}/oauth2/v0/token", house.sandbox.base_uri()));
    assert_eq!(house.get("/v1/connections/app").await.json()["token_endpoint"], json!(null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_long_form_of_a_company_grant_is_the_short_one() {
    let house = House::new();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let request_token = house.sandbox.mint_request_token();
    let company = house.sandbox.ready().company_uuid.clone();
    let grant = json!({"type": "company", "company": company, "request_token": request_token});
    let added = add(&house, &new(&house, "acme", grant)).await;
    assert_eq!((added.status, &added.json()["principal"]), (201, &json!(company)), "{added:?}");
    assert_eq!(added.json()["way"], "person");
    let grant =
        json!({"type": "company", "company": company, "request_token": house.sandbox.mint_request_token()});
    let anew =
        house.ask("POST", "/v1/connections/acme/reauthorize", &json!({"grant": grant}).to_string()).await;
    assert_eq!((anew.status, house.sandbox.stats().refreshes), (200, 0), "{anew:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_in_a_grant_is_told_and_leaves_nothing_behind() {
    let house = House::new();
    let daemon = house.serve(&[]);
    let base = |grant: Value| new(&house, "acme", grant);
    let credentials = || base(json!({"type": "client_credentials"}));
    let server = |server: Value| with(credentials(), "server", server);
    let endpoint = format!("{}/oauth2/v0/token", house.sandbox.base_uri());
    for (body, status, kind) in [
        (base(json!({"type": "password", "username": "a", "password": "canary"})), 409, "password"),
        (base(json!({"type": "canary"})), 400, "bad-request"),
        (base(json!({"type": "sign_in", "password": "canary"})), 400, "bad-request"),
        (base(json!({"type": "jwt_bearer"})), 400, "bad-request"),
        (base(json!({"type": "refresh_token", "refresh_token": "canary"})), 400, "bad-request"),
        (with(credentials(), "company_request_token", json!("canary")), 400, "bad-request"),
        (with(credentials(), "client_secret", json!(null)), 400, "bad-request"),
        (with(credentials(), "parameters", json!({"client_secret": "canary"})), 400, "bad-request"),
        (
            with(server(json!({"token_endpoint": endpoint})), "grant", json!({"type": "jwt_bearer"})),
            400,
            "bad-request",
        ),
        (with(credentials(), "base_uri", json!("https://eu2.api.concursolutions.com")), 400, "bad-request"),
        (server(json!({})), 400, "bad-request"),
        (
            server(json!({"issuer": "https://login.example", "revocation_endpoint": endpoint})),
            400,
            "bad-request",
        ),
        (server(json!({"token_endpoint": endpoint, "profile": "concur"})), 400, "bad-request"),
        (server(json!({"token_endpoint": endpoint, "profile": "nobodys"})), 400, "bad-request"),
        (server(json!({"token_endpoint": endpoint, "client_authentication": "none"})), 400, "bad-request"),
        (
            server(json!({"token_endpoint": endpoint, "client_authentication": "private_key_jwt"})),
            400,
            "bad-request",
        ),
        (server(json!({"token_endpoint": "http://login.example/token"})), 400, "bad-request"),
        (server(json!({"issuer": "https://login.example?x=1"})), 400, "not-discovered"),
        (
            with(
                server(json!({"token_endpoint": endpoint})),
                "grant",
                json!({"type": "one_time_password",
            "address": "a@b.example", "otp": "canary"}),
            ),
            400,
            "bad-request",
        ),
    ] {
        let refused = add(&house, &body).await;
        let problem = refused.json();
        assert_eq!(
            (refused.status, &problem["type"]),
            (status, &json!(format!("/problems/{kind}"))),
            "{body}: {problem}"
        );
        assert!(!refused.body.contains("canary"), "{problem}");
    }
    assert_eq!(house.keeper.names().unwrap(), Vec::<String>::new());
    assert_eq!(house.sandbox.stats().requests, 0, "and nothing was sent");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_describes_itself_nowhere_is_no_server() {
    let house = House::new();
    let _daemon = house.serve(&[]);
    let server = json!({"issuer": format!("{}/nowhere", house.sandbox.base_uri())});
    let refused =
        add(&house, &with(new(&house, "acme", json!({"type": "client_credentials"})), "server", server))
            .await;
    assert_eq!(
        (refused.status, &refused.json()["type"]),
        (502, &json!("/problems/not-discovered")),
        "{refused:?}"
    );
    assert_eq!(house.get("/v1/connections/acme").await.status, 404);
}

/// A client key would have this daemon knock at doors that its owner cannot reach. The sandbox is such a door.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_a_client_key_names_no_server_inside() {
    let house = House::new();
    let key = house.key("operations", &[Right::Admin, Right::Token], "*");
    let daemon = house.serve(&["access.failures_per_minute=1000"]);
    let credentials = new(&house, "acme", json!({"type": "client_credentials"}));
    let outside = "https://login.example/token";
    for server in [
        by_hand(&house),
        json!({"issuer": house.sandbox.base_uri()}),
        json!({"issuer": "https://10.0.0.1"}),
        json!({"token_endpoint": "https://169.254.169.254/latest"}),
        json!({"token_endpoint": outside, "revocation_endpoint": "https://192.168.1.1/"}),
        json!({"token_endpoint": outside, "introspection_endpoint": "https://[fd00::1]/"}),
        json!({"token_endpoint": outside, "device_authorization_endpoint": "https://vault/"}),
        json!({"token_endpoint": outside, "authorization_endpoint": "http://localhost/"}),
        json!({"token_endpoint": outside, "jwks_uri": "https://metadata.google.internal/"}),
        json!({"token_endpoint": outside, "api": "https://127.0.0.1:8443"}),
    ] {
        let body = with(credentials.clone(), "server", server).to_string();
        let refused = ask_with(&daemon, &key, "POST", "/v1/connections", &body).await;
        assert_eq!(
            (refused.status, &refused.json()["type"]),
            (403, &json!("/problems/out-of-reach")),
            "{body}"
        );
    }
    let held = json!({"name": "acme", "client_id": "a", "client_secret": "s", "refresh_token": "r",
        "geolocation": house.sandbox.base_uri()});
    let refused = ask_with(&daemon, &key, "POST", "/v1/connections", &held.to_string()).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(house.sandbox.stats().requests, 0, "nobody knocked");
    assert_eq!(house.keeper.names().unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_key_names_a_server_inside_that_the_configuration_lists() {
    let house = House::new();
    let key = house.key("operations", &[Right::Admin, Right::Token], "*");
    let setting = format!("access.servers_inside=[\"{}\"]", house.sandbox.base_uri());
    let daemon = house.serve(&["keep_alive.enabled=false", &setting]);
    let body = with(new(&house, "acme", json!({"type": "client_credentials"})), "server", by_hand(&house));
    let added = ask_with(&daemon, &key, "POST", "/v1/connections", &body.to_string()).await;
    assert_eq!(added.status, 201, "{added:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_given_back_and_its_token_is_handed_out_no_more() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 200, "it is in memory now");
    let asked = house.ask("POST", "/v1/connections/acme/revoke", "").await;
    assert_eq!(
        (asked.status, &asked.json()["type"]),
        (409, &json!("/problems/whole-principal")),
        "{asked:?}"
    );
    let insist = json!({"whole_principal": true}).to_string();
    let revoked = house.ask("POST", "/v1/connections/acme/revoke", &insist).await;
    assert_eq!((revoked.status, &revoked.json()["whole_principal"]), (200, &json!(true)), "{revoked:?}");
    assert_eq!(house.get("/v1/connections/acme").await.json()["state"], "revoked");
    assert_eq!(house.get("/v1/connections/acme/token").await.status, 409);
    let held = house.keeper.connection("acme").unwrap().held.unwrap();
    assert!(held.refresh.is_some(), "law 5: what is held is kept");
    let anew = json!({"company_request_token": house.sandbox.mint_request_token()}).to_string();
    let anew = house.ask("POST", "/v1/connections/acme/reauthorize", &anew).await;
    assert_eq!(
        (anew.status, &anew.json()["state"]),
        (200, &json!("held")),
        "a person may give another: {anew:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_removed_only_when_its_grant_is_revoked_where_that_is_asked_for() {
    let house = House::new();
    house.obtain("acme").await;
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let path = "/v1/connections/acme?revoke=true";
    assert_eq!(house.ask("DELETE", path, "").await.status, 409, "it ends more than this connection");
    assert_eq!(house.get("/v1/connections/acme").await.json()["state"], "held");
    assert_eq!(house.ask("DELETE", &format!("{path}&whole_principal=true"), "").await.status, 204);
    assert_eq!(house.get("/v1/connections/acme").await.status, 404);
    house.keeper.restore("acme").unwrap();
    assert_eq!(house.get("/v1/connections/acme").await.json()["state"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_does_not_offer_is_told() {
    let house = House::new();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let body = with(new(&house, "any", json!({"type": "client_credentials"})), "server", by_hand(&house));
    assert_eq!(add(&house, &body).await.status, 201);
    for (path, body) in [
        ("revoke", ""),
        ("introspect", ""),
        ("sign-in", "{\"type\": \"device\"}"),
        ("sign-in", "{\"type\": \"browser\", \"redirect_uri\": \"http://127.0.0.1/back\"}"),
    ] {
        let refused = house.ask("POST", &format!("/v1/connections/any/{path}"), body).await;
        let problem = refused.json();
        assert_eq!(
            (refused.status, &problem["type"]),
            (409, &json!("/problems/no-endpoint")),
            "{path}: {problem}"
        );
        assert!(problem["next"].is_string(), "{problem}");
    }
}

/// All connections of an app share its secret, also those that the caller may not touch.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_stays_in_force_only_if_the_server_takes_it() {
    let house = House::new();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    assert_eq!(add(&house, &new(&house, "app", json!({"type": "client_credentials"}))).await.status, 201);
    let anew =
        async |body: Value| house.ask("POST", "/v1/connections/app/reauthorize", &body.to_string()).await;
    let secret = || house.keeper.store().app("app").unwrap().client.secret.expose().to_owned();
    let right = secret();
    assert_eq!(anew(json!({"client_secret": "wrong"})).await.status, 409);
    assert_eq!(secret(), right);
    house.sandbox.inject(json!([{"kind": "reset"}])).unwrap();
    let cut = anew(json!({"client_secret": "never tried"})).await;
    assert!(cut.status >= 500 && secret() == right, "{cut:?}");
    let credentials = json!({"grant": {"type": "client_credentials"}, "client_secret": right});
    assert_eq!(anew(credentials).await.status, 200);
    for wrong in [
        json!({}),
        json!({"grant": {"type": "sign_in"}}),
        json!({"grant": {"type": "company", "company": "c", "request_token": "r"}}),
        json!({"company": "c"}),
    ] {
        assert_eq!(anew(wrong.clone()).await.status, 400, "{wrong}");
    }
}

/// Whoever merely says that his server is another one shares no secret with it.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_an_app_is_not_shared_with_who_has_the_secret_sent_elsewhere() {
    let house = House::new();
    let _daemon = house.serve(&["keep_alive.enabled=false"]);
    let known = with(
        with(by_hand(&house), "issuer", json!("https://login.example")),
        "revocation_endpoint",
        json!(format!("{}/revoke", house.sandbox.base_uri())),
    );
    let body = with(new(&house, "known", json!({"type": "client_credentials"})), "server", known.clone());
    assert_eq!(add(&house, &body).await.status, 201);
    let elsewhere = with(known, "revocation_endpoint", json!("https://evil.example/revoke"));
    let mut body = with(new(&house, "evil", json!({"type": "sign_in"})), "server", elsewhere);
    body["client_secret"] = json!("a guess");
    assert_eq!(add(&house, &body).await.status, 201, "an app of its own");
    let secret = |name: &str| house.keeper.store().app(name).unwrap().client.secret.expose().to_owned();
    assert_eq!(
        (secret("evil").as_str(), secret("known")),
        ("a guess", house.sandbox.ready().client_secret.clone())
    );
}
