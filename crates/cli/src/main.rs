//! The binary `perennial`: read the command line, carry out one verb, end with an exit code.

mod command_line;
mod commands;
mod env_vars;
mod exit;
mod hints;
mod options;
mod plain;
mod printer;
mod session;
mod signals;
mod words;

use clap::CommandFactory;
use command_line::{CommandLine, Verb};
use exit::Exit;
use hints::Trouble;
use session::Session;
use std::process::ExitCode;

fn main() -> ExitCode {
    perennial::forbid_core_dumps();
    let command_line = match CommandLine::read() {
        Ok(command_line) => command_line,
        Err(ended) => return ended,
    };
    let session = Session::new(command_line.globals);
    let ended = carry_out(&session, command_line.verb).unwrap_or_else(|trouble| report(&session, &trouble));
    ended.into()
}

fn carry_out(session: &Session, verb: Verb) -> Result<Exit, Trouble> {
    match verb {
        Verb::Demo(demo) => commands::demo::carry_out(session, &demo),
        Verb::Run(run) => commands::run::carry_out(session, &run),
        Verb::Token(token) => commands::token::carry_out(session, &token),
        Verb::Whoami(whoami) => commands::whoami::carry_out(session, &whoami),
        Verb::Call(call) => commands::call::carry_out(session, &call),
        Verb::Refresh(refresh) => commands::refresh::carry_out(session, &refresh),
        Verb::Status(status) => commands::status::carry_out(session, &status),
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
    session.printer.trouble(&trouble.clone().at(&session.globals.place()))
}
