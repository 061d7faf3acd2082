//! The pure ground of Perennial: what a grant is, what an authorization server said, what that means, and what to
//! do next. Nothing here reads a clock, draws a random number, opens a file or a socket: `now` and `jitter` are
//! arguments, and the shell around it (the crate `perennial`) merely carries out what is decided here.
//!
//! | module | what lives there | law of docs/design.md |
//! |---|---|---|
//! | [`secret`] | tokens and client secrets that cannot be printed | 10 |
//! | [`time`] | Unix time, expiries that are stated or assumed, the server's clock | 11 |
//! | [`origin`] | scheme, host and port: the only part of an address that a server may tell us | 10 |
//! | [`grant`] | the OAuth 2.0 grants and the form that each sends | |
//! | [`authorization`] | a sign-in in a browser: the address, and what the redirect brings back | 10 |
//! | [`id_token`] | what an id_token says, held against what was asked | 13 |
//! | [`metadata`] | what an authorization server says of itself | 10 |
//! | [`token_endpoint`] | bytes → token response or failure; every oddity of the wire ends here | 5 |
//! | [`profile`] | what differs between authorization servers, as data | 7, 10 |
//! | [`server`] | the endpoints of one authorization server, kept with the connection | 10 |
//! | [`verdict`] | one function: any failure → one verdict | 5, 6, 7 |
//! | [`connection`] | the life of one connection: what is kept, and what each event makes of it | 2, 5, 6, 8, 12, 13 |
//! | [`policy`] | every number of the policy, by name | 12 |
//! | [`schedule`] | when to renew, how long to back off | 12 |
//! | [`breaker`] | a server that fails for all is asked by one probe at a time | 12 |
//! | [`journal`] | what happened, as what differs between two writes | 10 |

pub mod authorization;
pub mod breaker;
pub mod connection;
pub mod grant;
pub mod id_token;
pub mod journal;
pub mod metadata;
pub mod origin;
pub mod policy;
pub mod profile;
pub mod schedule;
pub mod secret;
pub mod server;
pub mod time;
pub mod token_endpoint;
pub mod verdict;

pub use connection::{Connection, State};
pub use grant::Grant;
pub use origin::Origin;
pub use policy::Policy;
pub use profile::Profile;
pub use secret::{AccessToken, ClientSecret, Credential, Fingerprint, IdToken, RefreshToken, RequestToken};
pub use server::{ClientAuthentication, Endpoint, Server};
pub use time::{Expiry, UnixTime};
pub use token_endpoint::{Failure, TokenResponse};
pub use verdict::{Judgement, Spent, Verdict};
