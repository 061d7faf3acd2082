//! What several options must agree on, and what is wrong, told with its line.

use super::{Config, Peer, Right, Sink};
use perennial::core::Origin;
use std::fmt;

/// A mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line and column, counted from 1.
    pub at: Option<(usize, usize)>,
    /// What is wrong, and what would be right. Never a value that may be a secret.
    pub what: String,
}

impl Mistake {
    pub(super) fn whole(what: impl Into<String>) -> Self {
        Self { at: None, what: what.into() }
    }

    /// What the parser says, without the line itself: a secret may have been written there.
    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        let what = error.message().lines().next().unwrap_or_default().to_owned();
        Self { at: error.span().map(|span| position(text, span.start)), what }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

/// Everything that is wrong.
pub(super) fn check(config: &Config, text: &str) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut say = |table: &str, key: &str, what: String| {
        mistakes.push(Mistake { at: line_of(text, table, key).map(|line| (line, 1)), what });
    };
    let listen = &config.listen;
    if listen.tls_cert.is_some() != listen.tls_key.is_some() {
        let (there, missing) =
            if listen.tls_cert.is_some() { ("tls_cert", "tls_key") } else { ("tls_key", "tls_cert") };
        say("listen", there, format!("listen.{there} needs listen.{missing} beside it"));
    }
    if listen.tls_cert.is_none()
        && let Some(address) = listen.tcp.iter().find(|address| !address.ip().is_loopback())
    {
        say(
            "listen",
            "tcp",
            format!(
                "{address} is not this machine alone, so it needs TLS: listen.tls_cert and listen.tls_key"
            ),
        );
    }
    if let Some(mode) = &listen.unix_mode
        && u32::from_str_radix(mode, 8).map_or(true, |mode| mode > 0o777)
    {
        say("listen", "unix_mode", "listen.unix_mode is no mode; write it as \"660\"".to_owned());
    }
    if let Some(url) = &listen.public_url
        && let Err(error) = Origin::parse(url)
    {
        say(
            "listen",
            "public_url",
            format!("listen.public_url {error}; write it as https://perennial.example.com"),
        );
    }
    if listen.unix.as_ref().is_some_and(|path| path.as_os_str().is_empty()) && listen.tcp.is_empty() {
        say("listen", "unix", "it would listen nowhere: name a socket or a TCP address".to_owned());
    }
    for limit in [("sockets", config.limits.sockets), ("resident", config.limits.resident)] {
        if limit.1 == 0 {
            say("limits", limit.0, format!("limits.{} must be 1 at least", limit.0));
        }
    }
    if config.keep_alive.at_a_time == 0 {
        say(
            "keep_alive",
            "at_a_time",
            "keep_alive.at_a_time must be 1 at least; to renew nothing: enabled = false".to_owned(),
        );
    }
    for peer in &config.access.peer {
        check_peer(peer, &mut |what| say("[access.peer]", "", what));
    }
    for sink in &config.alerts.to {
        if let Sink::Command { command } = sink
            && command.is_empty()
        {
            say("[alerts.to]", "command", "a command needs a program".to_owned());
        }
    }
    for (app, connect) in &config.connect {
        let table = format!("connect.{app}");
        for (key, what) in connect.mistakes(app) {
            let option = if key.is_empty() { table.clone() } else { format!("{table}.{key}") };
            say(&table, key, format!("{option} {what}"));
        }
    }
    mistakes
}

fn check_peer(peer: &Peer, say: &mut dyn FnMut(String)) {
    if peer.user.is_none() && peer.group.is_none() {
        say("[[access.peer]] needs a user or a group".to_owned());
    }
    if peer.may.is_empty() {
        say("[[access.peer]] may nothing: may = [\"token\"]".to_owned());
    }
    if !peer.forward.is_empty() && !peer.may.contains(&Right::Proxy) {
        say("[[access.peer]] names requests to forward, and may not forward any: may = [\"proxy\"]"
            .to_owned());
    }
}

