//! How the daemon says that it is alive, ready, and what it has done.

mod health;
mod metrics;
mod open_metrics;
#[path = "../support/mod.rs"]
mod support;
