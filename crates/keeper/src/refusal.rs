//! What came of an errand: an object, or why there is none, in words that may be shown.

use crate::error::Error;
use perennial_core::UnixTime;
use perennial_core::profile::generic::GENERIC;
use perennial_core::server::Endpoint;
use perennial_core::token_endpoint::{self, Failure, Refusal, Reply};
use serde_json::{Map, Value};

/// The object that a good answer holds. `redact` blots out what the server may have repeated (law 10).
pub(crate) fn object(
    from: &Endpoint,
    reply: &Reply,
    redact: impl Fn(&str) -> String,
) -> Result<Map<String, Value>, Error> {
    let members = match serde_json::from_slice(&reply.body) {
        Ok(Value::Object(members)) if (200..300).contains(&reply.status) => members,
        _ => return Err(refused(from, reply, redact)),
    };
    if members.contains_key("error") { Err(refused(from, reply, redact)) } else { Ok(members) }
}

/// Why an answer is no good one.
pub(crate) fn refused(from: &Endpoint, reply: &Reply, redact: impl Fn(&str) -> String) -> Error {
    let Err(Failure::Refused(refusal)) = token_endpoint::read(reply, UnixTime(0)) else {
        return odd(from, reply);
    };
    let Refusal { code, error, description, correlation_id, .. } = refusal.blotted(redact);
    let said = description.or(error).unwrap_or_else(|| "no reason given".to_owned());
    Error::Errand { at: from.to_string(), status: Some(reply.status), code, why: said, correlation_id }
}

/// An answer that says nothing that anybody here understands.
pub(crate) fn odd(from: &Endpoint, reply: &Reply) -> Error {
    let why = "the answer is not what its RFC asks for".to_owned();
    let correlation_id = reply.correlation_id.clone();
    Error::Errand { at: from.to_string(), status: Some(reply.status), code: None, why, correlation_id }
}

/// No answer came.
pub(crate) fn none(from: &Endpoint, failure: Failure, correlation_id: String) -> Error {
    match failure {
        Failure::Unreachable(why) => Error::Unreachable { base: from.origin().clone(), why },
        failure => Error::Errand {
            at: from.to_string(),
            status: None,
            code: None,
            why: words(&failure),
            correlation_id: Some(correlation_id),
        },
    }
}

/// A failure in words.
pub(crate) fn words(failure: &Failure) -> String {
    perennial_core::connection::fault::words(failure, &GENERIC)
}
