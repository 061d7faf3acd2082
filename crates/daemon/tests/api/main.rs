//! What callers see: tokens, connections, keys, the standard door.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod any_server;
mod connections;
mod grants;
mod sign_ins;
mod standard;
mod tokens;
