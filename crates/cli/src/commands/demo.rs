//! `perennial demo`: the whole job, on a real (local) authorization server, with nothing to sign up for.

use super::run::Tutorial;
use crate::exit::Exit;
use crate::session::Session;
use crate::trouble::Trouble;
use crate::words::moment;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method};
use perennial::core::{Expiry, Origin};
use perennial::http::{ApiRequest, Http, Options};
use perennial::seal::rescue::Places;
use perennial::store::sap_sample::{CREDENTIALS_FILE, ONLY_CONNECTION, TOKEN_FILE};
use perennial::{HandOut, Keeper, SapSample};
use perennial_sandbox::{Config, Sandbox};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Concur's directory of people (Identity v4).
const USERS: &str = "/profile/identity/v4/Users";

/// Show the whole job, from credentials.json to an API call
///
/// Starts a sandbox inside this process (loopback, TLS with a certificate made on the spot) and follows SAP's tutorial
/// in a fresh directory. Nothing leaves this machine, and nothing is left behind.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial demo
  perennial demo --keep       leave the directory, to look into the files")]
pub(crate) struct Demo {
    /// Leave the directory
    #[arg(long)]
    keep: bool,
}

pub(crate) fn carry_out(session: &Session, demo: &Demo) -> Result<Exit, Trouble> {
    session.start_log();
    let sandbox = Sandbox::start(Config::default()).map_err(|error| {
        Trouble::new(Exit::Failed, format!("the sandbox cannot start: {error}"), "try again")
    })?;
    let temporary = std::env::temp_dir();
    let mut place = tempfile::Builder::new()
        .prefix("perennial-demo-")
        .tempdir()
        .map_err(Trouble::file("write in", &temporary))?;
    place.disable_cleanup(demo.keep);
    let base = Origin::parse(sandbox.base_uri())
        .map_err(|error| Trouble::new(Exit::Failed, format!("the sandbox's address {error}"), "try again"))?;
    let http =
        Options { ca_cert: write_ca_cert(&sandbox, place.path())?, direct: true, ..Options::default() };
    // Everything that is written stays in the demo's own directory, the key of its rescue files too.
    let places = Some(Places::below(place.path(), place.path()));
    let options = perennial::Options { base: Some(base), http: http.clone(), places, ..session.options()? };
    let keeper = Keeper::open(SapSample::open(place.path())?, options);
    let show = Show { session, sandbox: &sandbox, keeper: &keeper, http, dir: place.path() };
    show.tutorial()?;
    show.what_next(demo.keep)?;
    Ok(Exit::Done)
}

fn write_ca_cert(sandbox: &Sandbox, dir: &Path) -> Result<Option<PathBuf>, Trouble> {
    let Some(pem) = sandbox.ca_cert_pem() else { return Ok(None) };
    let path = dir.join("sandbox-ca.pem");
    std::fs::write(&path, pem).map_err(Trouble::file("write", &path))?;
    Ok(Some(path))
}

struct Show<'a> {
    session: &'a Session,
    sandbox: &'a Sandbox,
    keeper: &'a Keeper,
    http: Options,
    dir: &'a Path,
}

impl Show<'_> {
    fn tutorial(&self) -> Result<(), Trouble> {
        self.say(&format!(
            "A sandbox of Concur's OAuth service runs in this process, at {}.",
            self.sandbox.base_uri()
        ))?;
        self.say(&format!("The directory is {}.", self.dir.display()))?;

        self.say("\n1. The first run finds no credentials.json.")?;
        match self.run() {
            Err(trouble) if trouble.exit == Exit::PersonMustAct => self.done(&trouble.message)?,
            other => return other,
        }
        self.say("\n2. A person fills the template in: App ID, client secret, company UUID, request token.")?;
        self.sandbox.write_credentials(self.dir).map_err(Trouble::file("write into", self.dir))?;
        self.done(&format!("{CREDENTIALS_FILE} is filled in with what the sandbox knows"))?;

        self.say("\n3. The second run exchanges the request token for a refresh token.")?;
        self.run()?;
        self.say("\n4. The third run finds it stored and valid.")?;
        self.run()?;

        self.say("\n5. A refresh grant renews both tokens, long before a person would have to.")?;
        let hand_out = self.session.wait(self.keeper, self.keeper.refresh(ONLY_CONNECTION))?;
        self.done(&format!("renewed; generation {}, {}", hand_out.generation, self.until()?))?;

        self.say("\n6. The access token is used for an API call.")?;
        let status = self.call(&hand_out)?;
        self.done(&format!("GET {USERS} answered {status}"))
    }

    fn run(&self) -> Result<(), Trouble> {
        Tutorial { session: self.session, keeper: self.keeper, dir: self.dir }.follow().map(|_| ())
    }

    fn until(&self) -> Result<String, Trouble> {
        let connection = self.keeper.connection(ONLY_CONNECTION)?;
        let expiry = connection.held.as_ref().and_then(|held| held.refresh_expiry).map(Expiry::at);
        let until = expiry.map(|at| moment(connection.skew.host_time(at), self.keeper.now()));
        Ok(format!(
            "the refresh token is good until {}",
            until.unwrap_or_else(|| "an unknown date".to_owned())
        ))
    }

    fn call(&self, hand_out: &HandOut) -> Result<u16, Trouble> {
        let request = ApiRequest {
            method: Method::GET,
            path: USERS.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let bearer = (hand_out.token_type.as_str(), &hand_out.access_token);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (http, id) = (Http::new(self.http.clone()), perennial::request_id());
        let answer = http.call(&hand_out.base, &request, bearer, &id, Duration::from_secs(30));
        let answer = runtime.block_on(answer).map_err(|error| super::call::of_api(&hand_out.base, &error))?;
        if answer.status.is_success() {
            return Ok(answer.status.as_u16());
        }
        let message = format!("the sandbox answered {}", answer.status);
        Err(Trouble::new(Exit::Failed, message, "this should not happen; please report it"))
    }

    fn what_next(&self, kept: bool) -> Result<(), Trouble> {
        self.say("\nWhat to try next (to install: cargo install --locked --path crates/cli):")?;
        self.say("  perennial sandbox --listen 127.0.0.1:8443 --write-credentials demo")?;
        self.say("and in another terminal:")?;
        self.say(
            "  perennial run --dir demo --base-uri https://127.0.0.1:8443 --ca-cert demo/sandbox-ca.pem",
        )?;
        self.say(&format!("  perennial call --dir demo --ca-cert demo/sandbox-ca.pem {USERS}"))?;
        self.say("With real Concur credentials: perennial add acme")?;
        if kept {
            self.say(&format!("The directory stays: {} (with {TOKEN_FILE} in it)", self.dir.display()))?;
        }
        Ok(())
    }

    fn done(&self, text: &str) -> Result<(), Trouble> {
        Ok(self.session.printer.step(text)?)
    }

    fn say(&self, text: &str) -> Result<(), Trouble> {
        Ok(self.session.printer.line(text)?)
    }
}
