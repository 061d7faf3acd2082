//! `perennial serve`: the daemon.

use crate::daemon::{self, ConfigOptions};
use crate::exit::Exit;
use crate::place::{Kind, Place};
use crate::session::Session;
use crate::signals::AskedToEnd;
use crate::trouble::Trouble;
use clap::Args;
use perennial::{Error, Keeper};
use perennial_daemon::config::{Config, Level};
use perennial_daemon::{Advice, Daemon, Parts, service};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// Hand out tokens and forward API calls for other programs, and keep every grant alive
///
/// It listens on a unix socket, where the kernel says who asks, and on TCP addresses if you name some, where a client key
/// does (perennial client add). Ctrl-C and SIGTERM let what is under way end; SIGHUP reads the configuration anew and
/// drops nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial serve
  perennial serve --config /etc/perennial/perennial.toml
  perennial serve --listen 127.0.0.1:8470
  perennial serve --set limits.resident=10000 --set log.format=json

  curl --unix-socket $XDG_RUNTIME_DIR/perennial/perennial.sock http://localhost/v1/connections/acme/token
  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8470/v1/connections/acme/token

Every option, explained: perennial config example")]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigOptions,

    /// The unix socket (listen.unix)
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,

    /// A TCP address of this machine, or any with TLS (listen.tcp); may be repeated
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,

    /// The certificate chain for TLS, as a PEM file (listen.tls_cert)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its private key, as a PEM file (listen.tls_key)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(crate) fn carry_out(session: &Session, serve: &Serve) -> Result<Exit, Trouble> {
    let config = serve.read()?;
    let session = &Session::new(daemon::globals_with(&session.globals, &config)?);
    session.start_log_from(level(&config));
    let store = session.store()?;
    for notice in store.notices() {
        session.printer.warn(&notice);
    }
    let keeper = Arc::new(session.keeper_of(&store)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve.run(session, config, keeper))
}

impl Serve {
    /// The file, with what flags of their own put above it.
    fn read(&self) -> Result<Config, Trouble> {
        let mut options = self.config.clone();
        let mut above = |key: &str, value: String| {
            options.set.push(perennial_daemon::config::Setting::new(key, &value, format!("--{key}")))
        };
        let text = |path: &PathBuf| toml_text(&path.to_string_lossy());
        if let Some(path) = &self.socket {
            above("listen.unix", text(path));
        }
        if !self.listen.is_empty() {
            let listed: Vec<_> = self.listen.iter().map(|address| toml_text(&address.to_string())).collect();
            above("listen.tcp", format!("[{}]", listed.join(", ")));
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            above("listen.tls_cert", text(certificate));
            above("listen.tls_key", text(key));
        }
        options.read()
    }

    async fn run(&self, session: &Session, config: Config, keeper: Arc<Keeper>) -> Result<Exit, Trouble> {
        let mut asked_to_end = AskedToEnd::listen()?;
        let mut asked_to_reload = signal(SignalKind::hangup())?;
        let place = session.place();
        let store = keeper.store().address();
        let parts = Parts {
            config,
            keeper,
            http: session.http_options(),
            hints: perennial_daemon::alerts::Place {
                tenant: session.globals.tenant.clone(),
                words: place.store.clone(),
                is_directory: place.kind == Kind::SapSample,
            },
            advise: Box::new(move |error, connection| advice(error, connection, &place)),
            places: daemon::places(),
        };
        let daemon = Daemon::start(parts).map_err(|error| daemon::of_refused(&error))?;
        for place in daemon.places() {
            session.printer.note(&format!("listening on {place}"));
        }
        session.printer.note(&format!("serving {store}; Ctrl-C ends it"));
        tracing::info!(%store, listening = daemon.places().join(", "), version = env!("CARGO_PKG_VERSION"), "serving");
        let _telling = service::ready(&daemon);
        loop {
            tokio::select! {
                () = asked_to_end.next() => break,
                _ = asked_to_reload.recv() => {
                    service::reloading();
                    self.reload(session, &daemon);
                    service::reloaded();
                }
            }
        }
        service::stopping();
        tracing::info!("asked to end: nothing more is accepted, and what is under way ends");
        tokio::select! {
            in_time = daemon.drain() => {
                if in_time { Ok(Exit::Done) } else { Err(not_in_time()) }
            }
            () = asked_to_end.next() => Err(crate::session::abandoned()),
        }
    }

    /// What is wrong changes nothing.
    fn reload(&self, session: &Session, daemon: &Daemon) {
        let taken =
            self.read().and_then(|config| daemon.reload(config).map_err(|error| daemon::of_refused(&error)));
        match taken {
            Ok(stays) if stays.is_empty() => tracing::info!("the configuration is taken over"),
            Ok(stays) => {
                tracing::warn!(
                    needs_restart = stays.join("; "),
                    "the configuration is taken over, but for what needs a restart"
                );
            }
            Err(trouble) => {
                tracing::error!(error = trouble.message, "the configuration stays as it was");
                let _ = session.printer.trouble(&trouble);
            }
        }
    }
}

/// What the command line would tell of the same error.
fn advice(error: &Error, connection: &str, place: &Place) -> Advice {
    let place = if connection.is_empty() { place.clone() } else { place.with(connection) };
    let trouble = Trouble::of(error.clone(), &place).at(&place);
    Advice {
        needs_a_person: trouble.exit == Exit::PersonMustAct,
        message: trouble.message,
        next: trouble.hint,
        verdict: trouble.verdict,
        code: trouble.code,
        correlation_id: trouble.correlation_id,
    }
}

fn not_in_time() -> Trouble {
    let hint = "what was sent is noted in the store, and the next start deals with it; to wait longer: --set limits.drain=3m";
    Trouble::new(Exit::Failed, "not everything that was under way ended in time", hint)
}

fn level(config: &Config) -> LevelFilter {
    match config.log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// A text as TOML writes it.
fn toml_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
