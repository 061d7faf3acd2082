//! The daemon of Perennial: it hands tokens out over HTTP, forwards API calls so that programs never see a token, and
//! keeps every grant of its store alive.
//!
//! | module | what lives there | law of docs/design.md |
//! |---|---|---|
//! | [`alerts`] | tells people and programs what they must act on | 10, 11 |
//! | [`config`] | what it is told, and what is wrong with that | 10 |
//! | `daemon` | its life: build, listen, serve, reload, drain | 2, 7 |
//! | `listen` | sockets, and one connection | |
//! | [`access`] | who asks, and what they may do | 10 |
//! | `hot` | the tokens in use, in memory | 1, 9 |
//! | `follow` | what changes in the store | 9 |
//! | `api` | what may be asked, path by path | 10 |
//! | `connect` | pages for people who connect a company in SAP's App Center | 4, 5, 10, 13 |
//! | `admin` | alive, ready, numbers | |
//! | [`service`] | what a service manager is told | |
//! | `proxy` | API calls for programs that never see a token | 10, 12 |
//! | `problem` | why there is no answer (RFC 9457) | |
//! | `shared`, `tally` | what every request works with; what is counted | |

pub mod access;
mod admin;
pub mod alerts;
mod api;
pub mod config;
mod connect;
mod daemon;
mod follow;
mod hot;
mod listen;
mod problem;
mod proxy;
pub mod service;
mod shared;
mod tally;

pub use api::openapi;
pub use config::Config;
pub use daemon::{Daemon, Parts, Places, Refused};
pub use listen::ListenError;
pub use problem::{Advice, Advise, plain_advice};
