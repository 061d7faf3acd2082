//! What an authorization server says of itself (RFC 8414, OpenID Connect Discovery): a document from the network, of which
//! nothing is believed that the issuer may not say.

use crate::origin::Origin;
use crate::server::{ClientAuthentication, Endpoint, Server};
use crate::token_endpoint::plain;
use serde_json::{Map, Value};
use url::{Host, Url};

/// The largest document that is read. Real ones take some kilobytes.
pub const METADATA_LIMIT: usize = 256 * 1024;

/// A server that described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its endpoints. How the client proves who it is has been chosen from what the server takes, the most common first.
    pub server: Server,
    /// The ways of client authentication that it takes; none named means Basic (RFC 8414 section 2).
    pub authentications: Vec<ClientAuthentication>,
    /// The grants that it takes; empty where it does not say.
    pub grants: Vec<String>,
    /// True when it takes `code_challenge_method=S256`, or does not say.
    pub takes_challenges: bool,
    /// The scopes that it names.
    pub scopes: Vec<String>,
}

impl Described {
    /// A server that does not describe itself: nothing is known of what it takes.
    #[must_use]
    pub fn silent(server: Server) -> Self {
        let (authentications, grants, scopes) = (Vec::new(), Vec::new(), Vec::new());
        Self { server, authentications, grants, takes_challenges: true, scopes }
    }
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not JSON, or too long, or an answer of something else.
    #[error("it is no metadata document ({0})")]
    NotMetadata(&'static str),
    /// It speaks of another issuer: whoever wrote it may be an impostor (RFC 8414 section 3.3).
    #[error("it speaks of the issuer {said}, and {asked} was asked")]
    OtherIssuer {
        /// Whom it names.
        said: String,
        /// Who was asked.
        asked: String,
    },
    /// An endpoint is missing without which nothing goes.
    #[error("it names no {0}")]
    Missing(&'static str),
    /// An endpoint is no place that secrets may go to.
    #[error("its {name} is no address that is used: it {why}")]
    BadEndpoint {
        /// Which.
        name: &'static str,
        /// Why.
        why: String,
    },
}

/// The issuer identifier, as a person may write it: an address of https (or of http on this machine) without query and
/// fragment (RFC 8414 section 2).
///
/// # Errors
/// In words that follow the address.
pub fn check_issuer(issuer: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(issuer).map_err(|error| error.to_string())?;
    let url = Url::parse(issuer).map_err(|_| "is not an absolute address".to_owned())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment, which an issuer has not".to_owned());
    }
    Ok(endpoint)
}

/// Where an issuer's documents may be, in the order in which they are asked for: RFC 8414 section 3.1, and OpenID Connect
/// Discovery section 4, which differ where the issuer has a path.
#[must_use]
pub fn places(issuer: &Endpoint) -> [Endpoint; 3] {
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| Endpoint::at(issuer.origin().clone(), path);
    [
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
    ]
}

/// Reads a document that was fetched for `issuer`.
///
/// # Errors
/// When it cannot be believed.
pub fn read(issuer: &str, body: &[u8]) -> Result<Described, MetadataError> {
    if body.len() > METADATA_LIMIT {
        return Err(MetadataError::NotMetadata("it is longer than 256 KiB"));
    }
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) else {
        return Err(MetadataError::NotMetadata("it is no JSON object"));
    };
    let said = text(&members, "issuer").ok_or(MetadataError::Missing("issuer"))?;
    if said != issuer {
        return Err(MetadataError::OtherIssuer { said: plain(said), asked: issuer.to_owned() });
    }
    let home = Endpoint::parse(issuer).map_err(|_| MetadataError::NotMetadata("its issuer is no address"))?;
    let endpoint = |name: &'static str| endpoint(&members, name, home.origin());
    let token = endpoint("token_endpoint")?.ok_or(MetadataError::Missing("token_endpoint"))?;
    let authentications = authentications(&members);
    let promises = "authorization_response_iss_parameter_supported";
    let server = Server {
        issuer: Some(issuer.to_owned()),
        authorization: endpoint("authorization_endpoint")?,
        device_authorization: endpoint("device_authorization_endpoint")?,
        revocation: endpoint("revocation_endpoint")?,
        introspection: endpoint("introspection_endpoint")?,
        keys: endpoint("jwks_uri")?,
        names_itself: members.get(promises) == Some(&Value::Bool(true)),
        authentication: authentications.first().copied().unwrap_or(ClientAuthentication::Basic),
        ..Server::new(token)
    };
    let challenges = words(&members, "code_challenge_methods_supported");
    Ok(Described {
        server,
        authentications,
        grants: words(&members, "grant_types_supported"),
        takes_challenges: challenges.is_empty() || challenges.iter().any(|method| method == "S256"),
        scopes: words(&members, "scopes_supported"),
    })
}

fn authentications(members: &Map<String, Value>) -> Vec<ClientAuthentication> {
    let named = words(members, "token_endpoint_auth_methods_supported");
    if named.is_empty() {
        return vec![ClientAuthentication::Basic];
    }
    use ClientAuthentication::{Basic, None, Post, PrivateKey};
    [Basic, Post, PrivateKey, None]
        .into_iter()
        .filter(|way| named.iter().any(|name| name == way.as_str()))
        .collect()
}

