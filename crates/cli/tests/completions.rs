//! `perennial completions`: verbs, options, and the names of the connections that are there.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::path::Path;
use std::process::Command;
use support::{World, binary};

/// What bash offers for the last of these words.
fn offered(world: &World, script: &Path, words: &[&str]) -> Vec<String> {
    let last = words.len() - 1;
    let line = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={last}; _perennial_with_names perennial '{}' '{}'; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words[last],
        words[last - 1],
    );
    let path = binary().parent().expect("a directory").to_owned();
    let bash = Command::new("bash")
        .args(["--norc", "-c", &line])
        .env_clear()
        .env("HOME", world.home())
        .env("PATH", format!("{}:/usr/bin:/bin", path.display()))
        .output()
        .expect("bash is there");
    String::from_utf8_lossy(&bash.stdout).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_connections() {
    let world = World::with(World::plain());
    for name in ["acme", "east", "eastern"] {
        world.keep_ok(&world.adding(name, &["--later"]));
    }
    let script = world.home().join("perennial.bash");
    std::fs::write(&script, world.keep_ok(&["completions", "bash"]).stdout).expect("it can be written");
    let offered = |words: &[&str]| offered(&world, &script, words);
    assert_eq!(offered(&["perennial", "tok"]), ["token"]);
    assert_eq!(offered(&["perennial", "token", "--min"]), ["--min-ttl"]);
    assert_eq!(offered(&["perennial", "token", ""]), ["acme", "east", "eastern"]);
    assert_eq!(offered(&["perennial", "rename", "east"]), ["east", "eastern"]);
    assert_eq!(offered(&["perennial", "profile", "show", "o"]), ["okta"]);
    assert_eq!(offered(&["perennial", "add", "x", "--profile", "xs"]), ["xsuaa"]);
    assert!(!offered(&["perennial", "add", ""]).contains(&"acme".to_owned()), "a new name is nobody's yet");
}

#[test]
fn other_shells_ask_for_names_too_and_nothing_is_said_where_there_are_none() {
    let world = World::with(World::plain());
    for shell in ["zsh", "fish"] {
        let script = world.keep_ok(&["completions", shell]).stdout;
        assert!(script.contains("perennial completions --names"), "{shell}");
        assert!(script.contains("perennial profiles --names"), "{shell}");
    }
    world.keep_ok(&["completions", "elvish"]);
    let ended = world.keep_ok(&["completions", "--names"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    world.keep(&["completions"]).is_usage("required arguments");
}
