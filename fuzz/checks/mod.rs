//! What must hold for every input that somebody else wrote: each check takes bytes, and panics where it does not hold.
//!
//! Two callers look for such bytes: the fuzz targets beside this directory, for as long as one likes, and the property
//! tests in `crates/keeper/tests/wire_properties`, which take this file in by its path, at every `cargo test`.
//!
//! | module | the door | what holds behind it | law |
//! |---|---|---|---|
//! | [`token_response`] | `token_endpoint::read` | what is read can be sent and stored again, and does not print | 1, 10 |
//! | [`error_response`] | the same, and `verdict::judge` | no failure ends a grant that was not said to be gone | 5, 10 |
//! | [`credentials`] | `Credentials::parse` | an error names the problem and no value | 10 |
//! | [`token_file`] | `parse_token_file`, `document::{read, write}` | what is written is what was read; no grant is lost | 1, 4, 5 |
//!
//! | helper | what it is for |
//! |---|---|
//! | `reply` | bytes → an HTTP answer |
//! | `canary` | a text that must not come out again |
//! | `presentation` | a plan, and a good answer |
//! | `memory` | a connection, written down and read again |

pub mod credentials;
pub mod error_response;
pub mod token_file;
pub mod token_response;

mod canary;
mod memory;
mod presentation;
mod reply;
