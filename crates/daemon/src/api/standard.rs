//! The standard door: any OAuth 2.0 client library gets tokens here, with no code of ours in it. Client credentials
//! (RFC 6749 section 4.4) and token exchange (RFC 8693); what there is to know is told by RFC 8414 metadata.
//!
//! The client is a client of this daemon: client id and secret are the name and key that `perennial client add` shows.
//! The scope (or audience, or resource) names the connection.

use super::Daemon;
use super::extract::whole;
use crate::access::clients::Key;
use crate::access::{Caller, From};
use crate::config::Right;
use crate::problem::Problem;
use crate::shared::Shared;
use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use perennial::core::schedule::DEFAULT_MIN_TTL;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use zeroize::Zeroizing;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A token request. Other parameters are ignored (RFC 6749 section 3.2).
#[derive(Deserialize, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "it describes the form for OpenAPI; the form itself is read by hand, for a repetition is an error"
)]
pub(crate) struct TokenRequest {
    /// What is presented.
    grant_type: GrantType,
    /// The client's name, where it is not in the Authorization header.
    client_id: Option<String>,
    /// The client's key, where it is not in the Authorization header.
    client_secret: Option<String>,
    /// The connection.
    scope: Option<String>,
    /// The connection, in place of the scope.
    audience: Option<String>,
    /// A client key, for a token exchange.
    subject_token: Option<String>,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    subject_token_type: Option<String>,
}

/// What a token request may present.
#[derive(Deserialize, utoipa::ToSchema)]
enum GrantType {
    /// RFC 6749 section 4.4.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// RFC 8693.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
}

/// A token response (RFC 6749 section 5.1).
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TokenResponse {
    /// The provider's access token.
    access_token: String,
    /// `Bearer`, as a rule.
    token_type: String,
    /// How many seconds it has left.
    expires_in: i64,
    /// The connection: what was asked for (RFC 6749 section 3.3).
    scope: String,
    /// What kind of token it is (RFC 8693 section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// Where it is good: the base of API calls.
    base_uri: String,
}

/// An error response (RFC 6749 section 5.2).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Refusal {
    /// The error.
    error: &'static str,
    /// In words.
    error_description: String,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, error_description: impl Into<String>) -> Self {
        // RFC 6749 permits neither quotes nor backslashes there.
        let plain =
            |c: char| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '\'' };
        let error_description = error_description.into().chars().map(plain).collect();
        Self { error, error_description, status, retry_after: None }
    }

    fn invalid_request(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", what)
    }

    /// What has no word in RFC 6749 is told by its status, and by the words that RFC 6749 has for the authorization
    /// endpoint (section 4.1.2.1).
    fn of(problem: &Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let next = problem.next.as_ref().map_or_else(String::new, |next| format!("; {next}"));
        let what = format!("{}{next}", problem.detail);
        let (status, error) = match status {
            StatusCode::UNAUTHORIZED => (status, "invalid_client"),
            StatusCode::FORBIDDEN => (StatusCode::BAD_REQUEST, "unauthorized_client"),
            StatusCode::NOT_FOUND => (StatusCode::BAD_REQUEST, "invalid_scope"),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                (status, "temporarily_unavailable")
            }
            StatusCode::CONFLICT => (StatusCode::BAD_REQUEST, "invalid_grant"),
            status if status.is_client_error() => (status, "invalid_request"),
            _ => (status, "server_error"),
        };
        Self { retry_after: problem.retry_after, ..Self::new(status, error, what) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let mut response =
            (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"perennial\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Get an access token as any OAuth 2.0 client does
#[utoipa::path(
    post, path = "/oauth2/token", tag = "oauth", operation_id = "oauth_token", security(("client" = []), ()),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A token", body = TokenResponse),
        (status = "4XX", description = "Why there is none (RFC 6749 section 5.2)", body = Refusal),
        (status = "5XX", description = "Why there is none now", body = Refusal),
    )
)]
pub(crate) async fn token(shared: Daemon, request: Request) -> Result<Response, Refusal> {
    let from = request.extensions().get::<From>().cloned();
    let headers = request.headers().clone();
    let body = whole(request, &shared).await.map_err(|problem| Refusal::of(&problem))?;
    let form = Form::read(&body)?;
    let (caller, issued_token_type) = match form.one("grant_type")? {
        Some("client_credentials") => (client(&shared, from.as_ref(), &headers, &form)?, None),
        Some(EXCHANGE) => (subject(&shared, from.as_ref(), &form)?, Some(ACCESS_TOKEN)),
        Some(_) => {
            let what = "client_credentials and token exchange are what there is";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", what));
        }
        None => return Err(Refusal::invalid_request("grant_type is missing")),
    };
    let name = connection(&form, &caller)?;
    caller.note_use(shared.keeper.now());
    caller.check(Right::Token, &name).map_err(|problem| Refusal::of(&problem))?;
    let patience = shared.config().limits.patience.0;
    let entry =
        shared.token(&name, DEFAULT_MIN_TTL, patience).await.map_err(|problem| Refusal::of(&problem))?;
    let hand_out = &entry.hand_out;
    let answer = TokenResponse {
        access_token: hand_out.access_token.expose().to_owned(),
        token_type: hand_out.token_type.clone(),
        expires_in: entry.left(shared.keeper.now()),
        scope: name,
        issued_token_type,
        base_uri: hand_out.base.to_string(),
    };
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer)).into_response())
}

