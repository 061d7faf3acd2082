//! Which authorization server: Concur where nobody says otherwise, one that describes itself, one whose endpoints are
//! named, or one that a profile knows.

use super::Way;
use super::given::{check_parameters, pair};
use crate::exit::Exit;
use crate::own_profiles;
use crate::secret_input::{self, PrivateKeySource, Source};
use crate::session::Session;
use crate::terminal;
use crate::trouble::Trouble;
use clap::Args;
use perennial::core::connection::Obtaining;
use perennial::core::metadata::Described;
use perennial::core::profile::{FillError, FilledIn, Profile, concur::CONCUR, generic::GENERIC};
use perennial::core::server::{ClientAuthentication, Endpoint, Server};
use perennial::core::{Connection, Origin};
use perennial::http::Http;
use perennial::sign_in::discovery::{DiscoveryError, discover, locate};

/// The server, as options.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerArgs {
    /// SAP Concur; what is meant when no server is named
    #[arg(long, conflicts_with_all = ["issuer", "profile", "token_endpoint"], help_heading = "Server")]
    pub(crate) concur: bool,

    /// A server that describes itself (RFC 8414, OpenID Connect Discovery)
    #[arg(long, value_name = "URL", conflicts_with = "token_endpoint", help_heading = "Server")]
    pub(crate) issuer: Option<String>,

    /// A provider that is known here: see perennial profiles
    #[arg(long, value_name = "NAME", help_heading = "Server")]
    pub(crate) profile: Option<String>,

    /// What the profile asks for, such as tenant=…
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "profile",
        conflicts_with_all = ["issuer", "token_endpoint"], help_heading = "Server")]
    pub(crate) set: Vec<(String, String)>,

    /// The token endpoint of a server that does not describe itself
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) token_endpoint: Option<String>,

    /// Its authorization endpoint
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) authorization_endpoint: Option<String>,

    /// Its device authorization endpoint
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) device_endpoint: Option<String>,

    /// Its revocation endpoint
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) revocation_endpoint: Option<String>,

    /// Its introspection endpoint
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) introspection_endpoint: Option<String>,

    /// Where its keys are
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) jwks_uri: Option<String>,

    /// The base of the API that the tokens are for
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) api_base: Option<String>,

    /// How the client proves who it is: client_secret_basic, client_secret_post, private_key_jwt or none
    #[arg(long, value_name = "METHOD", value_parser = authentication, help_heading = "Server")]
    pub(crate) client_auth: Option<ClientAuthentication>,

    /// The id of the private key (kid)
    #[arg(long, value_name = "ID", help_heading = "Server")]
    pub(crate) key_id: Option<String>,

    /// Whom the client's signed statements are for, where it is not the issuer
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(crate) assertion_audience: Option<String>,

    #[command(flatten)]
    pub(crate) private_key: PrivateKeySource,

    /// The scope to ask for
    #[arg(long, value_name = "WORDS", value_parser = scope, help_heading = "Server")]
    pub(crate) scope: Option<String>,

    /// A further parameter of the token request, such as audience=… or resource=…
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, help_heading = "Server")]
    pub(crate) param: Vec<(String, String)>,
}

fn authentication(name: &str) -> Result<ClientAuthentication, String> {
    let names = || ClientAuthentication::ALL.map(ClientAuthentication::as_str).join(", ");
    ClientAuthentication::parse(name).ok_or_else(|| format!("there are: {}", names()))
}

/// RFC 6749 section 3.3; an empty one is none.
pub(crate) fn scope(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    if text.bytes().all(is_plain) {
        return Ok(text.trim().to_owned());
    }
    Err("words of plain letters, digits and signs, with a blank between; … stands for words of your own"
        .to_owned())
}

/// A server that was found, and what it is known by.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) profile: &'static Profile,
    /// None at Concur, whose endpoints lie below each base.
    pub(crate) server: Option<Server>,
    /// What it says that it can; empty where it does not say.
    grants: Vec<String>,
    /// False where it does not bear a code challenge.
    pub(crate) takes_challenges: bool,
}

impl ServerArgs {
    /// True when it is Concur.
    pub(crate) fn is_concur(&self) -> bool {
        let named = self.issuer.is_some() || self.token_endpoint.is_some();
        !named && self.profile.as_deref().is_none_or(|name| name == CONCUR.name)
    }

    /// True when something about the server was named.
    pub(crate) fn is_named(&self) -> bool {
        self.concur || !self.is_concur()
    }

