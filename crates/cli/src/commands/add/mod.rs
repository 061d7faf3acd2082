//! `perennial add`: takes a connection in, whichever server and whichever way. Whatever comes of the first request, what a
//! person typed is kept.
//!
//! | file | what it tells |
//! |---|---|
//! | `mod.rs` | the options, and each way from its question to its report |
//! | `app` | the app: its id, and its secret or private key |
//! | `menu` | a person who has named nothing is asked |
//! | `help` | one screen of help |

mod app;
mod help;
mod menu;

use super::import;
use crate::exit::Exit;
use crate::hints::MAKES_REQUEST_TOKENS;
use crate::place::Kind;
use crate::secret_input::{self, ClientSecretSource, RefreshTokenSource, RequestTokenSource};
use crate::session::Session;
use crate::sign_in::server::{Found, ServerArgs};
use crate::sign_in::{Way, WayArgs};
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::moment;
use app::given_or_asked;
use clap::Args;
use perennial::core::connection::{Held, Way as Obtains};
use perennial::core::grant::{Client, Principal};
use perennial::core::secret::{RefreshToken, RequestToken};
use perennial::core::{Connection, Expiry, Origin};
use perennial::store::{App, StoreError, check_name};
use perennial::{HandOut, Keeper};
use std::path::PathBuf;

/// Add a connection: a request token, a sign-in, the app itself, or a refresh token that you have
///
/// What is not named is asked for on the terminal, secrets without an echo. The grant is obtained (or the refresh token
/// proved) at once; whatever comes of that, the connection is kept, so that nothing need be typed again.
#[derive(Args, Clone, Debug)]
#[command(override_help = help::HELP)]
pub(crate) struct Add {
    /// What to call it: letters, digits and . _ - @
    name: String,

    /// The app's id: Concur's App ID, everybody else's client_id
    #[arg(long, value_name = "ID", alias = "client-id")]
    app_id: Option<String>,

    /// With a company request token; the company's UUID, from the page that made it
    #[arg(long, value_name = "UUID", num_args = 0..=1, default_missing_value = "", help_heading = "Ways")]
    company: Option<String>,

    /// Where the principal of an imported refresh token lives
    #[arg(long, value_name = "URI")]
    geolocation: Option<String>,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    way: WayArgs,

    #[command(flatten)]
    client_secret: ClientSecretSource,

    #[command(flatten)]
    request_token: RequestTokenSource,

    #[command(flatten)]
    refresh_token: RefreshTokenSource,

    /// Take SAP's two files in, with tokens, bookkeeping and history
    #[arg(long, value_name = "DIR", conflicts_with_all = ["app_id", "company", "geolocation", "issuer", "profile"])]
    from_dir: Option<PathBuf>,

    /// Only store it: send nothing now
    #[arg(long)]
    later: bool,
}

pub(crate) fn carry_out(session: &Session, add: &Add) -> Result<Exit, Trouble> {
    session.start_log();
    secret_input::check(&add.sources())?;
    check_name(&add.name)?;
    session.is_about(&add.name);
    let store = session.store()?;
    if session.place().kind == Kind::SapSample {
        return Err(holds_one(&store.shared().address()));
    }
    let keeper = session.keeper_of(&store)?;
    // Before anything is asked for or read.
    if keeper.names()?.contains(&add.name) {
        let store = keeper.store().address();
        return Err(StoreError::NameTaken { name: add.name.clone(), store }.into());
    }
    if let Some(dir) = &add.from_dir {
        import::take_in_directory(session, &keeper, dir, &add.name)?;
        import::warn_of_two_keepers(session, dir);
        return report(session, &keeper, &add.name, "added");
    }
    if add.names_nothing() && terminal::is_there() {
        return menu::ask(add)?.go_on(session, &keeper);
    }
    add.go_on(session, &keeper)
}

/// The `sap-sample` store holds one connection, and a person fills its file in.
fn holds_one(store: &str) -> Trouble {
    Trouble::usage(
        format!("{store} holds one connection, named default"),
        "fill its credentials.json in, then: perennial run; or keep many in another store: perennial add NAME --store \
         sqlite:FILE",
    )
}

