//! How a secret comes in: from a file, from stdin, from an environment variable, or typed without an echo. Never as a
//! word on the command line, which every user of the machine can read while the command runs (law 10).

use crate::exit::Exit;
use crate::terminal;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::profile::generic::GENERIC;
use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Options that say where a secret is: a file, or a variable; and one that nobody may use, so that whoever types the secret
/// as a word is told why not.
macro_rules! secret_source {
    ($(#[$doc:meta])* $name:ident, $what:literal, $option:literal, $shape:ident, $file:ident, $env:ident, $typed:ident) => {
        $(#[$doc])*
        #[derive(Args, Clone, Debug, Default)]
        pub(crate) struct $name {
            #[arg(long, value_name = "FILE", conflicts_with = stringify!($env), help_heading = "Secrets")]
            #[arg(help = concat!("Read the ", $what, " from this file; - is stdin"))]
            pub(crate) $file: Option<PathBuf>,

            #[arg(long, value_name = "VARIABLE", help_heading = "Secrets")]
            #[arg(help = concat!("Read the ", $what, " from this environment variable"))]
            pub(crate) $env: Option<String>,

            #[arg(long, hide = true, value_name = "VALUE", num_args = 0..=1, default_missing_value = "")]
            $typed: Option<String>,
        }

        impl $name {
            pub(crate) fn source(&self) -> Source<'_> {
                Source {
                    what: $what,
                    option: $option,
                    shape: Shape::$shape,
                    file: self.$file.as_deref(),
                    variable: self.$env.as_deref(),
                    typed: self.$typed.is_some(),
                }
            }
        }
    };
}

secret_source! {
    /// Where the client secret comes from.
    ClientSecretSource, "client secret", "--client-secret", Word, client_secret_file, client_secret_env, client_secret
}
secret_source! {
    /// Where the company request token comes from.
    RequestTokenSource, "company request token", "--request-token", Word,
    request_token_file, request_token_env, request_token
}
secret_source! {
    /// Where an imported refresh token comes from.
    RefreshTokenSource, "refresh token", "--refresh-token", Word, refresh_token_file, refresh_token_env, refresh_token
}
secret_source! {
    /// Where the private key comes from that a client proves itself with.
    PrivateKeySource, "private key", "--private-key", Key, private_key_file, private_key_env, private_key
}
secret_source! {
    /// Where a person's password comes from.
    PasswordSource, "password", "--password", Line, password_file, password_env, password
}
secret_source! {
    /// Where a one-time password comes from.
    OneTimeCodeSource, "one-time password", "--otp-code", Word, otp_code_file, otp_code_env, otp_code
}
secret_source! {
    /// Where somebody else's token comes from.
    SubjectTokenSource, "subject token", "--subject-token", Word, subject_token_file, subject_token_env, subject_token
}
secret_source! {
    /// Where the address comes from that a browser ended at.
    RedirectedSource, "address that the browser ended at", "--redirected", Word,
    redirected_file, redirected_env, redirected
}

/// What a secret looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One word: blanks within it are a mistake.
    Word,
    /// A line: what is within belongs to it, also blanks at its ends.
    Line,
    /// A PEM file.
    Key,
}

/// Where an archive's passphrase comes from.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PassphraseSource {
    /// Ask for the archive's passphrase on the terminal
    #[arg(long, conflicts_with_all = ["passphrase_file", "passphrase_env"], help_heading = "Secrets")]
    pub(crate) passphrase: bool,

    /// Read the archive's passphrase from this file; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_env", help_heading = "Secrets")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Read the archive's passphrase from this environment variable
    #[arg(long, value_name = "VARIABLE", help_heading = "Secrets")]
    pub(crate) passphrase_env: Option<String>,
}

/// A passphrase shorter than this is guessed in spite of Argon2id.
const SHORTEST: usize = 12;

impl PassphraseSource {
    /// True when an archive is to be sealed with one.
    pub(crate) fn is_named(&self) -> bool {
        self.passphrase || self.passphrase_file.is_some() || self.passphrase_env.is_some()
    }

    /// A new one: typed twice where it is typed, and not too short.
    pub(crate) fn choose(&self) -> Result<Zeroizing<String>, Trouble> {
        let text = self.read()?;
        if text.chars().count() < SHORTEST {
            let hint =
                format!("choose at least {SHORTEST} characters: some words that nobody would put together");
            return Err(Trouble::usage("the passphrase is too short", hint));
        }
        let is_typed = self.passphrase_file.is_none() && self.passphrase_env.is_none();
        if is_typed && *ask_passphrase("Passphrase again")? != *text {
            return Err(Trouble::usage("the two passphrases differ", "nothing was written; try again"));
        }
        Ok(text)
    }

