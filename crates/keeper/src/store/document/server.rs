//! What stands under `server` and `obtaining`: the endpoints of the connection's own authorization server, and how its
//! grant is obtained. There is no secret in it.

use super::members::{Members, list, object, text};
use perennial_core::Origin;
use perennial_core::connection::{Obtaining, Way};
use perennial_core::server::{ClientAuthentication, Endpoint, Server};
use serde_json::{Value, json};

pub(super) fn server_to(server: &Server) -> Value {
    let endpoint = |endpoint: &Option<Endpoint>| endpoint.as_ref().map(Endpoint::to_string);
    without_nothing(json!({
        "issuer": server.issuer,
        "token_endpoint": server.token.to_string(),
        "authorization_endpoint": endpoint(&server.authorization),
        "device_authorization_endpoint": endpoint(&server.device_authorization),
        "revocation_endpoint": endpoint(&server.revocation),
        "introspection_endpoint": endpoint(&server.introspection),
        "jwks_uri": endpoint(&server.keys),
        "authorization_response_iss_parameter_supported": server.names_itself.then_some(true),
        "token_endpoint_auth_method": server.authentication.as_str(),
        "key_id": server.key_id,
        "audience": server.audience,
        "api": server.api.as_ref().map(Origin::to_string),
    }))
}

/// None where the token endpoint cannot be read: without it nothing else is of use.
pub(super) fn server_from(value: &Members) -> Option<Server> {
    let endpoint = |name: &str| text(value, name).and_then(|address| Endpoint::parse(address).ok());
    let known = |name: &str| text(value, name).map(str::to_owned);
    Some(Server {
        issuer: known("issuer"),
        authorization: endpoint("authorization_endpoint"),
        device_authorization: endpoint("device_authorization_endpoint"),
        revocation: endpoint("revocation_endpoint"),
        introspection: endpoint("introspection_endpoint"),
        keys: endpoint("jwks_uri"),
        names_itself: value.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
        authentication: text(value, "token_endpoint_auth_method")
            .and_then(ClientAuthentication::parse)
            .unwrap_or_default(),
        key_id: known("key_id"),
        audience: known("audience"),
        api: text(value, "api").and_then(|base| Origin::parse(base).ok()),
        ..Server::new(endpoint("token_endpoint")?)
    })
}

pub(super) fn obtaining_to(obtaining: &Obtaining) -> Value {
    if *obtaining == Obtaining::default() {
        return Value::Null;
    }
    let (issuer, subject) = match &obtaining.way {
        Way::JwtBearer { issuer, subject } => (issuer.as_ref(), subject.as_ref()),
        _ => (None, None),
    };
    let parameters = (!obtaining.parameters.is_empty()).then_some(&obtaining.parameters);
    without_nothing(json!({
        "way": obtaining.way.as_str(),
        "issuer": issuer,
        "subject": subject,
        "scope": obtaining.scope,
        "parameters": parameters,
    }))
}

pub(super) fn obtaining_from(value: &Members) -> Obtaining {
    let known = |name: &str| text(value, name).map(str::to_owned);
    let pair = |pair: &Value| {
        let word = |at: usize| pair.get(at).and_then(Value::as_str).map(str::to_owned);
        Some((word(0)?, word(1)?))
    };
    Obtaining {
        way: match text(value, "way") {
            Some("client_credentials") => Way::ClientCredentials,
            Some("jwt_bearer") => Way::JwtBearer { issuer: known("issuer"), subject: known("subject") },
            Some("sign_in") => Way::SignIn,
            Some("device") => Way::Device,
            _ => Way::Person,
        },
        scope: known("scope"),
        parameters: list(value, "parameters").filter_map(pair).collect(),
    }
}

/// What stands under a name, read.
pub(super) fn read(own: &Members) -> (Option<Server>, Obtaining) {
    let obtaining = object(own, "obtaining").map(obtaining_from).unwrap_or_default();
    (object(own, "server").and_then(server_from), obtaining)
}

fn without_nothing(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_and_a_way_survive_being_written_down() {
        let endpoint =
            |path: &str| Some(Endpoint::parse(&format!("https://login.example{path}?a=b")).unwrap());
        let server = Server {
            issuer: Some("https://login.example/realm".into()),
            authorization: endpoint("/authorize"),
            device_authorization: endpoint("/device"),
            revocation: endpoint("/revoke"),
            introspection: endpoint("/introspect"),
            keys: endpoint("/keys"),
            names_itself: true,
            authentication: ClientAuthentication::PrivateKey,
            key_id: Some("one".into()),
            audience: Some("https://login.example/aud".into()),
            api: Some(Origin::parse("https://api.example").unwrap()),
            ..Server::new(Endpoint::parse("https://login.example/token").unwrap())
        };
        assert_eq!(server_from(server_to(&server).as_object().unwrap()), Some(server));
        let way = Way::JwtBearer { issuer: Some("me".into()), subject: Some("you".into()) };
        for way in [way, Way::ClientCredentials, Way::SignIn, Way::Device, Way::Person] {
            let scope = Some("read".to_owned());
            let parameters = vec![("resource".to_owned(), "https://api.example".to_owned())];
            let obtaining = Obtaining { way, scope, parameters };
            assert_eq!(obtaining_from(obtaining_to(&obtaining).as_object().unwrap()), obtaining);
        }
        assert_eq!(obtaining_to(&Obtaining::default()), Value::Null);
    }
}
