//! What somebody meets who presses Connect in SAP's App Center: over plain requests, and in a real browser.

#[path = "../support/mod.rs"]
mod support;

mod garbage;
mod guards;
mod landing;
mod partner;
mod person;
mod webhook;
