//! A person signs in: in a browser, on another device, or with a one-time password that came by e-mail. What comes of it is
//! good once and is exchanged by [`Keeper::obtain_with`](crate::Keeper::obtain_with), in a flight like every other.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | a sign-in in a browser: the address, and the way back |
//! | [`device`] | on another device (RFC 8628) |
//! | [`one_time`] | Concur's one-time password |
//! | [`discovery`] | an authorization server says what it is (RFC 8414) |

pub mod device;
pub mod discovery;
pub mod one_time;

use crate::error::Error;
use crate::keeper::Keeper;
use crate::random;
use perennial_core::authorization::{self, Expected, RedirectError, Request, asks_for_identity};
use perennial_core::grant::Client;
use perennial_core::profile::concur;
use perennial_core::secret::Credential;
use perennial_core::server::Endpoint;
use perennial_core::{Connection, Grant, Origin};

/// A sign-in in a browser that has begun.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The connection that it is for.
    pub connection: String,
    /// Where the person goes.
    pub address: String,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// What ties the answer to this sign-in: it may be used to find it again.
    pub state: String,
    verifier: Option<Credential>,
    nonce: Option<String>,
    issuer: Option<String>,
    names_itself: bool,
}

/// How a sign-in in a browser is to be made.
#[derive(Clone, Debug)]
pub struct Browser {
    /// Where the browser comes back to: as it is registered with the server, to the letter.
    pub redirect_uri: String,
    /// False where the server does not bear a code challenge (RFC 7636).
    pub challenge: bool,
    /// Parameters for the authorization endpoint beside the profile's own.
    pub parameters: Vec<(String, String)>,
}

impl Keeper {
    /// Begins a sign-in in a browser for a connection that is kept.
    ///
    /// # Errors
    /// When the store cannot be read, the server has no authorization endpoint, or the system has no randomness.
    pub fn sign_in(&self, connection: &str, browser: &Browser) -> Result<SignIn, Error> {
        let seen = self.connection(connection)?;
        let app = self.store().app(connection)?;
        let base = self.obtaining_base(&seen)?;
        let endpoint = authorization_endpoint(&seen, &base).ok_or(Error::NoEndpoint("authorization"))?;
        let scope = seen.obtaining.scope.as_deref();
        let nonce = random::secret()?;
        let verifier = if browser.challenge { Some(Credential::new(random::secret()?)) } else { None };
        let own = seen.profile.template.authorize.iter();
        let own = own.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let parameters: Vec<_> = own.chain(browser.parameters.iter().cloned()).collect();
        let state = random::secret()?;
        let request = Request {
            endpoint: &endpoint,
            client_id: &app.client.id,
            redirect_uri: &browser.redirect_uri,
            state: &state,
            verifier: verifier.as_ref(),
            nonce: &nonce,
            scope,
            parameters: &parameters,
        };
        let address = request.address();
        let server = seen.server.as_ref();
        Ok(SignIn {
            connection: connection.to_owned(),
            address,
            redirect_uri: browser.redirect_uri.clone(),
            verifier,
            nonce: asks_for_identity(scope).then_some(nonce),
            issuer: server.and_then(|server| server.issuer.clone()),
            names_itself: server.is_some_and(|server| server.names_itself),
            state,
        })
    }
}

impl SignIn {
    /// What the address that the browser ended at is worth: a grant to be exchanged.
    ///
    /// # Errors
    /// When it brings no code, or belongs to another sign-in or another server.
    pub fn finish(&self, redirected: &str) -> Result<Grant, RedirectError> {
        let expected = Expected {
            redirect_uri: &self.redirect_uri,
            state: &self.state,
            issuer: self.issuer.as_deref(),
            names_itself: self.names_itself,
        };
        let redirected = authorization::read_redirect(redirected, &expected)?;
        Ok(Grant::AuthorizationCode {
            code: redirected.code,
            redirect_uri: self.redirect_uri.clone(),
            verifier: self.verifier.clone(),
            nonce: self.nonce.clone(),
        })
    }
}

/// A server's words without the client's secret, which some repeat (law 10).
pub(crate) fn redacted(client: &Client, text: &str) -> String {
    match client.secret.expose() {
        "" => text.to_owned(),
        secret => text.replace(secret, "[redacted]"),
    }
}

/// Where a person signs in for this connection.
fn authorization_endpoint(seen: &Connection, base: &Origin) -> Option<Endpoint> {
    match &seen.server {
        Some(server) => server.authorization.clone(),
        None => (!seen.profile.token_path.is_empty()).then(|| concur::authorization(base)),
    }
}
