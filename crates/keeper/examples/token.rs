//! A program that needs Concur's API: it asks for a token, uses it, and says so when the API rejects it.
//!
//! ```console
//! $ cargo run -p perennial --example token -- DIR [CA.pem]
//! ```
//!
//! DIR holds SAP's two files, as `perennial run` leaves them. CA.pem is needed for the sandbox only, whose certificate
//! no machine trusts.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use bytes::Bytes;
use http::{HeaderMap, Method};
use perennial::core::schedule::DEFAULT_MIN_TTL;
use perennial::http::{ApiRequest, ApiResponse, Http, Options as Network};
use perennial::{HandOut, Keeper, Options, SapSample, request_id};
use std::error::Error;
use std::time::Duration;

/// A sap-sample store has one connection.
const CONNECTION: &str = "default";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let dir = arguments.next().ok_or("name a directory: cargo run -p perennial --example token -- DIR")?;
    let network = Network { ca_cert: arguments.next().map(Into::into), ..Network::default() };

    // Opening starts nothing: no thread, no TLS, no network. A program keeps one keeper for as long as it runs.
    let keeper = Keeper::open(SapSample::open(dir)?, Options { http: network.clone(), ..Options::default() });
    let api = Http::new(network);

    // From the store if it lives long enough, else by one refresh, however many tasks and processes ask at once.
    let mut token = keeper.token(CONNECTION, DEFAULT_MIN_TTL).await?;
    println!("base     {}", token.base);
    println!("expires  in {} s, at {} in Unix time", token.expires_in, token.expires_at.0);

    let mut answer = users(&api, &token).await?;
    if matches!(answer.status.as_u16(), 401 | 403) {
        // Concur answers an ended or revoked token with either. The keeper refreshes at most once in five minutes for
        // that: a scope that is missing answers 403 for ever, and then this is an error.
        token = keeper.rejected(CONNECTION, &token.access_token).await?;
        println!("renewed  generation {}, {} s left", token.generation, token.expires_in);
        answer = users(&api, &token).await?;
    }
    println!("users    HTTP {}", answer.status);

    // A renewal may have been started behind the token that was handed out: its answer must not be lost.
    keeper.landed().await;
    Ok(())
}

/// One call at the place where the token is good.
async fn users(api: &Http, token: &HandOut) -> Result<ApiResponse, Box<dyn Error>> {
    let request = ApiRequest {
        method: Method::GET,
        path: "/profile/identity/v4/Users".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let bearer = (token.token_type.as_str(), &token.access_token);
    Ok(api.call(&token.base, &request, bearer, &request_id(), Duration::from_secs(90)).await?)
}