    /// Where the private key comes from.
    pub(crate) fn source(&self) -> Source<'_> {
        self.private_key.source()
    }

    /// Finds the server; asks it, where it describes itself.
    pub(crate) fn find(&self, session: &Session) -> Result<Found, Trouble> {
        check_parameters(&self.param)?;
        if self.is_concur() {
            self.check_fits_concur()?;
            return Ok(Found { profile: &CONCUR, server: None, grants: Vec::new(), takes_challenges: true });
        }
        let mut found = match (&self.issuer, &self.token_endpoint) {
            (Some(issuer), _) => Found::of(self.rules()?, Self::ask(session, issuer)?),
            (None, Some(token)) => {
                let server = Server::undescribed(endpoint("token endpoint", token)?);
                Found::of(self.rules()?, Described::silent(server))
            }
            (None, None) => self.of_profile(session)?,
        };
        if let Some(server) = &mut found.server {
            self.name_parts(server)?;
        }
        Ok(found)
    }

    fn check_fits_concur(&self) -> Result<(), Trouble> {
        let is_generic = self.client_auth.is_some_and(|way| way != ClientAuthentication::Post)
            || self.authorization_endpoint.is_some()
            || self.private_key.source().is_named();
        if is_generic {
            return Err(Trouble::usage(
                "this does not fit SAP Concur, which takes the client secret in the body and has its own endpoints",
                "name the server: --issuer URL or --token-endpoint URL",
            ));
        }
        match self.set.first() {
            None => Ok(()),
            Some((name, _)) => Err(Trouble::usage(
                format!("SAP Concur asks for nothing called \"{name}\""),
                "leave --set out",
            )),
        }
    }

    fn ask(session: &Session, issuer: &str) -> Result<Described, Trouble> {
        let http = Http::new(session.http_options());
        session.wait_alone(discover(&http, issuer))?.map_err(|error| {
            not_discovered(
                &error,
                "name the issuer to the letter as the server does; or name its endpoints: --token-endpoint URL \
                 --authorization-endpoint URL",
            )
        })
    }

    /// Whose rules a server follows that is named beside it.
    fn rules(&self) -> Result<&'static Profile, Trouble> {
        match self.profile.as_deref() {
            None => Ok(&GENERIC),
            Some(name) if name == CONCUR.name => Err(Trouble::usage(
                "SAP Concur has its own endpoints, so no other server follows its rules",
                "for SAP Concur, name no server; for another, leave --profile out or name its own: perennial profiles",
            )),
            Some(name) => known(name),
        }
    }

    /// From the profile's template and what a person says to it; asks the server for the rest where it describes itself.
    fn of_profile(&self, session: &Session) -> Result<Found, Trouble> {
        let name = self.profile.as_deref().unwrap_or_default();
        let profile = known(name)?;
        let filled = fill(profile, self.set.clone())?;
        let http = Http::new(session.http_options());
        let described = session.wait_alone(locate(&http, &filled))?.map_err(|error| match error {
            DiscoveryError::NothingNamed => Trouble::usage(
                format!("the profile {name} names no endpoints"),
                "name the server: --issuer URL, or --token-endpoint URL",
            ),
            error => {
                not_discovered(&error, format!("look at the profile's issuer: perennial profile show {name}"))
            }
        });
        Ok(Found::of(profile, described?))
    }

    /// What is named goes before what was found.
    fn name_parts(&self, server: &mut Server) -> Result<(), Trouble> {
        let put = |place: &mut Option<Endpoint>, what: &str, named: &Option<String>| {
            if let Some(address) = named {
                *place = Some(endpoint(what, address)?);
            }
            Ok::<(), Trouble>(())
        };
        put(&mut server.authorization, "authorization endpoint", &self.authorization_endpoint)?;
        put(&mut server.device_authorization, "device authorization endpoint", &self.device_endpoint)?;
        put(&mut server.revocation, "revocation endpoint", &self.revocation_endpoint)?;
        put(&mut server.introspection, "introspection endpoint", &self.introspection_endpoint)?;
        put(&mut server.keys, "address of the keys", &self.jwks_uri)?;
        if let Some(base) = &self.api_base {
            let origin = Origin::parse(base);
            server.api = Some(origin.map_err(|error| {
                Trouble::usage(
                    format!("the API base \"{base}\" {error}"),
                    "write it as https://api.example.com",
                )
            })?);
        }
        if let Some(way) = self.client_auth {
            server.authentication = way;
        } else if self.private_key.source().is_named() {
            server.authentication = ClientAuthentication::PrivateKey;
        }
        server.key_id = self.key_id.clone().or(server.key_id.take());
        server.audience = self.assertion_audience.clone().or(server.audience.take());
        Ok(())
    }

    /// What is asked for, and how.
    pub(crate) fn obtaining(&self, found: &Found, way: perennial::core::connection::Way) -> Obtaining {
        let scope = found.profile.scope(self.scope.clone(), &way);
        Obtaining { way, scope, parameters: self.param.clone() }
    }
}

impl Found {
    fn of(profile: &'static Profile, described: Described) -> Self {
        Self {
            profile,
            server: Some(described.server),
            grants: described.grants,
            takes_challenges: described.takes_challenges,
        }
    }

