//! What callers see: tokens, connections, keys, the standard door.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod connections;
mod grants;
mod standard;
mod tokens;
