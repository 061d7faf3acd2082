//! Every code of Concur's table, on a refresh and on an obtaining request: the verdict, the state, the exit code, and
//! that no refresh token goes (law 5). docs/errors.md shows this table to users.

mod support;

use perennial::core::profile::concur;
use serde_json::json;
use std::fs;
use support::{CREDENTIALS, TOKEN_FILE, World};

/// What a keeper makes of a code.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    /// The client, or what it may do, must be put right.
    FixClient,
    FixScope,
    GrantGone,
    AskSupport,
    OurBug,
    Wait,
    /// Code 16 without a geolocation.
    Lost,
}

impl Row {
    /// Verdict, exit code, words in the hint.
    fn outcome(self, again: &str) -> (&'static str, i32, String) {
        match self {
            Self::FixClient => ("fix_client", 3, format!("; then: {again}")),
            Self::FixScope => ("fix_scope", 3, format!("; then: {again}")),
            Self::GrantGone => ("grant_gone", 3, "companytokens for the same App ID".into()),
            Self::AskSupport => ("ask_support", 3, format!("once they have: {again}")),
            Self::OurBug => ("our_bug", 1, format!("to try again: {again}")),
            Self::Wait => ("retry", 4, format!(": {again}")),
            Self::Lost => ("unknown", 4, format!(": {again}")),
        }
    }

    fn state(self, refreshing: bool) -> &'static str {
        match self {
            Self::FixClient | Self::FixScope | Self::AskSupport | Self::OurBug => "suspended",
            // A request token that is no good says nothing about a grant: there was none, and there is none.
            Self::GrantGone if refreshing => "needs_reauthorization",
            Self::GrantGone => "awaiting_grant",
            Self::Wait | Self::Lost => "backing_off",
        }
    }
}

/// Each code with what it means on a refresh and when obtaining.
fn table() -> Vec<(u32, Row, Row)> {
    use Row::{AskSupport, FixClient, FixScope, GrantGone, Lost, OurBug, Wait};
    let both = |codes: &[u32], row| codes.iter().map(|code| (*code, row, row)).collect::<Vec<_>>();
    let mut table = [
        [5, 19, 55, 83, 84, 85, 100].map(|code| (code, FixClient, GrantGone)).to_vec(),
        both(&[10, 11, 12, 13, 14, 20, 21, 123, 139], AskSupport),
        both(&[16], Lost),
        both(&[51, 52, 53, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65], FixClient),
        both(&[80, 81, 82, 107, 109], FixClient),
        both(&[54], FixScope),
        both(&[101, 102, 103, 104, 105, 106, 108], GrantGone),
        both(&[115, 116, 117, 118, 119, 120, 121, 122, 124, 135], OurBug),
        both(&[134], Wait),
        both(&[136], FixClient),
    ]
    .concat();
    table.sort_unstable_by_key(|(code, ..)| *code);
    table
}

