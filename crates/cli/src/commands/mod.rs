//! One file a verb.

pub(crate) mod add;
pub(crate) mod adopt;
pub(crate) mod alert;
pub(crate) mod backup;
pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod log;
mod plain_export;
pub(crate) mod policy;
pub(crate) mod profile;
pub(crate) mod profiles;
pub(crate) mod reauthorize;
pub(crate) mod recover;
pub(crate) mod refresh;
mod refresh_all;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod revoke;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod support;
pub(crate) mod token;
pub(crate) mod whoami;

use crate::exit::Exit;
use crate::place::Kind;
use crate::session::Session;
use crate::trouble::Trouble;
use perennial::{HandOut, Keeper, Warning};
use std::time::Duration;

/// How long a caller who has its token may be kept for a renewal that has not been sent yet: on a network that swallows
/// packets, each call would take as long as connecting may take.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(5);

/// Renews what is due, after the caller was served. A failure harms nothing and is tried again by the next command.
pub(crate) fn renew(session: &Session, keeper: &Keeper, name: &str) -> Result<(), Trouble> {
    let patience = session.globals.timeout.unwrap_or(RENEWAL_PATIENCE);
    match session.wait_at_most(patience, keeper, keeper.refresh_if_due(name)) {
        Err(trouble) if trouble.exit == Exit::Interrupted => return Err(trouble),
        Err(trouble) => session
            .printer
            .warn(&format!("the refresh token is due for renewal, and that failed: {}", trouble.message)),
        Ok(_) => {}
    }
    Ok(())
}

/// Tells what a caller should know of a token that was handed out.
pub(crate) fn tell_warnings(session: &Session, hand_out: &HandOut) {
    for warning in &hand_out.warnings {
        session.printer.warn(&match warning {
            Warning::ShortLived(why) => {
                format!("the token lives only {} s more, and no better one could be had: {why}", hand_out.expires_in)
            }
            Warning::Unsaved(path) => format!(
                "the store would not take the new tokens; they are kept in {}, and the next command takes them in",
                path.display()
            ),
            Warning::ForeignGeolocation(origin) => format!(
                "the server named the geolocation {origin}, which is not one of the provider's; it is not followed"
            ),
            Warning::NoRefreshToken => {
                let place = session.place().with(&hand_out.connection);
                let told = format!(
                    "the server gave no refresh token, so this grant ends with its access token, in {} s",
                    hand_out.expires_in
                );
                if place.kind == Kind::SapSample {
                    told
                } else {
                    let anew = place.complete(&format!("{} --scope \"… offline_access\"", place.obtain()));
                    format!(
                        "{told}; most servers give one for a scope, often offline_access, and some only where a browser \
                         asks for consent beside it: {anew} --authorize-param prompt=consent"
                    )
                }
            }
            _ => "there is something about this token that this version cannot put into words".to_owned(),
        });
    }
}
