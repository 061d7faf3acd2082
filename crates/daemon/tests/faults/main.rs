//! What may go wrong around a daemon, and what its callers see of it.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod crowds;
mod store;
mod upstream;
