//! What somebody meets who presses Connect in SAP's App Center: over plain requests, and in a real browser.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop there")]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod driver;
mod garbage;
mod guards;
mod landing;
mod partner;
mod person;
#[path = "../alerts/receiver.rs"]
#[expect(dead_code, reason = "the alerts' own tests use more of it")]
mod receiver;
mod webhook;