/// An endpoint may be elsewhere than its issuer, but not where only this machine or this network can go: a document could
/// turn us against what stands beside us (server-side request forgery). Only who is there himself may say so.
fn endpoint(
    members: &Map<String, Value>,
    name: &'static str,
    home: &Origin,
) -> Result<Option<Endpoint>, MetadataError> {
    let Some(address) = text(members, name) else { return Ok(None) };
    let bad = |why: String| MetadataError::BadEndpoint { name, why };
    let endpoint = Endpoint::parse(address).map_err(|error| bad(error.to_string()))?;
    if endpoint.origin().host() != home.host() && is_inside(address) {
        return Err(bad("leads into this machine or this network, where its issuer is not".to_owned()));
    }
    Ok(Some(endpoint))
}

/// True for an address that names no public host: a loopback, private or link-local number, or this machine's own name.
#[must_use]
pub fn is_inside(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return true };
    match url.host() {
        Some(Host::Ipv4(number)) => {
            number.is_loopback() || number.is_private() || number.is_link_local() || number.is_unspecified()
        }
        Some(Host::Ipv6(number)) => {
            let first = number.segments()[0];
            let mapped = number.to_ipv4_mapped().is_some();
            number.is_loopback()
                || number.is_unspecified()
                || mapped
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost"
                || name.ends_with(".localhost")
                || name.ends_with(".internal")
                || !name.contains('.')
        }
        None => true,
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn words(members: &Map<String, Value>, name: &str) -> Vec<String> {
    let list = members.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ISSUER: &str = "https://login.example/realm";

    fn document(change: impl Fn(&mut Value)) -> Vec<u8> {
        let mut document = json!({
            "issuer": ISSUER,
            "token_endpoint": "https://login.example/token",
            "authorization_endpoint": "https://login.example/authorize",
            "jwks_uri": "https://keys.example/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "tls_client_auth"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        change(&mut document);
        document.to_string().into_bytes()
    }

    #[test]
    fn a_document_is_read() {
        let described = read(ISSUER, &document(|_| {})).unwrap();
        assert_eq!(described.server.token.to_string(), "https://login.example/token");
        assert_eq!(described.server.keys.unwrap().origin().host(), "keys.example");
        assert_eq!(described.server.authentication, ClientAuthentication::Post);
        assert!(described.server.names_itself && described.takes_challenges);
        let silent =
            read(ISSUER, &document(|it| it["token_endpoint_auth_methods_supported"] = json!(null))).unwrap();
        assert_eq!(silent.server.authentication, ClientAuthentication::Basic);
    }

    #[test]
    fn a_document_of_another_issuer_is_an_impostors() {
        for said in ["https://evil.example", "https://login.example/realm/", "https://login.example"] {
            let error = read(ISSUER, &document(|it| it["issuer"] = json!(said))).unwrap_err();
            assert!(matches!(error, MetadataError::OtherIssuer { .. }), "{said}: {error}");
        }
    }

    #[test]
    fn an_endpoint_never_leads_inside_from_outside() {
        for address in [
            "http://login.example/token",
            "https://127.0.0.1/token",
            "https://10.0.0.1/token",
            "https://169.254.169.254/latest",
            "https://[::1]/token",
            "https://[fd00::1]/token",
            "https://[::ffff:10.0.0.1]/token",
            "https://localhost:8443/token",
            "https://metadata.google.internal/token",
            "https://vault/token",
            "file:///etc/passwd",
            "https://user:password@login.example/token",
        ] {
            let error = read(ISSUER, &document(|it| it["token_endpoint"] = json!(address))).unwrap_err();
            assert!(matches!(error, MetadataError::BadEndpoint { .. }), "{address}: {error}");
        }
    }

    #[test]
    fn a_server_of_this_machine_may_name_itself() {
        let issuer = "http://127.0.0.1:8080";
        let body = json!({"issuer": issuer, "token_endpoint": "http://127.0.0.1:8080/token"}).to_string();
        assert!(read(issuer, body.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_document_is_told_apart() {
        assert!(matches!(read(ISSUER, b"<html>"), Err(MetadataError::NotMetadata(_))));
        assert!(matches!(read(ISSUER, &vec![b' '; METADATA_LIMIT + 1]), Err(MetadataError::NotMetadata(_))));
        let without = document(|it| it["token_endpoint"] = json!(null));
        assert_eq!(read(ISSUER, &without), Err(MetadataError::Missing("token_endpoint")));
    }

    #[test]
    fn documents_are_looked_for_where_both_standards_put_them() {
        let at = |issuer: &str| places(&check_issuer(issuer).unwrap()).map(|place| place.to_string());
        assert_eq!(
            at("https://login.example/realm"),
            [
                "https://login.example/realm/.well-known/openid-configuration",
                "https://login.example/.well-known/oauth-authorization-server/realm",
                "https://login.example/.well-known/openid-configuration/realm",
            ]
        );
        assert!(check_issuer("https://login.example?x=1").is_err());
        assert!(check_issuer("http://login.example").is_err());
    }
}
