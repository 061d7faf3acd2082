//! Can every authorization server be reached? A connection and its TLS session, as before a refresh, and then nothing:
//! no request, no token. Each base once, all at the same time, within a limit. A server that answers questions about tokens
//! is asked what it thinks of those that are held (RFC 7662); nothing is spent by that.

use super::report::{Report, Severity};
use crate::trouble::Trouble;
use perennial::core::Origin;
use perennial::core::token_endpoint::Unreachable;
use perennial::http::{Http, TokenEndpoint};
use perennial::revoke::Introspection;
use perennial::{Error, Keeper};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Who has not answered by then counts as unreachable: a person waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many are asked at most; Concur has seven.
const MOST: usize = 100;

pub(super) fn look(report: &mut Report<'_>, bases: BTreeSet<Origin>) {
    let left_out = bases.len().saturating_sub(MOST);
    let found = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let http = Arc::new(Http::new(report.session.http_options()));
            runtime.block_on(ask(http, bases.into_iter().take(MOST)))
        }
        Err(error) => return report.trouble("network", error.into()),
    };
    for (base, reached) in found {
        match reached {
            Ok(()) => report.good("network", format!("{base} can be reached")),
            Err(why) => {
                let (others, remedy) = ("servers cannot be reached", "check the network: perennial doctor");
                if report.names_one_more("network", Severity::Passing, others, remedy) {
                    report.trouble("network", Trouble::from(Error::Unreachable { base, why }));
                }
            }
        }
    }
    if left_out > 0 {
        report.good("network", format!("{left_out} more servers were not asked"));
    }
}

/// So many connections are asked about at most: each is a request with a token in it.
const MOST_ASKED_ABOUT: usize = 20;

pub(super) fn ask_about(report: &mut Report<'_>, keeper: &Keeper, names: &[String]) {
    for name in names.iter().take(MOST_ASKED_ABOUT) {
        report.session.is_about(name);
        let place = report.session.place();
        match report.session.wait_alone(keeper.introspect(name)) {
            Ok(Ok(Introspection { active: true, .. })) => {
                report.good("network", format!("{name}: its server says that the token is good"));
            }
            Ok(Ok(_)) => {
                let (others, remedy) =
                    ("tokens are no good, as their servers say", "try them: perennial refresh --all");
                if report.names_one_more("network", Severity::Person, others, remedy) {
                    let what = format!("{name}: its server says that the token is no good any more");
                    let next = format!("try it all the same: {}; else: {}", place.refresh(), place.obtain());
                    report.bad("network", what, next);
                }
            }
            // Told already, once for each server.
            Ok(Err(Error::Unreachable { .. })) => {}
            Ok(Err(error)) => report.trouble("network", Trouble::from(error).prefixed(name)),
            Err(trouble) => return report.trouble("network", trouble),
        }
    }
    if let Some(more) = names.len().checked_sub(MOST_ASKED_ABOUT).filter(|more| *more > 0) {
        report.good("network", format!("{more} more tokens were not asked about"));
    }
}

/// In the order of their names, so that two reports can be compared.
async fn ask(http: Arc<Http>, bases: impl Iterator<Item = Origin>) -> Vec<(Origin, Result<(), Unreachable>)> {
    let mut asking = JoinSet::new();
    for base in bases {
        let http = Arc::clone(&http);
        asking.spawn(async move {
            let connected = tokio::time::timeout(PATIENCE, http.connect(&base)).await;
            let reached = connected.unwrap_or(Err(Unreachable::TimedOut)).map(drop);
            (base, reached)
        });
    }
    let mut found = asking.join_all().await;
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}
