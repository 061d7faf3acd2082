//! The same story at each server: its address is all that is named; a person signs in; tokens are handed out, refreshed
//! when they have ended, and given back in the end.

use crate::keep::{Keep, NAME, Told};
use crate::person::Person;
use crate::servers::{Kind, Server};
use crate::web;

/// Where a server's API is, and what is asked for there.
struct Place {
    server: Server,
    api: String,
    scope: &'static str,
    /// False where the server leaves the refresh token as it is.
    rotates: bool,
}

impl Place {
    fn node() -> Option<Self> {
        let server = Server::node()?;
        let api = server.endpoint("userinfo_endpoint");
        Some(Self { server, api, scope: "openid offline_access read", rotates: true })
    }

    fn python(kind: Kind, words: &[&str], rotates: bool) -> Option<Self> {
        let server = Server::start(kind, words)?;
        let api = server.at("/whoami");
        Some(Self { server, api, scope: "read", rotates })
    }

    #[track_caller]
    fn takes(&self, token: &str) {
        let answer = web::get_as(&self.api, token.trim_end());
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// From the server's address to the end of the grant.
    #[track_caller]
    fn life(&self, client: &str, words: &[&str]) {
        let (keep, server) = (Keep::at(&self.server), &self.server);
        let added = keep.sign_in("add", client, &[words, &["--scope", self.scope]].concat());
        assert!(added.stdout.contains("acme: added, and a grant obtained"), "{added:?}");
        assert_eq!(keep.status()["state"], "held");
        let before = server.stats();

        // What lives is handed out, and nobody is asked (law 12).
        let first = keep.run_ok(&["token", NAME]).stdout;
        assert_eq!(keep.run_ok(&["token", NAME]).stdout, first);
        self.takes(&first);
        assert_eq!(server.count("token_requests"), before["token_requests"]);

        // What has ended is refreshed, once, each time.
        let mut tokens = vec![first.clone()];
        let mut refresh_tokens = vec![keep.tokens().1.expect("a refresh token")];
        for round in 1..=3 {
            keep.let_access_token_end();
            let token = keep.run_ok(&["token", NAME]).stdout;
            assert_eq!(keep.run_ok(&["token", NAME]).stdout, token);
            assert!(!tokens.contains(&token));
            self.takes(&token);
            tokens.push(token);
            refresh_tokens.push(keep.tokens().1.expect("a refresh token"));
            assert_eq!(server.asked("refresh_token"), round);
        }
        refresh_tokens.dedup();
        assert_eq!(refresh_tokens.len(), if self.rotates { 4 } else { 1 });
        assert_eq!((server.count("refreshes"), server.count("refused")), (3, 0), "{}", server.stats());
        assert_eq!(keep.status()["generation"], 4);

        // Given back: the server knows it no more, and says so to anybody.
        let revoked = keep.run_ok(&["revoke", NAME, "--yes"]);
        let last = refresh_tokens.last().expect("one");
        let form = [("grant_type", "refresh_token"), ("refresh_token", last.as_str())];
        if client == "post" || client == "public" {
            assert_eq!(server.ask_for_tokens(client, &form).error(), "invalid_grant");
        }
        let asked = server.count("token_requests");
        let ended = keep.run(&["token", NAME]);
        assert_eq!((ended.code, ended.stdout.as_str()), (3, ""), "{ended:?}");
        assert_eq!(server.count("token_requests"), asked, "nobody is asked for what was given back");

        tokens.iter_mut().for_each(|token| *token = token.trim_end().to_owned());
        let secret = server.secret(client).map(str::to_owned);
        let secrets: Vec<String> = [tokens, refresh_tokens, secret.into_iter().collect()].concat();
        keep.shows_none_of(&secrets, &[&added, &revoked, &ended]);
    }
}

#[test]
fn node_oidc_provider_and_a_client_with_basic() {
    let Some(place) = Place::node() else { return };
    place.life("basic", &[]);
}

#[test]
fn node_oidc_provider_and_a_client_with_post() {
    let Some(place) = Place::node() else { return };
    place.life("post", &["--client-auth", "client_secret_post"]);
}

#[test]
fn node_oidc_provider_and_a_public_client() {
    let Some(place) = Place::node() else { return };
    place.life("public", &["--client-auth", "none"]);
}

#[test]
fn node_oidc_provider_and_a_client_with_a_private_key() {
    let Some(place) = Place::node() else { return };
    place.life("key", &[]);
}

#[test]
fn authlib_and_a_refresh_token_that_stays() {
    let Some(place) = Place::python(Kind::Authlib, &[], false) else { return };
    place.life("basic", &[]);
}

#[test]
fn authlib_and_a_refresh_token_that_is_good_once() {
    let Some(place) = Place::python(Kind::Authlib, &["--rotate"], true) else { return };
    place.life("post", &["--client-auth", "client_secret_post"]);
}

#[test]
fn authlib_and_a_public_client() {
    let Some(place) = Place::python(Kind::Authlib, &["--rotate"], true) else { return };
    place.life("public", &["--client-auth", "none"]);
}

#[test]
fn authlib_and_a_client_with_a_private_key() {
    let Some(place) = Place::python(Kind::Authlib, &[], false) else { return };
    place.life("key", &[]);
}

#[test]
fn django_oauth_toolkit_and_a_client_with_basic() {
    let Some(place) = Place::python(Kind::Django, &[], true) else { return };
    place.life("web", &["--client-auth", "client_secret_basic"]);
}

#[test]
fn django_oauth_toolkit_and_a_public_client() {
    let Some(place) = Place::python(Kind::Django, &[], true) else { return };
    place.life("public", &["--client-auth", "none"]);
}

#[test]
fn law_13_whose_grant_it_is_stands_in_an_id_token_that_is_verified() {
    let Some(place) = Place::node() else { return };
    let keep = Keep::signed_in(&place.server, "basic", &["--scope", "openid offline_access"]);
    assert_eq!(keep.status()["principal"], "ada");
    keep.run_ok(&["refresh", NAME]);
    assert_eq!(keep.status()["principal"], "ada");
}

/// Nothing could keep such a grant alive: that is told at once, and not when it has ended.
#[test]
fn a_grant_without_a_refresh_token_is_told_at_once_with_what_brings_one() {
    let Some(server) = Server::start(Kind::NodeOidcProvider, &["--by-scope"]) else { return };
    let keep = Keep::at(&server);
    let added = keep.sign_in("add", "basic", &["--scope", "openid read"]);
    assert_eq!((added.code, keep.tokens().1), (0, None), "{added:?}");
    assert!(added.stderr.contains("warning: the server gave no refresh token"), "{added:?}");
    assert!(added.stderr.contains("perennial reauthorize acme --scope \"… offline_access\""), "{added:?}");
    assert!(keep.run_ok(&["status", NAME]).stdout.contains("the grant ends with the access token"));
    assert_eq!(keep.status()["state"], "held", "as long as it lives");
    keep.let_access_token_end();
    assert_eq!(keep.status()["state"], "needs_reauthorization");
    let told = keep.run_ok(&["status", NAME]).stdout;
    assert!(told.contains("what next      perennial reauthorize acme"), "{told}");
    assert_eq!(keep.run(&["token", NAME]).code, 3);
    let pasted = keep.run(&["reauthorize", NAME, "--scope", "… offline_access"]);
    pasted.is_usage("… stands for words of your own");

    // OpenID Connect Core section 11: without the consent the scope is ignored.
    let consent = ["--authorize-param", "prompt=consent"];
    let scope = ["--scope", "openid offline_access read"];
    let again = keep.sign_in("reauthorize", "basic", &[&scope[..], &consent].concat());
    assert!(again.code == 0 && !again.stderr.contains("no refresh token"), "{again:?}");
    assert!(keep.tokens().1.is_some());
    // The scope is kept for the next time.
    keep.sign_in("reauthorize", "basic", &consent);
    let kept = keep.tokens().1.expect("a refresh token");

    // Law 13: not without what tells whose grant it is.
    let nameless = keep.run(&["reauthorize", NAME, "--scope", "read", "--user"]);
    nameless.is_usage("without the scope openid nobody could tell whether the new grant is ada's");

    // Law 5: the refresh token that gave way to none can be brought back, also once the access token has ended.
    let again = keep.sign_in("reauthorize", "basic", &[]);
    assert!(again.stderr.contains("no refresh token"), "{again:?}");
    keep.let_access_token_end();
    let before = server.count("refreshes");
    let recovered = keep.run_ok(&["recover", NAME]);
    assert_eq!(server.count("refreshes"), before + 1, "{recovered:?}");
    assert!(keep.tokens().1.is_some_and(|now| now != kept), "it rotates");
    assert_eq!(keep.status()["state"], "held");
    assert_eq!((server.count("refused"), server.count("reuse_detected")), (0, 0));
}

#[test]
fn a_person_signs_in_on_another_device() {
    let Some(place) = Place::node() else { return };
    let keep = Keep::at(&place.server);
    let words = ["--device", "--client-auth", "none", "--scope", place.scope];
    let mut told = Told::by(keep.adding("add", "public", &words).spawn().expect("the binary starts"));
    let address = told.address("The same with the code in it").expect("an address");
    let page = Person::at(&place.server).approve(&address);
    assert!(page.contains("Sign-in Success"), "{page}");
    let added = told.ended();
    assert!(added.code == 0 && added.stdout.contains("and a grant obtained"), "{added:?}");
    assert_eq!(keep.status()["way"], "device");
    place.takes(&keep.run_ok(&["token", NAME]).stdout);
    keep.run_ok(&["refresh", NAME]);
    assert_eq!((place.server.count("refreshes"), place.server.count("reuse_detected")), (1, 0));
    // The next time as well: the client may have no page to come back to.
    let mut told = Told::by(keep.command(&["reauthorize", NAME]).spawn().expect("the binary starts"));
    let address = told.address("The same with the code in it").expect("an address");
    Person::at(&place.server).approve(&address);
    let again = told.ended();
    assert!(again.code == 0 && again.stdout.contains("a new grant is obtained"), "{again:?}");
}

#[test]
fn a_grant_that_has_ended_is_told_to_a_person_who_signs_in_anew() {
    let Some(place) = Place::node() else { return };
    let keep = Keep::signed_in(
        &place.server,
        "post",
        &["--client-auth", "client_secret_post", "--scope", place.scope],
    );
    // Somebody else has our refresh token, and presents it: the server ends the grant at our next refresh.
    let stolen = keep.tokens().1.expect("a refresh token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", stolen.as_str())];
    assert_eq!(place.server.ask_for_tokens("post", &form).status, 200);
    keep.let_access_token_end();
    let ended = keep.run(&["token", NAME]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("perennial reauthorize acme"), "{ended:?}");
    assert_eq!(keep.status()["state"], "needs_reauthorization");
    let again = keep.sign_in("reauthorize", "post", &[]);
    assert_eq!(again.code, 0, "{again:?}");
    place.takes(&keep.run_ok(&["token", NAME]).stdout);
    assert_eq!(keep.status()["state"], "held");
}
