//! `perennial sandbox`: the emulation of Concur's OAuth service, as a server of its own.

use crate::exit::Exit;
use crate::session::Session;
use crate::signals::AskedToEnd;
use crate::trouble::Trouble;
use crate::words::parse_duration;
use clap::Args;
use perennial::store::sap_sample::TOKEN_FILE;
use perennial_sandbox::{Config, Regrant, Rotate, Sandbox};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Run an emulation of Concur's OAuth service on this machine
///
/// For people who have no Concur tenant, and for tests. When it is ready it prints one line of JSON: base_uri, ca_cert,
/// app_id, client_secret, company_uuid, request_token, centres, users. Faults are made by POST /sandbox/faults: see docs/sandbox.md.
#[derive(Args, Debug)]
#[command(
    name = "sandbox",
    after_help = "\
Examples:
  perennial sandbox --write-credentials demo
  perennial sandbox --listen 127.0.0.1:8443 --access-lifetime 2m --rotate always

Then, in another terminal, with the base_uri that it printed:
  perennial run --dir demo --base-uri https://127.0.0.1:8443 --ca-cert demo/sandbox-ca.pem"
)]
pub(crate) struct SandboxArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Speak plain http
    #[arg(long)]
    no_tls: bool,

    /// Write a filled credentials.json and the CA certificate into this directory
    #[arg(long, value_name = "DIR")]
    write_credentials: Option<PathBuf>,

    /// How long an access token lives
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    access_lifetime: Duration,

    /// How long a refresh token lives
    #[arg(long, value_name = "DURATION", default_value = "183d", value_parser = parse_duration)]
    refresh_lifetime: Duration,

    /// Whether a refresh returns a new refresh token: never, sometimes, or always (each is then good once, and a reuse
    /// revokes the whole grant)
    #[arg(long, value_name = "WHEN", default_value = "never")]
    rotate: Rotate,

    /// What a new company grant does to the old one: coexist or invalidate
    #[arg(long, value_name = "HOW", default_value = "coexist")]
    regrant: Regrant,

    /// Where a second data centre, eu2, listens; bob@example.com lives there
    #[arg(long, value_name = "ADDRESS")]
    second_listen: Option<SocketAddr>,

    /// The landing page to which the App Center's Connect button leads
    #[arg(long, value_name = "URL")]
    landing: Option<String>,

    /// Take HTTP Basic client authentication as well, as most servers do and Concur does not
    #[arg(long)]
    generic: bool,

    /// Make the same ids, secrets and tokens at every start
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

pub(crate) fn carry_out(session: &Session, args: &SandboxArgs) -> Result<Exit, Trouble> {
    let sandbox = start(args)?;
    let ca_cert = CaCert::write(&sandbox, args.write_credentials.as_deref())?;
    let ready = sandbox.ready();
    let line = json!({
        "base_uri": ready.base_uri,
        "ca_cert": ca_cert.path,
        "app_id": ready.app_id,
        "client_secret": ready.client_secret,
        "company_uuid": ready.company_uuid,
        "request_token": ready.request_token,
        "centres": ready.centres.iter().map(|centre| json!({
            "name": centre.name,
            "base_uri": centre.base_uri,
        })).collect::<Vec<_>>(),
        "users": ready.users.iter().map(|user| json!({
            "login": user.login,
            "password": user.password,
            "uuid": user.uuid,
        })).collect::<Vec<_>>(),
    });
    session.printer.data(&format!("{line}\n"))?;
    session.printer.note("the sandbox is ready; Ctrl-C ends it");
    if let Some(old) =
        args.write_credentials.as_ref().map(|dir| dir.join(TOKEN_FILE)).filter(|file| file.exists())
    {
        let old = old.display();
        session.printer.warn(&format!(
            "{old} holds tokens of an earlier sandbox, which this one does not know: move it away"
        ));
    }
    wait_for_the_end()?;
    Ok(Exit::Done)
}

fn start(args: &SandboxArgs) -> Result<Sandbox, Trouble> {
    let config = Config {
        listen: args.listen,
        tls: !args.no_tls,
        access_lifetime: args.access_lifetime,
        refresh_lifetime: args.refresh_lifetime,
        rotate: args.rotate,
        regrant: args.regrant,
        second_listen: args.second_listen,
        landing: args.landing.clone(),
        generic: args.generic,
        seed: args.seed,
        ..Config::default()
    };
    Sandbox::start(config).map_err(|error| {
        Trouble::new(
            Exit::Failed,
            format!("the sandbox cannot start: {error}"),
            "choose another address: --listen 127.0.0.1:0",
        )
    })
}

/// The file that holds the CA certificate: beside the credentials, where it stays, else among the system's temporary
/// files, from where it goes with the sandbox.
struct CaCert {
    path: Option<PathBuf>,
    temporary: bool,
}

impl CaCert {
    fn write(sandbox: &Sandbox, dir: Option<&Path>) -> Result<Self, Trouble> {
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir).map_err(Trouble::file("make", dir))?;
            sandbox.write_credentials(dir).map_err(Trouble::file("write credentials into", dir))?;
        }
        let Some(pem) = sandbox.ca_cert_pem() else { return Ok(Self { path: None, temporary: false }) };
        let path = match dir {
            Some(dir) => dir.join("sandbox-ca.pem"),
            None => {
                let path = std::env::temp_dir()
                    .join(format!("perennial-sandbox-ca-{}.pem", perennial::request_id()));
                std::fs::write(&path, pem).map_err(Trouble::file("write", &path))?;
                path
            }
        };
        Ok(Self {
            path: Some(std::fs::canonicalize(&path).map_err(Trouble::file("find", &path))?),
            temporary: dir.is_none(),
        })
    }
}

impl Drop for CaCert {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| self.temporary) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn wait_for_the_end() -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        AskedToEnd::listen()?.next().await;
        Ok(())
    })
}
