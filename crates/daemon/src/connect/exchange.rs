//! The request token becomes a grant. It is done once for a token, and once more only where it failed for a reason that
//! passes.
//!
//! A company that is new is put down with its token before that is sent (law 4). One that is there already is authorized
//! anew: the token is presented and not kept, so that a made-up one changes neither what is held nor the app (law 5).
//! What was put down for a token that SAP does not take is taken out again without a trace: anybody can open these pages.

use super::trouble::Trouble;
use super::visits::{Attempt, Stage, Visit};
use super::{Place, in_background};
use crate::shared::Shared;
use perennial::Error;
use perennial::core::grant::{Client, Grant};
use perennial::core::journal::Event;
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::ClientSecret;
use perennial::core::{Connection, UnixTime};
use perennial::store::{App, StoreError};
use std::sync::Arc;

/// What is known of a company before anything is sent.
enum Known {
    /// Nothing but what we have just put down.
    New(Box<Connection>),
    /// It is there.
    There,
    /// It is there, and by this very request token.
    Done,
}

/// Why there is no grant.
struct Failed {
    trouble: Trouble,
    /// SAP's own, where it has said something.
    correlation_id: Option<String>,
    /// In words, for the log.
    why: String,
}

impl Failed {
    fn ours(why: impl Into<String>) -> Self {
        Self { trouble: Trouble::Ours, correlation_id: None, why: why.into() }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let correlation_id = match &error {
            Error::Failed { fault, .. } => fault.correlation_id.clone(),
            _ => None,
        };
        Self { trouble: Trouble::of(&error), correlation_id, why: error.to_string() }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

/// Begins the exchange, unless it is under way or done. It goes on when the browser has left, and a daemon that ends waits
/// for it.
pub(super) async fn start(place: Place, visit: Arc<Visit>) {
    if !visit.attempt.begin() {
        return;
    }
    // Also if it panics, or is never begun: a page must not say for ever that it goes on.
    let ending = Ending(Arc::clone(&visit.attempt));
    let begun = place.shared.begin().await;
    tokio::spawn(async move {
        let stage = carry_out(&place, &visit).await;
        visit.attempt.end(stage);
        drop((ending, begun));
    });
}

/// Ends an attempt that nobody has ended.
struct Ending(Arc<Attempt>);

impl Drop for Ending {
    fn drop(&mut self) {
        if matches!(self.0.stage(), Stage::Running) {
            let correlation_id = self.0.reference.clone();
            self.0.end(Stage::Failed { trouble: Trouble::NotNow, correlation_id });
        }
    }
}

async fn carry_out(place: &Place, visit: &Arc<Visit>) -> Stage {
    let _at_a_time = place.shared.connect.places.acquire().await;
    let attempt = &visit.attempt;
    let (app, company, reference) = (&place.app, attempt.company.as_str(), &attempt.reference);
    match exchange(place, attempt).await {
        Ok(()) => {
            tracing::info!(%app, company, reference, "App Center: connected");
            write_down(place, visit).await;
            Stage::Connected
        }
        Err(failed) => {
            place.note_failure();
            let correlation_id = failed.correlation_id.unwrap_or_else(|| reference.clone());
            tracing::warn!(
                %app, company, reference, correlation_id, user = attempt.user, trouble = failed.trouble.name(), why = failed.why,
                "App Center: not connected"
            );
            Stage::Failed { trouble: failed.trouble, correlation_id }
        }
    }
}

async fn exchange(place: &Place, attempt: &Arc<Attempt>) -> Result<(), Failed> {
    let (shared, name) = (&place.shared, place.config.name_of(attempt.company.as_str()));
    let (own, config, app, of) =
        (Arc::clone(shared), place.config.clone(), place.app.clone(), Arc::clone(attempt));
    let connection = name.clone();
    let known = in_background(move || {
        let secret = config.client_secret.read().map_err(Failed::ours)?;
        let client = Client { id: config.client_id.clone(), secret: ClientSecret::new(secret.as_str()) };
        put_down(&own, &connection, client, &app, &of)
    });
    let known = known.await.unwrap_or_else(|| Err(Failed::ours("a look into the store ended")))?;
    let outcome = match &known {
        Known::Done => return Ok(()),
        Known::New(connection) => shared.keeper.obtain(connection).await,
        Known::There => {
            let (company, request_token) = (attempt.company.clone(), attempt.request_token.clone());
            shared.keeper.obtain_with(&name, Grant::Company { company, request_token }).await
        }
    };
    match outcome {
        Ok(hand_out) => {
            shared.hot.put(hand_out, shared.keeper.now());
            Ok(())
        }
        Err(error) => {
            let failed = Failed::from(error);
            if matches!(known, Known::New(_)) && failed.trouble.is_refusal() {
                take_out(shared, &name, attempt).await;
            }
            Err(failed)
        }
    }
}

/// Looks what is there of this company, and puts it down where nothing is.
fn put_down(
    shared: &Shared,
    name: &str,
    client: Client,
    app: &str,
    attempt: &Attempt,
) -> Result<Known, Failed> {
    let (company, request_token) = (attempt.company.clone(), attempt.request_token.clone());
    let given = App::new(client, Some(company), Some(request_token)).known_since(shared.keeper.now());
    loop {
        match shared.keeper.connection(name) {
            Ok(seen) => return look_at(seen, &shared.keeper.store().app(name)?, &given),
            Err(Error::Store(error)) if matches!(*error, StoreError::NoSuchConnection { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let connection = Connection::new(perennial::request_id(), name, &CONCUR);
        let user = attempt.user.as_deref().unwrap_or("nobody that SAP has named");
        let how = format!(
            "came from the App Center to {app}, by user {user}, correlation id {}",
            attempt.reference
        );
        match shared.keeper.add_to_app(&connection, &given, how) {
            Ok(()) => return Ok(Known::New(Box::new(connection))),
            // Another tab, or another daemon of this store, was quicker.
            Err(Error::Store(error)) if matches!(*error, StoreError::NameTaken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn look_at(seen: Connection, app: &App, given: &App) -> Result<Known, Failed> {
    let company = given.company.as_ref();
    let is_theirs = |own: &perennial::core::grant::Principal| company.is_some_and(|company| own.is(company));
    let is_known = seen.principal.as_ref().or(app.company.as_ref()).is_some_and(is_theirs);
    if seen.profile.name != CONCUR.name || app.client.id != given.client.id || !is_known {
        return Err(Failed::ours(format!(
            "the connection {} belongs to somebody else: another app, or another company",
            seen.name
        )));
    }
    if is_obtained_with(&seen, given) {
        return Ok(Known::Done);
    }
    let is_ours = seen.held.is_none() && app.request_token == given.request_token;
    Ok(if is_ours { Known::New(Box::new(seen)) } else { Known::There })
}

/// True when the tokens that are held came for this very request token: after a restart nobody remembers that otherwise,
/// and a reload of SAP's redirect must not spend another use of it.
fn is_obtained_with(seen: &Connection, given: &App) -> bool {
    let print = given.request_token.as_ref().map(perennial::core::RequestToken::fingerprint);
    let Some(used) = seen.request_token.as_ref().filter(|used| Some(&used.fingerprint) == print.as_ref())
    else {
        return false;
    };
    let granted = seen.held.as_ref().and_then(|held| held.granted_at);
    used.uses > 0 && granted.is_some_and(|at: UnixTime| at >= used.first_used_at)
}

/// SAP does not take the token: what was put down for it goes again, whoever has made it up.
async fn take_out(shared: &Arc<Shared>, name: &str, attempt: &Arc<Attempt>) {
    let (own, name, of) = (Arc::clone(shared), name.to_owned(), Arc::clone(attempt));
    in_background(move || {
        if let Err(error) = own.keeper.discard(&name, &of.request_token) {
            tracing::warn!(%error, connection = name, "what a refused request token left could not be taken out");
        }
    })
    .await;
}

/// What certification asks for: who it was, with SAP's correlation id, in the journal. Then the webhook.
async fn write_down(place: &Place, visit: &Arc<Visit>) {
    let (shared, visit) = (Arc::clone(&place.shared), Arc::clone(visit));
    let (app, config) = (place.app.clone(), place.config.clone());
    in_background(move || {
        let attempt = &visit.attempt;
        let name = config.name_of(attempt.company.as_str());
        let obtained = obtained_under(&shared, &name);
        let correlation_id = obtained.unwrap_or_else(|| attempt.reference.clone());
        let user = attempt.user.as_deref().unwrap_or("nobody that SAP has named");
        let what = format!(
            "connected in the App Center to {app}, by user {user}, correlation id {correlation_id}, reference {}",
            attempt.reference
        );
        shared.keeper.note(&name, what);
        if config.webhook.is_some() {
            super::told::tell(&shared, &app, &name, &visit, &correlation_id);
        }
    })
    .await;
}

/// The correlation id under which the newest grant was obtained.
fn obtained_under(shared: &Shared, name: &str) -> Option<String> {
    let newest = shared.keeper.store().journal(Some(name), None, 20).ok()?;
    let obtained = newest.into_iter().rev().find(|line| matches!(line.entry.event, Event::Obtained { .. }));
    obtained?.entry.correlation_id
}