    /// A new connection at this server.
    pub(crate) fn connection(&self, name: &str) -> Connection {
        let connection = Connection::new(perennial::request_id(), name, self.profile);
        match &self.server {
            Some(server) => connection.at(server.clone()),
            None => connection,
        }
    }

    /// The way that is meant when none is named: in a browser, or on another device where there is no such page.
    pub(crate) fn usual_way(&self) -> Result<Way, Trouble> {
        match &self.server {
            None => Ok(Way::Company),
            Some(server) if server.authorization.is_some() => Ok(Way::Browser),
            Some(server) if server.device_authorization.is_some() => Ok(Way::Device),
            Some(_) => Err(Trouble::usage(
                "the server has no page to sign in at, as far as is known here, so the way must be named",
                "--app for the app itself; or name its page: --authorization-endpoint URL",
            )),
        }
    }

    /// True when the server takes no secret.
    pub(crate) fn is_public(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.authentication == ClientAuthentication::None)
    }

    /// True when what is kept as the client's secret is a private key.
    pub(crate) fn wants_private_key(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.authentication == ClientAuthentication::PrivateKey)
    }

    /// Says before a person begins that a server does not do what is wanted, where it says so.
    pub(crate) fn check_takes(&self, way: Way) -> Result<(), Trouble> {
        if way == Way::Device && self.server.is_none() {
            return Err(Trouble::usage(
                "SAP Concur offers no sign-in on another device",
                "sign in in a browser, on any machine: --user --no-browser",
            ));
        }
        if way == Way::OneTime && self.server.is_some() {
            let hint = "choose another way: perennial add --help";
            return Err(Trouble::usage("one-time passwords are SAP Concur's", hint));
        }
        let page = self.server.as_ref().and_then(|server| server.device_authorization.as_ref());
        if way == Way::Device && page.is_none() {
            return Err(Trouble::usage(
                "it is not known where a sign-in on another device begins at this server",
                "name the place: --device-endpoint URL; or sign in in a browser: --user",
            ));
        }
        let grant = match way {
            Way::Device => "urn:ietf:params:oauth:grant-type:device_code",
            Way::Browser => "authorization_code",
            _ => return Ok(()),
        };
        if self.grants.is_empty() || self.grants.iter().any(|taken| taken == grant) {
            return Ok(());
        }
        let taken = self.grants.join(", ");
        Err(Trouble::usage(
            format!("the server does not take this grant; it takes: {taken}"),
            "choose another way",
        ))
    }
}

/// A grant is obtained by rules that can be read; one that is held lives on with careful ones.
fn known(name: &str) -> Result<&'static Profile, Trouble> {
    if let Some(trouble) = own_profiles::trouble_with(name) {
        return Err(trouble);
    }
    Profile::named(name)
        .ok_or_else(|| Trouble::usage(format!("no profile is called \"{name}\""), "see: perennial profiles"))
}

/// A profile's endpoints; a person who sits there is asked for what is missing.
fn fill(profile: &'static Profile, mut answers: Vec<(String, String)>) -> Result<FilledIn, Trouble> {
    loop {
        let error = match profile.template.fill(&answers) {
            Ok(filled) => return Ok(filled),
            Err(error) => error,
        };
        match &error {
            FillError::Missing(missing) if terminal::is_there() => {
                for blank in missing {
                    let failed = |error| {
                        Trouble::plain(Exit::Failed, format!("could not read from the terminal: {error}"))
                    };
                    let asked =
                        terminal::ask(&format!("{} ({})", blank.name, blank.meaning)).map_err(failed)?;
                    answers.push((blank.name.to_owned(), asked.ok_or_else(secret_input::left)?));
                }
            }
            _ => return Err(unfilled(profile.name, &error)),
        }
    }
}

/// What the profile asks for, in the words of the next command.
fn unfilled(name: &str, error: &FillError) -> Trouble {
    let hint = match error.options() {
        Some(options) => {
            format!("say it: --profile {name} {options}; what each means: perennial profile show {name}")
        }
        None => format!("what it asks for: perennial profile show {name}"),
    };
    Trouble::usage(error.to_string(), hint)
}

/// Refuses a private key that is of no use at a server of this kind.
pub(crate) fn check_key(pem: &str, profile: &Profile) -> Result<(), Trouble> {
    perennial::check_private_key(pem, profile).map_err(|error| {
        let hint = format!("what is known of the server: perennial profile show {}", profile.name);
        Trouble::usage(error.to_string(), hint)
    })
}

fn not_discovered(error: &DiscoveryError, hint: impl Into<String>) -> Trouble {
    Trouble::new(Exit::PersonMustAct, error.to_string(), hint)
}

fn endpoint(what: &str, address: &str) -> Result<Endpoint, Trouble> {
    let wrong = |error| {
        Trouble::usage(
            format!("the {what} \"{address}\" {error}"),
            "write it as https://login.example.com/path",
        )
    };
    Endpoint::parse(address).map_err(wrong)
}
