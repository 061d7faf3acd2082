//! Questions on a terminal: what is secret is not echoed, and Ctrl-C leaves a terminal that shows what is typed.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use support::{World, skip, wait_until};

/// A command on a terminal of its own, made by script(1).
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// `None` where there is no script(1).
    fn open(world: &World, line: &str) -> Option<Self> {
        let inner = world.keeps(&[]);
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .current_dir(world.dir())
            .env_clear();
        for (name, value) in inner.get_envs() {
            value.map(|value| command.env(name, value));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let (screen, mut out) = (Arc::new(Mutex::new(String::new())), child.stdout.take()?);
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut some = [0; 256];
            while let Ok(count @ 1..) = out.read(&mut some) {
                shown.lock().expect("a screen").push_str(&String::from_utf8_lossy(&some[..count]));
            }
        });
        Some(Self { keys: child.stdin.take()?, child, screen })
    }

    fn screen(&self) -> String {
        self.screen.lock().expect("a screen").clone()
    }

    fn wait_for(&self, text: &str) {
        wait_until(&format!("\"{text}\" is shown"), || self.screen().contains(text));
    }

    /// Waits for the question, and types.
    fn answer(&mut self, question: &str, keys: &str) {
        self.wait_for(question);
        self.keys.write_all(keys.as_bytes()).expect("it reads");
    }

    fn end(mut self) -> (i32, String) {
        let code = self.child.wait().expect("it ends").code().unwrap_or(-1);
        (code, self.screen())
    }
}

/// What a person is asked who has given nothing but a name.
const MENU: &str = "Number (Enter is 1): ";

fn add(world: &World) -> Option<Terminal> {
    let binary = support::binary();
    let terminal = Terminal::open(world, &format!("{} add acme", binary.display()));
    if terminal.is_none() {
        skip("there is no script(1)");
    }
    terminal
}

#[test]
fn law_10_secrets_are_asked_for_and_not_echoed() {
    let world = World::with(World::plain());
    let ready = world.sandbox.ready().clone();
    let Some(mut terminal) = add(&world) else { return };
    terminal.answer(MENU, "\n");
    terminal.answer("App ID: ", &format!("{}\n", ready.app_id));
    // A mistake is rubbed out, and another one as a whole.
    terminal.answer("Client secret (not shown): ", &format!("wrong\u{15}{}x\u{7f}\n", ready.client_secret));
    terminal.answer("Company UUID: ", &format!("{}\n", ready.company_uuid));
    terminal.answer("Company request token (not shown): ", &format!("{}\n", ready.request_token));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("acme: added, and a grant obtained"), "{screen}");
    assert!(screen.contains("companytokens"), "who makes one, and where: {screen}");
    assert!(!screen.contains(&ready.client_secret) && !screen.contains(&ready.request_token), "{screen}");
    assert!(screen.contains(&ready.app_id), "what is no secret is shown");
    assert_eq!(world.status_of("acme")["state"], "held");
}

/// The last line of the screen that is an address.
fn address_on(terminal: &Terminal) -> String {
    terminal.wait_for("paste its whole address here.");
    let screen = terminal.screen();
    let address = screen.lines().map(str::trim).find(|line| line.starts_with("http")).expect("an address");
    address.to_owned()
}

#[test]
fn the_app_itself_is_asked_for_two_things() {
    let world = World::with(World::plain());
    let ready = world.sandbox.ready().clone();
    let Some(mut terminal) = add(&world) else { return };
    terminal.answer(MENU, "nonsense\n");
    terminal.answer("nonsense", "4\n");
    terminal.answer("App ID: ", &format!("{}\n", ready.app_id));
    terminal.answer("Client secret (not shown): ", &format!("{}\n", ready.client_secret));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(world.status_of("acme")["way"], "client_credentials");
}

#[test]
fn a_person_with_a_terminal_alone_pastes_where_the_browser_ended() {
    let world = World::with(World::plain());
    let ready = world.sandbox.ready().clone();
    let ann = &ready.users[0];
    let Some(mut terminal) = add(&world) else { return };
    terminal.answer(MENU, "2\n");
    terminal.answer("App ID: ", &format!("{}\n", ready.app_id));
    terminal.answer("Client secret (not shown): ", &format!("{}\n", ready.client_secret));
    let address = address_on(&terminal);
    // On another machine the browser ends at a page that does not load: nobody visits it here.
    let back = support::browser::decide(&address, (&ann.login, &ann.password), "approve");
    terminal.answer("Address: ", "what is this\n");
    terminal.answer("belongs to another sign-in", &format!("{}\n", back.leads_to()));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(world.status_of("acme")["principal"], ann.uuid.as_str());
}

#[test]
fn a_one_time_password_is_asked_for_once_it_was_sent() {
    let world = World::with(World::plain());
    let ready = world.sandbox.ready().clone();
    let ann = &ready.users[0];
    let Some(mut terminal) = add(&world) else { return };
    terminal.answer(MENU, "3\n");
    terminal.answer("E-mail address: ", &format!("{}\n", ann.login));
    terminal.answer("App ID: ", &format!("{}\n", ready.app_id));
    terminal.answer("Client secret (not shown): ", &format!("{}\n", ready.client_secret));
    terminal.wait_for("One-time password (not shown): ");
    let otp = world.sandbox.one_time_passwords(&ann.login).pop().expect("a mail");
    terminal.answer("One-time password (not shown): ", &format!("{otp}\n"));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(world.status_of("acme")["principal"], ann.uuid.as_str());
}

#[test]
fn ctrl_c_leaves_and_the_terminal_echoes_again() {
    let world = World::with(World::plain());
    let binary = support::binary();
    for (key, line) in [("\u{3}", "exits: 130"), ("\u{4}", "exits: 130")] {
        let shell = format!("sh -c '{} add acme; echo exits: $?; stty -a'", binary.display());
        let Some(mut terminal) = Terminal::open(&world, &shell) else { return skip("there is no script(1)") };
        terminal.answer(MENU, "1\n");
        terminal.answer("App ID: ", "app\n");
        terminal.answer("Client secret (not shown): ", &format!("canary{key}"));
        let (_, screen) = terminal.end();
        assert!(screen.contains("nothing was changed") && screen.contains(line), "{screen}");
        assert!(screen.contains(" echo ") && screen.contains(" icanon "), "{screen}");
        assert!(!screen.contains("canary"), "{screen}");
        assert!(!world.database().exists());
    }
}

#[test]
fn a_person_is_asked_before_a_connection_is_put_away() {
    let world = World::with(World::plain());
    world.add("acme");
    let binary = support::binary();
    for (answer, stays) in [("n\n", true), ("\n", true), ("y\n", false)] {
        let line = format!("{} remove acme", binary.display());
        let Some(mut terminal) = Terminal::open(&world, &line) else { return skip("there is no script(1)") };
        terminal.answer("[y/N]: ", answer);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{screen}");
        assert_eq!(world.names().is_empty(), !stays, "{screen}");
    }
}

#[test]
fn a_person_is_told_that_saps_files_are_plain_and_a_script_is_not() {
    let world = World::held();
    let program = env!("CARGO_BIN_EXE_perennial");
    let dir = world.dir().display().to_string();
    let Some(terminal) = Terminal::open(&world, &format!("{program} status --dir '{dir}'")) else {
        return skip("there is no script(1)");
    };
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(screen.matches("plain text").count(), 1, "{screen}");
    assert!(screen.contains("perennial import DIR --as NAME"), "{screen}");
    assert!(!world.run_ok(&["status"]).stderr.contains("plain"));
}
