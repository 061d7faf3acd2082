//! Addresses and the blanks in them (law 10): https alone, and nobody but the person who names a server chooses its host.

use super::check::Findings;
use super::{BlankPart, ServerPart};
use crate::profile::BlankKind;
use crate::server::Endpoint;
use toml::Spanned;

/// What every request to the authorization endpoint carries: no profile may say otherwise.
const OWN_PARAMETERS: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

pub(super) fn check(server: &ServerPart, findings: &mut Findings<'_>) {
    blanks(&server.blanks, findings);
    let addresses = [
        &server.issuer,
        &server.token,
        &server.authorization,
        &server.device_authorization,
        &server.revocation,
        &server.introspection,
        &server.keys,
        &server.api,
    ];
    for address in addresses.into_iter().flatten() {
        check_address(address, &server.blanks, findings);
    }
    let mut texts: Vec<_> = addresses.into_iter().flatten().collect();
    texts.extend(&server.audience);
    used(&texts, &server.blanks, findings);
    // Both go out as they stand, also where a server was found without asking for anything.
    for text in server.scope.iter().chain(server.authorize.values()) {
        if text.get_ref().contains(['{', '}']) {
            findings.say(text.span(), "blanks stand in addresses and in the audience alone");
        }
    }
    for name in server.authorize.keys() {
        if OWN_PARAMETERS.contains(&name.get_ref().as_str()) {
            findings.say(name.span(), format!("authorize: {} is Perennial's own to say", name.get_ref()));
        }
    }
    let discovers = server.discovers.as_ref().is_some_and(|discovers| *discovers.get_ref());
    if discovers && server.issuer.is_none() {
        findings.say(server.sources.span(), "server: discovers needs an issuer to ask at");
    }
    if !discovers && server.token.is_none() {
        findings
            .say(server.sources.span(), "server: name the token endpoint, or an issuer and discovers = true");
    }
}

fn blanks(blanks: &[BlankPart], findings: &mut Findings<'_>) {
    for (number, blank) in blanks.iter().enumerate() {
        let name = blank.name.get_ref();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            findings.say(
                blank.name.span(),
                format!("\"{name}\" is no name for a blank: lower case letters and _"),
            );
        }
        if blanks.iter().take(number).any(|earlier| earlier.name.get_ref() == name) {
            findings.say(blank.name.span(), format!("there are two blanks \"{name}\""));
        }
        if let Some(default) = &blank.default
            && !blank.kind.0.takes(default.get_ref())
        {
            let what =
                format!("\"{}\" cannot stand there; it must be {}", default.get_ref(), blank.kind.0.wants());
            findings.say(default.span(), what);
        }
    }
}

/// Each blank that is declared is used, and the other way round.
fn used(texts: &[&Spanned<String>], blanks: &[BlankPart], findings: &mut Findings<'_>) {
    for text in texts {
        match names_in(text.get_ref()) {
            None => findings.say(text.span(), "has a brace without its other half"),
            Some(names) => {
                for name in names {
                    if !blanks.iter().any(|blank| blank.name.get_ref() == name) {
                        let what = format!("there is no [[server.blank]] with the name \"{name}\"");
                        findings.say(text.span(), what);
                    }
                }
            }
        }
    }
    for blank in blanks {
        let name = blank.name.get_ref().as_str();
        if !texts.iter().any(|text| names_in(text.get_ref()).is_some_and(|names| names.contains(&name))) {
            findings.say(blank.name.span(), format!("nothing uses the blank {{{name}}}"));
        }
    }
}

/// The names of the blanks in a text.
fn names_in(text: &str) -> Option<Vec<&str>> {
    let (mut names, mut rest) = (Vec::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}')?;
        if before.contains('}') || name.contains('{') {
            return None;
        }
        names.push(name);
        rest = after;
    }
    (!rest.contains('}')).then_some(names)
}

fn check_address(address: &Spanned<String>, blanks: &[BlankPart], findings: &mut Findings<'_>) {
    let text = address.get_ref();
    let Some(rest) = text.strip_prefix("https://") else {
        return findings.say(address.span(), format!("\"{text}\" must begin with https://"));
    };
    if text.contains(['#', '@', '\\', ' ']) {
        return findings.say(address.span(), "an endpoint has no user, no fragment and no blank space in it");
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let kind =
        |name: &str| blanks.iter().find(|blank| blank.name.get_ref() == name).map(|blank| blank.kind.0);
    let Some(names) = names_in(host) else { return };
    let kinds: Vec<_> = names.iter().filter_map(|name| kind(name)).collect();
    for name in &names {
        if kind(name).is_some_and(|kind| !kind.is_of_host()) {
            findings.say(
                address.span(),
                format!("{{{name}}} stands in the host, so its kind must be host or label"),
            );
        }
    }
    if !kinds.contains(&BlankKind::Host) && host.rsplit('.').take(2).any(|label| label.contains('{')) {
        let what = "a blank chooses whose host it is: let two labels follow it, or let its kind be host";
        findings.say(address.span(), what);
    }
    if let Err(problem) = Endpoint::parse(&tried(text, blanks)) {
        findings.say(address.span(), format!("\"{text}\" {problem}"));
    }
}

/// The text with something harmless in each blank.
fn tried(text: &str, blanks: &[BlankPart]) -> String {
    blanks.iter().fold(text.to_owned(), |text, blank| {
        let harmless = if blank.kind.0 == BlankKind::Host { "host.example" } else { "x" };
        text.replace(&format!("{{{}}}", blank.name.get_ref()), harmless)
    })
}
