//! From an error to what a person should do about it: a line, the exact next command, an exit code. No other file
//! decides any of the three.

use crate::exit::Exit;
use crate::options::quoted;
use crate::words;
use perennial::Error;
use perennial::core::connection::{Blocked, Fault};
use perennial::core::profile::Purpose;
use perennial::core::token_endpoint::Unreachable;
use perennial::core::{State, UnixTime, Verdict};
use perennial::store::StoreError;
use std::io;
use std::path::Path;

/// What a person is told when a command could not do what it should.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What is wrong, and where.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The keeper's verdict, where there is one.
    pub(crate) verdict: Option<&'static str>,
    /// The provider's code, where there is one.
    pub(crate) code: Option<u32>,
    /// What SAP's support asks for.
    pub(crate) correlation_id: Option<String>,
    /// How the command ends.
    pub(crate) exit: Exit,
}

/// The words with which a person named a place: each is empty, or such as ` --dir acme`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The store.
    pub(crate) store: String,
    /// Where a grant is obtained.
    pub(crate) base: String,
    /// Certificates and addresses.
    pub(crate) network: String,
}

/// Where a new request token comes from, and who may make one.
const NEW_REQUEST_TOKEN: &str = "a new company request token is needed: a Web Services Administrator (Standard edition: \
     Can Administer) makes one at https://www.concursolutions.com/nui/authadmin/companytokens for the same App ID; put \
     it into credentials.json as companyRequestToken within 24 hours, then: perennial run";

impl Trouble {
    /// A trouble with a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { message: message.into(), hint, verdict: None, code: None, correlation_id: None, exit }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    /// A file that could not be made or written.
    pub(crate) fn file(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("could not {action} {}", path.display());
        move |error| {
            Self::new(Exit::PersonMustAct, format!("{what}: {error}"), "choose a place that you may write to")
        }
    }

    /// Commands in the hint name what the person named. A command that names a store or a base of its own keeps that.
    pub(crate) fn at(mut self, place: &Place) -> Self {
        let Place { store, base, network } = place;
        for (verb, base) in [("run", base.as_str()), ("refresh", ""), ("call", ""), ("whoami", "")] {
            let command = format!("perennial {verb}");
            self.hint = self.hint.map(|hint| {
                let mut parts = hint.split(&command);
                let first = parts.next().unwrap_or_default().to_owned();
                parts.fold(first, |text, rest| {
                    let store = if rest.starts_with(" --dir") { "" } else { store };
                    let base = if rest.starts_with(" --base-uri") { "" } else { base };
                    format!("{text}{command}{store}{base}{network}{rest}")
                })
            });
        }
        self
    }

    fn plain(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, verdict: None, code: None, correlation_id: None, exit }
    }

    fn about(mut self, fault: &Fault) -> Self {
        self.verdict = Some(fault.verdict.as_str());
        self.code = fault.code;
        self.correlation_id.clone_from(&fault.correlation_id);
        self
    }
}

impl From<io::Error> for Trouble {
    /// Output that could not be written; a reader that went away is no trouble.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::plain(Exit::Done, "");
        }
        Self::plain(Exit::Failed, format!("could not write the output: {error}"))
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        of_store(&error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match &error {
            Error::Store(error) => of_store(error),
            Error::Blocked { blocked, fault } => of_blocked(blocked, fault.as_deref(), message),
            Error::Unreachable { why, .. } => of_unreachable(why, message),
            Error::Failed { fault, retry_at, .. } => of_fault(fault, message, *retry_at),
            Error::NotPermitted { origin, purpose } => {
                let again = again(*purpose);
                let hint =
                    format!("if you trust it with these tokens, name it once: {again} --base-uri {origin}");
                Self::new(Exit::PersonMustAct, message, hint)
            }
            Error::OtherPrincipal { .. } => Self::new(
                Exit::PersonMustAct,
                message,
                "check that companyUUID in credentials.json belongs to the request token; the answer is kept aside in \
                 refreshTokenObjectFile.json",
            ),
            Error::OtherCompany { .. } => Self::new(
                Exit::PersonMustAct,
                message,
                "keep one directory for each company: perennial run --dir OTHER",
            ),
            Error::NoRequestToken | Error::RequestTokenUsedUp { .. } => {
                Self::new(Exit::PersonMustAct, message, NEW_REQUEST_TOKEN)
            }
            Error::Busy | Error::Deadline => {
                Self::new(Exit::TryAgainLater, message, "try again, or give it more time: --timeout 2m")
            }
            _ => Self::plain(Exit::Failed, message),
        }
    }
}

fn of_store(error: &StoreError) -> Trouble {
    let message = error.to_string();
    let hint = match error {
        StoreError::NoCredentials { .. } => "this writes a template to fill in: perennial run".to_owned(),
        StoreError::Incomplete { path, .. } => format!("edit {}, then: perennial run", path.display()),
        StoreError::Unreadable { path, .. } if path.ends_with("credentials.json") => {
            "it has not been touched; mend it, then: perennial run".to_owned()
        }
        StoreError::Unreadable { .. } => {
            "it has not been touched; mend it if you can, else this keeps it aside and obtains a new grant: \
             perennial run"
                .to_owned()
        }
        StoreError::NoSuchConnection { .. } => {
            return Trouble::new(
                Exit::Usage,
                message,
                "a sap-sample store has one connection, named default",
            );
        }
        StoreError::Unsafe { remedy, .. } => format!("{UNSPENT}; {remedy}"),
        StoreError::Io { action, path, source } => return of_io(action, path, source, message),
        _ => return Trouble::plain(Exit::PersonMustAct, message),
    };
    Trouble::new(Exit::PersonMustAct, message, hint)
}

