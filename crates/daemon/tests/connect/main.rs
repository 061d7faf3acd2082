//! What somebody meets who presses Connect in SAP's App Center: over plain requests, and in a real browser.

#[path = "../support/mod.rs"]
mod support;

mod garbage;
mod guards;
mod landing;
mod partner;
mod person;
#[path = "../alerts/receiver.rs"]
#[allow(dead_code, reason = "the alerts' own tests use more of it")]
mod receiver;
mod webhook;
