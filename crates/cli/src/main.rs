//! The binary `perennial`: read the command line, carry out one verb, end with an exit code.

mod command_line;
mod commands;
mod daemon;
mod env_vars;
mod exit;
mod files;
mod hints;
mod options;
mod own_profiles;
mod place;
mod plain;
mod printer;
mod progress;
mod secret_input;
mod session;
mod sign_in;
mod signals;
mod stores;
mod table;
mod terminal;
mod through;
mod trouble;
mod words;
mod xdg;

use clap::CommandFactory;
use command_line::{CommandLine, Verb};
use exit::Exit;
use session::Session;
use std::process::ExitCode;
use trouble::Trouble;

fn main() -> ExitCode {
    perennial::forbid_core_dumps();
    let command_line = match CommandLine::read() {
        Ok(command_line) => command_line,
        Err(ended) => return ended,
    };
    let session = Session::new(command_line.globals);
    own_profiles::install(session.printer);
    let ended = carry_out(&session, command_line.verb).unwrap_or_else(|trouble| report(&session, &trouble));
    ended.into()
}

fn carry_out(session: &Session, verb: Verb) -> Result<Exit, Trouble> {
    match verb {
        Verb::Demo(demo) => commands::demo::carry_out(session, &demo),
        Verb::Run(run) => commands::run::carry_out(session, &run),
        Verb::Add(add) => commands::add::carry_out(session, &add),
        Verb::List(list) => commands::list::carry_out(session, &list),
        Verb::Token(token) => commands::token::carry_out(session, &token),
        Verb::Call(call) => commands::call::carry_out(session, &call),
        Verb::Whoami(whoami) => commands::whoami::carry_out(session, &whoami),
        Verb::Status(status) => commands::status::carry_out(session, &status),
        Verb::Refresh(refresh) => commands::refresh::carry_out(session, &refresh),
        Verb::Reauthorize(reauthorize) => commands::reauthorize::carry_out(session, &reauthorize),
        Verb::Recover(recover) => commands::recover::carry_out(session, &recover),
        Verb::Doctor(doctor) => commands::doctor::carry_out(session, &doctor),
        Verb::Log(log) => commands::log::carry_out(session, &log),
        Verb::Support(support) => commands::support::carry_out(session, &support),
        Verb::Rename(rename) => commands::rename::carry_out(session, &rename),
        Verb::Revoke(revoke) => commands::revoke::carry_out(session, &revoke),
        Verb::Remove(remove) => commands::remove::carry_out(session, &remove),
        Verb::Policy(policy) => commands::policy::carry_out(session, &policy),
        Verb::Profiles(profiles) => commands::profiles::carry_out(session, &profiles),
        Verb::Profile(profile) => commands::profile::carry_out(session, &profile),
        Verb::Import(import) => commands::import::carry_out(session, &import),
        Verb::Export(export) => commands::export::carry_out(session, &export),
        Verb::Key(key) => commands::key::carry_out(session, &key),
        Verb::Serve(serve) => commands::serve::carry_out(session, &serve),
        Verb::Config(config) => commands::config::carry_out(session, &config),
        Verb::Client(client) => commands::client::carry_out(session, &client),
        Verb::Backup(backup) => commands::backup::carry_out(session, &backup),
        Verb::Restore(restore) => commands::backup::restore(session, &restore),
        Verb::Adopt(adopt) => commands::adopt::carry_out(session, &adopt),
        Verb::Alert(alert) => commands::alert::carry_out(session, &alert),
        Verb::Schema(schema) => commands::schema::carry_out(session, &schema),
        Verb::Sandbox(sandbox) => commands::sandbox::carry_out(session, &sandbox),
        Verb::Completions(completions) => {
            commands::completions::carry_out(session, &completions, CommandLine::command())
        }
        Verb::Man(man) => commands::completions::manual(session, &man, CommandLine::command()),
    }
}

fn report(session: &Session, trouble: &Trouble) -> Exit {
    // The reader of our output went away: that is its right, and there is nobody to tell.
    if trouble.exit == Exit::Done {
        return Exit::Done;
    }
    session.printer.trouble(&trouble.clone().at(&session.place_for(trouble)))
}
