//! `perennial alert test`: does whom a daemon tells of trouble get it? Nothing goes through the outbox, and nothing is
//! tried again.

use crate::daemon::{self, ConfigOptions};
use crate::exit::Exit;
use crate::session::{Session, interruption};
use crate::signals::AskedToEnd;
use crate::trouble::Trouble;
use clap::{Args, Subcommand};
use perennial::http::Http;
use perennial_daemon::Config;
use perennial_daemon::alerts::{self, Outcome, Tested};
use serde_json::{Value, json};

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
    #[command(flatten)]
    config: ConfigOptions,
}

pub(crate) fn carry_out(session: &Session, alert: &Alert) -> Result<Exit, Trouble> {
    let What::Test(test) = &alert.what;
    session.start_log();
    let config = test.config.read()?;
    if config.alerts.to.is_empty() {
        let place = test
            .config
            .file()
            .map_or_else(|| "the configuration".to_owned(), |file| file.display().to_string());
        let hint = "add a sink to it: [[alerts.to]]; an example: perennial config example";
        return Err(Trouble::new(Exit::Failed, format!("{place} names nobody to tell"), hint));
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
    let globals = daemon::globals_with(&session.globals, config)?;
    let http = Http::new(Session::new(globals).http_options());
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
