//! Accepts connections and serves each in a task of its own, so that one can be reset, cut or kept hanging without
//! touching another.

use crate::answer::Answer;
use crate::centres::Here;
use crate::world::World;
use crate::{api, app_center, authorize, centres, control, device, metadata, otp, token, tokens};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::routing::{any, delete, get, post};
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service as _;

/// A client that has connected and does not greet is of no use.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// With no file descriptor left, accepting fails at once; trying again without a pause would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

const CORRELATION_ID: HeaderName = HeaderName::from_static("concur-correlationid");

/// What a handler needs to end its own connection.
#[derive(Clone)]
pub(crate) struct Line(mpsc::UnboundedSender<End>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// RST: the peer sees the connection reset, and whatever was not yet sent is gone.
    Reset,
    /// FIN, and under TLS no farewell before it.
    Close,
}

impl Line {
    pub(crate) fn reset(&self) {
        // The connection may have ended already; then there is nothing left to end.
        let _ = self.0.send(End::Reset);
    }

    pub(crate) fn close(&self) {
        let _ = self.0.send(End::Close);
    }
}

/// Serves every data centre until the sandbox stops, which ends the runtime and with it all tasks.
pub(crate) async fn serve(
    listeners: Vec<TcpListener>,
    tls: Option<Arc<ServerConfig>>,
    world: Arc<World>,
    stop: oneshot::Receiver<()>,
) {
    for (number, listener) in listeners.into_iter().enumerate() {
        tokio::spawn(accept(listener, Here(number), tls.clone(), Arc::clone(&world)));
    }
    // The sender goes when the sandbox is dropped: that is an end as well.
    let _ = stop.await;
}

async fn accept(listener: TcpListener, here: Here, tls: Option<Arc<ServerConfig>>, world: Arc<World>) {
    let router = routes(Arc::clone(&world)).layer(Extension(here));
    let tls = tls.map(TlsAcceptor::from);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Without it, a small answer may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let connected = world.counters.connect();
        let greeting = greet(stream, tls.clone(), router.clone(), Arc::clone(&world));
        tokio::spawn(async move {
            greeting.await;
            drop(connected);
        });
    }
}

fn routes(world: Arc<World>) -> Router {
    Router::new()
        .route("/oauth2/v0/token", post(token::token))
        .route("/oauth2/v0/authorize", get(authorize::show).post(authorize::decide))
        .route("/oauth2/v0/otp", post(otp::send))
        .route("/oauth2/v0/device_authorization", post(device::start))
        .route("/device", get(device::show).post(device::decide))
        .route("/oauth2/v0/revoke", post(tokens::revoke))
        .route("/oauth2/v0/introspect", post(tokens::introspect))
        .route("/.well-known/openid-configuration", get(metadata::metadata))
        .route("/.well-known/oauth-authorization-server", get(metadata::metadata))
        .route("/oauth2/v0/jwks", get(api::jwks))
        .route("/app-mgmt/v0/connections", delete(api::revoke))
        .route("/profile/identity/v4/Users", get(api::users))
        .route("/profile/identity/v4/Users/", get(api::users))
        .route("/sandbox/echo", any(api::echo))
        .route("/sandbox/stats", get(control::stats))
        .route("/sandbox/request-token", post(control::request_token))
        .route("/sandbox/mailbox", get(otp::mailbox))
        .route("/sandbox/app-center", get(app_center::show))
        .route("/sandbox/app-center/redirect", get(app_center::redirect))
        .route("/sandbox/move", post(centres::order_move))
        .route("/sandbox/expire", post(control::expire))
        .route(
            "/sandbox/faults",
            post(control::inject).get(control::pending_faults).delete(control::clear_faults),
        )
        .fallback(|| async {
            Answer::failure(StatusCode::NOT_FOUND, "not_found", "the sandbox has nothing at this path")
        })
        .method_not_allowed_fallback(|| async {
            Answer::failure(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the path exists, but not for this method",
            )
        })
        .with_state(world)
}

async fn greet(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, world: Arc<World>) {
    let Some(tls) = tls else { return converse(stream, router, world).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        converse(stream, router, world).await;
    }
}

async fn converse<S: Carrier>(stream: S, router: Router, world: Arc<World>) {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let line = Line(ends);
    let service = service_fn(|request| respond(request, router.clone(), Arc::clone(&world), line.clone()));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that breaks off is none of the sandbox's business.
        _ = &mut connection => {}
        Some(end) = ended.recv() => {
            let stream = connection.into_parts().io.into_inner();
            if end == End::Reset {
                // If this fails the client sees an orderly end, which is a fault all the same.
                let _ = stream.tcp().set_zero_linger();
            }
        }
    }
}

async fn respond(
    mut request: Request<Incoming>,
    mut router: Router,
    world: Arc<World>,
    line: Line,
) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(line);
    let correlation_id = request.headers().get(CORRELATION_ID).cloned();
    let mut response = router.call(request).await?;
    let correlation_id = correlation_id.or_else(|| HeaderValue::try_from(world.correlation_id()).ok());
    if let Some(id) = correlation_id {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    Ok(response)
}

/// A stream with a TCP socket below it.
trait Carrier: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Carrier for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Carrier for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
