//! What a person gives once: a password, another token. It is presented, and kept nowhere (law 10).

use crate::keep::{Keep, NAME};
use crate::servers::{Kind, Server};
use crate::support::Ended;
use crate::web;

/// A grant by password, which lives on by its refresh token.
#[track_caller]
fn by_password(server: &Server, client: &str, method: &str) {
    let keep = Keep::at(server);
    let user = server.said("user");
    let words = ["--by-password", user, "--i-know", "--password-env", "PASSWORD", "--client-auth", method];
    let mut command = keep.adding("add", client, &[&words[..], &["--scope", "read"]].concat());
    command.env("PASSWORD", server.said("password"));
    let added = Ended::of(&command.output().expect("the binary starts"));
    assert_eq!(added.code, 0, "{added:?}");
    for _ in 0..2 {
        keep.let_access_token_end();
        let token = keep.run_ok(&["token", NAME]).stdout;
        assert_eq!(web::get_as(&server.at("/whoami"), token.trim_end()).json()["sub"], "ada");
    }
    assert_eq!((server.asked("password"), server.count("refreshes"), server.count("refused")), (1, 2, 0));
    keep.shows_none_of(&[server.said("password").to_owned()], &[&added]);
}

#[test]
fn authlib_takes_a_password() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    by_password(&server, "basic", "client_secret_basic");
}

#[test]
fn django_oauth_toolkit_takes_a_password() {
    let Some(server) = Server::start(Kind::Django, &[]) else { return };
    by_password(&server, "password", "client_secret_post");
}

#[test]
fn a_password_needs_a_person_who_knows() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    let keep = Keep::at(&server);
    let words = ["--by-password", "ada", "--password-env", "PASSWORD"];
    let mut command = keep.adding("add", "basic", &words);
    let ended = Ended::of(&command.env("PASSWORD", "no").output().expect("the binary starts"));
    assert!(ended.code == 2 && ended.stderr.contains("--i-know"), "{ended:?}");
    assert_eq!(server.count("token_requests"), 0);
}

/// Django OAuth Toolkit calls the grant invalid, as RFC 6749 wants it; Authlib the request. A person must act either way.
#[test]
fn law_10_a_wrong_password_is_refused_and_shown_nowhere() {
    for (kind, client, method) in
        [(Kind::Authlib, "basic", "client_secret_basic"), (Kind::Django, "password", "client_secret_post")]
    {
        let Some(server) = Server::start(kind, &[]) else { return };
        let keep = Keep::at(&server);
        let words =
            ["--by-password", "ada", "--i-know", "--password-env", "PASSWORD", "--client-auth", method];
        let mut command = keep.adding("add", client, &words);
        let wrong = "hunter2-canary".to_owned();
        let ended = Ended::of(&command.env("PASSWORD", &wrong).output().expect("the binary starts"));
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains("perennial reauthorize acme"), "{ended:?}");
        keep.shows_none_of(&[wrong], &[&ended]);
        assert_eq!((server.count("token_requests"), server.count("refused")), (1, 1));
    }
}

#[test]
fn authlib_exchanges_one_token_for_another() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    let form = [
        ("grant_type", "password"),
        ("username", server.said("user")),
        ("password", server.said("password")),
        ("scope", "read write"),
    ];
    let subject = server.ask_for_tokens("post", &form).text("access_token");
    let keep = Keep::at(&server);
    let words = ["--subject-token-env", "SUBJECT", "--client-auth", "client_secret_basic", "--scope", "read"];
    let mut command = keep.adding("add", "basic", &words);
    let added = Ended::of(&command.env("SUBJECT", &subject).output().expect("the binary starts"));
    assert_eq!(added.code, 0, "{added:?}");
    let token = keep.run_ok(&["token", NAME]).stdout;
    let said = web::get_as(&server.at("/whoami"), token.trim_end()).json();
    assert_eq!((&said["sub"], &said["scope"]), (&"ada".into(), &"read".into()));
    assert_eq!(server.asked("urn:ietf:params:oauth:grant-type:token-exchange"), 1);
    keep.shows_none_of(&[subject, token.trim_end().to_owned()], &[&added]);
}
