//! What any OAuth 2.0 server offers beside its grants: discovery, HTTP Basic, revocation, introspection.

mod common;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::*;
use perennial_sandbox::{Rotate, Sandbox};
use serde_json::json;

fn revoke(sandbox: &Sandbox, token: &str) -> Answer {
    post(sandbox, "/oauth2/v0/revoke", &as_client(sandbox.ready(), &[("token", token)]))
}

fn introspect(sandbox: &Sandbox, token: &str) -> Answer {
    post(sandbox, "/oauth2/v0/introspect", &as_client(sandbox.ready(), &[("token", token)]))
}

#[test]
fn both_discovery_documents_say_where_everything_is() {
    let sandbox = plain();
    let found = get(&sandbox, "/.well-known/openid-configuration").json();
    assert_eq!(get(&sandbox, "/.well-known/oauth-authorization-server").json(), found);
    assert_eq!(found["issuer"], sandbox.base_uri());
    assert_eq!(found["issuer"], company(&sandbox).claim("id_token", "iss"));
    assert_eq!(found["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(found["id_token_signing_alg_values_supported"], json!(["RS256"]));
    assert_eq!(found["authorization_response_iss_parameter_supported"], true);
    assert_eq!(found["token_endpoint_auth_methods_supported"], json!(["client_secret_post"]));
    for (name, method) in [
        ("authorization_endpoint", "GET"),
        ("token_endpoint", "POST"),
        ("jwks_uri", "GET"),
        ("revocation_endpoint", "POST"),
        ("introspection_endpoint", "POST"),
        ("device_authorization_endpoint", "POST"),
    ] {
        let endpoint = found[name].as_str().unwrap_or_default();
        let path = endpoint.strip_prefix(sandbox.base_uri()).unwrap_or_default();
        let status = order(&sandbox, method, path, "").status;
        assert!(status != 404 && status != 405, "{name} at {endpoint}: {status}");
    }
}

#[test]
fn http_basic_is_taken_by_a_generic_server_and_not_by_concur() {
    for (generic, secret, expected) in
        [(false, None, Err(62)), (true, None, Ok(200)), (true, Some("wrong"), Err(64))]
    {
        let sandbox = start(|config| config.generic = generic);
        let ready = sandbox.ready();
        let pair = format!("{}:{}", ready.app_id, secret.unwrap_or(&ready.client_secret));
        let basic = format!("authorization: Basic {}", BASE64_STANDARD.encode(pair));
        let body = "grant_type=client_credentials";
        let answer = send(&sandbox, "POST", "/oauth2/v0/token", &[FORM, &basic], body).ok();
        let outcome = answer.map(|answer| match answer.status {
            200 => Ok(200),
            _ => Err(answer.code()),
        });
        assert_eq!(outcome, Some(expected));
    }
    let sandbox = start(|config| config.generic = true);
    assert_eq!(company(&sandbox).status, 200, "the form is as good as ever");
    let methods =
        &get(&sandbox, "/.well-known/openid-configuration").json()["token_endpoint_auth_methods_supported"];
    assert_eq!(*methods, json!(["client_secret_basic", "client_secret_post"]));
}

#[test]
fn two_ways_to_authenticate_at_once_are_refused() {
    let sandbox = start(|config| config.generic = true);
    let ready = sandbox.ready();
    let pair = format!("{}:{}", ready.app_id, ready.client_secret);
    let basic = format!("authorization: Basic {}", BASE64_STANDARD.encode(pair));
    let body = encode(&company_fields(ready));
    let answer = send(&sandbox, "POST", "/oauth2/v0/token", &[FORM, &basic], &body).ok();
    assert_eq!(answer.map(|answer| answer.code()), Some(116));
}

#[test]
fn a_token_is_described_until_it_is_revoked() {
    let sandbox = plain();
    let granted = company(&sandbox);
    for (name, kind) in [("access_token", "Bearer"), ("refresh_token", "refresh_token")] {
        let described = introspect(&sandbox, &granted.text(name)).json();
        assert_eq!(described["active"], true);
        assert_eq!(described["token_type"], kind);
        assert_eq!(described["sub"], sandbox.ready().company_uuid);
        assert_eq!(described["client_id"], sandbox.ready().app_id);
        assert_eq!(described["scope"], granted.text("scope"));
        assert!(described["exp"].is_u64());
    }

    assert_eq!(revoke(&sandbox, &granted.text("refresh_token")).status, 200);
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).code(), 108);
    assert_eq!(introspect(&sandbox, &granted.text("refresh_token")).json(), json!({ "active": false }));
    assert_eq!(introspect(&sandbox, &granted.text("access_token")).json()["active"], true);
    assert_eq!(revoke(&sandbox, &granted.text("access_token")).status, 200);
    assert_eq!(call(&sandbox, "GET", USERS, &granted.text("access_token")).status, 403);
    assert_eq!(sandbox.stats().revocations, 2);

    assert_eq!(revoke(&sandbox, "unknown").status, 200);
    assert_eq!(introspect(&sandbox, "unknown").json(), json!({ "active": false }));
    assert_eq!(sandbox.stats().revocations, 2);
}

#[test]
fn a_spent_refresh_token_is_not_active() {
    let sandbox = start(|config| config.rotate = Rotate::Always);
    let first = company(&sandbox).text("refresh_token");
    let second = refresh(&sandbox, &first).text("refresh_token");
    assert_eq!(introspect(&sandbox, &first).json()["active"], false);
    assert_eq!(introspect(&sandbox, &second).json()["active"], true);
}

#[test]
fn only_the_client_may_ask_or_revoke() {
    let sandbox = plain();
    let token = company(&sandbox).text("refresh_token");
    for target in ["/oauth2/v0/revoke", "/oauth2/v0/introspect"] {
        assert_eq!(post(&sandbox, target, &[("token", token.as_str())]).code(), 62);
        let missing = post(&sandbox, target, &as_client(sandbox.ready(), &[]));
        assert_eq!((missing.status, missing.text("error").as_str()), (400, "invalid_request"));
    }
    assert_eq!(refresh(&sandbox, &token).status, 200);
}
