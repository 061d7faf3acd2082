//! `perennial reauthorize`: a new grant for a connection that keeps its identity and its history; or a new client
//! secret for a grant that stays.

use super::add;
use crate::exit::Exit;
use crate::place::Kind;
use crate::secret_input::{self, ClientSecretSource, PrivateKeySource, RequestTokenSource, Source};
use crate::session::Session;
use crate::sign_in::server::{check_key, scope};
use crate::sign_in::{Way, WayArgs};
use crate::trouble::Trouble;
use clap::Args;
use perennial::Keeper;
use perennial::core::authorization::asks_for_identity;
use perennial::core::connection::Way as Obtains;
use perennial::core::grant::Principal;
use perennial::core::secret::{ClientSecret, RequestToken};
use perennial::core::server::{ClientAuthentication, Server};
use perennial::core::{Connection, UnixTime};
use perennial::store::App;

/// Obtain a new grant: a new company request token, or a new sign-in
///
/// Identity and history stay. The old grant is kept until the new one has refreshed once. Without a request token the
/// one that is kept is used again, where it is young and has uses left. Where a person had signed in, they do so
/// again in a browser, or on another device where the connection was added with --device; the options name another way.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial reauthorize acme                 asks for the request token
  perennial reauthorize acme --request-token-file token.txt
  perennial reauthorize acme --keep-grant    asks for a new client secret
  perennial reauthorize acme --keep-grant --client-secret-env SECRET
  perennial reauthorize crm                  signs in anew in a browser
  perennial reauthorize crm --scope 'openid offline_access read'
  perennial reauthorize lee --otp lee@example.com

A Web Services Administrator (Standard edition: Can Administer) makes a company
request token, for the App ID of your app, at
https://www.concursolutions.com/nui/authadmin/companytokens
It is good for 24 hours and five uses.")]
pub(crate) struct Reauthorize {
    /// The connection; may be left out where there is only one
    name: Option<String>,

    /// The company's UUID, where the one that was given is wrong
    #[arg(long, value_name = "UUID")]
    company: Option<String>,

    #[command(flatten)]
    client_secret: ClientSecretSource,

    #[command(flatten)]
    private_key: PrivateKeySource,

    #[command(flatten)]
    request_token: RequestTokenSource,

    #[command(flatten)]
    way: WayArgs,

    /// Another scope to ask for, from now on
    #[arg(long, value_name = "WORDS", value_parser = scope, conflicts_with = "keep_grant")]
    scope: Option<String>,

    /// The grant is well: only replace the client secret, and prove it by a refresh
    #[arg(long, conflicts_with_all = ["request_token_file", "request_token_env", "company"])]
    keep_grant: bool,

    /// Only store what is given: send nothing now
    #[arg(long)]
    later: bool,
}

pub(crate) fn carry_out(session: &Session, args: &Reauthorize) -> Result<Exit, Trouble> {
    session.start_log();
    let own = [args.client_secret.source(), args.private_key.source(), args.request_token.source()];
    secret_input::check(&[own.to_vec(), args.way.sources()].concat())?;
    let way = args.way.named()?;
    let keeper = session.keeper()?;
    let name = session.name(&keeper, args.name.as_deref())?;
    if session.place().kind == Kind::SapSample {
        let hint = "put what is new into credentials.json, then: perennial run";
        return Err(Trouble::usage("this store takes its credentials from a file that a person edits", hint));
    }
    keeper.drain();
    let before = keeper.connection(&name)?;
    let Some(scope) = args.scope.clone() else { return args.carry_on(session, &keeper, &before, way) };
    check_identity(&before, &scope)?;
    let scope = before.profile.scope(Some(scope), &before.obtaining.way);
    let words =
        scope.as_deref().map_or_else(|| "no scope".to_owned(), |scope| format!("the scope \"{scope}\""));
    let how = format!("asks for {words} from now on");
    let asks = session.wait(&keeper, keeper.set_scope(&name, scope.clone(), how))?;
    let outcome = args.carry_on(session, &keeper, &asks, way);
    // One that did not work must not be in the way of what obtains by itself later.
    if outcome.is_err()
        && !args.later
        && keeper.connection(&name).is_ok_and(|seen| seen.obtaining.scope == scope)
        && let Err(trouble) = session.wait(&keeper, keeper.put_back_scope(&name, &before))
    {
        session.printer.warn(&format!("the scope of before could not be put back: {}", trouble.message));
    }
    outcome
}

