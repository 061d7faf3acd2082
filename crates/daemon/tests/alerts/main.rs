//! Alerts, told to real receivers on loopback: signed, tried again, told once, put together, and never with a secret.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

mod canary;
mod delivery;
mod digests;
mod killed;
mod over_keeper;
mod receiver;
mod restart;
mod rules;
mod stage;
mod sweep;