    /// The one that an archive was sealed with.
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, Trouble> {
        let source = Source {
            what: "passphrase",
            option: "--passphrase",
            shape: Shape::Line,
            file: self.passphrase_file.as_deref(),
            variable: self.passphrase_env.as_deref(),
            typed: false,
        };
        let text = match (source.file, source.variable) {
            (Some(path), _) => source.read_file(path)?,
            (None, Some(name)) => source.read_variable(name)?,
            (None, None) if terminal::is_there() => return ask_passphrase("Passphrase of the archive"),
            (None, None) => return Err(source.missing()),
        };
        // What is within belongs to it; the end of its line does not.
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn ask_passphrase(question: &str) -> Result<Zeroizing<String>, Trouble> {
    let failed = |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
    terminal::ask_secret(question).map_err(failed)?.ok_or_else(left)
}

/// A secret that a command needs, and where it was said to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// What it is called.
    what: &'static str,
    /// The option's name without its ending.
    option: &'static str,
    shape: Shape,
    file: Option<&'a Path>,
    variable: Option<&'a str>,
    typed: bool,
}

/// Nobody may type a secret as a word, and stdin holds one secret at most.
pub(crate) fn check(sources: &[Source<'_>]) -> Result<(), Trouble> {
    if let Some(typed) = sources.iter().find(|source| source.typed) {
        let Source { what, option, .. } = typed;
        return Err(Trouble::usage(
            format!(
                "the {what} is not taken from the command line: every user of this machine can read it there"
            ),
            format!(
                "it is in your shell's history now, so have a new one made; then name a file or a variable, {option}-file \
                 FILE or {option}-env NAME, or leave it out to be asked"
            ),
        ));
    }
    let stdin = sources.iter().filter(|source| source.file == Some(Path::new("-"))).count();
    if stdin > 1 {
        let hint = "give one of them by stdin, and the others by a file or a variable";
        return Err(Trouble::usage("two secrets cannot both come from stdin", hint));
    }
    Ok(())
}

impl Source<'_> {
    /// True when a file or a variable was named.
    pub(crate) fn is_named(&self) -> bool {
        self.file.is_some() || self.variable.is_some()
    }

    /// The secret, from where it was said to be; `None` where nothing was said.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>, Trouble> {
        let text = match (self.file, self.variable) {
            (Some(path), _) => self.read_file(path)?,
            (None, Some(name)) => self.read_variable(name)?,
            (None, None) => return Ok(None),
        };
        self.checked(&text).map(Some)
    }

    /// The same; a person is asked where nothing was said.
    pub(crate) fn read_or_ask(&self) -> Result<Zeroizing<String>, Trouble> {
        match self.read()? {
            Some(secret) => Ok(secret),
            None => match self.ask("")? {
                Some(secret) => Ok(secret),
                None => Err(self.missing()),
            },
        }
    }

    /// Asks a person; `None` for an empty line, or where there is nobody to ask.
    pub(crate) fn ask(&self, remark: &str) -> Result<Option<Zeroizing<String>>, Trouble> {
        if !terminal::is_there() {
            return Ok(None);
        }
        let asked = terminal::ask_secret(&format!("{}{remark}", capitalized(self.what)));
        let failed =
            |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
        match asked.map_err(failed)? {
            None => Err(left()),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => self.checked(&text).map(Some),
        }
    }

    /// Nothing was said, and nobody is there to be asked.
    pub(crate) fn missing(&self) -> Trouble {
        let Self { what, option, .. } = self;
        Trouble::usage(
            format!("the {what} is missing"),
            format!("name where it is: {option}-file FILE (- is stdin) or {option}-env VARIABLE"),
        )
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<String>, Trouble> {
        let Self { what, option, .. } = self;
        let unreadable = |error: io::Error| {
            let place = if path == Path::new("-") { "stdin".into() } else { path.display().to_string() };
            Trouble::usage(
                format!("cannot read the {what} from {place}: {error}"),
                format!("name a file that you may read: {option}-file FILE"),
            )
        };
        if path == Path::new("-") {
            let mut text = Zeroizing::new(String::with_capacity(64 * 1024));
            io::stdin().read_to_string(&mut text).map_err(unreadable)?;
            return Ok(text);
        }
        fs::read_to_string(path).map(Zeroizing::new).map_err(unreadable)
    }

    fn read_variable(&self, name: &str) -> Result<Zeroizing<String>, Trouble> {
        let Self { what, option, .. } = self;
        env::var(name).map(Zeroizing::new).map_err(|_| {
            Trouble::usage(
                format!("the environment variable {name}, which should hold the {what}, is not set"),
                format!("set it, or name a file: {option}-file FILE"),
            )
        })
    }

    /// Blanks around a pasted value are no part of it; within it they are a mistake.
    fn checked(&self, text: &str) -> Result<Zeroizing<String>, Trouble> {
        let Self { what, .. } = self;
        let text = text.trim_start_matches('\u{feff}');
        let text = match self.shape {
            Shape::Line => text.trim_end_matches(['\r', '\n']),
            Shape::Word | Shape::Key => text.trim(),
        };
        if text.is_empty() {
            return Err(Trouble::usage(format!("the {what} is empty"), "look at where it comes from"));
        }
        if self.shape == Shape::Key && perennial::check_private_key(text, &GENERIC).is_err() {
            return Err(Trouble::usage(
                format!("the {what} is no PEM file of an RSA, P-256 or Ed25519 key in the clear"),
                "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one",
            ));
        }
        if self.shape == Shape::Word && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Trouble::usage(
                format!("the {what} has blanks, line breaks or other characters in it that no {what} has"),
                "look at where it comes from: it must hold the secret alone",
            ));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// A person left a question open.
pub(crate) fn left() -> Trouble {
    Trouble::new(Exit::Interrupted, "interrupted", "nothing was changed")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
