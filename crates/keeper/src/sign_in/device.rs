//! A sign-in on another device (RFC 8628): a person types a short code into a page elsewhere, and the token endpoint is
//! asked until they have.

use crate::error::Error;
use crate::hand_out::HandOut;
use crate::http::Errand;
use crate::keeper::Keeper;
use crate::refusal;
use crate::sign_in::redacted;
use perennial_core::Grant;
use perennial_core::grant::TokenRequest;
use perennial_core::secret::Credential;
use perennial_core::token_endpoint::wire;
use serde_json::{Map, Value};
use std::time::Duration;

/// RFC 8628 section 3.5: where the server names no interval, and how much longer it gets when it asks for that.
const INTERVAL: Duration = Duration::from_secs(5);

/// A sign-in on another device that has begun.
#[derive(Clone, Debug)]
pub struct DeviceSignIn {
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it, where the server offers that.
    pub verification_uri_complete: Option<String>,
    /// How long the code is good.
    pub expires_in: Duration,
    /// The id of the connection that it is for.
    connection: String,
    device_code: Credential,
    interval: Duration,
}

impl Keeper {
    /// Begins a sign-in on another device for a connection that is kept.
    ///
    /// # Errors
    /// When the server offers none, or did not answer.
    pub async fn sign_in_elsewhere(&self, connection: &str) -> Result<DeviceSignIn, Error> {
        let seen = self.connection(connection)?;
        let client = self.store().app(connection)?.client;
        let server = seen.server.as_ref();
        let endpoint = server.and_then(|server| server.device_authorization.clone());
        let to = endpoint.ok_or(Error::NoEndpoint("device authorization"))?;
        let proof = self.kit().proof(&seen, &client)?;
        let asked = &seen.obtaining;
        let scope = asked.scope.as_deref().map(|scope| ("scope", scope));
        let parameters = asked.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // RFC 8628 section 3.1 wants the id in the body, however the client proves who it is.
        let id =
            matches!(proof, perennial_core::grant::Proof::Basic).then_some(("client_id", client.id.as_str()));
        let request = TokenRequest::new(&client, &proof, id.into_iter().chain(scope).chain(parameters));
        let reply = self.kit().errand(&seen, Errand::post(to.clone(), request)).await?;
        let members = refusal::object(&to, &reply, |text| redacted(&client, text))?;
        DeviceSignIn::read(&members, &seen.id).ok_or_else(|| refusal::odd(&to, &reply))
    }

    /// Waits until the person has approved, or the code has ended. The pause between two questions is the server's.
    ///
    /// # Errors
    /// When the person or the server said no, the code has ended, or the exchange did not work.
    pub async fn signed_in_elsewhere(
        &self,
        connection: &str,
        device: &DeviceSignIn,
    ) -> Result<HandOut, Error> {
        let (clock, mut interval) = (self.kit().clock.clone(), device.interval);
        let ends = clock.since_boot().saturating_add(device.expires_in);
        loop {
            clock.sleep(interval).await;
            let grant = Grant::DeviceCode { device_code: device.device_code.clone() };
            let seen = self.connection(connection)?;
            if seen.id != device.connection {
                return Err(Error::OtherConnection);
            }
            match self.obtain_given(&seen, grant).await {
                Err(Error::Pending { slow_down }) if clock.since_boot() < ends => {
                    interval += if slow_down { INTERVAL } else { Duration::ZERO };
                }
                // Section 3.5: a connection that timed out is a reason to ask less often, not to give up.
                Err(Error::Unreachable { .. }) if clock.since_boot() < ends => interval += INTERVAL,
                outcome => return outcome,
            }
        }
    }
}

impl DeviceSignIn {
    fn read(members: &Map<String, Value>, connection: &str) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        // Google calls it verification_url.
        let address = text("verification_uri").or_else(|| text("verification_url"))?;
        let shown = |text: &str| perennial_core::token_endpoint::plain(text);
        Some(Self {
            user_code: shown(text("user_code")?),
            verification_uri: shown(address),
            verification_uri_complete: text("verification_uri_complete").map(shown),
            expires_in: members
                .get("expires_in")
                .and_then(wire::lifetime)
                .unwrap_or(Duration::from_secs(600)),
            connection: connection.to_owned(),
            device_code: Credential::new(text("device_code")?),
            interval: members.get("interval").and_then(wire::lifetime).unwrap_or(INTERVAL),
        })
    }
}
