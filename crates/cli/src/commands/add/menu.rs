//! A person who has given nothing but a name is asked what it is for. Whoever knows the options never sees this.

use super::Add;
use crate::exit::Exit;
use crate::secret_input;
use crate::terminal;
use crate::trouble::Trouble;

const QUESTION: &str = "\
What do you connect?
  1  SAP Concur, a company: with a request token of its administrator
  2  SAP Concur, a person: sign in in a browser
  3  SAP Concur, a person: with a one-time password by e-mail
  4  SAP Concur, your app itself
  5  another OAuth 2.0 server: sign in in a browser
Number (Enter is 1)";

/// The same order, with what the person chose.
pub(super) fn ask(add: &Add) -> Result<Add, Trouble> {
    let mut chosen = add.clone();
    loop {
        match line(QUESTION)?.as_str() {
            "" | "1" => chosen.server.concur = true,
            "2" => chosen.way.user = true,
            "3" => chosen.way.otp = Some(line("E-mail address")?),
            "4" => chosen.way.app = true,
            "5" => chosen.server.issuer = Some(line("Its issuer, such as https://login.example.com")?),
            _ => continue,
        }
        return Ok(chosen);
    }
}

fn line(question: &str) -> Result<String, Trouble> {
    let failed = |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
    terminal::ask(question).map_err(failed)?.ok_or_else(secret_input::left)
}
