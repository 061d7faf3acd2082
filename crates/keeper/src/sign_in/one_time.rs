//! Concur's one-time password: it is asked for with an e-mail address, comes by e-mail, and is presented with everything
//! that was sent along when it was asked for.

use crate::error::Error;
use crate::http::Errand;
use crate::keeper::Keeper;
use crate::refusal;
use crate::sign_in::redacted;
use perennial_core::Grant;
use perennial_core::grant::{Proof, TokenRequest};
use perennial_core::profile::concur;
use perennial_core::secret::Credential;
use perennial_core::server::Endpoint;

/// A one-time password that was asked for.
#[derive(Clone, Debug)]
pub struct OneTime {
    handle: String,
    parameters: Vec<(String, String)>,
}

impl Keeper {
    /// Has Concur send a one-time password to an e-mail address [api-guides/authentication, otp]. `parameters` are the
    /// optional ones (name, company, link) and any of the caller's own.
    ///
    /// # Errors
    /// When Concur refused, or did not answer.
    pub async fn send_one_time_password(
        &self,
        connection: &str,
        handle: &str,
        parameters: Vec<(String, String)>,
    ) -> Result<OneTime, Error> {
        let seen = self.connection(connection)?;
        let client = self.store().app(connection)?.client;
        let base = self.obtaining_base(&seen)?;
        let to = Endpoint::at(base, concur::OTP_PATH);
        let own = [("channel_handle", handle), ("channel_type", "email")];
        let fields =
            own.into_iter().chain(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let request = TokenRequest::new(&client, &Proof::Post, fields);
        let reply = self.kit().errand(&seen, Errand::post(to.clone(), request)).await?;
        refusal::object(&to, &reply, |text| redacted(&client, text))?;
        Ok(OneTime { handle: handle.to_owned(), parameters })
    }
}

impl OneTime {
    /// One that was asked for elsewhere: everything must be repeated as it was sent then.
    #[must_use]
    pub fn asked_for(handle: impl Into<String>, parameters: Vec<(String, String)>) -> Self {
        Self { handle: handle.into(), parameters }
    }

    /// What the password is worth: a grant to be exchanged.
    #[must_use]
    pub fn grant(&self, otp: Credential) -> Grant {
        Grant::OneTimePassword { handle: self.handle.clone(), otp, parameters: self.parameters.clone() }
    }
}
