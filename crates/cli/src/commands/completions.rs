//! `perennial completions` and `perennial man`: made from the command line's own description.

use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

/// Print a completion script for a shell
///
/// Verbs, options, and the names of the connections in the store that the environment names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial completions bash > ~/.local/share/bash-completion/completions/perennial
  perennial completions zsh  > \"${fpath[1]}/_perennial\"
  perennial completions fish > ~/.config/fish/completions/perennial.fish")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(required_unless_present = "names")]
    shell: Option<Shell>,

    /// Print the names of the connections: for the scripts
    #[arg(long, hide = true)]
    names: bool,
}

/// Write the manual pages, or print one
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial man add | man -l -
  perennial man --out ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Print the page of this verb
    #[arg(required_unless_present = "out", conflicts_with = "out")]
    verb: Option<String>,

    /// The directory to write all of them to
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn carry_out(
    session: &Session,
    completions: &Completions,
    mut all: Command,
) -> Result<Exit, Trouble> {
    let Some(shell) = completions.shell.filter(|_| !completions.names) else { return names(session) };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut all, "perennial", &mut script);
    session.printer.data(&with_names(shell, &String::from_utf8_lossy(&script), &named(&all)))?;
    Ok(Exit::Done)
}

/// Somebody is in the middle of a line: whatever is wrong, nothing is said.
fn names(session: &Session) -> Result<Exit, Trouble> {
    let names = session.store().ok().and_then(|store| store.shared().names().ok()).unwrap_or_default();
    session.printer.data(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    Ok(Exit::Done)
}

/// The verbs whose first word names a connection that is there.
fn named(all: &Command) -> Vec<String> {
    let is_named = |verb: &&Command| {
        verb.get_name() != "add"
            && verb
                .get_positionals()
                .next()
                .is_some_and(|word| ["name", "old"].contains(&word.get_id().as_str()))
    };
    // The first word of `call` may be a connection, a method or a path.
    let verbs = all.get_subcommands().filter(is_named).map(|verb| verb.get_name().to_owned());
    verbs.chain(["call".to_owned()]).collect()
}

/// What clap generates knows no connections.
fn with_names(shell: Shell, script: &str, verbs: &[String]) -> String {
    match shell {
        Shell::Bash => format!("{script}{}", BASH.replace("VERBS", &verbs.join("|"))),
        Shell::Fish => format!("{script}{}", FISH.replace("VERBS", &verbs.join(" "))),
        Shell::Zsh => {
            let (first, rest) = script.split_once('\n').unwrap_or((script, ""));
            let completed = |line: &str| {
                let is_name = ["name -- The connection", "name -- Only this", "old -- ", "*::words -- "];
                if is_name.iter().any(|name| line.contains(name)) {
                    line.replace(":_default'", ":_perennial_names'")
                } else if line.contains("profile -- The profile") || line.contains("--profile=[") {
                    line.replace(":_default'", ":_perennial_profiles'")
                } else {
                    line.to_owned()
                }
            };
            let rest: Vec<_> = rest.lines().map(completed).collect();
            format!("{first}\n{ZSH}{}\n", rest.join("\n"))
        }
        _ => script.to_owned(),
    }
}

const BASH: &str = r#"
_perennial_with_names() {
    _perennial "$@"
    local word="${COMP_WORDS[COMP_CWORD]}"
    case "${COMP_WORDS[1]}" in
        VERBS)
            if [[ ${COMP_CWORD} -eq 2 && ${word} != -* ]]; then
                COMPREPLY=( $(compgen -W "$(perennial completions --names 2>/dev/null)" -- "${word}") )
            fi
            ;;
        profile)
            if [[ ${COMP_CWORD} -eq 3 && ${COMP_WORDS[2]} == show && ${word} != -* ]]; then
                COMPREPLY=( $(compgen -W "$(perennial profiles --names 2>/dev/null)" -- "${word}") )
            fi
            ;;
    esac
    if [[ ${COMP_CWORD} -gt 1 && ${COMP_WORDS[COMP_CWORD-1]} == --profile ]]; then
        COMPREPLY=( $(compgen -W "$(perennial profiles --names 2>/dev/null)" -- "${word}") )
    fi
}
complete -F _perennial_with_names -o bashdefault -o default perennial
"#;

const FISH: &str = r#"
complete -c perennial -n "__fish_seen_subcommand_from VERBS" -f -a "(perennial completions --names 2>/dev/null)"
complete -c perennial -n "__fish_seen_subcommand_from profile; and __fish_seen_subcommand_from show" -f -a "(perennial profiles --names 2>/dev/null)"
complete -c perennial -n "__fish_seen_subcommand_from add" -l profile -x -a "(perennial profiles --names 2>/dev/null)"
"#;

const ZSH: &str = r#"
_perennial_names() {
    local -a names
    names=(${(f)"$(perennial completions --names 2>/dev/null)"})
    _describe 'connection' names
}
_perennial_profiles() {
    local -a names
    names=(${(f)"$(perennial profiles --names 2>/dev/null)"})
    _describe 'profile' names
}
"#;

pub(crate) fn manual(session: &Session, man: &Man, all: Command) -> Result<Exit, Trouble> {
    let Some(out) = &man.out else { return page(session, man.verb.as_deref().unwrap_or_default(), all) };
    std::fs::create_dir_all(out).map_err(Trouble::file("make", out))?;
    clap_mangen::generate_to(all, out).map_err(Trouble::file("write into", out))?;
    session.printer.note(&format!("manual pages are in {}", out.display()));
    Ok(Exit::Done)
}

fn page(session: &Session, verb: &str, mut all: Command) -> Result<Exit, Trouble> {
    all.build();
    let command = all.find_subcommand(verb).cloned().ok_or_else(|| {
        Trouble::usage(format!("there is no verb {verb}"), "see all of them: perennial --help")
    })?;
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    session.printer.data(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}
