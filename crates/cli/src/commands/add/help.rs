//! What `perennial add --help` says: one screen, for whoever wants to connect something. The manual page has every option.

/// Twenty-four lines of at most eighty columns, as terminals have them.
pub(super) const HELP: &str = "\
Add a connection. What is missing is asked for; secrets never stand in argv.

Usage: perennial add NAME [SERVER] [WAY] [OPTIONS]

Server  --concur (default)       --issuer URL       --profile NAME --set K=V
        --token-endpoint URL     (and --authorization-endpoint URL, ...)
Way     --company [UUID]         company request token: 24 h, five uses
        --user                   sign in in a browser; --no-browser: anywhere
        --device                 sign in on another device
        --otp EMAIL              one-time password by e-mail (Concur)
        --app                    the app itself (client credentials)
        --by-password LOGIN      only with --i-know
        --jwt-bearer SUBJECT     a statement that the app signs
        --subject-token-file F   another token (token exchange)
        --refresh-token-file F   a refresh token you have; --from-dir DIR: SAP's
Client  --app-id ID              --client-secret-file F   --private-key-file F
        --client-auth METHOD     --scope WORDS            --later
Each --...-file F takes - for stdin, and each has a twin --...-env VARIABLE.

  perennial add acme                                  Concur, asks for all
  perennial add lee --user --app-id ID --datacenter eu2
  perennial add crm --issuer https://login.example.com --app-id ID
Every option: perennial man add | man -l -";

#[cfg(test)]
mod tests {
    use super::HELP;
    use crate::command_line::CommandLine;
    use clap::CommandFactory;

    #[test]
    fn it_fits_a_screen() {
        assert!(HELP.lines().count() <= 24, "{} lines", HELP.lines().count());
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn it_names_no_option_that_is_not_there() {
        let command = CommandLine::command();
        let add = command.find_subcommand("add").unwrap();
        let all: Vec<_> =
            add.get_arguments().chain(command.get_arguments()).filter_map(|arg| arg.get_long()).collect();
        let words = HELP.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let named = words
            .filter_map(|word| word.strip_prefix("--"))
            .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
        for option in named {
            assert!(all.contains(&option), "--{option}");
        }
    }
}
