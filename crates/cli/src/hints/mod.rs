//! From an error of the keeper to what a person should do about it: a line, the exact next command, an exit code. It
//! depends on the kind of store: SAP's two files are edited, a database is told by commands. What a store says is in
//! [`store`].

mod store;

use crate::exit::Exit;
use crate::place::{Anew, Kind, Place};
use crate::trouble::Trouble;
use crate::words;
use perennial::Error;
use perennial::core::authorization::RedirectError;
use perennial::core::connection::{Blocked, Fault};
use perennial::core::profile::Purpose;
use perennial::core::token_endpoint::Unreachable;
use perennial::core::{State, UnixTime, Verdict};

/// Who makes a request token, and where.
pub(crate) const MAKES_REQUEST_TOKENS: &str = "a Web Services Administrator (Standard edition: Can Administer) makes one \
     at https://www.concursolutions.com/nui/authadmin/companytokens for the same App ID";

/// Where a new request token comes from, and where it goes.
pub(crate) fn new_request_token(place: &Place) -> String {
    match &place.anew {
        Anew::RequestToken => {}
        Anew::SignIn(title) => return format!("a person must sign in to {title} again: {}", place.obtain()),
        Anew::Itself(_) => {
            return format!("check {} {}, then: {}", place.app(), place.console(), place.refresh());
        }
    }
    let then = match place.kind {
        Kind::SapSample => {
            "put it into credentials.json as companyRequestToken within 24 hours, then: perennial run"
                .to_owned()
        }
        Kind::Sqlite | Kind::Postgres => format!("within 24 hours: {}", place.obtain()),
    };
    format!("a new company request token is needed: {MAKES_REQUEST_TOKENS}; {then}")
}

/// What the keeper said.
pub(crate) fn of_keeper(error: &Error, place: &Place) -> Trouble {
    let message = error.to_string();
    match error {
        Error::Store(error) => store::of_store(error, place),
        Error::Blocked { blocked, fault } => of_blocked(blocked, fault.as_deref(), message, place),
        Error::Unreachable { why, .. } => of_unreachable(why, message),
        Error::Failed { fault, retry_at, .. } => of_fault(fault, message, *retry_at, place),
        Error::ServerFails { until, .. } => {
            let hint = format!(
                "nothing was sent, and what is held is kept; try again from {} on, or insist: {}",
                words::rfc3339(*until),
                place.refresh()
            );
            Trouble::new(Exit::TryAgainLater, message, hint)
        }
        Error::RescueClosed { .. } => Trouble::new(
            Exit::PersonMustAct,
            message,
            "nothing was sent; name the master key that it was sealed with: --master-key file:PATH or env:NAME; to see \
             what waits: perennial doctor",
        ),
        Error::NotPermitted { origin, purpose } => {
            let again = again(*purpose, place);
            let hint =
                format!("if you trust it with these tokens, name it once: {again} --base-uri {origin}");
            Trouble::new(Exit::PersonMustAct, message, hint)
        }
        Error::OtherPrincipal { .. } => Trouble::new(Exit::PersonMustAct, message, of_stranger(place)),
        Error::OtherCompany { .. } => Trouble::new(
            Exit::PersonMustAct,
            message,
            match place.kind {
                Kind::SapSample => "keep one directory for each company: perennial run --dir OTHER",
                Kind::Sqlite | Kind::Postgres => "keep one connection for each company: perennial add OTHER",
            },
        ),
        Error::NoRequestToken | Error::RequestTokenUsedUp { .. } | Error::SignInNeeded => {
            Trouble::new(Exit::PersonMustAct, message, new_request_token(place))
        }
        Error::SignInFailed(error) => of_sign_in(error, message, place),
        Error::Errand { status, code, correlation_id, .. } => {
            of_errand(*status, *code, correlation_id.as_ref(), message, place)
        }
        Error::NoEndpoint(what) => {
            // `--device-endpoint` is the one that is called otherwise.
            let option = what.split(' ').next().unwrap_or(what);
            let hint = format!(
                "if the server has one, name it when adding: perennial add OTHER --{option}-endpoint URL"
            );
            Trouble::new(Exit::PersonMustAct, message, hint)
        }
        Error::OtherConnection => Trouble::new(
            Exit::PersonMustAct,
            message,
            "somebody has renamed or replaced it meanwhile; see what there is: perennial list",
        ),
        Error::PrivateKey(_) => {
            let hint = format!("give it again: {} --keep-grant --private-key-file FILE.pem", place.obtain());
            Trouble::new(Exit::PersonMustAct, message, hint)
        }
        Error::Unbelieved(_) => Trouble::new(
            Exit::PersonMustAct,
            message,
            format!(
                "somebody may stand between, or the server be set up wrongly; look at it: {}",
                place.about("log")
            ),
        ),
        Error::Busy | Error::Deadline => {
            Trouble::new(Exit::TryAgainLater, message, "try again, or give it more time: --timeout 2m")
        }
        _ => Trouble::plain(Exit::Failed, message),
    }
}

