//! An app speaks for itself: with a secret in the header, in the body, with a statement that it signs. Nobody need act, and
//! there is nothing to refresh with: the next token is obtained when the last has ended.

use crate::keep::{Keep, NAME};
use crate::servers::{Kind, Server};
use crate::support::Ended;
use crate::web;
use serde_json::json;

/// Tokens of an app that needs nobody, at a server where they can be tried.
#[track_caller]
fn life(keep: &Keep<'_>, added: &Ended, grant: &str, api: Option<&str>) {
    assert_eq!(added.code, 0, "{added:?}");
    let server = keep.server;
    let mut tokens = Vec::new();
    for round in 1..=3 {
        let token = keep.run_ok(&["token", NAME]).stdout.trim_end().to_owned();
        assert_eq!(keep.run_ok(&["token", NAME]).stdout.trim_end(), token);
        assert!(!tokens.contains(&token));
        if let Some(api) = api {
            assert_eq!(web::get_as(&server.at(api), &token).status, 200);
        }
        assert_eq!(server.asked(grant), round, "{}", server.stats());
        tokens.push(token);
        keep.let_access_token_end();
    }
    assert_eq!((server.count("token_requests"), server.count("refused")), (3, 0));
    assert_eq!(keep.tokens().1, None, "no refresh token");
    let secrets = [tokens, server.secret("basic").into_iter().map(str::to_owned).collect()].concat();
    keep.shows_none_of(&secrets, &[added]);
}

/// `perennial add --app`.
#[track_caller]
fn for_itself(server: &Server, client: &str, method: &str, api: Option<&str>) {
    let keep = Keep::at(server);
    let words = ["--app", "--scope", "read"];
    let mut command = match method {
        "private_key_jwt" => keep.adding_with_key(&words),
        _ => keep.adding("add", client, &[&words[..], &["--client-auth", method]].concat()),
    };
    let added = Ended::of(&command.output().expect("the binary starts"));
    life(&keep, &added, "client_credentials", api);
    assert_eq!(keep.status()["way"], json!("client_credentials"));
}

const WAYS: [(&str, &str); 3] =
    [("basic", "client_secret_basic"), ("post", "client_secret_post"), ("key", "private_key_jwt")];

#[test]
fn node_oidc_provider_gives_an_app_tokens_of_its_own() {
    for (client, method) in WAYS {
        let Some(server) = Server::node() else { return };
        for_itself(&server, client, method, None);
    }
}

#[test]
fn authlib_gives_an_app_tokens_of_its_own() {
    for (client, method) in WAYS {
        let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
        for_itself(&server, client, method, Some("/whoami"));
    }
}

#[test]
fn django_oauth_toolkit_gives_an_app_tokens_of_its_own() {
    for method in ["client_secret_basic", "client_secret_post"] {
        let Some(server) = Server::start(Kind::Django, &[]) else { return };
        for_itself(&server, "app", method, Some("/whoami"));
    }
}

#[test]
fn authlib_takes_a_statement_about_a_person_that_the_app_signs() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    let keep = Keep::at(&server);
    let mut command = keep.adding_with_key(&["--jwt-bearer", "ada", "--scope", "read"]);
    let added = Ended::of(&command.output().expect("the binary starts"));
    life(&keep, &added, "urn:ietf:params:oauth:grant-type:jwt-bearer", Some("/whoami"));
    let token = keep.run_ok(&["token", NAME]).stdout;
    let said = web::get_as(&server.at("/whoami"), token.trim_end()).json();
    assert_eq!((&said["sub"], &said["client_id"]), (&json!("ada"), &json!("key")));
}
