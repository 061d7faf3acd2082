//! The command line as a whole: the global options, and one struct a verb from `commands/`.

use crate::commands;
use crate::options::Globals;
use crate::plain;
use crate::printer::Printer;
use crate::trouble::Trouble;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Keeps OAuth 2.0 grants alive: obtains a refresh token once, never loses it, renews it early, and hands out a valid
/// access token whenever a program asks.
#[derive(Debug, Parser)]
#[command(name = "perennial", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  perennial demo                   see the whole job done
  perennial add acme               obtain a grant and keep it
  perennial token acme             a valid access token, always
  perennial call acme /profile/identity/v4/Users
  perennial refresh --all --due    the line for cron
  perennial list                   how all of them are
  perennial doctor                 what is wrong, and what to do
  perennial serve                  the daemon: tokens and API calls for other programs

  perennial run                    SAP's tutorial, in this directory

Exit codes: 0 done, 1 failed, 2 usage, 3 a person must act, 4 try again later.")]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Demo(commands::demo::Demo),
    Run(commands::run::Run),
    Add(Box<commands::add::Add>),
    List(commands::list::List),
    Token(commands::token::Token),
    Call(commands::call::Call),
    Whoami(commands::whoami::Whoami),
    Status(commands::status::Status),
    Refresh(commands::refresh::Refresh),
    Reauthorize(Box<commands::reauthorize::Reauthorize>),
    Recover(commands::recover::Recover),
    Doctor(commands::doctor::Doctor),
    Log(commands::log::Log),
    Support(commands::support::Support),
    Rename(commands::rename::Rename),
    Revoke(commands::revoke::Revoke),
    Remove(commands::remove::Remove),
    Policy(commands::policy::PolicyArgs),
    Profiles(commands::profiles::Profiles),
    Profile(commands::profile::ProfileArgs),
    Import(commands::import::Import),
    Export(commands::export::Export),
    Key(commands::key::Key),
    Serve(commands::serve::Serve),
    Config(commands::config::ConfigArgs),
    Client(commands::client::ClientArgs),
    Backup(commands::backup::Backup),
    Restore(commands::backup::Restore),
    Adopt(commands::adopt::Adopt),
    Alert(commands::alert::Alert),
    Schema(commands::schema::Schema),
    Sandbox(commands::sandbox::SandboxArgs),
    Completions(commands::completions::Completions),
    Man(commands::completions::Man),
}

impl CommandLine {
    /// Reads the words that the program was called with.
    ///
    /// # Errors
    /// What to end with when nothing is to be carried out: help was asked for, or the words are wrong.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        if let Some(plain) = plain::token(std::env::args_os()) {
            return Ok(plain);
        }
        Self::try_parse().map_err(|error| {
            let wants_json = std::env::args_os().any(|word| word == "--json");
            if !error.use_stderr() || !wants_json {
                error.exit();
            }
            let text = error.to_string();
            let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let trouble = Trouble::usage(message, "perennial --help");
            Printer { json: true, quiet: false }.trouble(&trouble).into()
        })
    }
}
