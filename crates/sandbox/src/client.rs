//! What every request of a client to the server itself has to be: its format, and the client's authentication.

use crate::centres::{FIRST, Here};
use crate::errors::Refusal;
use crate::form::Form;
use crate::world::World;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::request::Parts;
use base64::prelude::{BASE64_STANDARD, Engine as _};

/// The form as it must arrive: its exact media type, its length told beforehand, nothing in the URL, nothing twice.
pub(crate) fn check_format(parts: &Parts, form: &Form) -> Result<(), Refusal> {
    let media_type = parts.headers.get(CONTENT_TYPE).map(|value| value.as_bytes().to_ascii_lowercase());
    if media_type.as_deref() != Some(b"application/x-www-form-urlencoded") {
        let detail = "the Content-Type must be application/x-www-form-urlencoded, and have no parameter";
        return Err(Refusal::because(135, detail));
    }
    if parts.headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::because(135, "chunked transfer encoding is not supported"));
    }
    if parts.uri.query().is_some() {
        return Err(Refusal::because(135, "parameters belong into the body, not into the URL"));
    }
    if form.has_duplicates() {
        return Err(Refusal::because(135, "a parameter stands in the form more than once"));
    }
    Ok(())
}

/// The client is authenticated by the form alone; what an Authorization header says is not read, since Concur does
/// not read it either. Only a generic server takes HTTP Basic.
pub(crate) fn authenticate(
    world: &World,
    here: Here,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(), Refusal> {
    let basic = if world.config.generic { basic(headers) } else { None };
    if let Some((id, secret)) = &basic {
        if form.get("client_secret").is_some() {
            return Err(Refusal::because(116, "the client authenticates in two ways at once"));
        }
        return check_pair(world, here, id, secret);
    }
    let id = form.get("client_id").ok_or(Refusal::new(62))?;
    let secret = form.get("client_secret").ok_or(Refusal::new(63))?;
    check_pair(world, here, id, secret)
}

fn check_pair(world: &World, here: Here, id: &str, secret: &str) -> Result<(), Refusal> {
    check_id(world, here, id)?;
    if secret == world.client_secret { Ok(()) } else { Err(Refusal::new(64)) }
}

/// Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((plain(id), plain(secret)))
}

fn plain(encoded: &str) -> String {
    form_urlencoded::parse(encoded.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

/// Whether the app is known at this centre.
pub(crate) fn check_id(world: &World, here: Here, id: &str) -> Result<(), Refusal> {
    if world.config.migrated && here == FIRST {
        return Err(Refusal::because(61, "the app has been migrated: it is not known at this data centre"));
    }
    if id.eq_ignore_ascii_case(&world.app_id) { Ok(()) } else { Err(Refusal::new(61)) }
}