impl Add {
    fn sources(&self) -> Vec<secret_input::Source<'_>> {
        let own = [self.client_secret.source(), self.request_token.source(), self.refresh_token.source()];
        [own.to_vec(), vec![self.server.source()], self.way.sources()].concat()
    }

    /// True when a person has given nothing but a name.
    fn names_nothing(&self) -> bool {
        let named = self.server.is_named()
            || self.company.is_some()
            || self.app_id.is_some()
            || self.geolocation.is_some();
        let secrets = self.sources().iter().any(secret_input::Source::is_named);
        !named && !secrets && matches!(self.way.named(), Ok(None))
    }

    fn go_on(&self, session: &Session, keeper: &Keeper) -> Result<Exit, Trouble> {
        let way = self.way_named()?;
        let is_import = self.refresh_token.source().is_named() || self.geolocation.is_some();
        if is_import && (way.is_some() || self.request_token.source().is_named()) {
            return Err(Trouble::usage(
                "a refresh token that you have and another way to a grant are two ways to the same end",
                "give one of them",
            ));
        }
        let found = self.server.find(session)?;
        if is_import {
            return self.import(session, keeper, &found);
        }
        match way.map_or_else(|| found.usual_way(), Ok)? {
            Way::Company => self.authorize(session, keeper, &found),
            way => self.sign_in(session, keeper, &found, way),
        }
    }

    /// The way that is named, if one is.
    fn way_named(&self) -> Result<Option<Way>, Trouble> {
        let company = self.company.is_some() || self.request_token.source().is_named();
        match (self.way.named()?, company) {
            (None, true) if !self.server.is_concur() => Err(Trouble::usage(
                "a company request token is SAP Concur's, and another server is named",
                "leave out --company; the ways are named in: perennial add --help",
            )),
            (None, true) => Ok(Some(Way::Company)),
            // Whose company it is may be said with any way.
            (named, _) if !self.request_token.source().is_named() => Ok(named),
            (named, _) => match named {
                None => Ok(None),
                Some(_) => Err(Trouble::usage(
                    "a company request token and another way are two ways to the same end",
                    "give one of them",
                )),
            },
        }
    }

    /// A company request token.
    fn authorize(&self, session: &Session, keeper: &Keeper, found: &Found) -> Result<Exit, Trouble> {
        if terminal::is_there() && !self.request_token.source().is_named() {
            session.printer.note(&format!("A company request token is needed: {MAKES_REQUEST_TOKENS}."));
        }
        let connection = found.connection(&self.name);
        let client = self.client(keeper, found, &connection)?;
        let company = self.company.as_ref().filter(|company| !company.is_empty());
        let company = given_or_asked(company, "Company UUID", "--company UUID")?;
        let request_token = self.request_token.source().read_or_ask()?;
        let app =
            App::new(client, Principal::named(&company), Some(RequestToken::new(request_token.as_str())))
                .known_since(keeper.now());
        keeper.add(&connection, &app, &[], "added, with a company request token")?;
        if self.later {
            return report(session, keeper, &self.name, "added; nothing was sent");
        }
        let obtained = session.wait(keeper, keeper.obtain(&connection));
        self.conclude(session, keeper, obtained, "added, and a grant obtained").map_err(|trouble| {
            match super::reauthorize::request_token_left(keeper, &self.name) {
                Some(left) if trouble.exit != Exit::Interrupted => {
                    session.printer.note(&format!("The request token is kept for another try: {left}."));
                    trouble
                }
                _ => trouble,
            }
        })
    }

    /// A person signs in, or gives what is good once; or nobody need.
    fn sign_in(&self, session: &Session, keeper: &Keeper, found: &Found, way: Way) -> Result<Exit, Trouble> {
        found.check_takes(way)?;
        if way == Way::Browser {
            self.way.browser.check()?;
        }
        let mut connection = found.connection(&self.name);
        connection.obtaining = self.server.obtaining(found, self.way.obtains(way));
        let client = self.client(keeper, found, &connection)?;
        let company = self.company.as_deref().and_then(Principal::named);
        keeper.add(&connection, &App::new(client, company, None), &[], format!("added, {}", way.words()))?;
        if self.later {
            return report(session, keeper, &self.name, "added; nothing was sent");
        }
        let mut chosen = self.way.clone();
        chosen.browser.no_pkce |= !found.takes_challenges;
        let outcome = chosen.obtain(session, keeper, &connection, way);
        self.conclude(session, keeper, outcome, "added, and a grant obtained")
    }

    fn client(&self, keeper: &Keeper, found: &Found, fresh: &Connection) -> Result<Client, Trouble> {
        app::client(keeper, self.app_id.as_ref(), &self.client_secret, &self.server, (found, fresh))
    }

    /// A refresh token that something else has obtained.
    fn import(&self, session: &Session, keeper: &Keeper, found: &Found) -> Result<Exit, Trouble> {
        let fresh = found.connection(&self.name);
        let base = match fresh.token_origin() {
            Some(own) => own.clone(),
            None => self.geolocation(session)?,
        };
        let client = self.client(keeper, found, &fresh)?;
        let refresh_token = self.refresh_token.source().read_or_ask()?;
        let company = self.company.as_deref().and_then(Principal::named);
        let mut connection = fresh;
        // At Concur nobody knows how it was obtained: most are a company's.
        let way = if found.server.is_none() { Obtains::Person } else { Obtains::SignIn };
        connection.obtaining = self.server.obtaining(found, way);
        connection.principal.clone_from(&company);
        if !connection.permits(&base) {
            connection.permitted.push(base.clone());
        }
        let token = RefreshToken::new(refresh_token.as_str());
        connection.held = Some(Held::unproved(perennial::request_id(), token, base));
        keeper.add(&connection, &App::new(client, company, None), &[], "added, with a refresh token")?;
        if self.later {
            return report(session, keeper, &self.name, "added; the refresh token has not been tried");
        }
        let refreshed = session.wait(keeper, keeper.refresh(&self.name));
        self.conclude(session, keeper, refreshed, "added, and the refresh token works")
    }

    fn geolocation(&self, session: &Session) -> Result<Origin, Trouble> {
        let hint = "the answer that brought the refresh token names it; write it as --geolocation \
                    https://us2.api.concursolutions.com";
        match &self.geolocation {
            Some(text) => Origin::parse(text)
                .map_err(|error| Trouble::usage(format!("the geolocation \"{text}\" {error}"), hint)),
            None => session.globals.base()?.ok_or_else(|| {
                Trouble::usage("a refresh token is good at its own geolocation only, and none is named", hint)
            }),
        }
    }

    /// What a person typed stays, whatever the server says: the uses of the request token are counted with it, and the
    /// refresh token may be the only copy.
    fn conclude(
        &self,
        session: &Session,
        keeper: &Keeper,
        outcome: Result<HandOut, Trouble>,
        done: &str,
    ) -> Result<Exit, Trouble> {
        match outcome {
            Ok(hand_out) => {
                super::tell_warnings(session, &hand_out);
                report(session, keeper, &self.name, done)
            }
            Err(trouble) if trouble.exit == Exit::Interrupted => Err(trouble),
            Err(trouble) => Err(trouble
                .prefixed(&format!("{} is kept, with all that was given, but does not work yet", self.name))),
        }
    }
}

/// What stands in the store now.
pub(super) fn report(session: &Session, keeper: &Keeper, name: &str, done: &str) -> Result<Exit, Trouble> {
    let connection = keeper.connection(name)?;
    if session.globals.json {
        session.printer.json_data(&super::status::as_json(keeper, &connection))?;
        return Ok(Exit::Done);
    }
    let expiry = connection.held.as_ref().and_then(|held| held.refresh_expiry).map(Expiry::at);
    let until = expiry.map_or_else(String::new, |at| {
        format!("; the refresh token is good until {}", moment(connection.skew.host_time(at), keeper.now()))
    });
    session.printer.step(&format!("{name}: {done}{until}"))?;
    let place = session.place();
    let next = if connection.held.is_none() { place.obtain() } else { place.about("token") };
    session.printer.note(&place.complete(&format!("  next: {next}")));
    Ok(Exit::Done)
}
