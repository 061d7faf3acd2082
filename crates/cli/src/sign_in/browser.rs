//! A sign-in in a browser: it is opened where there is one, and the answer comes back to a socket of this machine (RFC 8252)
//! or is pasted by a person who has only a terminal. And a sign-in on another device.

use super::loopback::{self, Arrived, Loopback};
use crate::secret_input::RedirectedSource;
use crate::session::Session;
use crate::terminal;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::authorization::RedirectError;
use perennial::core::{Connection, Grant};
use perennial::sign_in::{Browser, SignIn};
use perennial::{Error, HandOut, Keeper};
use tokio::sync::mpsc;

/// How a browser is used.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BrowserArgs {
    /// Open no browser: only print the address
    #[arg(long, help_heading = "Browser")]
    pub(crate) no_browser: bool,

    /// Where the browser comes back to, as it is registered [default: http://127.0.0.1, any port]
    #[arg(long, value_name = "URI", help_heading = "Browser")]
    pub(crate) redirect_uri: Option<String>,

    /// Send no code challenge (RFC 7636), for a server that does not bear one
    #[arg(long, help_heading = "Browser")]
    pub(crate) no_pkce: bool,

    /// A further parameter for the sign-in page, such as prompt=consent
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::given::pair, help_heading = "Browser")]
    pub(crate) authorize_param: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) redirected: RedirectedSource,
}

impl BrowserArgs {
    /// Says before anything is kept that the answer could not come back.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        super::given::check_parameters(&self.authorize_param)?;
        let Some(uri) = &self.redirect_uri else { return Ok(()) };
        if loopback::is_here(uri)? || self.redirected.source().is_named() || terminal::is_there() {
            return Ok(());
        }
        Err(Trouble::usage(
            format!("the answer goes to {uri}, and nobody is here to paste it"),
            "say where it is: --redirected-file FILE (- is stdin)",
        ))
    }

    /// Lets a person sign in, and exchanges the code.
    pub(super) fn sign_in(
        &self,
        session: &Session,
        keeper: &Keeper,
        seen: &Connection,
    ) -> Result<HandOut, Trouble> {
        self.check()?;
        // What is bound before the address is made: a port that nobody else can answer on.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let _entered = runtime.enter();
        let loopback = Loopback::bind(self.redirect_uri.as_deref())?;
        let redirect_uri = loopback.as_ref().map(Loopback::uri).or_else(|| self.redirect_uri.clone());
        let browser = Browser {
            redirect_uri: redirect_uri.unwrap_or_default(),
            challenge: !self.no_pkce,
            parameters: self.authorize_param.clone(),
        };
        let sign_in = keeper.sign_in(&seen.name, &browser)?;
        let (arrivals, mut arrived) = mpsc::unbounded_channel();
        let served = loopback.map(|loopback| loopback.serve(&sign_in, arrivals.clone()));
        // Who presses Ctrl-C as soon as there is an address is heard: nothing is said before somebody listens.
        let outcome = session.wait(keeper, async {
            self.send_there(session, &sign_in);
            self.take_pasted(session, arrivals);
            exchange(session, keeper, &sign_in, &mut arrived).await
        });
        if let Some(served) = served {
            runtime.block_on(served.ended());
        }
        outcome
    }

    fn send_there(&self, session: &Session, sign_in: &SignIn) {
        let opened = !self.no_browser && has_browser() && webbrowser::open(&sign_in.address).is_ok();
        let how =
            if opened { "Your browser is open at" } else { "Open this address in a browser, on any machine" };
        session.printer.note(&format!("{how}:\n\n  {}\n", sign_in.address));
    }

    /// The answer from where it was said to be, or as what a person pastes: on a thread of its own, which nobody waits for.
    fn take_pasted(&self, session: &Session, arrivals: mpsc::UnboundedSender<Arrived>) {
        let (named, printer) = (self.redirected.clone(), session.printer);
        if named.source().is_named() {
            std::thread::spawn(move || match named.source().read() {
                Ok(text) => {
                    drop(arrivals.send(Arrived::given(text.map(|text| text.to_string()).unwrap_or_default())))
                }
                Err(trouble) => printer.warn(&trouble.message),
            });
            return;
        }
        if !terminal::is_there() {
            return;
        }
        printer.note(
            "When you have signed in, this goes on by itself. On another machine the browser will end at a page that does \
             not load: paste its whole address here.",
        );
        std::thread::spawn(move || {
            while let Ok(Some(line)) = terminal::ask("Address") {
                if !line.is_empty() && arrivals.send(Arrived::pasted(line)).is_err() {
                    break;
                }
            }
        });
    }
}

/// Waits for an answer that belongs to this sign-in, and exchanges it. What does not belong to it is told, and waited on.
async fn exchange(
    session: &Session,
    keeper: &Keeper,
    sign_in: &SignIn,
    arrived: &mut mpsc::UnboundedReceiver<Arrived>,
) -> Result<HandOut, Error> {
    loop {
        let Some(arrived) = arrived.recv().await else {
            return Err(Error::SignInFailed(RedirectError::NoCode));
        };
        let finished: Result<Grant, RedirectError> = sign_in.finish(arrived.text());
        match finished {
            Ok(grant) => {
                let outcome = keeper.obtain_with(&sign_in.connection, grant).await;
                arrived.tell(outcome.as_ref().map(|_| ()).map_err(ToString::to_string));
                return outcome;
            }
            // A tab of another sign-in, or somebody who guesses: this one goes on.
            Err(error) if arrived.may_be_followed() && !matches!(error, RedirectError::Refused { .. }) => {
                session.printer.warn(&error.to_string());
                arrived.tell(Err(error.to_string()));
            }
            Err(error) => {
                arrived.tell(Err(error.to_string()));
                return Err(Error::SignInFailed(error));
            }
        }
    }
}

/// A sign-in on another device: the code is shown, and the server asked until it was typed there.
pub(super) fn elsewhere(session: &Session, keeper: &Keeper, name: &str) -> Result<HandOut, Trouble> {
    let device = session.wait(keeper, keeper.sign_in_elsewhere(name))?;
    let minutes = device.expires_in.as_secs().div_ceil(60);
    session.printer.note(&format!(
        "Open {} on any device and type the code\n\n  {}\n\nIt is good for {minutes} min; this goes on by itself.",
        device.verification_uri, device.user_code
    ));
    if let Some(address) = &device.verification_uri_complete {
        session.printer.note(&format!("The same with the code in it: {address}"));
    }
    session.wait(keeper, keeper.signed_in_elsewhere(name, &device))
}

/// A browser can only be opened where a person sits; over SSH it would open on a machine where nobody looks, or in the
/// terminal itself.
fn has_browser() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_remote = is_set("SSH_CONNECTION") || is_set("SSH_TTY");
    is_set("BROWSER")
        || (!is_remote && (cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")))
}
