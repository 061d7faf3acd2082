//! `perennial whoami`: for whom, for which app, for what and where a grant is good.

use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use clap::Args;
use perennial::Error;
use perennial::core::connection::Blocked;
use perennial::core::profile::concur::DATACENTERS;
use perennial::core::token_endpoint::jwt;
use serde_json::{Map, Value, json};

/// Tell the principal, the app, the scopes and the data centre
///
/// Read from the id_token in the store; nothing is sent.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial whoami
  perennial whoami --json")]
pub(crate) struct Whoami {
    /// The connection; may be left out where there is only one
    name: Option<String>,
}

pub(crate) fn carry_out(session: &Session, whoami: &Whoami) -> Result<Exit, Trouble> {
    let keeper = session.keeper()?;
    let name = session.name(&keeper, whoami.name.as_deref())?;
    let connection = keeper.connection(&name)?;
    let Some(held) = &connection.held else {
        return Err(Error::Blocked { blocked: Blocked::NoGrant, fault: None }.into());
    };
    let claims = held.id_token.as_ref().and_then(|token| jwt::claims(token.expose())).unwrap_or_default();
    let principal = claim(&claims, "sub").or_else(|| connection.principal.as_ref().map(ToString::to_string));
    let app = claim(&claims, "aud").or_else(|| first_of(&claims, "aud"));
    let kind = claim(&claims, "concur.type");
    let base = held.base.to_string();
    let data_centre = DATACENTERS.iter().find(|(_, known)| *known == base).map(|(name, _)| *name);
    if session.globals.json {
        let scope = held.scope.as_deref().unwrap_or_default();
        session.printer.json_data(&json!({
            "connection": name,
            "principal": principal,
            "principal_type": kind,
            "app": app,
            "issuer": claim(&claims, "iss"),
            "scopes": scope.split_whitespace().collect::<Vec<_>>(),
            "data_centre": data_centre,
            "base_uri": base,
        }))?;
        return Ok(Exit::Done);
    }
    let unknown = || "not known (there is no id_token)".to_owned();
    let kind = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    let scope = held.scope.clone().unwrap_or_else(|| "not told by the server".to_owned());
    let place = data_centre.map(|name| format!(" ({name})")).unwrap_or_default();
    session.printer.data(&format!(
        "principal    {}{kind}\napp          {}\nscopes       {scope}\ndata centre  {base}{place}\n",
        principal.unwrap_or_else(unknown),
        app.unwrap_or_else(unknown),
    ))?;
    Ok(Exit::Done)
}

fn claim(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn first_of(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name)?.as_array()?.first()?.as_str().map(str::to_owned)
}
