//! Keeps OAuth 2.0 grants alive: obtains a refresh token once, never loses it, renews it long before it expires, and
//! hands out a valid access token whenever a program asks.
//!
//! ```no_run
//! use perennial::{Keeper, Options, SapSample};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let keeper = Keeper::open(SapSample::open(".")?, Options::default());
//! let token = keeper.token("default", Duration::from_secs(60)).await?;
//! println!("good at {} for {} s", token.base, token.expires_in);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what lives there | law of docs/design.md |
//! |---|---|---|
//! | [`keeper`] | the one door | 9, 12 |
//! | `refresh` | one flight: connect → claim → look again → intent → send → commit → publish | 1–8, 13 |
//! | [`manage`] | adding, renaming, changing the policy; what is kept outside the store | 5 |
//! | [`recovery`] | bringing a grant back, one remedy after the other | 2, 4, 5, 6, 7 |
//! | [`rekey`] | replacing keys while others use the store | 5, 10 |
//! | [`scheduler`] | the background duty over the same flights | 5, 11, 12 |
//! | `client_assertion` | the client proves who it is; statements that it signs | 10 |
//! | `kit` | what every flight needs, and the steps before a presentation | 2, 3, 10 |
//! | `flight` | one flight per connection, however many wait | 2 |
//! | [`failpoint`] | where tests may kill a process | |
//! | `rescue` | the store, else the rescue file, else memory | 1, 5 |
//! | [`revoke`] | a grant is given back; what a server thinks of a token | 5, 10 |
//! | [`sign_in`] | a person signs in: in a browser, on another device, with a one-time password | 10 |
//! | `identity` | whose the tokens are: id_tokens, and the keys they are signed with | 13 |
//! | `refusal` | what came of a request beside the token grants | 10 |
//! | [`http`] | a connected line, and one request on it | 4, 10 |
//! | [`store`] | SQLite, PostgreSQL, SAP's two files, memory; what every store must do | 1, 4, 5, 8 |
//! | [`tally`] | what was done so far, in numbers | 10, 12 |
//! | [`seal`] | encryption at rest, the rescue file | 1, 5 |
//! | [`clock`] | the wall clock, and one that counts suspend | 11 |

mod client_assertion;
pub mod clock;
mod error;
pub mod failpoint;
mod flight;
mod hand_out;
pub mod http;
mod identity;
pub mod keeper;
mod kit;
pub mod manage;
mod random;
pub mod recovery;
mod refresh;
mod refusal;
pub mod rekey;
mod rescue;
pub mod revoke;
pub mod scheduler;
pub mod seal;
pub mod sign_in;
pub mod store;
pub mod tally;
mod unix;

pub use client_assertion::check_private_key;
pub use error::Error;
pub use hand_out::{HandOut, Warning};
pub use keeper::{Keeper, Options, Parts};
pub use perennial_core as core;
pub use random::id as request_id;
pub use scheduler::Scheduler;
pub use store::{Memory, Postgres, PostgresOptions, SapSample, Sqlite, SqliteOptions, Store};
pub use unix::forbid_core_dumps;
