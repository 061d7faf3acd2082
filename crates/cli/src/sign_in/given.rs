//! What a person types, or says where it is: a password, a one-time password, somebody else's token. Each is presented
//! once and kept nowhere (law 10).

use crate::exit::Exit;
use crate::secret_input::{OneTimeCodeSource, PasswordSource, Source, SubjectTokenSource};
use crate::session::Session;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::Grant;
use perennial::core::secret::Credential;
use perennial::{HandOut, Keeper};

/// What is given.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct GivenArgs {
    #[command(flatten)]
    pub(crate) password: PasswordSource,

    #[command(flatten)]
    pub(crate) one_time_code: OneTimeCodeSource,

    #[command(flatten)]
    pub(crate) subject_token: SubjectTokenSource,

    /// What the other token is
    #[arg(long, value_name = "URI", default_value = "urn:ietf:params:oauth:token-type:access_token")]
    #[arg(help_heading = "Ways")]
    pub(crate) subject_token_type: String,

    /// With --otp: sent along, and again with the code, such as name=…, company=…, link=…
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, help_heading = "Ways")]
    pub(crate) with: Vec<(String, String)>,
}

impl GivenArgs {
    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        vec![self.password.source(), self.one_time_code.source(), self.subject_token.source()]
    }

    pub(super) fn password(&self, login: &str) -> Result<Grant, Trouble> {
        let password = self.password.source().read_or_ask()?;
        Ok(Grant::Password { username: login.to_owned(), password: Credential::new(password.as_str()) })
    }

    pub(super) fn exchange(&self) -> Result<Grant, Trouble> {
        let token = self.subject_token.source().read_or_ask()?;
        let subject_token = Credential::new(token.as_str());
        Ok(Grant::TokenExchange { subject_token, subject_token_type: self.subject_token_type.clone() })
    }

    /// Has the password sent, asks for it, and exchanges it. The code is read after it was sent: a script may write it
    /// into a pipe when the mail has come.
    pub(super) fn one_time(
        &self,
        session: &Session,
        keeper: &Keeper,
        name: &str,
        address: &str,
    ) -> Result<HandOut, Trouble> {
        let sending = keeper.send_one_time_password(name, address, self.with.clone());
        let sent = session.wait(keeper, sending)?;
        session.printer.note(&format!("A one-time password is on its way to {address}."));
        let code = self.one_time_code.source().read_or_ask()?;
        session.wait(keeper, keeper.obtain_with(name, sent.grant(Credential::new(code.as_str()))))
    }
}

/// `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Parameters that no request takes twice.
pub(crate) fn check_parameters(parameters: &[(String, String)]) -> Result<(), Trouble> {
    const OURS: [&str; 14] = [
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "code",
        "redirect_uri",
        "code_verifier",
        "refresh_token",
        "username",
        "password",
        "scope",
        "state",
        "response_type",
    ];
    let ours = parameters.iter().find(|(name, _)| OURS.contains(&name.as_str()));
    let twice = |name: &String| parameters.iter().filter(|(other, _)| other == name).count() > 1;
    match ours.or_else(|| parameters.iter().find(|(name, _)| twice(name))) {
        None => Ok(()),
        Some((name, _)) => Err(Trouble::plain(
            Exit::Usage,
            format!(
                "the parameter {name} has an option of its own, or is named twice; no request takes it so"
            ),
        )),
    }
}
