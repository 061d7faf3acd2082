//! A person signs in for a connection that is there: in a browser, on another device, or with a one-time password. The
//! caller shows the person where to go, and brings back what came of it; on another device the daemon asks by itself.

use super::given::pairs;
use super::grant::{Change, seen, with_app};
use super::pending::{Asking, Brought, Kind, LONGEST_PATIENCE, PATIENCE, Who};
use super::server::Reach;
use super::{Shown, in_background, shown_after};
use crate::api::{Asked, Body, Daemon, Segment};
use crate::config::Right;
use crate::hot::rfc3339;
use crate::problem::{Problem, Problems};
use crate::shared::Shared;
use axum::Json;
use perennial::core::Connection;
use perennial::core::secret::{ClientSecret, Credential};
use perennial::sign_in::Browser;
use perennial::sign_in::device::DeviceSignIn;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a person is to sign in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Wanted {
    /// In a browser (RFC 6749 section 4.1, with RFC 7636).
    Browser {
        /// Where the browser comes back to: as it is registered with the server, to the letter.
        #[schema(pattern = "^[A-Za-z][A-Za-z0-9+.-]*:[!\"$-~]+$")]
        redirect_uri: String,
        /// False where the server does not bear a code challenge.
        #[serde(default = "yes")]
        code_challenge: bool,
        /// Further parameters for the authorization endpoint.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
    /// On another device (RFC 8628).
    Device {},
    /// Concur: with a one-time password, which comes by e-mail.
    OneTimePassword {
        /// The e-mail address.
        address: String,
        /// What is sent along: `name`, `company`, `link`, and any of the caller's own.
        #[serde(default)]
        parameters: BTreeMap<String, String>,
    },
}

fn yes() -> bool {
    true
}

/// What the person does now.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Begun {
    /// Go to an address; the one that the browser ends at comes back: `POST …/signed-in`.
    Browser {
        /// Where the person goes.
        address: String,
        /// What the redirect repeats: the sign-in can be found again by it.
        state: String,
        /// Until when it can be finished (RFC 3339).
        expires_at: String,
    },
    /// Type a code into a page. Nothing comes back: `GET /v1/connections/{name}` shows when it is done.
    Device {
        /// What the person types.
        user_code: String,
        /// Where.
        verification_uri: String,
        /// The same with the code in it.
        verification_uri_complete: Option<String>,
        /// Until when it can be finished (RFC 3339).
        expires_at: String,
    },
    /// Read an e-mail; the password comes back: `POST …/signed-in`.
    OneTimePassword {
        /// Until when it can be finished (RFC 3339).
        expires_at: String,
    },
}

