//! `perennial config`: what is wrong with a daemon's configuration, and an example of one.

use crate::daemon::{self, ConfigOptions};
use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::{Args, Subcommand};
use perennial_daemon::config::EXAMPLE;
use serde_json::json;
use std::path::PathBuf;

/// Look for mistakes in a daemon's configuration, or print an example of one
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    Check(Check),
    Example(Example),
}

/// Say what is wrong, each mistake with its line
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial config check
  perennial config check /etc/perennial/perennial.toml && systemctl reload perennial")]
struct Check {
    /// The configuration, in place of --config
    file: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigOptions,
}

/// Print every option, explained
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial config example > /etc/perennial/perennial.toml")]
struct Example {}

pub(crate) fn carry_out(session: &Session, args: &ConfigArgs) -> Result<Exit, Trouble> {
    match &args.verb {
        ConfigVerb::Check(check) => check.carry_out(session),
        ConfigVerb::Example(_) => {
            session.printer.data(EXAMPLE)?;
            Ok(Exit::Done)
        }
    }
}

impl Check {
    fn carry_out(&self, session: &Session) -> Result<Exit, Trouble> {
        let options = ConfigOptions {
            config: self.file.clone().or_else(|| self.config.config.clone()),
            set: self.config.set.clone(),
        };
        let config = options.read()?;
        let globals = daemon::globals_with(&session.globals, &config)?;
        globals.choice()?;
        let file = options.file().map(|path| path.display().to_string());
        if session.globals.json {
            session.printer.json_data(&json!({"file": file, "mistakes": []}))?;
        } else {
            let words = file.unwrap_or_else(|| "there is no configuration file; the defaults".to_owned());
            session.printer.step(&format!("{words}: no mistakes"))?;
        }
        Ok(Exit::Done)
    }
}