/// Law 13: whose grant it is stands in the id_token, which comes for the scope openid alone.
fn check_identity(seen: &Connection, scope: &str) -> Result<(), Trouble> {
    match &seen.principal {
        Some(principal)
            if asks_for_identity(seen.obtaining.scope.as_deref()) && !asks_for_identity(Some(scope)) =>
        {
            Err(Trouble::usage(
                format!("without the scope openid nobody could tell whether the new grant is {principal}'s"),
                format!("keep it: --scope \"openid {scope}\"; for somebody else, add another connection"),
            ))
        }
        _ => Ok(()),
    }
}

impl Reauthorize {
    fn carry_on(
        &self,
        session: &Session,
        keeper: &Keeper,
        seen: &Connection,
        way: Option<Way>,
    ) -> Result<Exit, Trouble> {
        let app = keeper.store().app(&seen.name)?;
        let names_company = self.request_token.source().is_named() || self.company.is_some();
        let usual = || if names_company { Way::Company } else { usual_way(seen) };
        match way.unwrap_or_else(usual) {
            _ if self.keep_grant => self.replace_secret(session, keeper, seen, app),
            Way::Company => self.obtain(session, keeper, seen, app),
            way => self.sign_in(session, keeper, seen, app, way),
        }
    }
}

/// The way that the connection was made for.
fn usual_way(seen: &Connection) -> Way {
    match &seen.server {
        _ if seen.obtains_itself() => Way::Itself,
        None if seen.obtaining.way.is_sign_in() => Way::Browser,
        None => Way::Company,
        Some(server) if seen.obtaining.way == Obtains::Device || server.authorization.is_none() => {
            Way::Device
        }
        Some(_) => Way::Browser,
    }
}

impl Reauthorize {
    /// A new sign-in, and a new secret before it where one is given.
    fn sign_in(
        &self,
        session: &Session,
        keeper: &Keeper,
        seen: &Connection,
        mut app: App,
        way: Way,
    ) -> Result<Exit, Trouble> {
        let before = app.clone();
        if let Some(secret) = self.secret_of(seen).read()? {
            check_secret(seen, &secret)?;
            app.client.secret = ClientSecret::new(secret.as_str());
            keeper.put_app(&seen.name, &app, "replaced by a person: client secret")?;
        }
        if self.later {
            return add::report(session, keeper, &seen.name, "stored; nothing was sent");
        }
        let hand_out =
            self.way.obtain(session, keeper, seen, way).map_err(|trouble| match before == app {
                // What a person gives once is not kept: nothing that was given is stored.
                true if trouble.exit == Exit::Interrupted => trouble,
                true => trouble.prefixed("no new grant was obtained"),
                false => not_worked(keeper, &seen.name, trouble, &before, &app),
            })?;
        super::tell_warnings(session, &hand_out);
        add::report(session, keeper, &seen.name, "a new grant is obtained")
    }

