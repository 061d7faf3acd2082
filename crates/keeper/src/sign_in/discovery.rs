//! An authorization server says what it is: its metadata is fetched from where the standards put it (RFC 8414, OpenID
//! Connect Discovery), without a secret, and believed as far as its issuer may say so.

use crate::http::{Errand, Http, TokenEndpoint};
use crate::refusal;
use perennial_core::metadata::{self, Described, MetadataError};
use perennial_core::profile::FilledIn;
use perennial_core::server::Endpoint;
use perennial_core::token_endpoint::Failure;

/// Why a server could not be discovered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The issuer is no address that is used.
    #[error("the issuer \"{issuer}\" {why}")]
    Issuer {
        /// What was given.
        issuer: String,
        /// Why.
        why: String,
    },
    /// No document was found at any of the places.
    #[error("{issuer} describes itself nowhere: {why}")]
    NotFound {
        /// Whom was asked.
        issuer: String,
        /// What became of the last question.
        why: String,
    },
    /// Nobody has named an endpoint, nor an issuer to ask.
    #[error("neither its endpoints nor its issuer are known")]
    NothingNamed,
    /// A document was found, and is not believed.
    #[error("the metadata at {place} is not used: {why}")]
    NotBelieved {
        /// Where it is.
        place: Endpoint,
        /// Why.
        why: MetadataError,
    },
}

/// The server of a profile's template. It is asked for what the template leaves open, where it describes itself.
///
/// # Errors
/// As [`discover`]; and when the template names too little.
pub async fn locate(http: &Http, template: &FilledIn) -> Result<Described, DiscoveryError> {
    if let Some(issuer) = template.asks() {
        let mut described = discover(http, issuer).await?;
        described.server = template.over(described.server);
        return Ok(described);
    }
    template.server().map(Described::silent).ok_or(DiscoveryError::NothingNamed)
}

/// Discovers the server behind an issuer identifier.
///
/// # Errors
/// When it describes itself nowhere, or in a way that is not believed.
pub async fn discover(http: &Http, issuer: &str) -> Result<Described, DiscoveryError> {
    let issuer = issuer.trim();
    let unfit = |why| DiscoveryError::Issuer { issuer: issuer.to_owned(), why };
    let home = metadata::check_issuer(issuer).map_err(unfit)?;
    let mut why = String::new();
    for place in metadata::places(&home) {
        match http.run(Errand::get(place.clone())).await {
            Ok(reply) if reply.status == 200 => match metadata::read(issuer, &reply.body) {
                Ok(described) => return Ok(described),
                // A page of a web site says 200 too; the other places may hold the document.
                Err(MetadataError::NotMetadata(what)) => {
                    why = format!("{place} is no metadata document ({what})")
                }
                Err(why) => return Err(DiscoveryError::NotBelieved { place, why }),
            },
            Ok(reply) => why = format!("{place} answers HTTP {}", reply.status),
            Err(Failure::Unreachable(unreachable)) => {
                let why = crate::error::unreachable_words(&unreachable);
                return Err(DiscoveryError::NotFound { issuer: issuer.to_owned(), why });
            }
            Err(failure) => why = format!("{place}: {}", refusal::words(&failure)),
        }
    }
    Err(DiscoveryError::NotFound { issuer: issuer.to_owned(), why })
}
