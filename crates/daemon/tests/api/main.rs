//! What callers see: tokens, connections, keys, the standard door.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod connections;
mod standard;
mod tokens;
