//! The profiles that this process knows, by name. There are few of them and they are never forgotten, so that everybody
//! can hold a plain reference.

use super::Profile;
use super::concur::CONCUR;
use super::generic::{GENERIC, careful};
use std::sync::{PoisonError, RwLock};

static INSTALLED: RwLock<Vec<&'static Profile>> = RwLock::new(Vec::new());

/// The profile of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Profile> {
    let built_in = [&CONCUR, &GENERIC].into_iter().find(|profile| profile.name == name);
    built_in.or_else(|| installed(name))
}

/// The same for a connection that carries this name: one that is not known here has the most careful rules, and keeps its
/// name. Its endpoints stand with the connection, so it goes on working.
#[must_use]
pub fn named_or_careful(name: &str) -> &'static Profile {
    named(name).unwrap_or_else(|| {
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        install(careful(name, "a provider whose profile is not installed here"))
    })
}

/// Makes a profile known; one of the same name gives way to it.
pub fn install(profile: Profile) -> &'static Profile {
    let profile: &'static Profile = Box::leak(Box::new(profile));
    let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
    installed.retain(|known| known.name != profile.name);
    installed.push(profile);
    profile
}

/// All of them, the built-in ones first.
#[must_use]
pub fn all() -> Vec<&'static Profile> {
    let installed = INSTALLED.read().unwrap_or_else(PoisonError::into_inner);
    [&CONCUR, &GENERIC].into_iter().chain(installed.iter().copied()).collect()
}

fn installed(name: &str) -> Option<&'static Profile> {
    let installed = INSTALLED.read().unwrap_or_else(PoisonError::into_inner);
    installed.iter().copied().find(|profile| profile.name == name)
}