const UNSPENT: &str = "no token was presented, so nothing is lost";

fn of_io(action: &str, path: &Path, source: &io::Error, message: String) -> Trouble {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = quoted(&dir.to_string_lossy());
    let (exit, remedy) = match source.kind() {
        io::ErrorKind::NotFound => {
            let hint = "name a directory that is there: --dir DIR";
            return Trouble::new(Exit::PersonMustAct, message, hint);
        }
        io::ErrorKind::PermissionDenied if action == "read" => (
            Exit::PersonMustAct,
            format!(
                "; give the user who runs this the right to read it, as its owner: chmod u+r {}",
                quoted(&path.to_string_lossy())
            ),
        ),
        io::ErrorKind::PermissionDenied => (
            Exit::PersonMustAct,
            format!(
                "; give the user who runs this the right to write there, as its owner: chmod u+rwx {dir}"
            ),
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            (Exit::PersonMustAct, "; name a directory that can be written: --dir DIR".to_owned())
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (Exit::PersonMustAct, format!("; make room (df -h {dir}), then try again"))
        }
        io::ErrorKind::IsADirectory => (
            Exit::PersonMustAct,
            format!("; a directory has its name, so move that away: {}", path.display()),
        ),
        _ => (Exit::Failed, String::new()),
    };
    Trouble::new(exit, message, format!("{UNSPENT}{remedy}"))
}

fn of_blocked(blocked: &Blocked, fault: Option<&Fault>, message: String) -> Trouble {
    match blocked {
        Blocked::NoGrant => {
            Trouble::new(Exit::PersonMustAct, message, "this obtains the first ones: perennial run")
        }
        Blocked::NoRefreshToken => Trouble::new(Exit::PersonMustAct, message, NEW_REQUEST_TOKEN),
        Blocked::Until(at) => {
            let why = fault.map_or(String::new(), |fault| format!(" ({})", fault.message));
            let again = again(fault.map_or(Purpose::Refresh, |fault| fault.purpose));
            let hint = format!("try again from {} on, or insist: {again}", words::rfc3339(*at));
            let trouble = Trouble::new(Exit::TryAgainLater, format!("{message}{why}"), hint);
            fault.map_or(trouble.clone(), |fault| trouble.about(fault))
        }
        Blocked::PersonNeeded(State::Revoked) => {
            Trouble::new(Exit::PersonMustAct, message, NEW_REQUEST_TOKEN)
        }
        Blocked::PersonNeeded(_) => match fault {
            Some(fault) => {
                let message = format!("{message}: {}", fault.message);
                of_fault(fault, message, None)
            }
            None => Trouble::new(Exit::PersonMustAct, message, "this tries again: perennial refresh"),
        },
        Blocked::RejectedAgain { .. } => Trouble::new(
            Exit::PersonMustAct,
            message,
            "check the scopes of the app and of this grant: perennial whoami",
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
fn again(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Obtain => "perennial run",
        Purpose::Refresh => "perennial refresh",
    }
}

fn of_fault(fault: &Fault, message: String, retry_at: Option<UnixTime>) -> Trouble {
    let again = again(fault.purpose);
    let kept = match fault.purpose {
        Purpose::Obtain => "",
        Purpose::Refresh => "; the grant is kept",
    };
    let (exit, hint) = match (fault.verdict, fault.code) {
        // Tried often enough: without a time to try it again, nobody will.
        (Verdict::Retry { .. } | Verdict::Unknown | Verdict::Relocate, _) if retry_at.is_none() => (
            Exit::PersonMustAct,
            format!(
                "it was tried several times and is left alone now; ask SAP Concur support, with the correlation \
                 id{kept}; to try again: {again}"
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
        (Verdict::FixClient, Some(136)) => (
            Exit::PersonMustAct,
            "the request token belongs to another App ID: make one for the App ID in credentials.json, then: \
             perennial run"
                .to_owned(),
        ),
        (Verdict::FixClient, _) => (
            Exit::PersonMustAct,
            format!(
                "check appID and clientSecret in credentials.json and the app in OAuth 2.0 Application \
                 Management{kept}; then: {again}"
            ),
        ),
        (Verdict::FixScope, _) => (
            Exit::PersonMustAct,
            format!("give the app the scope in OAuth 2.0 Application Management{kept}; then: {again}"),
        ),
        (Verdict::GrantGone, Some(19)) => (
            Exit::PersonMustAct,
            format!(
                "compare companyUUID in credentials.json with the page that made the request token, then: {again}; if it \
                 is right, {NEW_REQUEST_TOKEN}"
            ),
        ),
        (Verdict::GrantGone, _) => (Exit::PersonMustAct, NEW_REQUEST_TOKEN.to_owned()),
        (Verdict::AskSupport, _) => (
            Exit::PersonMustAct,
            format!(
                "SAP Concur support must look at this account; give them the correlation id{kept}; once they have: \
                 {again}"
            ),
        ),
        (Verdict::OurBug, _) => (
            Exit::Failed,
            format!("this should not happen; please report it with the correlation id{kept}; to try again: {again}"),
        ),
    };
    Trouble::new(exit, message, hint).about(fault)
}
