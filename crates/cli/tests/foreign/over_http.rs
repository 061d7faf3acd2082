//! Apps, statements, other tokens and a person in a browser through the daemon's HTTP API, with the real daemon between the caller and the server.

use crate::keep::{Keep, NAME};
use crate::person::Person;
use crate::servers::{Kind, Server};
use crate::support::{self, Ended};
use crate::web::{self, Answer};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A daemon that serves what is kept.
struct Daemon<'k, 's> {
    keep: &'k Keep<'s>,
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl<'k, 's> Daemon<'k, 's> {
    fn of(keep: &'k Keep<'s>) -> Self {
        let (socket, log) = (keep.root().join("perennial.sock"), keep.root().join("daemon.log"));
        let mut command = keep.command(&["serve", "-vv", "--socket"]);
        command.arg(&socket).stdout(Stdio::null()).stderr(File::create(&log).expect("a file"));
        let child = command.spawn().expect("the binary starts");
        let daemon = Self { keep, child, socket, log };
        support::wait_until("it serves", || daemon.said().contains("serving"));
        daemon
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("text")
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        let length = body.len();
        let head = format!("{method} /v1/connections{path} HTTP/1.0\r\nHost: localhost\r\n");
        let kind = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all([head, kind].concat().as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        web::parse(&answer)
    }

    /// A new connection of this client; with `rest` laid over it.
    fn add(&self, client: &str, method: &str, rest: Value) -> Answer {
        let server = self.keep.server;
        let mut new = json!({"name": NAME, "client_id": client, "scope": "read",
            "server": {"issuer": server.issuer(), "client_authentication": method}});
        let secret = match client {
            "key" => server.knows("key"),
            _ => server.secret(client),
        };
        new["client_secret"] = json!(secret);
        if method == "private_key_jwt" {
            new["server"]["key_id"] = json!(server.said("key_id"));
        }
        for (name, value) in rest.as_object().into_iter().flatten() {
            new[name] = value.clone();
        }
        self.ask("POST", "", &new)
    }

    /// The token that is handed out now.
    fn token(&self) -> String {
        let answer = self.ask("GET", &format!("/{NAME}/token"), &Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text("access_token")
    }

    /// Ends it, in its own time.
    fn end(mut self) -> Ended {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill starts").success());
        let code = self.child.wait().expect("it ends").code().unwrap_or(-1);
        Ended { code, stdout: String::new(), stderr: self.said() }
    }
}

impl Drop for Daemon<'_, '_> {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// An app that needs nobody: obtained at once, and obtained anew.
#[track_caller]
fn for_itself(server: &Server, client: &str, method: &str, grant: Value, asked: &str, api: Option<&str>) {
    let keep = Keep::at(server);
    let daemon = Daemon::of(&keep);
    let way = grant["type"].clone();
    let added = daemon.add(client, method, json!({ "grant": grant }));
    assert_eq!((added.status, &added.json()["way"]), (201, &way), "{added:?}");
    let first = daemon.token();
    assert_eq!((daemon.token(), server.asked(asked)), (first.clone(), 1));
    let again = daemon.ask("POST", &format!("/{NAME}/refresh"), &Value::Null);
    assert_eq!((again.status, &again.json()["generation"]), (200, &json!(2)), "{again:?}");
    let second = daemon.token();
    assert_ne!(first, second);
    if let Some(api) = api {
        assert_eq!(web::get_as(&server.at(api), &second).status, 200);
    }
    assert_eq!((server.asked(asked), server.count("refused")), (2, 0));
    let ended = daemon.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    keep.shows_none_of(&[first, second], &[&ended]);
}

#[test]
fn an_app_proves_itself_in_each_way_at_each_server() {
    let grant = || json!({"type": "client_credentials"});
    let ways = [
        (Kind::NodeOidcProvider, "basic", "client_secret_basic", None),
        (Kind::NodeOidcProvider, "post", "client_secret_post", None),
        (Kind::NodeOidcProvider, "key", "private_key_jwt", None),
        (Kind::Authlib, "basic", "client_secret_basic", Some("/whoami")),
        (Kind::Authlib, "key", "private_key_jwt", Some("/whoami")),
        (Kind::Django, "app", "client_secret_post", Some("/whoami")),
    ];
    for (kind, client, method, api) in ways {
        let Some(server) = Server::start(kind, &[]) else { return };
        for_itself(&server, client, method, grant(), "client_credentials", api);
    }
}

#[test]
fn an_app_signs_a_statement_about_a_person() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    let grant = json!({"type": "jwt_bearer", "subject": "ada"});
    let asked = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    for_itself(&server, "key", "private_key_jwt", grant, asked, Some("/whoami"));
}

#[test]
fn one_token_is_exchanged_for_another() {
    let Some(server) = Server::start(Kind::Authlib, &[]) else { return };
    let (user, password) = (server.said("user"), server.said("password"));
    let form =
        [("grant_type", "password"), ("username", user), ("password", password), ("scope", "read write")];
    let subject = server.ask_for_tokens("post", &form).text("access_token");
    let keep = Keep::at(&server);
    let daemon = Daemon::of(&keep);
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    let grant = json!({"type": "token_exchange", "subject_token": subject, "subject_token_type": kind});
    let added = daemon.add("basic", "client_secret_basic", json!({ "grant": grant }));
    assert_eq!(added.status, 201, "{added:?}");
    let said = web::get_as(&server.at("/whoami"), &daemon.token()).json();
    assert_eq!((&said["sub"], &said["scope"]), (&json!("ada"), &json!("read")));
    assert_eq!(server.asked("urn:ietf:params:oauth:grant-type:token-exchange"), 1);
    keep.shows_none_of(&[subject], &[&daemon.end()]);
}

/// From the address that a browser is sent to, over the code that comes back, to the end of the grant.
#[test]
fn a_person_signs_in_at_each_server_and_the_grant_lives_until_it_is_given_back() {
    let back = "http://127.0.0.1:7777/callback";
    let ways = [
        (Kind::NodeOidcProvider, "post", "client_secret_post", "openid offline_access read"),
        (Kind::Authlib, "basic", "client_secret_basic", "read"),
        (Kind::Django, "web", "client_secret_basic", "read"),
    ];
    for (kind, client, method, scope) in ways {
        let Some(server) = Server::start(kind, &[]) else { return };
        let keep = Keep::at(&server);
        let daemon = Daemon::of(&keep);
        let added = daemon.add(client, method, json!({"grant": {"type": "sign_in"}, "scope": scope}));
        assert_eq!((added.status, &added.json()["state"]), (201, &json!("awaiting_grant")), "{added:?}");
        let begun = daemon.ask(
            "POST",
            &format!("/{NAME}/sign-in"),
            &json!({"type": "browser", "redirect_uri": back}),
        );
        let redirected = Person::at(&server).sign_in(&begun.text("address"));
        let finished =
            daemon.ask("POST", &format!("/{NAME}/signed-in"), &json!({ "redirected": redirected }));
        assert_eq!((finished.status, &finished.json()["state"]), (200, &json!("held")), "{finished:?}");
        let first = daemon.token();
        let again = daemon.ask("POST", &format!("/{NAME}/refresh"), &Value::Null);
        assert_eq!(again.status, 200, "{again:?}");
        let second = daemon.token();
        assert_ne!(first, second);
        assert_eq!((server.asked("authorization_code"), server.count("refreshes")), (1, 1));
        let revoked = daemon.ask("POST", &format!("/{NAME}/revoke"), &Value::Null);
        assert_eq!(revoked.status, 200, "{revoked:?}");
        assert_eq!(daemon.ask("GET", &format!("/{NAME}/token"), &Value::Null).status, 409);
        assert_eq!(server.count("refused"), 0);
        keep.shows_none_of(&[first, second], &[&daemon.end()]);
    }
}
