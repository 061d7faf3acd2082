//! Two data centres of one world: who lives where, code 16, moves, and a tenant that was migrated.

mod common;
use common::*;
use perennial_sandbox::{Config, Sandbox};
use std::net::{Ipv4Addr, SocketAddr};

const TOKEN: &str = "/oauth2/v0/token";

fn two(change: impl FnOnce(&mut Config)) -> Sandbox {
    start(|config| {
        config.second_listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        change(config);
    })
}

/// The base URIs of us2 and eu2.
fn both(sandbox: &Sandbox) -> (&str, &str) {
    (sandbox.base_uri_of("us2").unwrap_or_default(), sandbox.base_uri_of("eu2").unwrap_or_default())
}

fn bob_fields(sandbox: &Sandbox) -> Vec<(&str, &str)> {
    let bob = &sandbox.ready().users[1];
    let fields = [("grant_type", "password"), ("username", bob.login.as_str()), ("password", &bob.password)];
    as_client(sandbox.ready(), &fields)
}

#[test]
fn each_centre_has_its_address_and_both_share_the_world() {
    let sandbox = two(|_| {});
    let (us2, eu2) = both(&sandbox);
    assert_eq!(us2, sandbox.base_uri());
    assert_ne!(us2, eu2);
    assert_eq!(sandbox.ready().centres.len(), 2);
    assert_eq!(sandbox.base_uri_of("apj1"), None);
    assert_eq!(plain().base_uri_of("eu2"), None);

    let granted = post_at(eu2, TOKEN, &company_fields(sandbox.ready()));
    assert_eq!(granted.status, 200, "a company grant is given at any centre");
    assert_eq!(granted.text("geolocation"), us2);
    assert_eq!(granted.claim("id_token", "iss"), eu2);
    assert_eq!(refresh(&sandbox, &granted.text("refresh_token")).status, 200);
    assert_eq!(sandbox.stats().requests, 2);
}

#[test]
fn a_user_who_lives_elsewhere_is_told_where() {
    let sandbox = two(|_| {});
    let (us2, eu2) = both(&sandbox);
    let wrong = post_at(us2, TOKEN, &bob_fields(&sandbox));
    assert_eq!((wrong.code(), wrong.text("geolocation").as_str()), (16, eu2));
    let granted = post_at(eu2, TOKEN, &bob_fields(&sandbox));
    assert_eq!((granted.status, granted.text("geolocation").as_str()), (200, eu2));

    let refresh_token = granted.text("refresh_token");
    let fields = refresh_fields(sandbox.ready(), &refresh_token);
    let wrong = post_at(us2, TOKEN, &fields);
    assert_eq!((wrong.code(), wrong.text("geolocation").as_str()), (16, eu2));
    assert_eq!(post_at(eu2, TOKEN, &fields).status, 200);

    let otp = [("channel_handle", "bob@example.com"), ("channel_type", "email")];
    let fields = as_client(sandbox.ready(), &otp);
    assert_eq!(post_at(us2, "/oauth2/v0/otp", &fields).code(), 16);
    assert_eq!(post_at(eu2, "/oauth2/v0/otp", &fields).status, 200);
}

#[test]
fn whoever_moves_is_refused_at_the_old_centre() {
    let sandbox = two(|_| {});
    let (us2, eu2) = both(&sandbox);
    let refresh_token = company(&sandbox).text("refresh_token");
    let fields = refresh_fields(sandbox.ready(), &refresh_token);
    let order = serde_json::json!({ "principal": sandbox.ready().company_uuid, "to": "eu2" }).to_string();
    assert_eq!(common::order(&sandbox, "POST", "/sandbox/move", &order).status, 204);
    let wrong = post_at(us2, TOKEN, &fields);
    assert_eq!((wrong.code(), wrong.text("geolocation").as_str()), (16, eu2));
    assert_eq!(post_at(eu2, TOKEN, &fields).text("geolocation"), eu2);

    assert_eq!(sandbox.move_principal(&sandbox.ready().company_uuid, "us2"), Ok(()));
    assert_eq!(post_at(us2, TOKEN, &fields).text("geolocation"), us2);
}

#[test]
fn with_a_switch_the_old_centre_refreshes_and_tells_the_new_one() {
    let sandbox = two(|config| config.refresh_after_move = true);
    let (us2, eu2) = both(&sandbox);
    let refresh_token = company(&sandbox).text("refresh_token");
    assert_eq!(sandbox.move_principal(&sandbox.ready().company_uuid, "eu2"), Ok(()));
    let refreshed = post_at(us2, TOKEN, &refresh_fields(sandbox.ready(), &refresh_token));
    assert_eq!((refreshed.status, refreshed.text("geolocation").as_str()), (200, eu2));
}

#[test]
fn a_move_that_makes_no_sense_is_refused() {
    let sandbox = two(|_| {});
    assert!(sandbox.move_principal("nobody", "eu2").is_err());
    assert!(sandbox.move_principal(&sandbox.ready().company_uuid, "mars").is_err());
    assert!(plain().move_principal(&plain().ready().company_uuid, "eu2").is_err(), "it has one centre alone");
    assert_eq!(order(&sandbox, "POST", "/sandbox/move", "{}").status, 400);
}

#[test]
fn a_migrated_tenant_is_known_at_the_second_centre_alone() {
    let sandbox = two(|config| config.migrated = true);
    let (us2, eu2) = both(&sandbox);
    let fields = company_fields(sandbox.ready());
    assert_eq!(post_at(us2, TOKEN, &fields).code(), 61);
    let granted = post_at(eu2, TOKEN, &fields);
    assert_eq!((granted.status, granted.text("geolocation").as_str()), (200, eu2));
    let refresh_token = granted.text("refresh_token");
    assert_eq!(post_at(eu2, TOKEN, &refresh_fields(sandbox.ready(), &refresh_token)).status, 200);
}

#[test]
fn by_a_real_name_the_other_centre_has_a_real_name_too() {
    let sandbox = two(|_| {});
    let (_, eu2) = both(&sandbox);
    let port = eu2.rsplit(':').next().unwrap_or_default();
    let body = query(&bob_fields(&sandbox));
    let request = format!(
        "POST /oauth2/v0/token HTTP/1.1\r\nhost: us2.api.concursolutions.com\r\nconnection: close\r\n\
         {FORM}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = exchange(&sandbox, &request).ok().map(|answer| answer.text("geolocation"));
    assert_eq!(told, Some(format!("http://eu2.api.concursolutions.com:{port}")));
}
