//! Law 7 at a server with a replay window: Django OAuth Toolkit takes a refresh token that it has replaced again for a
//! while, and answers the same. What a profile (or a person) says of that decides what is done when an answer was lost.

use crate::keep::{Keep, NAME};
use crate::servers::{Kind, Server};
use crate::support::{self, Ended};
use crate::web;

/// A grant whose last answer has died with the process that it was for.
struct Lost<'s> {
    keep: Keep<'s>,
    server: &'s Server,
}

impl<'s> Lost<'s> {
    /// `words` change the policy.
    fn at(server: &'s Server, words: &[&str]) -> Self {
        let keep = Keep::signed_in(server, "web", &["--scope", "read"]);
        if !words.is_empty() {
            keep.run_ok(&[&["policy", NAME], words].concat());
        }
        keep.let_access_token_end();
        let mut command = keep.command(&["token", NAME]);
        let ended = Ended::of(&command.env("PERENNIAL_FAILPOINT", "answered:1").output().expect("it starts"));
        assert_eq!((ended.code, ended.stdout.as_str()), (-1, ""), "killed: {ended:?}");
        assert_eq!(server.count("refreshes"), 1);
        Self { keep, server }
    }

    /// The next token comes of a second presentation, which is the last.
    #[track_caller]
    fn is_found_again(&self) {
        let token = self.keep.run_ok(&["token", NAME]).stdout;
        assert_eq!(web::get_as(&self.server.at("/whoami"), token.trim_end()).status, 200);
        assert_eq!(self.server.asked("refresh_token"), 2);
        assert_eq!((self.server.count("refused"), self.server.count("good_refresh_tokens")), (0, 1));
        self.keep.run_ok(&["refresh", NAME]);
        assert_eq!((self.server.count("refused"), self.server.count("good_refresh_tokens")), (0, 1));
    }
}

#[test]
fn law_7_within_the_window_a_lost_answer_is_fetched_again_at_once() {
    let Some(server) = Server::start(Kind::Django, &["--grace", "120"]) else { return };
    Lost::at(&server, &["replay=within:120s"]).is_found_again();
}

#[test]
fn law_7_where_nothing_is_known_of_a_window_the_deadline_is_waited_out() {
    let Some(server) = Server::start(Kind::Django, &["--grace", "120"]) else { return };
    let lost = Lost::at(&server, &[]);
    let ended = lost.keep.run(&["token", NAME]);
    assert_eq!((ended.code, server.asked("refresh_token")), (4, 1), "{ended:?}");
    lost.keep.let_deadline_pass();
    lost.is_found_again();
}

#[test]
fn law_7_a_window_that_has_shut_costs_one_presentation_and_a_person_signs_in_anew() {
    let Some(server) = Server::start(Kind::Django, &["--grace", "120"]) else { return };
    let lost = Lost::at(&server, &["replay=within:120s"]);
    web::post(&server.at("/later"), &[("seconds", "121")]);
    let ended = lost.keep.run(&["token", NAME]);
    assert_eq!((ended.code, server.count("good_refresh_tokens")), (3, 0), "the family has ended: {ended:?}");
    assert_eq!(server.asked("refresh_token"), 2, "presented once more");
    let again = lost.keep.run(&["token", NAME]);
    assert_eq!((again.code, server.asked("refresh_token")), (3, 2), "law 12: not asked again: {again:?}");
    assert_eq!(lost.keep.sign_in("reauthorize", "web", &[]).code, 0);
    lost.keep.run_ok(&["token", NAME]);
}

#[test]
fn a_token_that_has_really_ended_is_refreshed() {
    let Some(server) = Server::start(Kind::Django, &["--access-token-life", "2"]) else { return };
    let keep = Keep::signed_in(&server, "web", &["--scope", "read"]);
    let token =
        |keep: &Keep<'_>| keep.run_ok(&["token", NAME, "--min-ttl", "0s"]).stdout.trim_end().to_owned();
    let first = token(&keep);
    let api = server.at("/whoami");
    support::wait_until("the server takes it no more", || web::get_as(&api, &first).status != 200);
    let second = token(&keep);
    assert_ne!(first, second);
    assert_eq!(web::get_as(&api, &second).status, 200);
}
