//! A person signs in: in a browser of this machine, or in one elsewhere and by pasting. And what somebody else might send
//! in between.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::Config;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use support::browser::{decide, parameter, visit};
use support::{Ended, World};

/// `perennial add lee --user`, waiting for its person.
struct Waiting {
    child: Child,
    /// Where the person is sent.
    address: String,
    rest: JoinHandle<String>,
}

impl Waiting {
    fn begun(world: &World, more: &[&str]) -> Self {
        let app_id = world.sandbox.ready().app_id.clone();
        let words = [
            "add",
            "lee",
            "--user",
            "--no-browser",
            "--app-id",
            &app_id,
            "--client-secret-env",
            "CLIENT_SECRET",
        ];
        Self::of(world, &[&words[..], more].concat())
    }

    fn reauthorizing(world: &World, name: &str) -> Self {
        Self::of(world, &["reauthorize", name, "--user", "--no-browser"])
    }

    fn of(world: &World, words: &[&str]) -> Self {
        let mut child = world.keeps(words).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        let mut address = String::new();
        while !address.starts_with("http") {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).expect("it speaks"), 0, "it ended without an address");
            line.trim().clone_into(&mut address);
        }
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            said.read_to_string(&mut rest).expect("it speaks");
            rest
        });
        Self { child, address, rest }
    }

    fn ended(self) -> Ended {
        let output = self.child.wait_with_output().expect("it ends");
        let mut ended = Ended::of(&output);
        ended.stderr = self.rest.join().expect("it was read");
        ended
    }

    /// Ends it as a person does who gives up.
    fn interrupted(mut self) -> Ended {
        let id = self.child.id().to_string();
        let kill = std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(kill.success());
        let _ = self.child.wait();
        self.ended()
    }
}

fn world() -> World {
    World::with(World::plain())
}

/// The login and the password of somebody whom the sandbox knows.
fn person(world: &World) -> (String, String) {
    let user = world.sandbox.ready().users[0].clone();
    (user.login, user.password)
}

#[test]
fn a_person_signs_in_and_the_browser_says_so() {
    let world = world();
    let waiting = Waiting::begun(&world, &["--scope", "openid user.read"]);
    for part in ["response_type=code", "code_challenge_method=S256", "nonce=", "scope=openid+user.read"] {
        assert!(waiting.address.contains(part), "{}", waiting.address);
    }
    let (login, password) = person(&world);
    let back = decide(&waiting.address, (&login, &password), "approve");
    let page = visit(back.leads_to());
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("lee is connected"), "{page:?}");
    let ended = waiting.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("lee: added, and a grant obtained"), "{ended:?}");
    ended.shows_none_of(&world.sandbox.secrets());
    let status = world.status_of("lee");
    assert_eq!(status["principal"], world.sandbox.ready().users[0].uuid.as_str(), "law 13: its sub");
    world.keep_ok(&["refresh", "lee"]);
    world.keep_ok(&["token", "lee"]);
}

/// RFC 9700 sections 4.2, 4.3, 4.11, 4.16: what the last page must not do.
#[test]
fn the_last_page_leaks_nothing_and_leads_nowhere() {
    let world = world();
    let waiting = Waiting::begun(&world, &[]);
    let (login, password) = person(&world);
    let back = decide(&waiting.address, (&login, &password), "approve");
    let evil = format!(
        "{}&next=https%3A%2F%2Fevil.example&redirect_uri=https%3A%2F%2Fevil.example",
        back.leads_to()
    );
    let page = visit(&evil);
    assert_eq!((page.status, page.header("location")), (200, None), "{page:?}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for word in ["<a", "<script", "<img", "evil", "code="] {
        assert!(!page.body.contains(word), "{word}: {page:?}");
    }
    assert_eq!(waiting.ended().code, 0);
}

/// RFC 9700 sections 4.5 and 4.7: an answer of somebody else's sign-in is told, and the right one still comes.
#[test]
fn a_forged_answer_is_refused_and_the_right_one_waited_for() {
    let world = world();
    let waiting = Waiting::begun(&world, &[]);
    let home = parameter(&waiting.address, "redirect_uri").expect("it is sent");
    let state = parameter(&waiting.address, "state").expect("it is sent");
    let iss = support::browser::encoded(world.sandbox.base_uri());
    for forged in [
        format!("{home}?code=injected"),
        format!("{home}?code=injected&state=guessed"),
        format!("{home}?code=injected&state={state}&state=guessed"),
        format!("{home}?error=access_denied&state=guessed"),
        format!("{home}?code=one&code=two&state={state}&iss={iss}"),
    ] {
        let page = visit(&forged);
        assert_eq!(page.status, 400, "{page:?}");
        assert!(page.body.contains("That did not work"), "{page:?}");
    }
    assert_eq!(world.requests(), 0, "nothing was exchanged");
    assert_eq!(visit(&home.replace("/callback", "/elsewhere")).status, 404);
    let (login, password) = person(&world);
    let back = decide(&waiting.address, (&login, &password), "approve");
    assert_eq!(visit(back.leads_to()).status, 200);
    let ended = waiting.ended();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("belongs to another sign-in"), "the person was told: {ended:?}");
}