/// The browser came back without a code that may be used.
fn of_sign_in(error: &RedirectError, message: String, place: &Place) -> Trouble {
    let again = place.obtain();
    let hint = match error {
        RedirectError::Refused { .. } => format!("if that was an oversight, sign in again: {again}"),
        RedirectError::OtherIssuer { .. } | RedirectError::NoIssuer { .. } => {
            format!("nothing was exchanged; check which server you meant, then: {again}")
        }
        _ => format!("copy the whole address that the browser ended at; or sign in again: {again}"),
    };
    Trouble::new(Exit::PersonMustAct, message, hint)
}

/// A request beside the token grants was refused, or not answered.
fn of_errand(
    status: Option<u16>,
    code: Option<u32>,
    correlation_id: Option<&String>,
    message: String,
    place: &Place,
) -> Trouble {
    let (exit, hint) = match (status, code) {
        (None | Some(429 | 500..=599), _) => {
            (Exit::TryAgainLater, "nothing was changed; try again".to_owned())
        }
        (_, Some(16)) => (
            Exit::PersonMustAct,
            "this person lives in another data centre: name it, such as --datacenter eu2".to_owned(),
        ),
        (_, Some(82)) => {
            (Exit::TryAgainLater, "wait until the open ones have ended, or use the last one".to_owned())
        }
        _ => (Exit::PersonMustAct, format!("nothing was changed; check {} {}", place.app(), place.console())),
    };
    let mut trouble = Trouble::new(exit, message, hint);
    (trouble.code, trouble.correlation_id) = (code, correlation_id.cloned());
    trouble
}

/// The request token was made for another company than the one that was named.
fn of_stranger(place: &Place) -> String {
    match place.kind {
        Kind::SapSample => {
            "check that companyUUID in credentials.json belongs to the request token; the answer is kept \
                            aside in refreshTokenObjectFile.json"
                .to_owned()
        }
        Kind::Sqlite | Kind::Postgres => format!(
            "check that the company UUID belongs to the request token, then: {}; the answer is kept aside: {}",
            place.obtain(),
            place.about("recover") + " --dry-run"
        ),
    }
}

fn of_blocked(blocked: &Blocked, fault: Option<&Fault>, message: String, place: &Place) -> Trouble {
    match blocked {
        Blocked::NoGrant => {
            let hint = format!("this obtains the first ones: {}", place.obtain());
            Trouble::new(Exit::PersonMustAct, message, hint)
        }
        Blocked::NoRefreshToken => Trouble::new(Exit::PersonMustAct, message, new_request_token(place)),
        Blocked::Until(at) => {
            let why = fault.map_or(String::new(), |fault| format!(" ({})", fault.message));
            let again = again(fault.map_or(Purpose::Refresh, |fault| fault.purpose), place);
            let hint = format!("try again from {} on, or insist: {again}", words::rfc3339(*at));
            let trouble = Trouble::new(Exit::TryAgainLater, format!("{message}{why}"), hint);
            fault.map_or(trouble.clone(), |fault| trouble.about(fault))
        }
        Blocked::PersonNeeded(State::Revoked) => {
            Trouble::new(Exit::PersonMustAct, message, new_request_token(place))
        }
        Blocked::PersonNeeded(_) => match fault {
            Some(fault) => {
                let message = format!("{message}: {}", fault.message);
                of_fault(fault, message, None, place)
            }
            None => {
                let hint = format!("this tries again: {}", place.refresh());
                Trouble::new(Exit::PersonMustAct, message, hint)
            }
        },
        Blocked::OutOfTurn => {
            let hint = format!("this tries what is kept in the permitted order: {}", place.about("recover"));
            Trouble::new(Exit::PersonMustAct, message, hint)
        }
        Blocked::RejectedAgain { .. } => Trouble::new(
            Exit::PersonMustAct,
            message,
            format!("check the scopes of the app and of this grant: {}", place.about("whoami")),
        ),
    }
}

