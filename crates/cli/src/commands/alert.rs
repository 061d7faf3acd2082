//! `perennial alert test`: does whom a daemon tells of trouble get it? Nothing goes through the outbox, and nothing is
//! tried again.

use crate::exit::Exit;
use crate::session::{Session, interruption};
use crate::signals::AskedToEnd;
use crate::trouble::Trouble;
use clap::{Args, Subcommand};
use perennial::http::{self, Http, Resolve};
use perennial_daemon::Config;
use perennial_daemon::alerts::{self, Outcome, Tested};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Try the alerts of a daemon
#[derive(Args, Debug)]
pub(crate) struct Alert {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Test(Test),
}

/// Send a test message to each sink of the configuration, now
///
/// It goes out once, past the outbox, whether a daemon is running or not. Exit code 1 if any sink did not take it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  perennial alert test
  perennial alert test --config perennial.toml --json")]
struct Test {
    /// The daemon's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/perennial/perennial.toml")]
    config: PathBuf,
}

pub(crate) fn carry_out(session: &Session, alert: &Alert) -> Result<Exit, Trouble> {
    let What::Test(test) = &alert.what;
    session.start_log();
    let config = Config::read(&test.config, &[]).map_err(|mistakes| mistaken(&test.config, &mistakes))?;
    if config.alerts.to.is_empty() {
        let message = format!("{} names nobody to tell", test.config.display());
        return Err(Trouble::new(Exit::Failed, message, "add a sink to it: [[alerts.to]]"));
    }
    let tested = send(session, &config)?;
    if session.globals.json {
        session.printer.json_data(&tested.iter().map(as_json).collect())?;
    }
    for one in &tested {
        let (name, took) = (&one.sink, one.took.as_millis());
        match &one.outcome {
            Outcome::Delivered { status } => {
                let status = if one.kind == "command" { "exit code" } else { "HTTP" }.to_owned()
                    + &format!(" {status}");
                session.printer.step(&format!("{name} has taken it: {status}, {took} ms"))?;
            }
            Outcome::Failed(failure) => {
                session.printer.cross(&format!("{name} has not taken it: {}, {took} ms", failure.what))?;
            }
        }
    }
    let failed = tested.iter().filter(|one| matches!(one.outcome, Outcome::Failed(_))).count();
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// Ctrl-C ends what is under way, programs included.
fn send(session: &Session, config: &Config) -> Result<Vec<Tested>, Trouble> {
    let resolve: Result<Vec<Resolve>, _> = config.resolve.iter().map(|text| text.parse()).collect();
    let resolve =
        resolve.map_err(|error| Trouble::usage(format!("resolve {error}"), "mend the configuration"))?;
    let own = &session.globals;
    let http = Http::new(http::Options {
        ca_cert: config.ca_cert.clone().or_else(|| own.ca_cert.clone()),
        resolve: own.resolve.iter().cloned().chain(resolve).collect(),
        direct: false,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asked_to_end = AskedToEnd::listen()?;
        tokio::select! {
            tested = alerts::test(&config.alerts, &http) => Ok(tested),
            () = asked_to_end.next() => Err(interruption()),
        }
    })
}

fn as_json(tested: &Tested) -> Value {
    let (status, failure) = match &tested.outcome {
        Outcome::Delivered { status } => (Some(*status), None),
        Outcome::Failed(failure) => (failure.status, Some(&failure.what)),
    };
    json!({
        "sink": tested.sink,
        "kind": tested.kind,
        "delivered": failure.is_none(),
        "status": status,
        "took_ms": u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
        "error": failure,
    })
}

fn mistaken(path: &Path, mistakes: &[perennial_daemon::config::Mistake]) -> Trouble {
    let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    let message = format!("{}: {}", path.display(), told.join("; "));
    Trouble::usage(message, "mend it, or name another: --config FILE")
}
