//! What the servers do that the other stories rely on, asked by hand: a rule that a server does not have would prove
//! nothing about a client that keeps it.

use crate::person::Person;
use crate::servers::{Kind, Server};
use crate::web::{self, Answer};
use serde_json::Value;
use url::Url;

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A person signs in for this client; the answer brings tokens.
#[track_caller]
fn signed_in(server: &Server, client: &str) -> Answer {
    let mut address = Url::parse(&server.endpoint("authorization_endpoint")).expect("an address");
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client)
        .append_pair("redirect_uri", server.said("redirect_uri"))
        .append_pair("state", "st")
        .append_pair("scope", "read")
        .append_pair("code_challenge", CHALLENGE)
        .append_pair("code_challenge_method", "S256");
    let back = Url::parse(&Person::at(server).sign_in(address.as_str())).expect("an address");
    let said =
        |name: &str| back.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(said("state").as_deref(), Some("st"), "{back}");
    assert_eq!(said("iss").as_deref(), Some(server.issuer()), "RFC 9207: {back}");
    let code = said("code").unwrap_or_else(|| panic!("no code: {back}"));
    server.ask_for_tokens(
        client,
        &[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", server.said("redirect_uri")),
            ("code_verifier", VERIFIER),
        ],
    )
}

fn refreshed(server: &Server, client: &str, refresh_token: &str) -> Answer {
    server.ask_for_tokens(client, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
}

#[test]
fn node_oidc_provider_ends_a_grant_whose_token_is_presented_twice() {
    let Some(server) = Server::node() else { return };
    for client in ["post", "public"] {
        let before = server.stats();
        let first = signed_in(&server, client).text("refresh_token");
        let second = refreshed(&server, client, &first).text("refresh_token");
        assert_ne!(first, second);
        let reused = refreshed(&server, client, &first);
        assert_eq!(reused.error(), "invalid_grant");
        assert_eq!(refreshed(&server, client, &second).error(), "invalid_grant", "the grant has ended");
        let after = server.stats();
        let more = |name: &str| number(&after, name) - number(&before, name);
        assert_eq!((more("refreshes"), more("reuse_detected"), more("grants_revoked")), (1, 1, 1), "{after}");
    }
}

#[test]
fn authlib_leaves_the_refresh_token_as_it_is_and_does_not_name_it() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    let first = signed_in(&server, "post").text("refresh_token");
    for _ in 0..3 {
        let answer = refreshed(&server, "post", &first);
        assert_eq!(answer.json()["refresh_token"], Value::Null, "{answer:?}");
        assert_eq!(web::get_as(&server.at("/whoami"), &answer.text("access_token")).status, 200);
    }
    assert_eq!((server.count("refreshes"), server.count("refused")), (3, 0));
}

#[test]
fn authlib_that_rotates_takes_each_refresh_token_once() {
    let Some(server) = Server::start(Kind::Authlib, &["--rotate"]) else { return };
    let first = signed_in(&server, "post").text("refresh_token");
    let second = refreshed(&server, "post", &first).text("refresh_token");
    assert_eq!(refreshed(&server, "post", &first).error(), "invalid_grant");
    assert_eq!(refreshed(&server, "post", &second).status, 200, "a second presentation ends nothing");
    assert_eq!(server.count("reuse_detected"), 1);
}

#[test]
fn django_oauth_toolkit_takes_a_replaced_token_again_for_a_while() {
    let Some(server) = Server::start(Kind::Django, &["--grace", "120"]) else { return };
    let first = signed_in(&server, "public").text("refresh_token");
    let answer = refreshed(&server, "public", &first);
    let again = refreshed(&server, "public", &first);
    for member in ["access_token", "refresh_token"] {
        assert_eq!(again.text(member), answer.text(member), "the same answer again");
    }
    // The window has passed, by the server's own book.
    assert_eq!(web::post(&server.at("/later"), &[("seconds", "121")]).json()["moved"], 1);
    assert_eq!(refreshed(&server, "public", &first).error(), "invalid_grant");
    let second = answer.text("refresh_token");
    assert_eq!(refreshed(&server, "public", &second).error(), "invalid_grant", "the family has ended");
    assert_eq!(server.count("good_refresh_tokens"), 0);
}

fn number(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().expect("a number")
}
