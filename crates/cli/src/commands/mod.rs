//! One file a verb.

pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod refresh;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod whoami;

use crate::session::Session;
use perennial::{HandOut, Warning};

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
            _ => "there is something about this token that this version cannot put into words".to_owned(),
        });
    }
}
