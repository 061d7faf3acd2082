//! Law 10: a process that holds tokens leaves no core dump behind.

#![cfg(target_os = "linux")]

mod support;

use serde_json::json;
use std::fs;
use support::{World, wait_until};

#[test]
fn law_10_memory_does_not_go_into_core_dumps() {
    let world = World::held();
    world.inject(json!([{"kind": "hang"}]));
    let mut child = world.spawn(&["refresh"]);
    let limits = format!("/proc/{}/limits", child.id());
    wait_until("the limit for core dumps is zero", || {
        let text = fs::read_to_string(&limits).unwrap();
        let limit = text.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        limit.split_whitespace().skip(4).take(2).eq(["0", "0"])
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
