//! What docs/sandbox.md shows has to work.

use perennial_sandbox::{Config, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn every_fault_of_the_page_is_understood_and_every_kind_is_on_the_page() {
    let sandbox = Sandbox::start(Config { tls: false, ..Config::default() }).unwrap();
    let page = include_str!("../../../docs/sandbox.md");
    let shown: Vec<Value> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`'))
        .filter(|(example, _)| example.starts_with(r#"{"kind""#))
        .map(|(example, _)| serde_json::from_str(example).unwrap())
        .collect();
    sandbox.inject(json!(shown)).unwrap();

    let kinds: BTreeSet<&str> = shown.iter().map(|fault| fault["kind"].as_str().unwrap()).collect();
    let refusal = sandbox.inject(json!([{"kind": ""}])).unwrap_err();
    let known: BTreeSet<&str> = refusal.split('`').skip(3).step_by(2).collect();
    assert_eq!(kinds, known);
}
