//! What somebody meets who presses Connect in SAP's App Center: one table for each app.

use super::Secret;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// An app that companies connect in SAP's App Center.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The App ID.
    pub client_id: String,
    /// The client secret.
    pub client_secret: Secret,
    /// What the app is called on the pages.
    pub title: String,
    /// Where its terms of use stand.
    pub terms: String,
    /// Where it says what it does with data.
    pub privacy: String,
    /// Where people get help.
    pub support: String,
    /// How a person says yes.
    #[serde(default)]
    pub sign_in: SignIn,
    /// Templates that stand in for the built-in ones.
    pub templates: Option<PathBuf>,
    /// What the connection is called.
    #[serde(default = "by_company")]
    pub name: String,
    /// Who is told that a company is connected.
    pub webhook: Option<Webhook>,
    /// Reverse proxies, whose `X-Forwarded-For` is believed.
    #[serde(default)]
    pub proxies: Vec<IpAddr>,
}

/// What stands for the company's UUID in a connection's name.
pub(crate) const COMPANY: &str = "{company}";

fn by_company() -> String {
    COMPANY.to_owned()
}

/// How a person says yes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SignIn {
    /// On the page itself.
    #[default]
    Confirm,
    /// On a page of the partner's own, where the person has an account.
    Partner(Partner),
}

/// The partner's own page.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// Where it is.
    pub url: String,
    /// What both sides sign with: `whsec_…`.
    pub secret: Secret,
}

/// Who is told that a company is connected.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to.
    pub url: Secret,
    /// What it is signed with: `whsec_…`.
    pub secret: Secret,
}

impl Connect {
    /// What the connection of a company is called.
    pub(crate) fn name_of(&self, company: &str) -> String {
        self.name.replace(COMPANY, company)
    }

    /// What is wrong with it: the option, and why.
    pub(super) fn mistakes(&self, app: &str) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if app.is_empty() || app.len() > 40 || !app.bytes().all(letter) {
            mistakes.push(("", "stands in addresses: letters a to z, digits and -, 40 at most".to_owned()));
        }
        for (key, value) in [("client_id", &self.client_id), ("title", &self.title)] {
            if value.trim().is_empty() {
                mistakes.push((key, "is empty".to_owned()));
            }
        }
        for (key, url) in [("terms", &self.terms), ("privacy", &self.privacy), ("support", &self.support)] {
            let is_mail = key == "support" && url.starts_with("mailto:");
            if !is_page(url) && !is_mail {
                mistakes.push((key, "is no address of a page; write it as https://example.com/…".to_owned()));
            }
        }
        if let SignIn::Partner(partner) = &self.sign_in
            && (!is_page(&partner.url) || partner.url.contains('#'))
        {
            mistakes.push(("sign_in", "needs an address that begins with https:// and has no #".to_owned()));
        }
        if !self.name.contains(COMPANY) {
            mistakes.push(("name", format!("must hold {COMPANY}: each company is a connection of its own")));
        } else if perennial::store::check_name(&self.name_of("00000000-0000-0000-0000-000000000000")).is_err()
        {
            mistakes.push(("name", "is no name: letters, digits and . _ - @".to_owned()));
        }
        mistakes
    }
}

/// An address that may stand in a page or a redirect: https, or plain http to this machine (law 10).
fn is_page(url: &str) -> bool {
    let plain =
        url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'));
    plain && perennial::core::Origin::parse(url).is_ok()
}

impl<'de> Deserialize<'de> for SignIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = SignIn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"confirm\", or a table with url and secret")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<SignIn, E> {
                match word {
                    "confirm" => Ok(SignIn::Confirm),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SignIn, A::Error> {
                Partner::deserialize(MapAccessDeserializer::new(map)).map(SignIn::Partner)
            }
        }

        deserializer.deserialize_any(Written)
    }
}
