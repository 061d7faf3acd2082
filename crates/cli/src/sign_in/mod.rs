//! A grant that a person gives, whichever way: what `perennial add` and `perennial reauthorize` share.
//!
//! | file | what it tells |
//! |---|---|
//! | `mod.rs` | which way, and the exchange behind it |
//! | [`server`] | which authorization server |
//! | [`given`] | what a person types or names: passwords, codes, tokens |
//! | [`browser`] | a sign-in in a browser, on this machine or any other |
//! | [`loopback`] | where the browser comes back to |

pub(crate) mod browser;
pub(crate) mod given;
mod loopback;
pub(crate) mod server;

use crate::exit::Exit;
use crate::secret_input::Source;
use crate::session::Session;
use crate::trouble::Trouble;
use browser::BrowserArgs;
use clap::Args;
use given::GivenArgs;
use perennial::core::Connection;
use perennial::core::connection::Way as Obtains;
use perennial::{HandOut, Keeper};

/// How a grant is obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A company request token.
    Company,
    /// A person signs in in a browser.
    Browser,
    /// A person signs in on another device.
    Device,
    /// A person's password.
    Password,
    /// A one-time password that comes by e-mail.
    OneTime,
    /// Somebody else's token.
    Exchange,
    /// Nobody need act: the app speaks for itself, or signs a statement.
    Itself,
}

impl Way {
    /// In words that follow "added,".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Company => "with a company request token",
            Self::Browser => "to be signed in to in a browser",
            Self::Device => "to be signed in to on another device",
            Self::Password => "with a person's password",
            Self::OneTime => "with a one-time password",
            Self::Exchange => "with another token",
            Self::Itself => "for the app itself",
        }
    }
}

/// The ways, as options.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct WayArgs {
    /// A person signs in in a browser (authorization code)
    #[arg(long, help_heading = "Ways")]
    pub(crate) user: bool,

    /// A person signs in on another device (RFC 8628)
    #[arg(long, help_heading = "Ways")]
    pub(crate) device: bool,

    /// The app speaks for itself (client credentials); no refresh token, fetched anew on demand
    #[arg(long, help_heading = "Ways")]
    pub(crate) app: bool,

    /// A person's user name and password; needs --i-know
    #[arg(long, value_name = "LOGIN", help_heading = "Ways")]
    pub(crate) by_password: Option<String>,

    /// I know that the password goes through this program, and that RFC 9700 forbids this grant
    #[arg(long, requires = "by_password", help_heading = "Ways")]
    pub(crate) i_know: bool,

    /// A one-time password that Concur sends to this address
    #[arg(long, value_name = "EMAIL", help_heading = "Ways")]
    pub(crate) otp: Option<String>,

    /// The app signs a statement about this subject (RFC 7523); - for itself
    #[arg(long, value_name = "SUBJECT", help_heading = "Ways")]
    pub(crate) jwt_bearer: Option<String>,

    #[command(flatten)]
    pub(crate) given: GivenArgs,

    #[command(flatten)]
    pub(crate) browser: BrowserArgs,
}

impl WayArgs {
    /// Where the secrets come from that these options name.
    pub(crate) fn sources(&self) -> Vec<Source<'_>> {
        let browser = self.browser.redirected.source();
        [vec![browser], self.given.sources()].concat()
    }

    /// The way that is named, if one is; two are a mistake.
    pub(crate) fn named(&self) -> Result<Option<Way>, Trouble> {
        let named = [
            (self.user, "--user", Way::Browser),
            (self.device, "--device", Way::Device),
            (self.by_password.is_some(), "--by-password", Way::Password),
            (self.otp.is_some(), "--otp", Way::OneTime),
            (self.app, "--app", Way::Itself),
            (self.jwt_bearer.is_some(), "--jwt-bearer", Way::Itself),
            (self.given.subject_token.source().is_named(), "--subject-token-…", Way::Exchange),
        ];
        let named: Vec<_> = named.into_iter().filter(|(is_named, ..)| *is_named).collect();
        match named.as_slice() {
            [] => Ok(None),
            [(_, _, Way::Password)] if !self.i_know => Err(forbidden()),
            [(_, _, way)] => Ok(Some(*way)),
            [(_, one, _), (_, other, _), ..] => Err(Trouble::usage(
                format!("{one} and {other} are two ways to the same end"),
                "name one of them",
            )),
        }
    }

    /// How a connection that is added this way obtains its grants.
    pub(crate) fn obtains(&self, way: Way) -> Obtains {
        match (way, self.jwt_bearer.as_deref()) {
            (Way::Itself, Some("-")) => Obtains::JwtBearer { issuer: None, subject: None },
            (Way::Itself, Some(subject)) => {
                Obtains::JwtBearer { issuer: None, subject: Some(subject.to_owned()) }
            }
            (Way::Itself, None) => Obtains::ClientCredentials,
            (Way::Company, _) => Obtains::Person,
            (Way::Device, _) => Obtains::Device,
            (Way::Browser | Way::Password | Way::OneTime | Way::Exchange, _) => Obtains::SignIn,
        }
    }

    /// Does what the way asks of a person, and exchanges what comes of it. The connection is kept already.
    pub(crate) fn obtain(
        &self,
        session: &Session,
        keeper: &Keeper,
        seen: &Connection,
        way: Way,
    ) -> Result<HandOut, Trouble> {
        match way {
            Way::Company | Way::Itself => session.wait(keeper, keeper.obtain(seen)),
            Way::Browser => self.browser.sign_in(session, keeper, seen),
            Way::Device => browser::elsewhere(session, keeper, &seen.name),
            Way::Password => {
                let login = self.by_password.as_deref().unwrap_or_default();
                let grant = self.given.password(login)?;
                session.wait(keeper, keeper.obtain_with(&seen.name, grant))
            }
            Way::OneTime => {
                let address = self.otp.as_deref().unwrap_or_default();
                self.given.one_time(session, keeper, &seen.name, address)
            }
            Way::Exchange => {
                let grant = self.given.exchange()?;
                session.wait(keeper, keeper.obtain_with(&seen.name, grant))
            }
        }
    }
}

fn forbidden() -> Trouble {
    Trouble::new(
        Exit::Usage,
        "a person's password is not taken without --i-know: it goes through this program, it cannot be limited or \
         taken back, and it ends when the company turns on single sign-on (RFC 9700 section 2.4 forbids this grant)",
        "let the person sign in instead: --user; or, where there is no other way: --i-know",
    )
}
