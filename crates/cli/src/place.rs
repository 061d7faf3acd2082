//! What a person named, in the words with which the next command names it again: hints are commands to copy.

use perennial::core::Connection;
use perennial::core::Server;
use perennial::core::profile::{concur::CONCUR, generic::GENERIC};
use perennial::store::App;

/// Which kind of store: hints differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One connection, and a person edits its files.
    #[default]
    SapSample,
    /// Many connections in a file, which commands add.
    Sqlite,
    /// Many connections in a database that many machines share.
    Postgres,
}

/// The surroundings that the next command needs. Each of the words is empty, or such as ` --dir acme`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The kind of store.
    pub(crate) kind: Kind,
    /// The connection that the command was about, where it is known.
    pub(crate) connection: Option<String>,
    /// The store.
    pub(crate) store: String,
    /// Where a grant is obtained.
    pub(crate) base: String,
    /// Certificates and addresses.
    pub(crate) network: String,
    /// What obtains its grant anew.
    pub(crate) anew: Anew,
}

/// What obtains a connection's grant anew: hints name the person, and the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Anew {
    /// A company request token, which an administrator makes in SAP Concur.
    #[default]
    RequestToken,
    /// A person signs in, there.
    SignIn(String),
    /// Nobody need act; the app itself must be put right, there.
    Itself(String),
}

impl Anew {
    /// Of a connection that is kept.
    pub(crate) fn of(seen: &Connection, app: &App) -> Self {
        // Of a server that no profile knows, its address says more.
        let issuer = seen.server.as_ref().filter(|_| seen.profile.name == GENERIC.name).map(Server::name);
        let title = issuer.unwrap_or_else(|| seen.profile.title.to_owned());
        match &seen.server {
            _ if seen.obtains_itself() => Self::Itself(title),
            Some(_) => Self::SignIn(title),
            None if seen.obtaining.way.is_sign_in() && app.request_token.is_none() => Self::SignIn(title),
            None => Self::RequestToken,
        }
    }
}

/// Verbs that work on a store.
const STORE: [&str; 24] = [
    "revoke",
    "key",
    "schema",
    "run",
    "token",
    "whoami",
    "call",
    "refresh",
    "status",
    "add",
    "list",
    "rename",
    "remove",
    "reauthorize",
    "policy",
    "import",
    "export",
    "recover",
    "log",
    "support",
    "doctor",
    "backup",
    "restore",
    "adopt",
];
/// Verbs that reach for the network.
const NETWORK: [&str; 10] =
    ["revoke", "run", "token", "whoami", "call", "refresh", "add", "reauthorize", "recover", "doctor"];
/// Verbs that obtain a grant.
const OBTAINING: [&str; 3] = ["run", "add", "reauthorize"];

impl Place {
    /// What obtains a grant anew.
    pub(crate) fn obtain(&self) -> String {
        match self.kind {
            Kind::SapSample => "perennial run".to_owned(),
            Kind::Sqlite | Kind::Postgres => format!("perennial reauthorize {}", self.name()),
        }
    }

    /// What presents the refresh token, whatever was said of it before.
    pub(crate) fn refresh(&self) -> String {
        self.about("refresh")
    }

    /// A verb about the connection.
    pub(crate) fn about(&self, verb: &str) -> String {
        match (self.kind, &self.connection) {
            (Kind::SapSample, _) => format!("perennial {verb}"),
            (Kind::Sqlite | Kind::Postgres, _) => format!("perennial {verb} {}", self.name()),
        }
    }

    /// Whose support can help.
    pub(crate) fn support(&self) -> String {
        match &self.anew {
            Anew::RequestToken => "SAP Concur support".to_owned(),
            Anew::SignIn(title) | Anew::Itself(title) => format!("the support of {title}"),
        }
    }

    /// Where an app is looked after.
    pub(crate) fn console(&self) -> String {
        match &self.anew {
            Anew::SignIn(title) | Anew::Itself(title) if *title != CONCUR.title => {
                "where it is registered".to_owned()
            }
            _ => "in OAuth 2.0 Application Management".to_owned(),
        }
    }

    /// Where App ID and client secret stand.
    pub(crate) fn app(&self) -> String {
        match self.kind {
            _ if matches!(&self.anew, Anew::SignIn(title) | Anew::Itself(title) if *title != CONCUR.title) => {
                "the client id and the client secret".to_owned()
            }
            Kind::SapSample => "appID and clientSecret in credentials.json".to_owned(),
            Kind::Sqlite | Kind::Postgres => "the App ID and the client secret".to_owned(),
        }
    }

    /// The same place with the connection that is spoken of.
    pub(crate) fn with(&self, connection: &str) -> Self {
        Self { connection: Some(connection.to_owned()), ..self.clone() }
    }

    fn name(&self) -> &str {
        self.connection.as_deref().unwrap_or("NAME")
    }

    /// Commands in a text name what the person named. One that names a store or a base of its own keeps that.
    pub(crate) fn complete(&self, text: &str) -> String {
        let mut parts = text.split("perennial ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, rest| format!("{text}perennial {}", self.completed(rest)))
    }

    /// `rest` begins behind the program's name.
    fn completed(&self, rest: &str) -> String {
        let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let (verb, behind) = rest.split_at(end);
        if !STORE.contains(&verb) {
            return rest.to_owned();
        }
        let command = behind.split(['\n', ';', ',']).next().unwrap_or_default();
        let names = |option: &str| command.contains(option);
        // The tutorial is about this directory where nobody says otherwise.
        let is_here = verb == "run" && self.store == " --dir .";
        let store = if is_here || names(" --dir") || names(" --store") { "" } else { &self.store };
        let base = if OBTAINING.contains(&verb) && !names(" --base-uri") { &self.base } else { "" };
        let network = if NETWORK.contains(&verb) { &self.network } else { "" };
        format!("{verb}{store}{base}{network}{behind}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            kind: Kind::Sqlite,
            connection: Some("acme".into()),
            store: " --store sqlite:x".into(),
            base: " --base-uri https://b".into(),
            network: " --ca-cert c".into(),
            anew: Anew::default(),
        }
    }

    #[test]
    fn a_command_in_a_hint_names_what_the_person_named() {
        let complete = |text: &str| place().complete(text);
        assert_eq!(
            complete("first: perennial add acme, then: perennial list"),
            "first: perennial add --store sqlite:x --base-uri https://b --ca-cert c acme, then: perennial list \
             --store sqlite:x"
        );
        assert_eq!(complete("perennial refresh"), "perennial refresh --store sqlite:x --ca-cert c");
        assert_eq!(complete("perennial token --dir ."), "perennial token --ca-cert c --dir .");
        assert_eq!(complete("Perennial runs; a perennial thing"), "Perennial runs; a perennial thing");
    }

    #[test]
    fn hints_speak_of_the_store_that_is_used() {
        assert_eq!(place().obtain(), "perennial reauthorize acme");
        assert_eq!(place().refresh(), "perennial refresh acme");
        assert_eq!(Place::default().obtain(), "perennial run");
        assert_eq!(Place::default().refresh(), "perennial refresh");
    }
}