#[test]
fn the_table_here_is_the_products() {
    let ours: Vec<_> = table().iter().map(|(code, ..)| *code).collect();
    let theirs: Vec<_> = concur::CODES.iter().filter_map(|row| row.code).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn the_page_for_users_shows_the_same_table() {
    let page = include_str!("../../../docs/errors.md");
    let meanings = concur::CODES.iter().map(|known| (known.error, known.meaning));
    for ((code, refreshing, obtaining), (error, meaning)) in table().into_iter().zip(meanings) {
        let cell = |row: Row, is_refresh| {
            let (verdict, exit, _) = row.outcome("");
            format!("{verdict} · {} · {exit}", row.state(is_refresh))
        };
        let (refresh, obtain) = (cell(refreshing, true), cell(obtaining, false));
        let line = format!("| {code} | {error} | {meaning} | {refresh} | {obtain} |\n");
        assert!(page.contains(&line), "docs/errors.md lacks this line:\n{line}");
    }
}

#[test]
fn every_code_on_a_refresh() {
    let world = World::held_with(World::plain());
    world.forget_request_token();
    world.let_access_token_end();
    let (before, token) = (fs::read(world.token_file()).unwrap(), world.refresh_token());
    let credentials = world.files()[CREDENTIALS].clone();
    for (code, row, _) in table() {
        fs::write(world.token_file(), &before).unwrap();
        world.inject(json!([{"kind": "error", "code": code}]));
        let sent = world.requests();
        let (verdict, exit, hint) =
            row.outcome(if code == 136 { "perennial run" } else { "perennial refresh" });
        let hint = if code == 136 { "another App ID" } else { &hint };
        let ended = world.run(&["token"]);
        ended.is_trouble(&world, exit, &format!("code {code}: "), hint);
        assert!(ended.stdout.is_empty(), "law 1: {ended:?}");
        assert!(ended.stderr.contains("correlation id: "), "{ended:?}");
        assert_eq!(world.requests(), sent + 1, "{code}");
        assert_eq!(world.refresh_token(), token, "{code}: law 5");
        assert_eq!(world.files()[CREDENTIALS], credentials);
        let status = world.status();
        assert_eq!(status["state"], row.state(true), "{code}");
        assert_eq!(status["last_fault"]["code"], code);
        assert_eq!(status["last_fault"]["verdict"], verdict, "{code}");
        // Terminal verdicts are not retried, passing ones wait (law 12) …
        let ended = world.run(&["token"]);
        assert_eq!((ended.code, world.requests()), (exit, sent + 1), "{code}: {ended:?}");
        // … and whoever insists is heard: the token is as good as ever.
        assert_eq!(world.run(&["refresh"]).code, 0, "{code}");
        assert_eq!(world.status()["state"], "held");
    }
}

#[test]
fn every_code_when_obtaining() {
    let world = World::with(World::plain());
    world.fill();
    let credentials = world.files();
    for (code, _, row) in table() {
        world.inject(json!([{"kind": "error", "code": code}]));
        let sent = world.requests();
        let (verdict, exit, hint) = row.outcome("perennial run");
        let hint = if code == 136 { "another App ID" } else { &hint };
        let ended = world.run(&["run"]);
        ended.is_trouble(&world, exit, &format!("code {code}: "), hint);
        assert!(ended.stderr.contains("then: perennial run") || ended.stderr.contains(": perennial run\n"));
        assert_eq!(world.requests(), sent + 1, "{code}");
        assert_eq!(world.files()[CREDENTIALS], credentials[CREDENTIALS]);
        assert!(world.tokens()["refresh_token"].is_null());
        let status = world.status();
        assert_eq!(status["state"], row.state(false), "{code}");
        assert_eq!(status["last_fault"]["verdict"], verdict, "{code}");
        assert_eq!(status["last_fault"]["purpose"], "obtain");
        // No command goes on as if there were a grant, and each names what helps.
        let ended = world.run(&["token"]);
        assert!(ended.code == exit || ended.code == 3, "{code}: {ended:?}");
        assert!(ended.stderr.contains("perennial run"), "{code}: {ended:?}");
        assert_eq!(world.requests(), sent + 1, "{code}");
        fs::remove_file(world.dir().join(TOKEN_FILE)).unwrap();
    }
}

#[test]
fn a_request_token_that_is_refused_takes_nothing_from_the_grant_that_is_held() {
    let world = World::held_with(World::plain());
    let token = world.refresh_token();
    let mut tokens = world.tokens();
    tokens["refresh_expires_in"] = json!(1_300_000_000);
    support::write_json(&world.token_file(), &tokens);
    world.inject(json!([{"kind": "error", "code": 108}, {"kind": "error", "code": 5}]));
    let ended = world.run(&["run"]);
    ended.is_trouble(&world, 3, "code 5: ", "companytokens");
    assert_eq!(world.requests(), 3);
    assert_eq!(world.refresh_token(), token);
    assert_eq!(world.status()["state"], "needs_reauthorization");
    world.run_ok(&["refresh"]);
    assert_eq!(world.status()["state"], "held", "it was good after all");
}

#[test]
fn a_code_that_nobody_documents_is_tried_three_times_and_never_ends_a_grant() {
    let world = World::held_with(World::plain());
    let token = world.refresh_token();
    for (state, exit) in [("backing_off", 4), ("backing_off", 4), ("backing_off", 4), ("suspended", 3)] {
        world.inject(json!([{"kind": "error", "code": 9999}]));
        let ended = world.run(&["refresh"]);
        ended.is_trouble(&world, exit, "code 9999, which is not documented", "perennial refresh");
        assert_eq!(world.status()["state"], state);
        assert_eq!(world.refresh_token(), token);
    }
    assert!(world.run_ok(&["token"]).stdout.starts_with("ey"), "law 9");
    world.run_ok(&["refresh"]);
    assert_eq!(world.status()["state"], "held");
}

#[test]
fn without_a_code_the_oauth_error_decides_and_then_the_status() {
    let world = World::held_with(World::plain());
    world.forget_request_token();
    let token = world.refresh_token();
    for (status, error, verdict, exit) in [
        (400, "invalid_grant", "grant_gone", 3),
        (401, "invalid_client", "fix_client", 3),
        (400, "unauthorized_client", "fix_client", 3),
        (400, "unsupported_grant_type", "fix_client", 3),
        (403, "access_denied", "fix_client", 3),
        (400, "invalid_scope", "fix_scope", 3),
        (400, "temporarily_unavailable", "retry", 4),
        (400, "slow_down", "retry", 4),
        (400, "invalid_request", "unknown", 4),
        (503, "server_error", "retry", 4),
        (429, "whatever", "retry", 4),
    ] {
        let body = json!({"error": error}).to_string();
        world.inject(json!([{"kind": "status", "status": status, "body": body}]));
        let ended = world.run(&["refresh"]);
        ended.is_trouble(&world, exit, &format!("HTTP {status}: \"{error}\""), "perennial r");
        assert_eq!(world.status()["last_fault"]["verdict"], verdict, "{error}");
        assert_eq!(world.refresh_token(), token, "{error}");
        world.run_ok(&["refresh"]);
    }
}