#[test]
fn who_says_no_is_asked_nothing_more() {
    let world = world();
    let waiting = Waiting::begun(&world, &[]);
    let (login, password) = person(&world);
    let back = decide(&waiting.address, (&login, &password), "deny");
    assert_eq!(visit(back.leads_to()).status, 400);
    let ended = waiting.ended();
    ended.is_trouble(&world, 3, "the sign-in was refused: access_denied", "perennial reauthorize lee");
    assert_eq!(world.requests(), 0);
    assert_eq!(world.status_of("lee")["state"], "awaiting_grant", "what was given is kept");
}

#[test]
fn ctrl_c_leaves_a_connection_that_waits() {
    let world = world();
    let ended = Waiting::begun(&world, &[]).interrupted();
    assert_eq!(ended.code, 130, "{ended:?}");
    assert_eq!(world.status_of("lee")["state"], "awaiting_grant");
    // It goes on the way that it was begun.
    let again = Waiting::of(&world, &["reauthorize", "lee", "--no-browser"]);
    let (login, password) = person(&world);
    visit(decide(&again.address, (&login, &password), "approve").leads_to());
    assert_eq!(again.ended().code, 0);
    assert_eq!(world.status_of("lee")["way"], "sign_in");
}

/// A code is worth nothing without its verifier (RFC 7636): who reads it off the way cannot use it.
#[test]
fn a_code_that_was_read_off_is_of_no_use() {
    let world = world();
    let waiting = Waiting::begun(&world, &[]);
    let (login, password) = person(&world);
    let back = decide(&waiting.address, (&login, &password), "approve");
    let code = parameter(back.leads_to(), "code").expect("a code");
    let app = world.sandbox.ready().clone();
    // The thief has the app, too, and begins a sign-in of his own into which he injects the code.
    let secret = ["--client-secret-env", "CLIENT_SECRET"];
    world.keep_ok(&[&["add", "thief", "--user", "--later", "--app-id", &app.app_id], &secret[..]].concat());
    let thief = Waiting::reauthorizing(&world, "thief");
    let (home, state) = (
        parameter(&thief.address, "redirect_uri").expect("sent"),
        parameter(&thief.address, "state").expect("sent"),
    );
    let iss = support::browser::encoded(&app.base_uri);
    let page = visit(&format!("{home}?code={code}&state={state}&iss={iss}"));
    assert_eq!(page.status, 400, "{page:?}");
    assert_ne!(thief.ended().code, 0);
    assert_eq!(world.status_of("thief")["state"], "awaiting_grant");
    drop(waiting.interrupted());
}

/// A person who has only SSH: the redirect leads to an address elsewhere, and what the browser ended at is given.
#[test]
fn the_answer_may_be_pasted() {
    const ELSEWHERE: &str = "https://app.example.com/back";
    let world = World::with(Config { redirect_uris: vec![ELSEWHERE.to_owned()], ..World::plain() });
    let more = ["--redirect-uri", ELSEWHERE, "--redirected-file", "-"];
    let mut waiting = Waiting::begun(&world, &more);
    let (login, password) = person(&world);
    let back = decide(&waiting.address, (&login, &password), "approve");
    writeln!(waiting.child.stdin.take().expect("piped"), "{}", back.leads_to()).expect("it reads");
    assert_eq!(waiting.ended().code, 0);
    assert_eq!(world.status_of("lee")["state"], "held");
}

#[test]
fn another_sign_in_keeps_the_history() {
    let world = world();
    let waiting = Waiting::begun(&world, &[]);
    let (login, password) = person(&world);
    visit(decide(&waiting.address, (&login, &password), "approve").leads_to());
    assert_eq!(waiting.ended().code, 0);
    let again = Waiting::reauthorizing(&world, "lee");
    visit(decide(&again.address, (&login, &password), "approve").leads_to());
    assert_eq!(again.ended().code, 0);
    assert_eq!(world.events("lee"), ["noted", "obtained", "obtained"]);
    // Law 13: somebody else signs in by mistake, and is not let in.
    let other = world.sandbox.ready().users[1].clone();
    let mistake = Waiting::reauthorizing(&world, "lee");
    visit(decide(&mistake.address, (&other.login, &other.password), "approve").leads_to());
    let ended = mistake.ended();
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("the answer names principal"), "{ended:?}");
    assert_eq!(world.status_of("lee")["principal"], world.sandbox.ready().users[0].uuid.as_str());
    world.keep_ok(&["token", "lee"]);
}
