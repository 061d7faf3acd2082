//! What the verbs about the daemon have in common: its configuration, and where things lie.

use crate::env_vars;
use crate::exit::Exit;
use crate::options::{Globals, LogFormat, quoted};
use crate::stores::DEFAULT_TENANT;
use crate::trouble::Trouble;
use crate::xdg;
use clap::Args;
use perennial::http::OptionsError;
use perennial::keeper::ANSWER_WITHIN;
use perennial_daemon::Places;
use perennial_daemon::config::{Config, Format, Mistake, Setting};
use std::env;
use std::path::{Path, PathBuf};

/// The configuration of a service.
const SYSTEM_CONFIG: &str = "/etc/perennial/perennial.toml";

/// Which configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigOptions {
    /// The configuration [default: /etc/perennial/perennial.toml, or perennial/perennial.toml in the XDG configuration
    /// directory, where there is one]
    #[arg(long, value_name = "FILE", env = env_vars::CONFIG)]
    pub(crate) config: Option<PathBuf>,

    /// Set an option of the configuration, above the file; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
}

impl ConfigOptions {
    /// The file that is read; none where nobody names one and none is there.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let own = || xdg::config_home().map(|home| home.join("perennial").join("perennial.toml"));
        self.config.clone().or_else(|| {
            let standard = if is_service() { Some(PathBuf::from(SYSTEM_CONFIG)) } else { own() };
            standard.filter(|path| path.exists())
        })
    }

    /// Reads it, with what variables and flags put above it.
    pub(crate) fn read(&self) -> Result<Config, Trouble> {
        let file = self.file();
        let mut settings = Setting::of_environment(variables())
            .map_err(|error| Trouble::usage(error.to_string(), "perennial config example"))?;
        settings.extend(self.set.clone());
        let read = match &file {
            Some(path) => Config::read(path, &settings),
            None => Config::parse("", &settings),
        };
        read.map_err(|mistakes| of_mistakes(file.as_deref(), &mistakes))
    }
}

/// Variables that are no text name no option.
fn variables() -> impl Iterator<Item = (String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// All mistakes at once, each with its line.
fn of_mistakes(file: Option<&Path>, mistakes: &[Mistake]) -> Trouble {
    let place = file.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
    let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    let check = file.map_or_else(String::new, |path| format!(" {}", quoted(&path.to_string_lossy())));
    Trouble::usage(
        format!("{place}: {}", told.join("; ")),
        format!(
            "every option, explained: perennial config example; then look again: perennial config check{check}"
        ),
    )
}

/// The global options, with what the configuration says where nobody says otherwise.
pub(crate) fn globals_with(globals: &Globals, config: &Config) -> Result<Globals, Trouble> {
    let mut merged = globals.clone();
    if merged.store.is_none() && merged.dir.is_none() {
        merged.store.clone_from(&config.store);
    }
    if merged.master_key.is_none()
        && let Some(text) = &config.master_key
    {
        let source = text.parse();
        merged.master_key =
            Some(source.map_err(|error| {
                Trouble::usage(format!("master_key: {error}"), "perennial config example")
            })?);
    }
    if merged.tenant == DEFAULT_TENANT
        && let Some(tenant) = &config.tenant
    {
        merged.tenant.clone_from(tenant);
    }
    merged.base_uri = merged.base_uri.or_else(|| config.base_uri.clone());
    merged.ca_cert = merged.ca_cert.or_else(|| config.ca_cert.clone());
    if merged.resolve.is_empty() {
        let read = config.resolve.iter().map(|text| text.parse()).collect::<Result<_, OptionsError>>();
        merged.resolve =
            read.map_err(|error| Trouble::usage(format!("resolve: it {error}"), "perennial config example"))?;
    }
    if merged.answer_within == ANSWER_WITHIN
        && let Some(within) = config.answer_within
    {
        merged.answer_within = within.0;
    }
    if config.log.format == Format::Json {
        merged.log_format = LogFormat::Json;
    }
    Ok(merged)
}

/// True for a service of the machine: root's, or one that systemd runs with directories of its own.
fn is_service() -> bool {
    env::var_os("STATE_DIRECTORY").is_some() || rustix::process::geteuid().is_root()
}

/// Where things lie about which the configuration says nothing.
pub(crate) fn places() -> Places {
    let given = |variable: &str, usual: &str| {
        // Several directories are told apart by colons; the first one is ours.
        let text = env::var(variable).ok().and_then(|text| text.split(':').next().map(PathBuf::from));
        text.or_else(|| rustix::process::geteuid().is_root().then(|| PathBuf::from(usual)))
    };
    let state = given("STATE_DIRECTORY", "/var/lib/perennial");
    let data = state.clone().or_else(|| xdg::data_home().map(|home| home.join("perennial")));
    let kept = state.or_else(|| xdg::state_home().map(|home| home.join("perennial")));
    Places {
        socket: given("RUNTIME_DIRECTORY", "/run/perennial")
            .or_else(own_runtime)
            .map(|dir| dir.join("perennial.sock")),
        clients: data.map(|dir| dir.join("clients.json")),
        outbox: kept.map(|dir| dir.join("alerts")),
    }
}

/// Where the sockets of one person lie.
fn own_runtime() -> Option<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.or_else(xdg::state_home).map(|home| home.join("perennial"))
}

/// What could not be started, or taken over.
pub(crate) fn of_refused(error: &perennial_daemon::Refused) -> Trouble {
    let hint = match error {
        perennial_daemon::Refused::Listen(_) => {
            "stop what listens there, or choose another place: --socket FILE, --listen 127.0.0.1:0"
        }
        _ => "put it right, then look again: perennial config check",
    };
    Trouble::new(Exit::Failed, error.to_string(), hint)
}
