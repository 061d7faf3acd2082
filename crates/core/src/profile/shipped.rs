//! The profiles of `profiles/*.toml`. Each is read when somebody asks for it, so that a command that is about Concur reads
//! none of them.

use super::Profile;
use super::file::ProfileFile;
use std::sync::OnceLock;

/// One of them.
pub struct Shipped {
    /// Its name.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
    read: OnceLock<Option<&'static Profile>>,
}

const fn shipped(name: &'static str, text: &'static str) -> Shipped {
    Shipped { name, text, read: OnceLock::new() }
}

/// All of them, by name.
pub static SHIPPED: [Shipped; 5] = [
    shipped("entra", include_str!("../../../../profiles/entra.toml")),
    shipped("google", include_str!("../../../../profiles/google.toml")),
    shipped("okta", include_str!("../../../../profiles/okta.toml")),
    shipped("salesforce", include_str!("../../../../profiles/salesforce.toml")),
    shipped("xsuaa", include_str!("../../../../profiles/xsuaa.toml")),
];

/// The one of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

impl Shipped {
    /// What the file says. A test reads each of them, so there is always something.
    pub fn profile(&self) -> Option<&'static Profile> {
        *self.read.get_or_init(|| {
            let file = ProfileFile::parse(self.text).ok()?;
            Some(Box::leak(Box::new(file.into_profile())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{ReplayRule, Rotation};

    #[test]
    fn each_shipped_file_is_without_mistakes_and_nothing_is_missing() {
        for shipped in &SHIPPED {
            let name = shipped.name;
            let file =
                ProfileFile::parse(shipped.text).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:#?}"));
            assert_eq!(file.name(), name);
            assert!(!file.replaces());
            for fact in [
                "rotation",
                "replay",
                "access_lifetime",
                "refresh_lifetime",
                "longest_grant",
                "refresh_expiry",
                "hosts",
                "code_decides",
            ] {
                assert!(shipped.text.contains(&format!("\n{fact} = ")), "{name} does not say {fact}");
            }
            let profile = shipped.profile().unwrap();
            assert!(profile.errors.len() >= 6 && profile.quirks.len() >= 3, "{name}");
            assert!(profile.sources.iter().all(|source| !source.supports.is_empty()), "{name}");
            assert_ne!(profile.rotation, Rotation::Unknown);
            let template = &profile.template;
            let answers: Vec<_> = template
                .blanks
                .iter()
                .map(|blank| {
                    let kinds = ["acme.example.com", "acme", "9188040d-6c67-4c5b-b112-36a304b66dad"];
                    let fits = kinds.into_iter().find(|text| blank.kind.takes(text)).unwrap();
                    (blank.name.to_owned(), fits.to_owned())
                })
                .collect();
            let server = template.fill(&answers).unwrap().server().unwrap();
            assert!(server.authorization.is_some() && server.keys.is_some(), "{name}");
            assert!(server.issuer.is_some_and(|issuer| !issuer.contains(['{', '}'])), "{name}");
        }
    }

    #[test]
    fn law_7_what_may_be_presented_twice_is_what_the_documents_say() {
        let replay = |name: &str| find(name).unwrap().profile().unwrap().replay;
        assert_eq!(replay("entra"), ReplayRule::Always);
        assert_eq!(replay("google"), ReplayRule::Always);
        assert_eq!(replay("okta"), ReplayRule::Within(std::time::Duration::from_secs(30)));
        assert_eq!(replay("salesforce"), ReplayRule::Never);
        assert_eq!(replay("xsuaa"), ReplayRule::Always);
    }
}
