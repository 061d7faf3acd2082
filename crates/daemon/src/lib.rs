//! The daemon of Perennial: it hands tokens out over HTTP, forwards API calls so that programs never see a token, and
//! keeps every grant of its store alive.
//!
//! | module | what lives there | law of docs/design.md |
//! |---|---|---|
//! | [`alerts`] | tells people and programs what they must act on | 10, 11 |
//! | [`config`] | what it is told, and what is wrong with that | 10 |

pub mod alerts;
pub mod config;

pub use config::Config;
