//! What may be asked, path by path. The description at `/openapi.json` is made from the very functions that answer.
//!
//! | path | file | right |
//! |---|---|---|
//! | `GET /v1/connections/{name}/token`, `POST …/rejected`, `POST /v1/tokens` | [`token`] | token |
//! | `/v1/connections…` | [`connections`] | admin; a list of names: any |
//! | `/v1/connections/{name}/proxy/{path}` | `crate::proxy` | proxy |
//! | `POST /oauth2/token`, `/.well-known/oauth-authorization-server` | `standard` | token, by client id and secret |
//! | `/connect/{app}…` | `crate::connect` | none: pages for people |
//! | `/live`, `/ready`, `/openapi.json` | `crate::admin`, here | none |
//! | `/metrics` | `crate::admin` | any |

pub(crate) mod connections;
mod extract;
mod standard;
pub(crate) mod token;

pub(crate) use connections::pending::SignIns;
pub(crate) use extract::{Body, MayHaveBody, Query, Segment, whole};

use crate::access::Caller;
use crate::admin;
use crate::connect;
use crate::problem::Problem;
use crate::proxy;
use crate::shared::Shared;
use axum::Router;
use axum::body::Body as AnyBody;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::Request;
use http::header::{CONTENT_TYPE, HeaderValue};
use std::sync::Arc;
use std::time::Instant;
use tower_service::Service as _;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Paths that answer whoever asks, or look at their caller themselves.
const OPEN: [&str; 5] =
    ["/live", "/ready", "/openapi.json", "/oauth2/token", "/.well-known/oauth-authorization-server"];

pub(crate) fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || connect::is_page(path)
}

/// Who asks, for handlers.
pub(crate) type Asked = Extension<Arc<Caller>>;

/// What handlers work with.
pub(crate) type Daemon = State<Arc<Shared>>;

/// What no route of the router below describes: the whole, and the proxy.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Perennial",
        description = "Access tokens that are always valid, and API calls that never see one. Problems are RFC 9457."
    ),
    paths(proxy::described),
    modifiers(&Keys, &Forwarded),
    security(("key" = [])),
    tags(
        (name = "tokens", description = "Access tokens"),
        (name = "connections", description = "Grants: add, sign in, read, refresh, suspend, reauthorize, revoke, remove"),
        (name = "proxy", description = "API calls that never see a token"),
        (name = "oauth", description = "The standard door: any OAuth 2.0 client library"),
        (name = "operations", description = "How the daemon is"),
    )
)]
struct Described;

/// How callers say who they are.
struct Keys;

impl utoipa::Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let key = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A client key. Over the unix socket the kernel says who asks, and none is needed.",
            ))
            .build();
        let client = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
        let components = openapi.components.get_or_insert_with(Default::default);
        components.add_security_scheme("key", SecurityScheme::Http(key));
        components.add_security_scheme("client", SecurityScheme::Http(client));
    }
}

/// One description stands for many methods; each is an operation of its own.
struct Forwarded;

impl utoipa::Modify for Forwarded {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let methods = [
                ("get", &mut item.get),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in methods {
                if let Some(operation) = operation {
                    operation.operation_id = Some(format!("forward_{method}"));
                }
            }
        }
    }
}

/// Bodies of one of several forms: what none of them names is refused, as the description must say of each form.
const STRICT: [&str; 4] = ["GrantGiven", "NewDescribed", "SignedInDescribed", "Wanted"];

fn be_strict(openapi: &mut utoipa::openapi::OpenApi) {
    use utoipa::openapi::schema::AdditionalProperties;
    use utoipa::openapi::{RefOr, Schema};
    let components = openapi.components.get_or_insert_with(Default::default);
    for name in STRICT {
        if let Some(RefOr::T(Schema::OneOf(forms))) = components.schemas.get_mut(name) {
            for form in &mut forms.items {
                if let RefOr::T(Schema::Object(form)) = form {
                    form.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
                }
            }
        }
    }
}

fn described() -> OpenApiRouter<Arc<Shared>> {
    let mut router = routes();
    be_strict(router.get_openapi_mut());
    router
}

fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .routes(routes!(token::token))
        .routes(routes!(token::tokens))
        .routes(routes!(token::rejected))
        .routes(routes!(connections::list::list, connections::grant::add))
        .routes(routes!(connections::show, connections::upkeep::remove))
        .routes(routes!(connections::upkeep::refresh))
        .routes(routes!(connections::upkeep::suspend))
        .routes(routes!(connections::upkeep::resume))
        .routes(routes!(connections::grant::reauthorize))
        .routes(routes!(connections::sign_in::begin))
        .routes(routes!(connections::sign_in::finish))
        .routes(routes!(connections::revoke::revoke))
        .routes(routes!(connections::revoke::introspect))
        .routes(routes!(standard::token))
        .routes(routes!(standard::metadata))
        .routes(routes!(admin::live))
        .routes(routes!(admin::ready))
        .routes(routes!(admin::metrics))
}

/// The description of what may be asked (OpenAPI 3.1), as JSON.
#[must_use]
pub fn openapi() -> String {
    let (_, description) = described().split_for_parts();
    description.to_pretty_json().unwrap_or_default()
}

/// Every route.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let (router, description) = described().split_for_parts();
    let description = description.to_json().unwrap_or_default();
    let describe =
        move || async move { ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], description) };
    router
        .route("/openapi.json", axum::routing::get(describe))
        .route("/v1/connections/{name}/proxy/{*path}", proxy::route())
        .route("/v1/connections/{name}/proxy/", proxy::route())
        .merge(connect::routes())
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .with_state(Arc::clone(shared))
}

/// Answers a request that is not as plain as most, and writes down how that went.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    router: &mut Router,
    mut request: Request<AnyBody>,
) -> Response {
    let trace = Trace::of(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let caller = request.extensions().get::<Arc<Caller>>().map(|caller| caller.name.clone());
    request.extensions_mut().insert(trace.clone());
    let started = Instant::now();
    let refused = shared.health.is_draining() && !is_open(&path);
    let mut response = if refused {
        Problem::is_draining().into_response()
    } else {
        router.call(request).await.unwrap_or_else(|never| match never {})
    };
    if let Ok(value) = HeaderValue::try_from(&trace.0) {
        response.headers_mut().insert("trace-id", value);
    }
    tracing::debug!(
        trace_id = %trace.0,
        caller = caller.as_deref().unwrap_or("none"),
        %method,
        path,
        status = response.status().as_u16(),
        milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// What a request is called in the log: the caller's own trace id (W3C Trace Context), else one of ours.
#[derive(Clone, Debug)]
pub(crate) struct Trace(pub(crate) String);

impl Trace {
    fn of(request: &Request<AnyBody>) -> Self {
        let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let hexadecimal = |id: &&str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let given = header.and_then(|text| text.split('-').nth(1)).filter(hexadecimal);
        Self(given.map_or_else(|| perennial::request_id().replace('-', ""), str::to_owned))
    }
}