fn of_unreachable(why: &Unreachable, message: String) -> Trouble {
    match why {
        Unreachable::Tls(_) => Trouble::new(
            Exit::PersonMustAct,
            message,
            "nothing was sent; if the certificate is your own or your proxy's, trust its issuer: --ca-cert FILE.pem",
        ),
        Unreachable::Dns(_) => Trouble::new(
            Exit::TryAgainLater,
            message,
            "nothing was sent; check the name and the network, then try again",
        ),
        _ => Trouble::new(
            Exit::TryAgainLater,
            message,
            "nothing was sent; check the network and HTTPS_PROXY, then try again",
        ),
    }
}

/// What tries the same again, though it may not be due.
fn again(purpose: Purpose, place: &Place) -> String {
    match purpose {
        Purpose::Obtain => place.obtain(),
        Purpose::Refresh => place.refresh(),
    }
}

fn of_fault(fault: &Fault, message: String, retry_at: Option<UnixTime>, place: &Place) -> Trouble {
    let again = again(fault.purpose, place);
    let kept = match fault.purpose {
        Purpose::Obtain => "",
        Purpose::Refresh => "; the grant is kept",
    };
    let person = Exit::PersonMustAct;
    let (exit, hint) = match (fault.verdict, fault.code) {
        // Tried often enough: without a time to try it again, nobody will.
        (Verdict::Retry { .. } | Verdict::Unknown | Verdict::Relocate, _) if retry_at.is_none() => (
            person,
            format!(
                "it was tried several times and is left alone now; ask {}, with the correlation id{kept}; to try again: \
                 {again}",
                place.support()
            ),
        ),
        (Verdict::Retry { .. } | Verdict::Unknown | Verdict::Relocate, _) => {
            let from = retry_at.map_or(String::new(), |at| format!(" from {} on", words::rfc3339(at)));
            let hint = match fault.purpose {
                Purpose::Obtain => format!("nothing is lost; try again{from}: {again}"),
                Purpose::Refresh => format!(
                    "nothing is lost: the refresh token is kept, and the next command tries it again{from}; to insist: \
                     {again}"
                ),
            };
            (Exit::TryAgainLater, hint)
        }
        (Verdict::FixClient, Some(136)) => (person, of_other_app(place)),
        (Verdict::FixClient, _) => (person, of_client(fault.purpose, kept, &again, place)),
        (Verdict::FixScope, _) => {
            (person, format!("give the app the scope {}{kept}; then: {again}", place.console()))
        }
        (Verdict::GrantGone, Some(19)) => (person, of_company(&again, place)),
        (Verdict::GrantGone, _) if fault.purpose == Purpose::Refresh && place.kind != Kind::SapSample => (
            person,
            format!(
                "what is kept can be tried: {}; else {}",
                place.about("recover"),
                new_request_token(place)
            ),
        ),
        (Verdict::GrantGone, _) => (person, new_request_token(place)),
        (Verdict::AskSupport, _) => (
            person,
            format!(
                "{} must look at this account; give them the correlation id{kept}; once they have: {again}",
                place.support()
            ),
        ),
        (Verdict::OurBug, _) => (
            Exit::Failed,
            format!(
                "this should not happen; please report it with the correlation id{kept}; to try again: {again}"
            ),
        ),
    };
    Trouble::new(exit, message, hint).about(fault)
}

/// The client is wrong. A secret that was given by a command is replaced by one, and the grant may stay.
fn of_client(purpose: Purpose, kept: &str, again: &str, place: &Place) -> String {
    let check = format!("check {} and the app {}{kept}; then: {again}", place.app(), place.console());
    match (place.kind, purpose) {
        (Kind::Sqlite | Kind::Postgres, Purpose::Refresh) => {
            format!("{check}; or, with a new client secret: {} --keep-grant", place.obtain())
        }
        _ => check,
    }
}

fn of_other_app(place: &Place) -> String {
    match place.kind {
        Kind::SapSample => {
            "the request token belongs to another App ID: make one for the App ID in credentials.json, \
                            then: perennial run"
                .to_owned()
        }
        Kind::Sqlite | Kind::Postgres => format!(
            "the request token belongs to another App ID: {MAKES_REQUEST_TOKENS}; then: {}",
            place.obtain()
        ),
    }
}

fn of_company(again: &str, place: &Place) -> String {
    let named = match place.kind {
        Kind::SapSample => "companyUUID in credentials.json",
        Kind::Sqlite | Kind::Postgres => "the company UUID",
    };
    format!(
        "compare {named} with the page that made the request token, then: {again}; if it is right, {}",
        new_request_token(place)
    )
}
