//! Perennial against authorization servers that nobody here wrote, started by the tests: node-oidc-provider, Authlib and
//! Django OAuth Toolkit. `foreign/install.sh` installs them; where they are not, a test says "skipped: …" and passes, or
//! fails with PERENNIAL_TESTS_NEED_FOREIGN=1, as CI has it.
//!
//! | module | what it tells |
//! |---|---|
//! | `servers` | starting one, asking what it has seen, ending it |
//! | `web` | one request, the answer as it comes |
//! | `person` | follows an address, signs in, says yes |
//! | `keep` | a directory, a store in it, and the real binary |
//! | `behaviour` | what the servers do that we rely on, without anything of ours |
//! | `sign_in` | a person signs in; the tokens' whole life, at each server |
//! | `app_itself` | client credentials, statements, private keys |
//! | `given` | passwords, other tokens |
//! | `over_http` | apps, statements, tokens, a person in a browser: the same through the daemon |
//! | `races` | law 2: fifty processes, one refresh, no reuse |
//! | `replay` | law 7: an answer is lost where a token may be presented again for a while |
//! | `kills` | law 4: killed at every step and call, and what that costs |

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop there")]

#[path = "../support/mod.rs"]
mod support;

mod app_itself;
mod behaviour;
mod given;
mod keep;
mod kills;
mod over_http;
mod person;
mod races;
mod replay;
mod servers;
mod sign_in;
mod web;
