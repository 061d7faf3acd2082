//! The XDG base directories: where things of one person live.

use std::env;
use std::path::PathBuf;

/// What is kept: the store.
pub(crate) fn data_home() -> Option<PathBuf> {
    home("XDG_DATA_HOME", ".local/share")
}

/// What goes on from one start to the next: rescue files.
pub(crate) fn state_home() -> Option<PathBuf> {
    home("XDG_STATE_HOME", ".local/state")
}

/// What is set up: the master key, away from what it opens.
pub(crate) fn config_home() -> Option<PathBuf> {
    home("XDG_CONFIG_HOME", ".config")
}

/// The specification wants a path that is not absolute to be taken for none.
fn home(variable: &str, rest: &str) -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(rest)))
}
