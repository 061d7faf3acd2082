//! Law 2 at a server that ends a grant when a refresh token is presented twice: fifty processes want a token that has
//! ended, all at once. One request goes out, all fifty are handed its token, and the server sees no reuse.

use crate::keep::{Keep, NAME};
use crate::servers::Server;
use crate::support::Ended;
use crate::web;
use std::collections::BTreeSet;

const PROCESSES: usize = 50;

#[track_caller]
fn round(keep: &Keep<'_>, number: u64) {
    let server = keep.server;
    keep.let_access_token_end();
    let herd: Vec<_> = (0..PROCESSES).map(|_| keep.command(&["token", NAME]).spawn()).collect();
    let ended: Vec<Ended> =
        herd.into_iter().map(|child| Ended::landed(child.expect("the binary starts"))).collect();
    server.settle();
    let failed: Vec<&Ended> = ended.iter().filter(|one| one.code != 0).collect();
    assert!(failed.is_empty(), "{failed:?} {} {}", server.stats(), keep.run(&["log", NAME]).stdout);
    let tokens: BTreeSet<&str> = ended.iter().map(|one| one.stdout.trim_end()).collect();
    assert_eq!(tokens.len(), 1, "everyone is handed the same token");
    let token = tokens.first().expect("one");
    assert_eq!(web::get_as(&server.endpoint("userinfo_endpoint"), token).status, 200);
    let stats = server.stats();
    assert_eq!((server.asked("refresh_token"), server.count("refreshes")), (number, number), "{stats}");
    assert_eq!((server.count("reuse_detected"), server.count("grants_revoked")), (0, 0), "{stats}");
    assert_eq!((server.count("refused"), server.count("most_in_flight")), (0, 1), "{stats}");
}

fn race(rounds: u64) {
    let Some(server) = Server::node() else { return };
    let keep = Keep::signed_in(&server, "basic", &["--scope", "openid offline_access"]);
    for number in 1..=rounds {
        round(&keep, number);
    }
}

#[test]
fn law_2_fifty_processes_present_a_token_that_is_good_once_once() {
    race(3);
}

/// RACE_ROUNDS rounds, 100 unless said otherwise.
#[test]
#[ignore = "takes minutes: just race"]
fn law_2_a_hundred_times_fifty_processes() {
    let rounds =
        std::env::var("RACE_ROUNDS").map_or(100, |text| text.parse().expect("RACE_ROUNDS is a number"));
    race(rounds);
}
