//! `perennial token`: a valid access token on stdout.

use super::{renew, tell_warnings};
use crate::exit::Exit;
use crate::session::Session;
use crate::through::Through;
use crate::trouble::Trouble;
use crate::words::{parse_duration, rfc3339};
use clap::Args;
use perennial::HandOut;
use serde_json::{Value, json};
use std::time::Duration;
use zeroize::Zeroizing;

/// Print a valid access token
///
/// It comes from a running daemon, or from the store when it is still valid for --min-ttl, else from one refresh at the
/// token's own geolocation, however many processes ask at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial token                                  the token, alone, with a newline
  perennial token --min-ttl 10m                    one that lives ten minutes at least
  curl -H @<(perennial token --header) URL         no process list shows it
  perennial token --json                           with expiry, scope, base URI")]
pub(crate) struct Token {
    /// The connection; may be left out where there is only one
    pub(crate) name: Option<String>,

    /// The least time that the token must live yet
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub(crate) min_ttl: Duration,

    /// Print the whole Authorization header
    #[arg(long, conflicts_with = "json")]
    pub(crate) header: bool,
}

pub(crate) fn carry_out(session: &Session, token: &Token) -> Result<Exit, Trouble> {
    if let Some(daemon) = Through::find(session)
        && let Some(hand_out) = daemon.token(token.name.as_deref(), token.min_ttl)?
    {
        print(session, token, &hand_out)?;
        return Ok(Exit::Done);
    }
    let keeper = session.keeper()?;
    let name = session.name(&keeper, token.name.as_deref())?;
    let hand_out = match keeper.peek(&name, token.min_ttl)? {
        Some(hand_out) => hand_out,
        None => {
            session.start_log();
            session.wait(&keeper, keeper.token(&name, token.min_ttl))?
        }
    };
    print(session, token, &hand_out)?;
    tell_warnings(session, &hand_out);
    if hand_out.renewal_due {
        session.start_log();
        renew(session, &keeper, &name)?;
    }
    Ok(Exit::Done)
}

fn print(session: &Session, token: &Token, hand_out: &HandOut) -> Result<(), Trouble> {
    let access_token = hand_out.access_token.expose();
    if session.globals.json {
        return Ok(session.printer.json_data(&as_json(hand_out))?);
    }
    let text = Zeroizing::new(if token.header {
        format!("Authorization: {} {access_token}\n", hand_out.token_type)
    } else {
        format!("{access_token}\n")
    });
    Ok(session.printer.data(&text)?)
}

fn as_json(hand_out: &HandOut) -> Value {
    json!({
        "connection": hand_out.connection,
        "access_token": hand_out.access_token.expose(),
        "token_type": hand_out.token_type,
        "expires_at": rfc3339(hand_out.expires_at),
        "expires_in": hand_out.expires_in,
        "scope": hand_out.scope,
        "base_uri": hand_out.base.to_string(),
    })
}
