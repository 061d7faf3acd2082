//! The app of a new connection: its id, and its secret or private key, which is not asked for where another connection
//! works with it.

use crate::exit::Exit;
use crate::secret_input::{self, ClientSecretSource};
use crate::sign_in::server::{Found, ServerArgs, check_key};
use crate::terminal;
use crate::trouble::Trouble;
use perennial::core::Connection;
use perennial::core::grant::Client;
use perennial::core::secret::ClientSecret;
use perennial::{Error, Keeper};

/// Reads, or asks for, what the app needs.
pub(super) fn client(
    keeper: &Keeper,
    app_id: Option<&String>,
    secret: &ClientSecretSource,
    server: &ServerArgs,
    (found, fresh): (&Found, &Connection),
) -> Result<Client, Trouble> {
    let question = if found.server.is_none() { "App ID" } else { "Client id" };
    let id = given_or_asked(app_id, question, "--app-id ID")?;
    if found.is_public() {
        return Ok(Client { id, secret: ClientSecret::new("") });
    }
    let source = if found.wants_private_key() { server.source() } else { secret.source() };
    let given = source.read()?.map(|secret| ClientSecret::new(secret.as_str()));
    let secret = match (known(keeper, &id, &fresh.realm())?, given) {
        (Some((other, known)), Some(given)) if known != given => return Err(differs(&other)),
        (Some((_, known)), _) => known,
        (None, Some(given)) => given,
        (None, None) => ClientSecret::new(source.read_or_ask()?.as_str()),
    };
    if found.wants_private_key() {
        check_key(secret.expose(), found.profile)?;
    }
    Ok(Client { id, secret })
}

/// A connection of the same app, and the secret that it works with; one that has not proved itself is not copied.
fn known(keeper: &Keeper, app_id: &str, realm: &str) -> Result<Option<(String, ClientSecret)>, Error> {
    for name in keeper.names()? {
        // One that cannot be read says nothing about others.
        let Ok(app) = keeper.store().app(&name) else { continue };
        let works = |connection: Connection| {
            connection.realm() == realm && connection.held.is_some_and(|held| held.access.is_some())
        };
        if app.client.id == app_id && keeper.connection(&name).is_ok_and(works) {
            return Ok(Some((name, app.client.secret)));
        }
    }
    Ok(None)
}

/// An app has one secret: a wrong one would be wrong for all its connections.
fn differs(other: &str) -> Trouble {
    Trouble::usage(
        format!(
            "this client secret is another than the one that {other} works with, and both belong to one app"
        ),
        format!(
            "leave it out to use that one; if the app has a new secret, replace it for all: perennial reauthorize {other} \
             --keep-grant"
        ),
    )
}

/// A word that is no secret.
pub(super) fn given_or_asked(
    given: Option<&String>,
    question: &str,
    option: &str,
) -> Result<String, Trouble> {
    let text = match given {
        Some(text) => text.trim().to_owned(),
        None if terminal::is_there() => {
            let failed =
                |error| Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"));
            terminal::ask(question).map_err(failed)?.ok_or_else(secret_input::left)?
        }
        None => String::new(),
    };
    if text.is_empty() {
        return Err(Trouble::usage(format!("the {question} is missing"), format!("name it: {option}")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = format!("copy it again, alone: {option}");
        return Err(Trouble::usage(format!("the {question} has characters in it that none has"), hint));
    }
    Ok(text)
}
