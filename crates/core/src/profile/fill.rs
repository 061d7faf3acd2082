//! A person's answers in a template's blanks: from both comes a [`Server`]. Law 10: an answer is a part of an address and
//! can never turn it into another one.

use super::{BlankKind, Template};
use crate::origin::{Origin, OriginError};
use crate::server::{ClientAuthentication, Endpoint, Server};

/// Why a template could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// Something was not said.
    #[error("{} missing: {}", if .0.len() == 1 { "a value is" } else { "values are" }, described(.0))]
    Missing(Vec<Unanswered>),
    /// An answer to what was not asked.
    #[error("there is nothing called \"{name}\" to be set here; {}", known_words(.known))]
    Unknown {
        /// What was set.
        name: String,
        /// What may be.
        known: Vec<&'static str>,
    },
    /// The same blank was filled in twice.
    #[error("\"{0}\" is set twice")]
    Twice(String),
    /// An answer that cannot stand in an address.
    #[error("\"{value}\" cannot stand for {name}; it must be {}", .kind.wants())]
    Unusable {
        /// The blank.
        name: &'static str,
        /// What was to stand in it.
        value: String,
        /// What may.
        kind: BlankKind,
    },
    /// What came of it is no address.
    #[error("the {what} that comes of it, \"{address}\", {problem}")]
    Address {
        /// Which endpoint.
        what: &'static str,
        /// What came of it.
        address: String,
        /// What is wrong with it.
        problem: OriginError,
    },
}

/// A blank that nobody filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

fn described(missing: &[Unanswered]) -> String {
    let words: Vec<_> = missing.iter().map(|one| format!("{} ({})", one.name, one.meaning)).collect();
    words.join(", ")
}

fn known_words(known: &[&str]) -> String {
    match known {
        [] => "this profile asks for nothing".to_owned(),
        known => format!("it asks for {}", known.join(", ")),
    }
}

impl FillError {
    /// What to add to the command, such as `--set tenant=…`; none where something is to be taken away.
    #[must_use]
    pub fn options(&self) -> Option<String> {
        let names: Vec<&str> = match self {
            Self::Missing(missing) => missing.iter().map(|one| one.name).collect(),
            Self::Unusable { name, .. } => vec![name],
            Self::Unknown { known, .. } if !known.is_empty() => known.clone(),
            _ => return None,
        };
        Some(names.iter().map(|name| format!("--set {name}=…")).collect::<Vec<_>>().join(" "))
    }
}

/// A template without blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledIn {
    /// The issuer identifier.
    pub issuer: Option<String>,
    /// True when the issuer is asked for what is not named here.
    pub discovers: bool,
    /// The token endpoint.
    pub token: Option<Endpoint>,
    /// The authorization endpoint.
    pub authorization: Option<Endpoint>,
    /// The device authorization endpoint (RFC 8628).
    pub device_authorization: Option<Endpoint>,
    /// The revocation endpoint (RFC 7009).
    pub revocation: Option<Endpoint>,
    /// The introspection endpoint (RFC 7662).
    pub introspection: Option<Endpoint>,
    /// The JWK set.
    pub keys: Option<Endpoint>,
    /// The base of the API.
    pub api: Option<Origin>,
    /// How clients prove who they are, as a rule; none leaves it to what the server says of itself.
    pub authentication: Option<ClientAuthentication>,
    /// Whom a client's assertion is for, where it is not the issuer.
    pub audience: Option<String>,
}

impl FilledIn {
    /// The issuer that is asked for what is not named here; none where nobody is asked.
    #[must_use]
    pub fn asks(&self) -> Option<&str> {
        self.issuer.as_deref().filter(|_| self.discovers)
    }