/// Client authentication (RFC 6749 section 2.3.1): in one way, not in two.
fn client(
    shared: &Arc<Shared>,
    from: Option<&From>,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Arc<Caller>, Refusal> {
    let basic =
        headers.get(AUTHORIZATION).map(|value| basic(value).ok_or("the Authorization header cannot be read"));
    let basic =
        basic.transpose().map_err(|what| Refusal::new(StatusCode::UNAUTHORIZED, "invalid_client", what))?;
    let (id, secret) = match (basic, form.one("client_id")?, form.one("client_secret")?) {
        (Some(_), _, Some(_)) => {
            return Err(Refusal::invalid_request("two ways of client authentication at once"));
        }
        (Some(basic), None, None) => basic,
        (Some(basic), Some(id), None) if id == basic.0 => basic,
        (None, Some(id), Some(secret)) => (id.to_owned(), Zeroizing::new(secret.to_owned())),
        _ => return Err(Refusal::of(&Problem::no_key())),
    };
    let caller = by_key(shared, from, &secret)?;
    // The key says who it is; a name that says otherwise is a mix-up.
    if caller.name == id { Ok(caller) } else { Err(Refusal::of(&Problem::wrong_key())) }
}

/// The subject of an exchange is a client key: whoever has it could have asked for the token by itself.
fn subject(shared: &Arc<Shared>, from: Option<&From>, form: &Form) -> Result<Arc<Caller>, Refusal> {
    let subject = form.one("subject_token")?;
    let subject = subject.ok_or_else(|| Refusal::of(&Problem::no_key()))?;
    let caller = by_key(shared, from, subject)?;
    if form.one("actor_token")?.is_some() {
        return Err(Refusal::invalid_request("actor_token is not taken"));
    }
    if form.one("requested_token_type")?.is_some_and(|wanted| wanted != ACCESS_TOKEN) {
        return Err(Refusal::invalid_request(format!("requested_token_type is {ACCESS_TOKEN} or nothing")));
    }
    if form.one("subject_token_type")? != Some(ACCESS_TOKEN) {
        return Err(Refusal::invalid_request(format!("subject_token_type is {ACCESS_TOKEN}")));
    }
    Ok(caller)
}

fn by_key(shared: &Arc<Shared>, from: Option<&From>, key: &str) -> Result<Arc<Caller>, Refusal> {
    let from = from.ok_or_else(|| Refusal::of(&Problem::no_key()))?;
    let found = shared.doorman.by_key(from, Key::read(key).as_ref(), shared.keeper.now());
    found.map_err(|problem| Refusal::of(&problem))
}

/// Which connection is meant. A key that is good for one by name need not name it.
fn connection(form: &Form, caller: &Caller) -> Result<String, Refusal> {
    let named = [form.one("audience")?, form.one("scope")?, form.one("resource")?];
    let mut names =
        named.into_iter().flatten().flat_map(|text| text.split(' ')).filter(|name| !name.is_empty());
    let name = match (names.next(), names.next()) {
        (Some(name), None) => name.to_owned(),
        (Some(name), Some(same)) if name == same => name.to_owned(),
        (None, _) => caller.only_connection().ok_or_else(|| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "invalid_scope",
                "name the connection as the scope or the audience",
            )
        })?,
        _ => return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_scope", "one connection at a time")),
    };
    perennial::store::check_name(&name).map_err(|_| Refusal::of(&Problem::no_such_connection(&name)))?;
    Ok(name)
}

/// RFC 6749 section 2.3.1: both parts are form-encoded before they are put together.
fn basic(value: &HeaderValue) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = Zeroizing::new(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, Zeroizing::new(decode(secret)?)))
}

/// A form, in which no parameter comes twice (RFC 6749 section 3.2).
struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::invalid_request("the body is no form"))?;
        let decode = |part: &str| {
            let spaced = part.replace('+', " ");
            percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), Zeroizing::new(decode(value)))
        });
        Ok(Self(pairs.collect()))
    }

    /// A parameter; one without a value counts as one that is not there.
    fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut found = self.0.iter().filter(|(own, value)| own == name && !value.is_empty());
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Refusal::invalid_request(format!("{name} comes twice"))),
            (found, None) => Ok(found.map(|(_, value)| value.as_str())),
        }
    }
}

/// What there is to know about this door (RFC 8414)
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "oauth", security(()),
    responses(
        (status = 200, description = "The metadata", body = serde_json::Value),
        (status = "4XX", description = "Why not", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn metadata(shared: Daemon, headers: HeaderMap) -> Response {
    let config = shared.config();
    let called = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = if config.listen.tls_cert.is_some() { "https" } else { "http" };
    let issuer = config.listen.public_url.clone().unwrap_or_else(|| format!("{scheme}://{called}"));
    let issuer = issuer.trim_end_matches('/');
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "grant_types_supported": ["client_credentials", EXCHANGE],
        "response_types_supported": [],
        "service_documentation": format!("{issuer}/openapi.json"),
    });
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], metadata.to_string()).into_response()
}
