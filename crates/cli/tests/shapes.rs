//! What `--json` prints is an API: its shapes are snapshots.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use perennial_sandbox::Expire;
use serde_json::{Value, json};
use support::World;

/// The shape of a value: names in their order, and what stands under them.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.first().map_or(json!([]), |first| json!([shape(first)])),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("bool"),
        Value::Null => Value::Null,
    }
}

fn told(text: &str) -> Value {
    shape(&serde_json::from_str(text).unwrap())
}

#[test]
fn token() {
    let world = World::held();
    insta::assert_json_snapshot!(told(&world.run_ok(&["token", "--json"]).stdout));
}

#[test]
fn status() {
    let world = World::held();
    insta::assert_json_snapshot!(told(&world.run_ok(&["status", "--json"]).stdout));
}

#[test]
fn status_with_a_fault() {
    let world = World::held();
    world.forget_request_token();
    world.sandbox.expire(Expire::Refresh);
    world.run(&["refresh"]);
    insta::assert_json_snapshot!(told(&world.run_ok(&["status", "--json"]).stdout));
}

#[test]
fn status_before_there_is_a_grant() {
    let world = World::filled();
    insta::assert_json_snapshot!(told(&world.run_ok(&["status", "--json"]).stdout));
}

#[test]
fn whoami() {
    let world = World::held();
    insta::assert_json_snapshot!(told(&world.run_ok(&["whoami", "--json"]).stdout));
}

#[test]
fn refresh() {
    let world = World::held();
    insta::assert_json_snapshot!(told(&world.run_ok(&["refresh", "--json"]).stdout));
}

#[test]
fn an_error_is_one_object_on_stderr() {
    let world = World::held();
    world.forget_request_token();
    world.sandbox.expire(Expire::Refresh);
    let ended = world.run(&["refresh", "--json"]);
    assert_eq!(ended.stdout, "");
    insta::assert_json_snapshot!(told(&ended.stderr));
}