    /// The server, as far as the template names it; none where its token endpoint must be discovered.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        Some(self.over(Server::undescribed(self.token.clone()?)))
    }

    /// What is named here, in place of what `described` says: a profile knows its provider's habits better than the
    /// provider's own description does.
    #[must_use]
    pub fn over(&self, described: Server) -> Server {
        Server {
            issuer: self.issuer.clone().or(described.issuer),
            token: self.token.clone().unwrap_or(described.token),
            authorization: self.authorization.clone().or(described.authorization),
            device_authorization: self.device_authorization.clone().or(described.device_authorization),
            revocation: self.revocation.clone().or(described.revocation),
            introspection: self.introspection.clone().or(described.introspection),
            keys: self.keys.clone().or(described.keys),
            authentication: self.authentication.unwrap_or(described.authentication),
            audience: self.audience.clone().or(described.audience),
            api: self.api.clone().or(described.api),
            ..described
        }
    }
}

impl Template {
    /// Puts answers, as pairs of a blank's name and a text, in place of the blanks. What nobody answers has its default.
    ///
    /// # Errors
    /// When an answer is missing, not asked for, given twice, or no part of an address.
    pub fn fill(&self, answers: &[(String, String)]) -> Result<FilledIn, FillError> {
        let values = self.values(answers)?;
        let text = |text: Option<&str>| text.map(|text| put_in(text, &values));
        let endpoint = |what, address: Option<&str>| {
            let filled = text(address).map(|address| {
                Endpoint::parse(&address).map_err(|problem| FillError::Address { what, address, problem })
            });
            filled.transpose()
        };
        let api = endpoint("base of the API", self.api)?;
        Ok(FilledIn {
            issuer: text(self.issuer),
            discovers: self.discovers,
            token: endpoint("token endpoint", self.token)?,
            authorization: endpoint("authorization endpoint", self.authorization)?,
            device_authorization: endpoint("device authorization endpoint", self.device_authorization)?,
            revocation: endpoint("revocation endpoint", self.revocation)?,
            introspection: endpoint("introspection endpoint", self.introspection)?,
            keys: endpoint("JWK set", self.keys)?,
            api: api.map(|endpoint| endpoint.origin().clone()),
            authentication: self.authentication,
            audience: text(self.audience),
        })
    }

    /// What stands in each blank.
    fn values(&self, answers: &[(String, String)]) -> Result<Vec<(&'static str, String)>, FillError> {
        for (number, (name, _)) in answers.iter().enumerate() {
            if !self.blanks.iter().any(|blank| blank.name == name) {
                let known = self.blanks.iter().map(|blank| blank.name).collect();
                return Err(FillError::Unknown { name: name.clone(), known });
            }
            if answers.iter().take(number).any(|(earlier, _)| earlier == name) {
                return Err(FillError::Twice(name.clone()));
            }
        }
        let (mut values, mut missing) = (Vec::new(), Vec::new());
        for blank in self.blanks {
            let answer = answers.iter().find(|(name, _)| name == blank.name).map(|(_, text)| text.trim());
            match answer.filter(|text| !text.is_empty()).or(blank.default) {
                Some(text) if blank.kind.takes(text) => values.push((blank.name, text.to_owned())),
                Some(text) => {
                    let (name, kind) = (blank.name, blank.kind);
                    return Err(FillError::Unusable { name, value: text.to_owned(), kind });
                }
                None => missing.push(Unanswered { name: blank.name, meaning: blank.meaning }),
            }
        }
        if missing.is_empty() { Ok(values) } else { Err(FillError::Missing(missing)) }
    }
}