/// Where an option stands: the first line of its table that begins with it, else its table.
fn line_of(text: &str, table: &str, key: &str) -> Option<usize> {
    let (mut inside, mut header) = (table.is_empty(), None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) =
            line.strip_prefix('[').and_then(|rest| rest.split(']').next().map(|name| (name, rest)))
        {
            inside = name.0.trim() == table || (table.starts_with('[') && format!("{}]", name.0) == table);
            if inside {
                header.get_or_insert(number + 1);
            }
        } else if inside
            && !key.is_empty()
            && line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
        {
            return Some(number + 1);
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::super::{Config, EXAMPLE};

    fn mistakes(text: &str) -> Vec<String> {
        Config::parse(text, &[]).unwrap_err().iter().map(ToString::to_string).collect()
    }

    fn connect(more: &str) -> String {
        let pages: String = ["terms", "privacy", "support"]
            .map(|key| format!("{key} = \"https://example.com/{key}\"\n"))
            .concat();
        let client = "client_id = \"x\"\nclient_secret = \"env:X\"\ntitle = \"Example\"\n";
        format!("[connect.example]\n{client}{pages}{more}\n")
    }

    #[test]
    fn each_mistake_is_told_with_its_line() {
        for (text, says) in [
            ("stor = \"x\"\n", "line 1, column 1: unknown field `stor`"),
            ("\n[limits]\nidle = \"5 parsecs\"\n", "line 3, column 8:"),
            (
                "[listen]\ntcp = [\"0.0.0.0:8470\"]\n",
                "line 2, column 1: 0.0.0.0:8470 is not this machine alone",
            ),
            ("[listen]\n\ntls_cert = \"a\"\n", "line 3, column 1: listen.tls_cert needs listen.tls_key"),
            ("[keep_alive]\nat_a_time = 0\n", "line 2, column 1: keep_alive.at_a_time"),
            ("[[access.peer]]\nuser = \"x\"\nmay = []\n", "line 1, column 1: [[access.peer]] may nothing"),
            ("[[access.peer]]\nuser = \"x\"\nmay = [\"tokens\"]\n", "line 3"),
            ("[listen]\nunix = \"\"\n", "line 2, column 1: it would listen nowhere"),
            (&connect("name = \"acme\""), "line 8, column 1: connect.example.name must hold {company}"),
            (
                &connect("sign_in = \"yes\""),
                "line 8, column 11: invalid value: string \"yes\", expected \"confirm\"",
            ),
            (
                &connect("sign_in = { url = \"http://x.example\", secret = \"env:X\" }"),
                "line 8, column 1: connect.example.sign_in",
            ),
            (&connect("secret = 1"), "line 8, column 1: unknown field `secret`"),
        ] {
            let told = mistakes(text);
            assert!(told[0].starts_with(says), "{told:?}");
        }
    }

    #[test]
    fn law_10_no_mistake_shows_what_may_be_a_secret() {
        for text in [
            "[[alerts.to]]\nkind = \"slack\"\nurl = \"https://hooks.example.com/canary\"\n",
            "[[alerts.to]]\nkind = \"webhook\"\nurl = \"file:/x\"\nsecret = \"whsec_canary\"\n",
            "master_key = canary\n",
        ] {
            let told = mistakes(text);
            assert!(!told.concat().contains("canary"), "{told:?}");
        }
    }

    #[test]
    fn the_example_is_right_and_its_values_are_the_defaults() {
        assert_eq!(Config::parse(EXAMPLE, &[]), Ok(Config::default()));
        // Each option that is commented out can be put in force as it stands.
        let uncommented: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let config = Config::parse(&uncommented, &[]).unwrap();
        assert!(config.store.is_some() && config.alerts.to.len() == 3 && !config.access.peer.is_empty());
        assert_eq!(config.connect["example"].sign_in, super::super::SignIn::Confirm, "the default");
        assert_eq!(config.connect["example"].name, "{company}", "the default");
        let (limits, defaults) = (config.limits, Config::default().limits);
        assert_eq!(limits, defaults, "what the example says is the default must be it");
        assert_eq!(
            (config.keep_alive, config.proxy),
            (Config::default().keep_alive, Config::default().proxy)
        );
    }
}
