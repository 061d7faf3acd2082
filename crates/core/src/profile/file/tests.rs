//! What a file may say, and how what it may not say is told.

use super::ProfileFile;
use crate::profile::{ReplayRule, Rotation};
use crate::token_endpoint::Refusal;
use crate::verdict::Verdict;
use std::time::Duration;

/// The commented example of the documentation.
fn example() -> String {
    let page = include_str!("../../../../../docs/profiles.md");
    let (_, behind) = page.split_once("```toml\n").unwrap();
    behind.split_once("```").unwrap().0.to_owned()
}

fn mistakes(text: &str) -> Vec<String> {
    match ProfileFile::parse(text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

/// The example with one thing changed.
fn changed(from: &str, to: &str) -> Vec<String> {
    let text = example();
    assert!(text.contains(from), "the example does not have {from}");
    mistakes(&text.replacen(from, to, 1))
}

#[test]
fn the_documented_example_becomes_a_profile() {
    let file = ProfileFile::parse(&example()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    assert!(file.misplaced(&example(), Some("acme")).is_empty());
    let profile = file.into_profile();
    assert_eq!((profile.name, profile.rotation), ("acme", Rotation::Always));
    assert_eq!(profile.replay, ReplayRule::Within(Duration::from_secs(10)));
    assert_eq!(profile.assumed_refresh_lifetime, Some(Duration::from_secs(30 * 24 * 3600)));
    assert_eq!(profile.longest_grant, None);
    assert_eq!(profile.api_member, Some("api_url"));
    let said =
        |error: &str, code: Option<u32>| Refusal { error: Some(error.into()), code, ..Refusal::default() };
    let locked = profile.row(&said("invalid_grant", Some(4711))).unwrap();
    assert_eq!((locked.refreshing, locked.source), (Verdict::AskSupport, "errors"));
    let other = profile.row(&said("invalid_grant", None)).unwrap();
    assert_eq!((other.obtaining, other.refreshing), (Verdict::FixClient, Verdict::GrantGone));
    assert!(profile.sources.iter().any(|source| source.supports.contains(&"replay")));
}

#[test]
fn each_mistake_is_told_with_its_place() {
    for (from, to, says) in [
        ("name = \"acme\"", "name = \"Acme Corp\"", "\"Acme Corp\" is no name for a profile"),
        ("name = \"acme\"", "name = \"generic\"", "generic is built in"),
        ("title = \"Acme\"", "title = \" \"", "says nothing"),
        ("title = \"Acme\"", "title = \"A\\u001b[31m\"", "control character"),
        ("title = \"Acme\"", "titel = \"Acme\"", "unknown field `titel`"),
        ("\"within:10s\"", "\"soon\"", "\"soon\" is none of: always, never"),
        (
            "is = \"always\", source = \"tokens\"",
            "is = \"often\", source = \"tokens\"",
            "\"often\" is none of",
        ),
        ("is = \"30d\"", "is = \"a month\"", "is no duration"),
        ("is = \"30d\"", "is = \"0s\"", "a time of nothing"),
        ("longest_grant = { is = \"none\"", "longest_grant = { is = \"1d\"", "is longer than longest_grant"),
        ("[\".acme.example\"]", "[\"acme.example\"]", "must begin with a dot"),
        ("[\".acme.example\"]", "[\".example\"]", "two labels at least"),
        ("[\".acme.example\"]", "[]", "api_member needs hosts"),
        ("\"api_url\"", "\"access_token\"", "is no member with an address"),
        ("token = \"https://", "token = \"http://", "must begin with https://"),
        ("token = \"https://", "token = \"https://me@", "has no user"),
        (
            "{tenant}.login.acme.example/oauth2/token",
            "{tennant}.login.acme.example/oauth2/token",
            "no [[server.blank]]",
        ),
        (
            "{tenant}.login.acme.example/oauth2/token",
            "login.{tenant}/oauth2/token",
            "chooses whose host it is",
        ),
        (
            "{tenant}.login.acme.example/oauth2/token",
            "{tenant.login.acme.example/oauth2/token",
            "a brace without",
        ),
        ("kind = \"label\"", "kind = \"segment\"", "its kind must be host or label"),
        ("default = \"main\"", "default = \"a/b\"", "cannot stand there"),
        ("access_type = \"offline\"", "state = \"1\"", "Perennial's own to say"),
        ("scope = \"offline_access\"", "scope = \"{tenant}\"", "blanks stand in addresses"),
        ("sources = [\"endpoints\"]", "sources = []", "name the source of its endpoints"),
        ("sources = [\"endpoints\"]", "sources = [\"endpoint\"]", "no [[source]] with the key \"endpoint\""),
        ("verdict = \"ask_support\"", "verdict = \"relocate\"", "\"relocate\" is none of"),
        ("verdict = \"ask_support\"", "", "needs a verdict, or both"),
        ("verdict = \"ask_support\"", "verdict = \"retry\"\nrefreshing = \"retry\"", "either a verdict, or"),
        ("code = 4711", "", "is never reached"),
        ("description = \"too many\"", "description = \"Too Many\"", "is compared in lower case"),
        ("address = \"https://docs", "address = \"docs", "begins with https://"),
    ] {
        let told = changed(from, to);
        assert!(told.iter().any(|one| one.contains(says)), "{from} -> {to}: {told:?}");
        assert!(told.iter().all(|one| one.starts_with("line ")), "{told:?}");
    }
}

#[test]
fn a_fact_without_a_source_is_no_fact() {
    let told = changed("{ is = \"30d\", source = \"tokens\"", "{ is = \"30d\"");
    assert!(told[0].contains("missing field `source`"), "{told:?}");
    let unused =
        format!("{}\n[[source]]\nkey = \"x\"\ntitle = \"X\"\naddress = \"https://x.example\"\n", example());
    assert!(mistakes(&unused)[0].contains("no fact names the source \"x\""));
}

#[test]
fn what_keeps_a_grant_from_being_lost_must_be_said() {
    for fact in ["rotation", "replay"] {
        let text: String =
            example().lines().filter(|line| !line.starts_with(fact)).flat_map(|line| [line, "\n"]).collect();
        assert!(mistakes(&text)[0].contains(&format!("missing field `{fact}`")));
    }
}

#[test]
fn every_mistake_is_found_at_once_in_the_order_of_the_file() {
    let text = example()
        .replacen("name = \"acme\"", "name = \"A\"", 1)
        .replacen("token = \"https://", "token = \"http://", 1)
        .replacen("code = 4711", "", 1);
    let told = ProfileFile::parse(&text).unwrap_err();
    assert!(told.len() >= 3, "{told:?}");
    assert!(told.is_sorted_by_key(|mistake| (mistake.line, mistake.column)), "{told:?}");
}

#[test]
fn a_file_is_found_by_its_name_and_replaces_only_on_purpose() {
    let file = ProfileFile::parse(&example()).unwrap();
    assert!(file.misplaced(&example(), Some("other"))[0].what.contains("must be called acme.toml"));
    let named_okta = example().replacen("name = \"acme\"", "name = \"okta\"", 1);
    let file = ProfileFile::parse(&named_okta).unwrap();
    assert!(file.misplaced(&named_okta, None)[0].what.contains("replaces = true"));
    let on_purpose = named_okta.replacen("[facts]", "replaces = true\n[facts]", 1);
    let file = ProfileFile::parse(&on_purpose).unwrap();
    assert!(file.replaces() && file.misplaced(&on_purpose, Some("okta")).is_empty());
}