/// One pass from left to right: what stands in a blank is never searched for blanks.
fn put_in(text: &str, values: &[(&'static str, String)]) -> String {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        whole.push_str(before);
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => whole.push_str(value),
            // A file with such a blank is refused when it is read; the address would be refused here.
            None => whole.push_str(&format!("{{{name}}}")),
        }
        rest = after;
    }
    whole.push_str(rest);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Blank;

    const TEMPLATE: Template = Template {
        blanks: &[
            Blank { name: "domain", kind: BlankKind::Host, meaning: "the domain", default: None },
            Blank {
                name: "server",
                kind: BlankKind::Segment,
                meaning: "the server",
                default: Some("default"),
            },
        ],
        issuer: Some("https://{domain}/oauth2/{server}"),
        token: Some("https://{domain}/oauth2/{server}/v1/token"),
        ..Template::UNKNOWN
    };

    fn filled(answers: &[(&str, &str)]) -> Result<FilledIn, FillError> {
        let answers: Vec<_> = answers.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        TEMPLATE.fill(&answers)
    }

    #[test]
    fn answers_and_defaults_make_a_server() {
        let server = filled(&[("domain", " acme.okta.com ")]).unwrap().server().unwrap();
        assert_eq!(server.token.to_string(), "https://acme.okta.com/oauth2/default/v1/token");
        assert_eq!(server.issuer.as_deref(), Some("https://acme.okta.com/oauth2/default"));
        let nothing_known = Template::UNKNOWN.fill(&[]).unwrap();
        assert!(nothing_known.discovers && nothing_known.server().is_none());
    }

    #[test]
    fn what_a_template_names_goes_before_what_a_server_says_of_itself() {
        let endpoint = |path: &str| Endpoint::parse(&format!("https://login.example/{path}")).unwrap();
        let described = Server {
            revocation: Some(endpoint("revoke")),
            authentication: ClientAuthentication::Post,
            names_itself: true,
            ..Server::new(endpoint("token"))
        };
        let named = Template {
            api: Some("https://api.example"),
            audience: Some("https://login.example/for-apps"),
            revocation: Some("https://login.example/give-back"),
            ..Template::UNKNOWN
        };
        let server = named.fill(&[]).unwrap().over(described.clone());
        assert_eq!(server.api.unwrap().to_string(), "https://api.example");
        assert_eq!(server.audience.as_deref(), Some("https://login.example/for-apps"));
        assert_eq!(server.revocation, Some(endpoint("give-back")));
        assert_eq!((server.token, server.names_itself), (endpoint("token"), true));
        assert_eq!(server.authentication, ClientAuthentication::Post, "nothing is said of it");
        let basic = Template { authentication: Some(ClientAuthentication::Basic), ..Template::UNKNOWN };
        let server = basic.fill(&[]).unwrap().over(described);
        assert_eq!(server.authentication, ClientAuthentication::Basic);
    }

    #[test]
    fn who_says_too_little_or_too_much_is_told_what_is_asked() {
        let error = filled(&[]).unwrap_err();
        assert_eq!(error.to_string(), "a value is missing: domain (the domain)");
        assert_eq!(error.options().as_deref(), Some("--set domain=…"));
        let error = filled(&[("domian", "x.y")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is nothing called \"domian\" to be set here; it asks for domain, server"
        );
        let twice = filled(&[("domain", "a.b"), ("domain", "c.d")]).unwrap_err();
        assert_eq!(twice, FillError::Twice("domain".into()));
    }

    #[test]
    fn law_10_no_answer_turns_an_address_into_another_one() {
        for host in [
            "evil.example/",
            "a@evil.example",
            "evil.example?",
            "evil.example#",
            "evil.example:444",
            "a..b",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "-a.b",
            "a.b-",
            "a b.c",
            "a%2fb.c",
            "a.b\\c",
            "{server}.b",
            "a.b\n",
            "ä.example",
        ] {
            let told = filled(&[("domain", host)]);
            // A line's end is trimmed.
            assert!(told.is_err() || host == "a.b\n", "{host}: {told:?}");
        }
        for segment in ["..", ".", "a/b", "a?b", "a#b", "a%2e", "a b", "a..b", "a\\b", "{domain}"] {
            assert!(filled(&[("domain", "a.b"), ("server", segment)]).is_err(), "{segment}");
        }
        assert!(BlankKind::Uuid.takes("9188040d-6c67-4c5b-b112-36a304b66dad"));
        assert!(!BlankKind::Uuid.takes("common") && !BlankKind::Label.takes("a.b"));
    }
}