/// Begin a sign-in
///
/// For a connection that is there, new or not. It belongs to the caller who began it, and an earlier one of the same caller
/// for this connection is over by that. Nothing of the connection changes before a person has signed in.
#[utoipa::path(
    post, path = "/v1/connections/{name}/sign-in", tag = "connections", operation_id = "begin_sign_in",
    request_body = Wanted, params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "What the person does now", body = Begun),
        Problems,
    )
)]
pub(crate) async fn begin(
    shared: Daemon,
    caller: Asked,
    reach: Reach,
    Segment(name): Segment,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Begun>, Problem> {
    caller.check(Right::Admin, &name)?;
    let connection = seen(&shared, &name).await?;
    let who = Who::new(&caller, reach.is_here);
    shared.sign_ins.admit(&connection.id, &who, shared.keeper.now())?;
    match wanted {
        Wanted::Browser { redirect_uri, code_challenge, parameters } => {
            check_redirect(&redirect_uri)?;
            let browser = Browser { redirect_uri, challenge: code_challenge, parameters: pairs(parameters)? };
            in_browser(&shared, &connection, &who, browser).await
        }
        Wanted::Device {} => on_a_device(&shared, &connection, &who).await,
        Wanted::OneTimePassword { .. } if connection.server.is_some() => {
            Err(Problem::bad_request("only Concur sends one-time passwords"))
        }
        Wanted::OneTimePassword { address, parameters } => {
            let sent = shared.keeper.send_one_time_password(&name, &address, pairs(parameters)?).await;
            let sent = sent.map_err(|error| shared.problem(&error, &name))?;
            let expires_at = put(&shared, &connection, &who, Kind::OneTime(sent, 0));
            Ok(Json(Begun::OneTimePassword { expires_at }))
        }
    }
}

/// Whether the server knows the address is for the server to say; that it is one, here.
fn check_redirect(redirect_uri: &str) -> Result<(), Problem> {
    let is_one =
        redirect_uri.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    let plain = redirect_uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if is_one && plain {
        return Ok(());
    }
    Err(Problem::bad_request(
        "redirect_uri is no absolute address without a fragment (RFC 6749 section 3.1.2)",
    ))
}

fn put(shared: &Shared, connection: &Connection, who: &Who, kind: Kind) -> String {
    let now = shared.keeper.now();
    shared.sign_ins.put(&connection.id, who, kind, now, PATIENCE);
    rfc3339(now.after(PATIENCE))
}

async fn in_browser(
    shared: &Arc<Shared>,
    connection: &Connection,
    who: &Who,
    browser: Browser,
) -> Result<Json<Begun>, Problem> {
    let (own, name) = (Arc::clone(shared), connection.name.clone());
    let sign_in = in_background(move || {
        own.keeper.sign_in(&name, &browser).map_err(|error| own.problem(&error, &name))
    })
    .await?;
    let (address, state) = (sign_in.address.clone(), sign_in.state.clone());
    let expires_at = put(shared, connection, who, Kind::Browser(Box::new(sign_in)));
    Ok(Json(Begun::Browser { address, state, expires_at }))
}

async fn on_a_device(
    shared: &Arc<Shared>,
    connection: &Connection,
    who: &Who,
) -> Result<Json<Begun>, Problem> {
    let begun = shared.keeper.sign_in_elsewhere(&connection.name).await;
    let mut device = begun.map_err(|error| shared.problem(&error, &connection.name))?;
    let (now, patience) = (shared.keeper.now(), device.expires_in.min(LONGEST_PATIENCE));
    let begun = Begun::Device {
        user_code: device.user_code.clone(),
        verification_uri: device.verification_uri.clone(),
        verification_uri_complete: device.verification_uri_complete.clone(),
        expires_at: rfc3339(now.after(patience)),
    };
    device.expires_in = patience;
    // It begins to ask when it stands among those that are under way: what becomes of it finds its place there.
    let (stands, placed) = tokio::sync::oneshot::channel();
    let (own, of, by) = (Arc::clone(shared), connection.clone(), who.clone());
    let asking = tokio::spawn(async move {
        if placed.await.is_ok() {
            ask_until_over(&own, &of, &by, device, now).await;
        }
    });
    let kind = Kind::Device(Asking(asking.abort_handle()));
    shared.sign_ins.put(&connection.id, who, kind, now, patience.saturating_add(Duration::from_secs(60)));
    let _ = stands.send(());
    Ok(Json(begun))
}

/// Asks the server at its own pace until the person has approved, or it is over.
async fn ask_until_over(
    shared: &Arc<Shared>,
    connection: &Connection,
    who: &Who,
    device: DeviceSignIn,
    begun_at: perennial::core::UnixTime,
) {
    let name = &connection.name;
    let outcome = match shared.keeper.signed_in_elsewhere(name, &device).await {
        Ok(hand_out) => {
            shared.hot.put(hand_out, shared.keeper.now());
            shared.keeper.note(name, format!("signed in on another device, begun by {}", who.name()));
            Ok(())
        }
        Err(error) => {
            tracing::info!(connection = %name, %error, "a sign-in on another device came to nothing");
            Err(shared.problem(&error, name).detail)
        }
    };
    shared.sign_ins.came_of(&connection.id, who, begun_at, outcome);
}

/// What a person brings back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedIn {
    redirected: Option<String>,
    otp: Option<String>,
    client_secret: Option<String>,
}

/// What is described of [`SignedIn`].
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it describes the body for OpenAPI; read is the one struct, whose mistakes have names"
)]
pub(crate) enum SignedInDescribed {
    /// From a browser.
    Browser {
        /// The whole address that it ended at, or the part behind its question mark.
        redirected: String,
        /// The app's secret, where it is a new one: it stays in force if the server takes it.
        client_secret: Option<String>,
    },
    /// From an e-mail.
    OneTimePassword {
        /// The one-time password.
        otp: String,
        /// The app's secret, where it is a new one: it stays in force if the server takes it.
        client_secret: Option<String>,
    },
}

/// Finish a sign-in
///
/// What came back is exchanged for a grant. What a browser brings back is good once, and an answer to another sign-in
/// changes nothing; a one-time password may be mistyped four times.
#[utoipa::path(
    post, path = "/v1/connections/{name}/signed-in", tag = "connections", operation_id = "finish_sign_in",
    request_body = SignedInDescribed, params(("name" = String, Path, description = "The connection")),
    responses(
        (status = 200, description = "There is a new grant", body = Shown),
        Problems,
    )
)]
pub(crate) async fn finish(
    shared: Daemon,
    caller: Asked,
    reach: Reach,
    Segment(name): Segment,
    Body(signed_in): Body<SignedIn>,
) -> Result<Json<Shown>, Problem> {
    caller.check(Right::Admin, &name)?;
    let brought = match (signed_in.redirected, signed_in.otp) {
        (Some(redirected), None) => Brought::Redirect(redirected),
        (None, Some(otp)) => Brought::Otp(Credential::new(otp)),
        _ => return Err(Problem::bad_request("give redirected, or otp")),
    };
    let connection = seen(&shared, &name).await?;
    let who = Who::new(&caller, reach.is_here);
    let grant = shared.sign_ins.grant(&connection.id, &who, brought, shared.keeper.now())?;
    let change = Change { secret: signed_in.client_secret.map(ClientSecret::new), ..Change::default() };
    let own = Arc::clone(&shared);
    let exchanged = async move {
        let (keeper, of) = (Arc::clone(&own), connection.clone());
        let how = format!("signed in over HTTP by {}", who.name());
        let attempt = async move { keeper.keeper.obtain_given(&of, grant).await };
        let outcome = with_app(&own, &name, change, how, attempt).await?;
        if outcome.is_ok() {
            own.sign_ins.forget(&connection.id, &who);
        }
        shown_after(&own, &name, outcome).await
    };
    shared.seen_through(exchanged).await
}
