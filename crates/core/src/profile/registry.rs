//! The profiles that this process knows, by name. There are few of them and they are never forgotten, so that everybody
//! can hold a plain reference. Concur and the generic one are at hand; any other is looked for when somebody asks: first
//! where the shell keeps a person's own files, then among those that come with Perennial.

use super::Profile;
use super::concur::CONCUR;
use super::file::is_name;
use super::generic::{GENERIC, careful};
use super::shipped;
use std::sync::{OnceLock, PoisonError, RwLock};

static INSTALLED: RwLock<Vec<&'static Profile>> = RwLock::new(Vec::new());
static OWN: OnceLock<Box<Own>> = OnceLock::new();

/// Looks for a person's own profile of a name.
pub type Own = dyn Fn(&str) -> Looked + Send + Sync;

/// What was found.
#[derive(Debug)]
pub enum Looked {
    /// There is none.
    Absent,
    /// There is one.
    Found(Box<Profile>),
    /// There is one, and it cannot be used. The name stands for nothing then, not even for one that comes with Perennial and
    /// was to be replaced: that one might permit what this server does not (law 7).
    Unusable,
}

/// Says where a person's own profiles are looked for. The first one who says so counts.
pub fn look_in(own: impl Fn(&str) -> Looked + Send + Sync + 'static) {
    let _ = OWN.set(Box::new(own));
}

/// The profile of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Profile> {
    let built_in = [&CONCUR, &GENERIC].into_iter().find(|profile| profile.name == name);
    built_in.or_else(|| installed(name)).or_else(|| looked_for(name))
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
    put(profile);
    profile
}

fn put(profile: &'static Profile) {
    let mut installed = INSTALLED.write().unwrap_or_else(PoisonError::into_inner);
    installed.retain(|known| known.name != profile.name);
    installed.push(profile);
}

fn installed(name: &str) -> Option<&'static Profile> {
    let installed = INSTALLED.read().unwrap_or_else(PoisonError::into_inner);
    installed.iter().copied().find(|profile| profile.name == name)
}

/// A name that is none leads to no file.
fn looked_for(name: &str) -> Option<&'static Profile> {
    if !is_name(name) {
        return None;
    }
    match OWN.get().map_or(Looked::Absent, |own| own(name)) {
        Looked::Found(profile) if profile.name == name => Some(install(*profile)),
        Looked::Found(_) | Looked::Unusable => None,
        Looked::Absent => {
            let profile = shipped::find(name)?.profile()?;
            put(profile);
            Some(profile)
        }
    }
}
