//! What may go wrong around a daemon, and what its callers see of it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod crowds;
mod store;
mod upstream;