    /// Where the client's secret comes from: its private key, where it proves itself with one.
    fn secret_of(&self, seen: &Connection) -> Source<'_> {
        if proves_by_key(seen) { self.private_key.source() } else { self.client_secret.source() }
    }

    fn replace_secret(
        &self,
        session: &Session,
        keeper: &Keeper,
        seen: &Connection,
        mut app: App,
    ) -> Result<Exit, Trouble> {
        let (before, name) = (app.clone(), seen.name.as_str());
        let secret = self.secret_of(seen).read_or_ask()?;
        check_secret(seen, &secret)?;
        app.client.secret = ClientSecret::new(secret.as_str());
        keeper.put_app(name, &app, "client secret replaced")?;
        if self.later {
            return add::report(session, keeper, name, "the client secret is stored; nothing was sent");
        }
        let hand_out = session
            .wait(keeper, keeper.refresh(name))
            .map_err(|trouble| not_worked(keeper, name, trouble, &before, &app))?;
        super::tell_warnings(session, &hand_out);
        add::report(session, keeper, name, "the new client secret works")
    }

    fn obtain(
        &self,
        session: &Session,
        keeper: &Keeper,
        seen: &Connection,
        mut app: App,
    ) -> Result<Exit, Trouble> {
        let before = app.clone();
        let mut given = Vec::new();
        if let Some(secret) = self.client_secret.source().read()? {
            app.client.secret = ClientSecret::new(secret.as_str());
            given.push("client secret");
        }
        if let Some(company) = self.company.as_deref().and_then(Principal::named) {
            app.company = Some(company);
            given.push("company");
        }
        if let Some(token) = self.new_request_token(keeper.now(), seen, &app)? {
            app = app.known_since(keeper.now());
            app.request_token = Some(token);
            given.push("company request token");
        }
        if !given.is_empty() {
            keeper.put_app(&seen.name, &app, format!("replaced by a person: {}", given.join(", ")))?;
        }
        if self.later {
            return add::report(session, keeper, &seen.name, "stored; nothing was sent");
        }
        let hand_out = session
            .wait(keeper, keeper.obtain(seen))
            .map_err(|trouble| not_worked(keeper, &seen.name, trouble, &before, &app))?;
        super::tell_warnings(session, &hand_out);
        let kept =
            if seen.held.is_some() { "; the old one is kept until the new one has refreshed" } else { "" };
        add::report(session, keeper, &seen.name, &format!("a new grant is obtained{kept}"))
    }

    /// `None` where the one that is kept serves once more.
    fn new_request_token(
        &self,
        now: UnixTime,
        seen: &Connection,
        app: &App,
    ) -> Result<Option<RequestToken>, Trouble> {
        let source = self.request_token.source();
        if let Some(given) = source.read()? {
            return Ok(Some(RequestToken::new(given.as_str())));
        }
        let left = uses_left(seen, app, now);
        let remark = if left > 0 {
            format!(", or nothing for the one that is kept ({left} uses left)")
        } else {
            String::new()
        };
        match source.ask(&remark)? {
            Some(given) => Ok(Some(RequestToken::new(given.as_str()))),
            None if left > 0 => Ok(None),
            None => Err(source.missing()),
        }
    }
}

/// True when the client proves itself with its private key.
fn proves_by_key(seen: &Connection) -> bool {
    let by_key = |server: &Server| server.authentication == ClientAuthentication::PrivateKey;
    seen.server.as_ref().is_some_and(by_key)
}

fn check_secret(seen: &Connection, secret: &str) -> Result<(), Trouble> {
    if proves_by_key(seen) { check_key(secret, seen.profile) } else { Ok(()) }
}

/// How often the request token that is kept may be sent yet; none once its day has passed.
fn uses_left(seen: &Connection, app: &App, now: UnixTime) -> u32 {
    let Some(token) = &app.request_token else { return 0 };
    let life = i64::try_from(seen.profile.request_token_lifetime.as_secs()).unwrap_or(i64::MAX);
    let is_young = app.known_since.is_some_and(|since| now.since(since) < life);
    let used = seen.request_token.as_ref().filter(|used| used.fingerprint == token.fingerprint());
    if is_young {
        seen.profile.request_token_uses.saturating_sub(used.map_or(0, |used| used.uses))
    } else {
        0
    }
}

/// What is left of the request token that is kept, in words; none where it is of no more use.
pub(super) fn request_token_left(keeper: &Keeper, name: &str) -> Option<String> {
    let (seen, app) = (keeper.connection(name).ok()?, keeper.store().app(name).ok()?);
    let uses = uses_left(&seen, &app, keeper.now());
    let life = i64::try_from(seen.profile.request_token_lifetime.as_secs()).ok()?;
    let minutes = life.saturating_sub(keeper.now().since(app.known_since?)).max(0) / 60;
    let plural = if uses == 1 { "" } else { "s" };
    (uses > 0).then(|| {
        format!(
            "{} h {} min and {uses} use{plural} are left, counted from when it was given here",
            minutes / 60,
            minutes % 60
        )
    })
}

/// What was given is in the store, whatever the server says; but not a client secret that it calls wrong, for all
/// connections of the app share it.
fn not_worked(keeper: &Keeper, name: &str, trouble: Trouble, before: &App, given: &App) -> Trouble {
    if trouble.exit == Exit::Interrupted {
        return trouble;
    }
    let is_refused = trouble.verdict == Some("fix_client") && before.client.secret != given.client.secret;
    if !is_refused {
        return trouble.prefixed("what was given is stored, but it did not work");
    }
    match keeper.put_back_secret(name, before, given) {
        Ok(()) => trouble.prefixed("it did not work, so the client secret before is in force again"),
        Err(error) => trouble.prefixed(&format!(
            "it did not work, and the client secret before could not be put back ({error})"
        )),
    }
}
