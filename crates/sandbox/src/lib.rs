//! An emulation of SAP Concur's OAuth 2.0 service on loopback, with faults on demand.
//!
//! Start one with [`Sandbox::start`]; it listens when that returns and stops when it is dropped. Nothing here is
//! shared with Perennial's own reading and writing of tokens: what both get wrong in the same way would not be found.
//!
//! ```text
//! sandbox      the public door: start, stop, inject, expire, credentials
//! config       what can be chosen, and the two policies rotate and regrant
//! server       accept, TLS, one task a connection; resets and cuts end here
//! token        POST /oauth2/v0/token: the request's form, and the answer
//! client, form what every request of a client has to be; the parameters of a request
//! authorize    the page on which a person signs in; codes: what comes of it; page: HTML
//! otp          one-time passwords, and the mailbox that shows them
//! device       device authorization and its page
//! metadata, tokens   discovery; introspection and revocation of one token
//! app_center   the Connect button, and where it leads
//! users        the people who can sign in
//! centres      the data centres that share one world
//! ledger       what has been issued and what is still good; takes `now` as an argument
//! errors       Concur's error codes, and the HTTP status chosen for each
//! faults       the queue of faults: read, checked, drawn
//! distort      what a fault does to an answer
//! api          users, revocation, echo: whatever wants a bearer
//! control      /sandbox/…: stats, faults, expire, request-token
//! world        what all connections share; stats counts, ids draws identifiers from the seed
//! answer, body an answer before the wire, and bodies that wait or break off
//! jwt, certificate, credentials   keys and tokens, TLS, the files that SAP's sample reads
//! ```
//! What SAP documents and what is chosen here is told apart in `docs/sandbox.md`.

mod answer;
mod api;
mod app_center;
mod authorize;
mod body;
mod centres;
mod certificate;
mod client;
mod codes;
mod config;
mod control;
mod credentials;
mod device;
mod distort;
mod errors;
mod faults;
mod form;
mod ids;
mod jwt;
mod ledger;
mod metadata;
mod otp;
mod page;
mod sandbox;
mod server;
mod stats;
mod token;
mod tokens;
mod users;
mod world;

pub use centres::Centre;
pub use config::{Config, Expire, Regrant, Rotate, UnknownChoice};
pub use sandbox::{Ready, Sandbox, StartError};
pub use stats::Stats;
pub use users::User;
