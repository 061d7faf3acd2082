//! `perennial add`: takes a connection in. Whatever comes of the first request, what a person typed is kept.

use super::import;
use crate::exit::Exit;
use crate::hints::MAKES_REQUEST_TOKENS;
use crate::place::Kind;
use crate::secret_input::{self, ClientSecretSource, RefreshTokenSource, RequestTokenSource};
use crate::session::Session;
use crate::terminal;
use crate::trouble::Trouble;
use crate::words::moment;
use clap::Args;
use perennial::core::connection::Held;
use perennial::core::grant::{Client, Principal};
use perennial::core::profile::concur::CONCUR;
use perennial::core::secret::{ClientSecret, RefreshToken, RequestToken};
use perennial::core::token_endpoint::response::Others;
use perennial::core::{Connection, Expiry, Origin};
use perennial::store::{App, StoreError, check_name};
use perennial::{Error, HandOut, Keeper};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Add a connection: from a company request token, a refresh token, or SAP's two files
///
/// What is not named is asked for on the terminal, secrets without an echo. The grant is obtained (or the refresh token
/// proved) at once; whatever comes of that, the connection is kept, so that nothing need be typed again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial add acme                      asks for everything
  perennial add acme --from-dir ~/acme    the directory of SAP's tutorial

  perennial add acme --app-id ID --company UUID \\
      --client-secret-file secret.txt --request-token-env TOKEN

  perennial add acme --app-id ID --refresh-token-file token.txt \\
      --geolocation https://us2.api.concursolutions.com

A Web Services Administrator (Standard edition: Can Administer) makes a company
request token, for the App ID of your app, at
https://www.concursolutions.com/nui/authadmin/companytokens
It is good for 24 hours and five uses.")]
pub(crate) struct Add {
    /// What to call it: letters, digits and . _ - @
    name: String,

    /// The app's App ID (client_id)
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,

    /// The company's UUID, from the page that made the request token
    #[arg(long, value_name = "UUID")]
    company: Option<String>,

    /// Where the principal of an imported refresh token lives
    #[arg(long, value_name = "URI")]
    geolocation: Option<String>,

    #[command(flatten)]
    client_secret: ClientSecretSource,

    #[command(flatten)]
    request_token: RequestTokenSource,

    #[command(flatten)]
    refresh_token: RefreshTokenSource,

    /// Take SAP's two files in, with tokens, bookkeeping and history
    #[arg(long, value_name = "DIR", conflicts_with_all = ["app_id", "company", "geolocation"])]
    from_dir: Option<PathBuf>,

    /// Only store it: send nothing now
    #[arg(long)]
    later: bool,
}

pub(crate) fn carry_out(session: &Session, add: &Add) -> Result<Exit, Trouble> {
    session.start_log();
    let sources = [add.client_secret.source(), add.request_token.source(), add.refresh_token.source()];
    secret_input::check(&sources)?;
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
    let is_import = add.refresh_token.source().is_named() || add.geolocation.is_some();
    if is_import && add.request_token.source().is_named() {
        return Err(Trouble::usage(
            "a request token and a refresh token are two ways to the same end",
            "give one of them",
        ));
    }
    if is_import { add.import(session, &keeper) } else { add.authorize(session, &keeper) }
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
    /// A company request token.
    fn authorize(&self, session: &Session, keeper: &Keeper) -> Result<Exit, Trouble> {
        if terminal::is_there() && !self.request_token.source().is_named() {
            session.printer.note(&format!("A company request token is needed: {MAKES_REQUEST_TOKENS}."));
        }
        let client = self.client(keeper)?;
        let company = given_or_asked(self.company.as_ref(), "Company UUID", "--company UUID")?;
        let request_token = self.request_token.source().read_or_ask()?;
        let app =
            App::new(client, Principal::named(&company), Some(RequestToken::new(request_token.as_str())))
                .known_since(keeper.now());
        let connection = Connection::new(perennial::request_id(), &self.name, &CONCUR);
        keeper.add(&connection, &app, &[], "added, with a company request token")?;
        if self.later {
            return report(session, keeper, &self.name, "added; nothing was sent");
        }
        let obtained = session.wait(keeper, keeper.obtain(&connection));
        self.conclude(session, keeper, obtained, "added, and a grant obtained")
    }

    /// A refresh token that something else has obtained.
    fn import(&self, session: &Session, keeper: &Keeper) -> Result<Exit, Trouble> {
        let base = self.geolocation(session)?;
        let client = self.client(keeper)?;
        let refresh_token = self.refresh_token.source().read_or_ask()?;
        let company = self.company.as_deref().and_then(Principal::named);
        let mut connection = Connection::new(perennial::request_id(), &self.name, &CONCUR);
        connection.principal.clone_from(&company);
        if !connection.permits(&base) {
            connection.permitted.push(base.clone());
        }
        connection.held = Some(imported(&refresh_token, base));
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

    /// The app: its secret is not asked for where another connection works with it.
    fn client(&self, keeper: &Keeper) -> Result<Client, Trouble> {
        let id = given_or_asked(self.app_id.as_ref(), "App ID", "--app-id ID")?;
        let source = self.client_secret.source();
        let given = source.read()?.map(|secret| ClientSecret::new(secret.as_str()));
        let secret = match (known(keeper, &id)?, given) {
            (Some((other, known)), Some(given)) if known != given => return Err(differs(&other)),
            (Some((_, known)), _) => known,
            (None, Some(given)) => given,
            (None, None) => ClientSecret::new(source.read_or_ask()?.as_str()),
        };
        Ok(Client { id, secret })
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

fn imported(refresh_token: &Zeroizing<String>, base: Origin) -> Held {
    Held {
        grant_id: perennial::request_id(),
        generation: 1,
        access: None,
        refresh: Some(RefreshToken::new(refresh_token.as_str())),
        refresh_expiry: None,
        base,
        scope: None,
        id_token: None,
        // Nobody knows how old it is: renewal is due at once.
        refreshed_at: None,
        granted_at: None,
        others: Others::default(),
    }
}

/// A connection of the same app, and the secret that it works with; one that has not proved itself is not copied.
fn known(keeper: &Keeper, app_id: &str) -> Result<Option<(String, ClientSecret)>, Error> {
    for name in keeper.names()? {
        // One that cannot be read says nothing about others.
        let Ok(app) = keeper.store().app(&name) else { continue };
        let works = |connection: Connection| connection.held.is_some_and(|held| held.access.is_some());
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

fn given_or_asked(given: Option<&String>, question: &str, option: &str) -> Result<String, Trouble> {
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
