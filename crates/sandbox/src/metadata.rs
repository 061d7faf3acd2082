//! Where everything is: /.well-known/openid-configuration and its twin of RFC 8414, which say the same.

use crate::answer::Answer;
use crate::centres::Here;
use crate::ledger::SCOPE;
use crate::token::GRANTS;
use crate::world::World;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn metadata(State(world): State<Arc<World>>, Extension(here): Extension<Here>) -> Answer {
    let base = world.base_uri(here);
    let methods: &[&str] = if world.config.generic {
        &["client_secret_basic", "client_secret_post"]
    } else {
        &["client_secret_post"]
    };
    let body = json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/oauth2/v0/authorize"),
        "token_endpoint": format!("{base}/oauth2/v0/token"),
        "jwks_uri": format!("{base}/oauth2/v0/jwks"),
        "revocation_endpoint": format!("{base}/oauth2/v0/revoke"),
        "introspection_endpoint": format!("{base}/oauth2/v0/introspect"),
        "device_authorization_endpoint": format!("{base}/oauth2/v0/device_authorization"),
        "scopes_supported": SCOPE.split(' ').collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": GRANTS,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    });
    Answer::json(StatusCode::OK, &body)
}
