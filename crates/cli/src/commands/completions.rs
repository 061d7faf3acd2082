//! `perennial completions` and `perennial man`: made from the command line's own description.

use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial completions bash > ~/.local/share/bash-completion/completions/perennial
  perennial completions zsh  > \"${fpath[1]}/_perennial\"
  perennial completions fish > ~/.config/fish/completions/perennial.fish")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Write the manual pages
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  perennial man --out ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The directory to write them to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn carry_out(
    session: &Session,
    completions: &Completions,
    mut all: Command,
) -> Result<Exit, Trouble> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut all, "perennial", &mut script);
    session.printer.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

pub(crate) fn manual(session: &Session, man: &Man, all: Command) -> Result<Exit, Trouble> {
    std::fs::create_dir_all(&man.out).map_err(Trouble::file("make", &man.out))?;
    clap_mangen::generate_to(all, &man.out).map_err(Trouble::file("write into", &man.out))?;
    session.printer.note(&format!("manual pages are in {}", man.out.display()));
    Ok(Exit::Done)
}
